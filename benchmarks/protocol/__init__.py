"""Measure the turns of a language model."""

from __future__ import annotations

PARTS = {
    "reading": "what a model reads anew each turn",
    "real": "what the protocol makes of a real model",
    "recorded": "what a real model's recorded answers come to today",
    "replies": "what becomes of broken and odd replies",
    "turns": "what a turn costs, and what repairs save",
}
WHERE = {
    "real": "turns:real",
    "recorded": "turns:recorded",
    "replies": "turns:replies",
    "turns": "turns:turns",
}
