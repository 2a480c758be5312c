"""Provide sources for search spaces: the trainer that ships, and short candidates of chosen constants."""

from __future__ import annotations

from autoresearch.candidate import constants
from autoresearch.search.tuner.space import infer
from testbed.toy import ROOT

REAL = (ROOT / "train_mlx.py").read_text()
FIXED = "def build_model(task): return ({used})\ndef train(model, run): ...\n"


def source(*lines: str) -> str:
    """Return a candidate with these constants, each of which its code uses."""
    names = [line.split(" = ")[0] for line in lines]
    return "".join(f"{line}\n" for line in lines) + FIXED.format(used=", ".join(names))


SHORT = source(*(f"{name} = {literal}" for name, literal in constants.literals(REAL).items()))  # without code
SPACE = infer(SHORT, 2048)
