"""The CPU that other programs use: measured beside a real one that is busy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.records import MachineState
from autoresearch.system import family, load
from autoresearch.system.load import Load
from autoresearch.system.process import Child
from autoresearch.system.sandbox import select


def test_a_load_is_told_in_cores_with_the_names_of_its_causes() -> None:
    found = Load(1.9, 2, (("clang", 1.5), ("Google Chrome", 0.25)))
    assert found.describe() == "other programs use 1.9 of 2 cores (clang 1.5, Google Chrome 0.2)"
    assert Load(0.0, 1).describe() == "other programs use 0.0 of 1 core"


@pytest.mark.parametrize(("cores", "busy"), [(0.1, False), (2.4, False), (2.5, True), (9.0, True)])
def test_a_quarter_of_the_cores_is_busy(cores: float, busy: bool) -> None:
    assert Load(cores, 10).busy is busy


@pytest.mark.slow
def test_a_busy_program_is_measured_and_named_and_our_own_work_is_not() -> None:
    before = load.others_cpu_s()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        found = load.look(1.0)
        other.kill()
    assert found.cores > 0.1 and any("python" in name.lower() for name, _ in found.programs)
    assert load.others_cpu_s() >= before - 0.5  # its end makes it a finished child of this process


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a sandbox passes it on")
def test_what_a_confined_child_computes_is_our_own_work(tmp_path: Path) -> None:
    sandbox = select(allow_none=True)
    code = "import time; end = time.process_time() + 1.5\nwhile time.process_time() < end: pass"
    argv = [*sandbox.prefix([tmp_path]), sys.executable, "-c", code]
    before = sum(family.ended)
    with Child(argv, cwd=tmp_path, env=dict(os.environ), log_path=tmp_path / "log") as child:
        assert child.wait(60) == 0
    assert sum(family.ended) - before > 1.0


def state(monotonic: float, others_cpu_s: float | None) -> MachineState:
    return MachineState(
        monotonic=monotonic, since_boot=monotonic, wall=0.0, free_memory_mb=8000, others_cpu_s=others_cpu_s
    )


@pytest.mark.parametrize(("others", "share"), [(100.0, 0.0), (105.0, 0.25), (90.0, 0.0), (190.0, 1.0), (None, None)])
def test_the_share_of_others_is_that_of_the_time_between_two_samples(others: float, share: float | None) -> None:
    assert load.share(state(50.0, 100.0), state(70.0, others)) == share
