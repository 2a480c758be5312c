"""Play whole nights: with incidents, without anything to find, by a newcomer, with language models."""

from __future__ import annotations

PARTS = {
    "incidents": "kills, a reboot, a full disk, a set clock, a lost server: what a night loses to each",
    "models": "what a middling model adds to the tuner in a real night",
    "newcomer": "the seconds from a fresh clone to the first result, by part",
    "nulls": "what the loop claims where there is nothing to find",
    "overhead": "where the seconds of a recorded night went",
}
