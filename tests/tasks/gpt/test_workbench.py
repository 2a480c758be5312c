"""What a night's children get: cores, libraries, a snapshot of the harness."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.system import machine
from autoresearch.tasks.gpt.workbench import children_environment


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX runs on the GPU")
def test_children_get_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("MLX runs on the GPU")
    monkeypatch.delenv("AUTORESEARCH_CORES", raising=False)
    said: list[str] = []
    env = children_environment(said.append)
    assert env["AUTORESEARCH_CORES"] == str(min(machine.usable_cores(), 8)) and env["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("AUTORESEARCH_CORES", "3")
    assert children_environment(said.append)["AUTORESEARCH_CORES"] == "3"
    for nonsense in ("0", "two", "-1", "", "²"):
        monkeypatch.setenv("AUTORESEARCH_CORES", nonsense)
        with pytest.raises(UsageError, match="a number of cores"):
            children_environment(said.append)
