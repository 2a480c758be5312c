"""Measure what keeps the numbers honest: the contract, the probes of an evaluation, the try on small arrays."""

from __future__ import annotations

PARTS = {
    "candidates": "how each hostile or broken candidate is stopped",
    "cost": "what a judge in a process of its own and the probes cost",
    "honest": "whom the probes accuse, among honest models",
    "power": "which leaks the probes find",
    "preflight": "what a try on small arrays finds, whom it accuses, what it costs a turn",
}
