"""A changed file on small arrays, with real children on a toy task. What is found: tests/tasks/gpt's own file."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from autoresearch.measure.preflight import preflight
from autoresearch.measure.workbench import Workbench
from testbed.toy import HONEST, toy_bench

pytestmark = pytest.mark.slow

SOURCE = HONEST.read_text()
START = "    opt = optim.Adam(LR)\n"
assert START in SOURCE


@pytest.fixture
def bench(toy_data: Path) -> Workbench:
    return toy_bench(toy_data)


def test_what_fails_is_told_with_the_end_of_its_traceback_and_nothing_stays(bench: Workbench, tmp_path: Path) -> None:
    source = SOURCE.replace(START, "    opt = optim.Adam(RATE)\n")
    found = preflight(bench, source, tmp_path / "preflight")
    assert found is not None and (found.kind, found.message) == ("warmup", "NameError: name 'RATE' is not defined")
    assert found.detail.splitlines()[-2:] == ["    opt = optim.Adam(RATE)", found.message]
    assert not (tmp_path / "preflight").exists()


def test_what_fails_of_the_small_numbers_alone_passes(bench: Workbench, tmp_path: Path) -> None:
    given = "HEAD_DIM = 128\nASPECT_RATIO = 64\n\n\ndef build_model(task):\n    mx.zeros(128) + mx.zeros(HEAD_DIM)\n"
    source = SOURCE.replace("def build_model(task: prepare.Task) -> nn.Module:\n", given)
    assert source != SOURCE
    assert preflight(bench, source, tmp_path / "preflight") is None


STALLS = {
    "time": "while True:\n        pass",
    "memory": "bytes(1 << 46)",
    "killed": "import os; os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("stall", [f"    {code}\n" for code in STALLS.values()], ids=STALLS)
def test_a_lack_of_time_or_memory_is_no_answer(stall: str, bench: Workbench, tmp_path: Path) -> None:
    bench = toy_bench(bench.data.folder, preflight_limit_s=1.0)
    assert preflight(bench, SOURCE.replace(START, START + stall), tmp_path / "preflight") is None
    assert not (tmp_path / "preflight").exists()


def test_a_harness_that_does_not_start_is_no_answer(bench: Workbench, tmp_path: Path) -> None:
    (harness := tmp_path / "prepare.py").write_text("raise SystemExit(2)\n")
    bench = replace(bench, harness=(harness,))
    assert preflight(bench, SOURCE, tmp_path / "preflight") is None


def test_ctrl_c_ends_it_and_leaves_nothing(bench: Workbench, tmp_path: Path) -> None:
    """The signal comes once the candidate's code runs."""
    folder = tmp_path / "preflight"
    source = SOURCE.replace(START, f"{START}    print('runs', flush=True)\n    while True:\n        pass\n")

    def interrupt() -> None:
        log = folder / "run" / "preflight.log"
        while not (log.is_file() and "runs" in log.read_text()):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        preflight(bench, source, folder)
    waiting.join()
    assert not folder.exists() and not psutil.Process().children()
