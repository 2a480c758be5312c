"""Suggestions of TPE: near better settings, away from crashes, and without output of Optuna's."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from autoresearch.search.tuner.axes import axes_of
from autoresearch.search.tuner.tpe import suggestions
from testbed.toy import ROOT


def test_crashes_keep_tpe_away() -> None:
    (axis,) = axes_of("MATRIX_LR", 0.04)
    told = [({"MATRIX_LR": rate}, abs(math.log2(rate / 0.03))) for rate in (0.02, 0.03, 0.04, 0.05, 0.06)]
    told += [({"MATRIX_LR": rate}, None) for rate in (0.1, 0.12, 0.15, 0.2, 0.25, 0.3)]
    asked = suggestions([axis], told, seed=0)
    rates = [float(next(asked)["MATRIX_LR"]) for _ in range(30)]
    assert sum(rate >= 0.1 for rate in rates) <= 6  # of the range's upper half


def test_tpe_follows_what_was_better() -> None:
    axes = [*axes_of("MATRIX_LR", 0.04), *axes_of("WINDOW_PATTERN", "L")]
    told = [
        ({"MATRIX_LR": 0.005 * 2 ** (i / 4), "WINDOW_PATTERN": pattern}, (i - 16) ** 2 / 100 + (pattern != "SL"))
        for i in range(25)  # the whole range; 0.08 is best
        for pattern in ("L", "SL", "SSL", "SSSL")
    ]
    asked = [next(suggestions(axes, told, seed)) for seed in range(15)]
    assert sum(values["WINDOW_PATTERN"] == "SL" for values in asked) >= 10
    assert 0.05 < sorted(float(values["MATRIX_LR"]) for values in asked)[7] < 0.13


@pytest.mark.slow
def test_optuna_is_loaded_late_and_says_nothing() -> None:
    code = """
import sys
from autoresearch.search.tuner.tuner import Tuner
from autoresearch.search.tuner.tpe import suggestions
from autoresearch.search.tuner.axes import axes_of
assert "optuna" not in sys.modules
axes = list(axes_of("MATRIX_LR", 0.04))
next(suggestions(axes, [({"MATRIX_LR": 0.04}, 1.0)], 0))
assert "optuna" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
