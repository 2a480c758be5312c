"""Simulate nights in which nothing trains: keep rules, the night's statistics, and searches."""

from __future__ import annotations

PARTS = {
    "keep_rule": "keep rules by true gain, false keeps, and claimed gain that is not there",
    "kinds": "limits and intervals of exact metrics with cases, and of counts",
    "night": "the night's statistics: intervals, drift, simplifications, the early stop",
    "search": "the tuner against other searches on made-up surfaces",
}
