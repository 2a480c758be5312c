"""What a night's children get: cores, libraries, a snapshot of the harness."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoresearch.errors import DataError, UsageError
from autoresearch.paths import DataFolder
from autoresearch.system import machine
from autoresearch.tasks.gpt.workbench import children_environment, harness, snapshot, workbench
from testbed.toy import ROOT


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


def test_a_night_keeps_the_harness_that_it_began_with(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for file in harness(checkout):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {file.name}\n")
    first = snapshot(checkout, tmp_path / "night")
    assert first == harness(tmp_path / "night")
    assert first[0].name == "prepare.py" and {"children.py", "ops.py"} < {file.name for file in first}
    harness(checkout)[0].write_text("# another checkout\n")
    assert snapshot(checkout, tmp_path / "night")[0].read_text() == "# prepare.py\n"
    harness(checkout)[1].unlink()
    with pytest.raises(DataError, match=r"ops\.py is missing\. Run: git checkout"):
        snapshot(checkout, tmp_path / "next")


def test_a_workbench_has_the_night_s_harness_and_the_data_s_budget(toy_data: Path, tmp_path: Path) -> None:
    bench = workbench(toy_data, tmp_path / "night", ROOT, None, no_sandbox=True, say=lambda text: None)
    assert bench.harness == harness(tmp_path / "night" / "harness") and bench.budget_s == 1.0
    assert bench.data == DataFolder(toy_data) and bench.hide == (ROOT / "runs",)
    assert bench.kernels is not None and bench.kernels.parent == bench.data.cache.folder / "kernels"
    with pytest.raises(UsageError, match="1 to 86400 seconds"):
        workbench(toy_data, tmp_path / "night", ROOT, 0.5, no_sandbox=True, say=lambda text: None)
