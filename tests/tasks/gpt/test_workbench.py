"""What a night's children get: cores, libraries, a snapshot of the harness."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from autoresearch.errors import DataError, UsageError
from autoresearch.paths import Cache, DataFolder
from autoresearch.system import gpu, machine
from autoresearch.tasks.gpt.workbench import children_environment, choose_data, harness, snapshot, workbench
from testbed.toy import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX runs on the GPU")
def test_children_get_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    if gpu.find() is not None:
        pytest.skip("MLX runs on the GPU")
    monkeypatch.delenv("AUTORESEARCH_CORES", raising=False)
    said: list[str] = []
    env = children_environment(said.append)
    assert env["AUTORESEARCH_CORES"] == str(min(machine.usable_cores(), 8)) and env["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("AUTORESEARCH_CORES", "3")
    assert children_environment(said.append)["AUTORESEARCH_CORES"] == "3"
    for nonsense in ("0", "two", "-1", "²"):
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
    harness(checkout)[0].write_text("x = 1\ndef (\n")
    with pytest.raises(DataError, match=r"prepare\.py, line 2, which measures .* Run: git checkout -- prepare\.py"):
        snapshot(checkout, tmp_path / "broken")
    (tmp_path / "night" / "prepare.py").write_bytes(b"\0")
    with pytest.raises(DataError, match=rf"prepare\.py.* not valid Python: .* Run: rm -r {tmp_path}"):
        snapshot(checkout, tmp_path / "night")
    harness(checkout)[1].unlink()
    with pytest.raises(DataError, match=r"ops\.py is missing\. Run: git checkout"):
        harness(checkout)[0].write_text("")
        snapshot(checkout, tmp_path / "next")


def test_a_workbench_has_the_night_s_harness_and_the_data_s_budget(toy_data: Path, tmp_path: Path) -> None:
    bench = workbench(toy_data, tmp_path / "night", ROOT, None, no_sandbox=True, say=lambda text: None)
    assert bench.harness == harness(tmp_path / "night" / "harness") and bench.budget_s == 1.0
    assert bench.data == DataFolder(toy_data) and bench.hide == (ROOT / "runs",)
    assert bench.kernels is not None and bench.kernels.parent == bench.data.cache.folder / "kernels"
    with pytest.raises(UsageError, match="1 to 86400 seconds"):
        workbench(toy_data, tmp_path / "night", ROOT, 0.5, no_sandbox=True, say=lambda text: None)


def test_a_new_night_takes_what_was_prepared_last_and_says_so(tmp_path: Path) -> None:
    notes = tmp_path / "my notes"
    for age, (name, profile, argument) in enumerate(
        [("my notes-1f0c39ae", "tiny", str(notes)), ("stdlib", "tiny", "stdlib"), ("climbmix", "mac", "climbmix")]
    ):
        data = Cache(tmp_path).data(name, profile)
        data.folder.mkdir(parents=True)
        data.meta.write_text(json.dumps({"argument": argument}))
        os.utime(data.meta, (1000 - age, 1000 - age))
    said: list[str] = []
    assert choose_data(None, "tiny", said.append, tmp_path).parent.name == "my notes-1f0c39ae"
    assert said == [f"data: {notes}, prepared last; also prepared: stdlib (choose with --dataset)"]
    os.utime(tmp_path / "data/stdlib/tiny/meta.json")  # as `prepare.py --dataset stdlib` does where it is ready
    assert choose_data(None, "tiny", said.append, tmp_path).parent.name == "stdlib"
    said.clear()
    assert choose_data(None, "mac", said.append, tmp_path).parent.name == "climbmix"
    assert said == ["data: stdlib was prepared last, for another profile: --profile tiny", "data: climbmix"]
    assert choose_data("stdlib", "tiny", said.append, tmp_path).parent.name == "stdlib" and len(said) == 2
