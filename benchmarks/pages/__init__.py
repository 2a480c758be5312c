"""Measure what is looked at: the live view, the report, the live page, the REST interface."""

from __future__ import annotations

PARTS = {
    "serve": "what the live page and the REST interface hold, and what they cost a training",
    "view": "what the live view and the morning report cost",
}
