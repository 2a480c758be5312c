"""Run one benchmark: `python -m benchmarks NAME [options]`. List the names when called without one."""

from __future__ import annotations

import sys

from autoresearch.system.exits import exit_code
from benchmarks.cli import run_module

NAMES = {
    "bad_night": "kills, a reboot, a full disk, a set clock, a lost server: what a night loses to each",
    "candidates": "how each hostile or broken candidate is stopped",
    "compare": "what changed between two --json files of one benchmark",
    "defaults": "val_bpb after the same tokens: other defaults, recipes, changes of the code",
    "examples": "the examples' nights: what they find, and what they claim of nothing",
    "fleet": "several members: what incidents cost, experiments an hour, how far it grows (3 benchmarks)",
    "gpu": "the trainer on a GPU: chunks, rows, types, compiling, against the plain port",
    "interface": "what the live view and the morning report cost",
    "mac": "what only a Mac can answer: attention, compiling, types, the display",
    "machines": "whether findings travel between machines",
    "model_night": "what a middling model adds to the tuner in a real night",
    "newcomer": "the seconds from a fresh clone to the first result, by part",
    "null_night": "what the loop claims where there is nothing to find",
    "overhead": "where the seconds of a recorded night went",
    "plain": "the trainer against a plain port of the same model",
    "preflight": "what a try on small arrays finds, whom it accuses, what it costs a turn",
    "probes": "what the probes of an evaluation find, whom they accuse, what they cost (3 benchmarks)",
    "protocol": "a language model's turns: their cost, broken replies, a real model's answers (4 benchmarks)",
    "quality": "val_bpb after fixed steps, with parts of the optimizer removed",
    "reading": "what a language model reads anew each turn",
    "serve": "what the live page and the REST interface hold, and what they cost a training",
    "simulations": "simulated nights: the keep rule, the statistics, the search (3 benchmarks)",
    "trainer": "a training step: speed, parts, scaling, warm-up, batches (5 benchmarks)",
}


if __name__ == "__main__":
    raise SystemExit(exit_code(lambda: run_module("benchmarks", NAMES, sys.argv[1:]), "stopped"))
