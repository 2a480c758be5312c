"""Fitting a candidate to the machine: which constants, by real short trainings, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch import calibrate
from autoresearch.calibrate import Fit, Trial, axes, fit, known, remember
from autoresearch.experiment import Workbench
from autoresearch.records import Set
from autoresearch.sandbox import Unconfined
from tests.conftest import HONEST, ROOT

CPU = {"LD_PRELOAD": "/lib/a.so"}


@pytest.fixture
def bench(toy_data: Path) -> Workbench:
    return Workbench(ROOT / "prepare.py", toy_data, 1.0, Unconfined(), env={"MLX_DISABLE_COMPILE": "1"})


def test_only_what_leaves_the_mathematics_alone_is_tried(bench: Workbench) -> None:
    source = 'DEPTH = 4\nDEVICE_BATCH_SIZE = 8\nSTACK_MATRICES = True\nCOMPUTE_DTYPE = "bfloat16"\n'
    assert dict(axes(source, bench)) == {
        "DEVICE_BATCH_SIZE": ["4", "2", "1"],
        "STACK_MATRICES": ["False"],
        "COMPUTE_DTYPE": ['"float32"'],
    }
    on_cpu = Workbench(bench.harness, bench.data, 1.0, bench.sandbox, env=CPU)
    assert "COMPUTE_DTYPE" not in dict(axes(source, on_cpu))
    assert dict(axes("DEPTH = 4\n", bench)) == {}


def test_the_faster_choice_is_taken_and_remembered(bench: Workbench, tmp_path: Path) -> None:
    """The toy wastes time where STACK_MATRICES is on."""
    waste = "        if STACK_MATRICES:\n            mx.eval(mx.ones((600, 600)) @ mx.ones((600, 600)))\n"
    step = "        loss, grads = loss_and_grad(x, y)\n"
    source = HONEST.read_text().replace("LR = 0.01", "STACK_MATRICES = True\nLR = 0.01").replace(step, waste + step)
    found = fit(bench, source, tmp_path / "fit", memory_mb=8192, trial_s=0.5)
    assert found.edits == (Set("STACK_MATRICES", "False"),)
    assert [trial.literal for trial in found.trials] == ["True", "False"]
    assert "tok/s" in found.table()
    path = tmp_path / "fits.json"
    assert known(path, source, bench) is None
    remember(path, source, bench, found)
    assert known(path, source, bench) == [Set("STACK_MATRICES", "False")]
    assert known(path, source.replace("STACK_MATRICES = True", "STACK_MATRICES = False"), bench) == []
    path.write_text("not json")
    assert known(path, source, bench) is None


def test_trials_that_all_failed_are_forgotten(bench: Workbench, tmp_path: Path) -> None:
    remember(tmp_path / "fits.json", "A = 1\n", bench, Fit((), (Trial("A", "1", None, None, "memory: ..."),)))
    assert known(tmp_path / "fits.json", "A = 1\n", bench) is None


def test_a_choice_that_takes_too_much_memory_is_none(bench: Workbench, tmp_path: Path) -> None:
    source = HONEST.read_text().replace("LR = 0.01", "STACK_MATRICES = True\nLR = 0.01")
    found = fit(bench, source, tmp_path / "fit", memory_mb=1, trial_s=0.3)
    assert found.edits == () and all("more than" in trial.note for trial in found.trials)
    assert calibrate.MEMORY_SHARE < 1
