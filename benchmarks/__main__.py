"""Run one benchmark: `python -m benchmarks NAME [options]`. List the names when called without one."""

from __future__ import annotations

import sys

from autoresearch.system.exits import exit_code
from benchmarks.cli import run_module

NAMES = {
    "compare": "what changed between two --json files of one benchmark",
    "examples": "the examples' nights: what they find, and what they claim of nothing (3 benchmarks)",
    "fleet": "several members: what incidents cost, experiments an hour, how far it grows (3 benchmarks)",
    "mac": "what only a Mac can answer: attention, compiling, types, the display",
    "machines": "whether findings travel between machines",
    "nights": "whole nights: incidents, nothing to find, a newcomer's, a model's, their seconds (5 benchmarks)",
    "pages": "what the live view, the report, the live page and the REST interface cost (2 benchmarks)",
    "protocol": "a language model's turns: their cost, broken replies, a real model's answers (5 benchmarks)",
    "quality": "what the trainer learns: its defaults, recipes, the parts of its optimizer (2 benchmarks)",
    "simulations": "simulated nights: the keep rule, the statistics, the search (4 benchmarks)",
    "trainer": "a training step: speed, parts, scaling, a GPU, a plain port (8 benchmarks)",
    "trust": "hostile candidates, the probes of an evaluation, the try on small arrays (5 benchmarks)",
}


if __name__ == "__main__":
    raise SystemExit(exit_code(lambda: run_module("benchmarks", NAMES, sys.argv[1:]), "stopped"))
