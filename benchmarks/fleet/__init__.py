"""Measure a fleet: what incidents cost, how many experiments members decide, how far that goes."""

from __future__ import annotations

PARTS = {
    "classes": "a night of two classes of machines: what each keeps, and what travels between them",
    "growth": "how many experiments up to 16 equal members decide, and the share wasted on stale parents (simulated)",
    "incidents": "what incidents at random instants do to three members and their coordinator",
    "newcomers": "which class late machines are given, one of which measures otherwise, and what a restart changes",
    "rate": "how many experiments 1, 2 and 3 members decide in an hour",
}
WHERE = {"classes": "classes:classes", "growth": "growth:growth", "rate": "growth:rate"}
