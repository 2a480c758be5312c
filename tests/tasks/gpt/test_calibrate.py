"""Fitting a candidate to the machine: the constants, the real short trainings, and the stored fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.candidate import constants
from autoresearch.measure.workbench import Workbench
from autoresearch.records import Set
from autoresearch.system import machine
from autoresearch.system.sandbox import Unconfined
from autoresearch.tasks.gpt import calibrate
from autoresearch.tasks.gpt.calibrate import (
    Fit,
    SpeedAxis,
    SpeedTrial,
    StoredFit,
    axes,
    efficiency,
    fit,
    known,
    remember,
    walk,
)
from autoresearch.tasks.gpt.roofline import Roofline
from testbed.recorded import replay
from testbed.toy import HONEST, toy_bench

M4_PRO = machine.facts(replay("mac-mini-m4-pro"), "Darwin")


@pytest.fixture
def bench(toy_data: Path) -> Workbench:
    return toy_bench(toy_data, sandbox=Unconfined())


def test_only_what_leaves_the_mathematics_alone_is_tried(bench: Workbench) -> None:
    source = 'DEPTH = 4\nDEVICE_BATCH_SIZE = 8\nLOSS_CHUNK = 2**24\nSTACK_MATRICES = True\nCOMPUTE_DTYPE = "bfloat16"\n'
    assert list(axes(source, bench, "gpu")) == [
        SpeedAxis("LOSS_CHUNK", (("2**26", "2**28", "2**40"), ("2**22",)), patience=2),
        SpeedAxis("DEVICE_BATCH_SIZE", ((), ("4", "2", "1")), patience=2),
        SpeedAxis("STACK_MATRICES", (("False",),)),
        SpeedAxis("COMPUTE_DTYPE", (('"float32"',),)),
    ]
    assert {axis.name for axis in axes(source, bench, "cpu")} == {"DEVICE_BATCH_SIZE", "STACK_MATRICES"}
    assert list(axes("DEPTH = 4\n", bench, "gpu")) == []


def test_rows_at_once_are_doubled_up_to_the_whole_batch(bench: Workbench) -> None:
    def upwards(tokens: int, pieces: int = 1) -> tuple[str, ...]:
        source = f"DEVICE_BATCH_SIZE = 8\nTOTAL_BATCH_SIZE = {tokens}\nTRAIN_ROW_PIECES = {pieces}\n"
        [axis] = axes(source, bench, "gpu")
        return axis.directions[0]

    assert [upwards(64 * rows) for rows in (8, 16, 64)] == [(), ("16",), ("16", "32", "64")]  # a row has 64 tokens
    assert upwards(64 * 8, pieces=2) == ("16",)


@pytest.mark.slow
def test_the_faster_choice_is_taken_and_remembered(bench: Workbench, tmp_path: Path) -> None:
    """The toy wastes time where STACK_MATRICES is on."""
    waste = "        if STACK_MATRICES:\n            mx.eval(mx.ones((600, 600)) @ mx.ones((600, 600)))\n"
    step = "        loss, grads = loss_and_grad(x, y)\n"
    source = HONEST.read_text().replace("LR = 0.01", "STACK_MATRICES = True\nLR = 0.01").replace(step, waste + step)
    found = fit(bench, source, tmp_path / "fit", 8192, "cpu", trial_s=0.5)
    assert found.edits == (Set("STACK_MATRICES", "False"),)
    assert [trial.literal for trial in found.trials] == ["True", "False"]
    assert str(found.trials[0]).endswith("as it stands") and str(found.trials[1]).endswith("faster than True: taken")
    path = tmp_path / "fits.json"
    assert known(path, source, bench) is None
    remember(path, source, bench, found, "why")
    assert known(path, source, bench) == StoredFit((Set("STACK_MATRICES", "False"),), "why")
    assert known(path, source.replace("STACK_MATRICES = True", "STACK_MATRICES = False"), bench) == StoredFit((), "why")
    path.write_text("not json")
    assert known(path, source, bench) is None


@pytest.mark.slow
def test_trials_that_all_failed_are_forgotten(bench: Workbench, tmp_path: Path) -> None:
    remember(tmp_path / "fits.json", "A = 1\n", bench, Fit((), (SpeedTrial("A", "1", None, None, "memory: ..."),)), "")
    assert known(tmp_path / "fits.json", "A = 1\n", bench) is None


@pytest.mark.slow
def test_a_choice_that_takes_too_much_memory_is_none(bench: Workbench, tmp_path: Path) -> None:
    source = HONEST.read_text().replace("LR = 0.01", "STACK_MATRICES = True\nLR = 0.01")
    found = fit(bench, source, tmp_path / "fit", 1, "cpu", trial_s=0.3)
    assert found.edits == () and all("more than" in trial.note for trial in found.trials)
    assert calibrate.MEMORY_SHARE < 1


# --- the walk, over a machine that is made up -----------------------------------------------------------------------

GPU = """\
TOTAL_BATCH_SIZE = 8192  # 128 rows of 64 tokens
DEVICE_BATCH_SIZE = 8
LOSS_CHUNK = 2**24
STACK_MATRICES = True
COMPUTE_DTYPE = "bfloat16"
"""


class Machine:
    """A made-up GPU: a step takes longer with more micro-batches and chunks, and memory grows with both sizes."""

    def __init__(self, memory_mb: float = 80_000, first_s: float = 0.0, trial_s: float = 5.0) -> None:
        self.memory_mb, self.now, self.took = memory_mb, 0.0, iter([first_s])
        self.trial_s, self.said = trial_s, list[str]()

    def train(self, source: str, name: str, literal: str) -> SpeedTrial:
        """Time a step: more is lost with chunks of 2^26 bytes, as no model of the machine would have it."""
        self.now += next(self.took, self.trial_s) or self.trial_s
        c = constants.read(source)
        rows, chunk = int(c["DEVICE_BATCH_SIZE"]), min(int(c["LOSS_CHUNK"]), int(c["DEVICE_BATCH_SIZE"]) * 2**26)
        peak_mb = 1000 + 500 * rows + chunk / 2**20
        if peak_mb > self.memory_mb:
            return SpeedTrial(name, literal, None, peak_mb, "memory")
        step_s = 1 + 0.2 * 128 / rows + 0.05 * rows * 2**26 / chunk * 8 / rows
        step_s *= 1.6 if chunk == 2**26 else 1.0
        step_s *= 1.0 if c["STACK_MATRICES"] and c["COMPUTE_DTYPE"] == "bfloat16" else 1.2
        return SpeedTrial(name, literal, 1e6 / step_s, peak_mb)

    def fit(self, bench: Workbench) -> Fit:
        return walk(GPU, axes(GPU, bench, "gpu"), self.train, self.said.append, lambda: self.now)


def tried(found: Fit, name: str) -> list[str]:
    return [trial.literal for trial in found.trials if trial.name == name]


def test_the_walk_goes_past_one_slower_chunk_and_up_to_the_whole_batch(bench: Workbench) -> None:
    found = Machine().fit(bench)
    assert tried(found, "LOSS_CHUNK") == ["2**24", "2**26", "2**28", "2**40"]
    assert tried(found, "DEVICE_BATCH_SIZE") == ["8", "16", "32", "64", "128"]
    assert found.edits == (Set("LOSS_CHUNK", "2**28"), Set("DEVICE_BATCH_SIZE", "128"))
    assert not found.cut_short and len(found.trials) == 13


def test_the_walk_ends_where_memory_does(bench: Workbench) -> None:
    found = Machine(memory_mb=20_000).fit(bench)
    assert tried(found, "DEVICE_BATCH_SIZE") == ["8", "16", "32", "64"]
    assert Set("DEVICE_BATCH_SIZE", "32") in found.edits


def test_the_time_is_looked_at_before_each_trial_and_a_first_compilation_does_not_count(
    bench: Workbench, tmp_path: Path
) -> None:
    machine = Machine(first_s=150.0, trial_s=30.0)
    found = machine.fit(bench)
    assert tried(found, "LOSS_CHUNK") == ["2**24", "2**26", "2**28", "2**40"]  # 90 s after the first
    assert tried(found, "DEVICE_BATCH_SIZE") == ["8"]
    assert machine.said[-3:] == [
        "  DEVICE_BATCH_SIZE = 16 is not tried: 100 s of trials are over",
        "  STACK_MATRICES stays: 100 s of trials are over",
        "  COMPUTE_DTYPE stays: 100 s of trials are over",
    ]
    assert found.edits == (Set("LOSS_CHUNK", "2**28"),)
    remember(tmp_path / "fits.json", GPU, bench, found, "why")
    assert known(tmp_path / "fits.json", GPU, bench) is None, "the next start goes on"


@pytest.mark.parametrize(
    ("device", "compile_s", "said"),
    [("gpu", 4.9, "about 152 s"), ("gpu", 0.1, ""), ("cpu", 5.0, ""), ("gpu", None, "")],
)
def test_a_long_compilation_is_announced(device: str, compile_s: float | None, said: str) -> None:
    text = calibrate.compiling(Roofline(device, {"float32": 6.0}, 200.0, compile_s))
    assert (said in text) if said and text else text is None


# --- the roofline -----------------------------------------------------------------------------------------------------


def test_speed_is_read_against_the_product_and_the_chips_table() -> None:
    """3 TFLOP/s of an M4 Pro's 6.8: its 16 cores by 256 by 1.664 GHz."""
    best = Roofline("gpu", {"float32": 6.0, "bfloat16": 5.0}, 200.0, 0.05)
    source = 'COMPUTE_DTYPE = "bfloat16"\n'
    trials = (SpeedTrial("A", "1", 50_000.0, 1.0, tflops=1.5), SpeedTrial("A", "2", 100_000.0, 1.0, tflops=3.0))
    text = efficiency(Fit((), trials), best, M4_PRO, source)
    assert text == (
        "fastest: 100,000 tok/s = 3 TFLOP/s, 60% of the bfloat16 product measured here, 44% of the chip's tabled peak"
    )
    as_float32 = Fit((Set("COMPUTE_DTYPE", '"float32"'),), trials)
    assert "50% of the float32 product" in efficiency(as_float32, best, M4_PRO, source)
    assert efficiency(Fit((), ()), best, M4_PRO, source) == "no trial trained"
    assert [line.split("   ")[-1] for line in best.table(M4_PRO).splitlines()][:3] == [
        "88% of the chip's 6.82", "73% of the chip's 6.82", "73% of the chip's 273",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_prints_the_fit_and_remembers_it(toy_data: Path, repository: Path) -> None:
    """The toy has no constant to fit, so the command prints the roofline, and a second call reads it back."""
    env = {**os.environ, "AUTORESEARCH_CACHE": str(toy_data.parents[2]), "MLX_DISABLE_COMPILE": "1"}
    argv = [sys.executable, "loop.py", "calibrate", "--dataset", "toy", "--profile", "tiny", "--no-sandbox"]
    done = subprocess.run(argv, cwd=repository, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "product, float32" in done.stdout and done.stdout.endswith("nothing needs to change\n")
