"""Gains are paired by seed, with an interval, and the runs are dealt to processes."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.quality.defaults import gains, part


def run(change: str, seed: int, val_bpb: float | None) -> dict[str, Any]:
    place = {"dataset": "a", "scale": "tiny", "steps": 2}
    return {**place, "seed": seed, "change": change, "val_bpb": val_bpb, "step_s": 2.0}


RUNS = [run("reference", 1, 2.0), run("x", 1, 1.9), run("reference", 2, 3.0), run("x", 2, 2.7), run("x", 3, 1.0)]


def test_gains_are_against_the_run_of_the_same_seed() -> None:
    (row,) = gains([*RUNS, run("y", 1, None)])
    assert row["gain"] == pytest.approx(0.2) and row["by seed"] == "1: +0.1000, 2: +0.3000" and row["s_ratio"] == 1.0
    assert (row["low"], row["high"]) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-3)


def test_gains_against_another_change_and_of_one_seed() -> None:
    rows = {row["change"]: row for row in gains([*RUNS, run("y", 2, 2.6)], against="x")}
    assert rows["reference"]["gain"] == pytest.approx(-0.2)
    assert rows["y"]["gain"] == pytest.approx(0.1) and rows["y"]["low"] is None


def test_a_part_is_a_number_of_several() -> None:
    assert (part("1/1"), part("2/4")) == ((0, 1), (1, 4))
    for text in ("0/4", "5/4", "2", "a/b"):
        with pytest.raises(ValueError):
            part(text)
