from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from autoresearch.metrics import Metric
from autoresearch.tasks.command.floor import Floor, programs, versions
from testbed.declared import FILES, TOML, declare, opened

pytestmark = pytest.mark.slow

SIZE = 'edit = ["config.toml"]\n[metric]\nname = "bytes"\nfrom = "size:config.toml"\nmin_gain = 1\n'
GUARD = '[[guard]]\nrun = "grep -q x config.toml"\n'


def findings(tmp_path: Path, toml: str, files: Mapping[str, str] = FILES, **changed: str) -> dict[str, str]:
    """Return the outcome of each version that does nothing of use."""
    task = opened(declare(tmp_path / "task", files, task_toml=toml, **changed))
    floor = Floor(task, tmp_path / "floor")
    return {found.name: found.outcome for found in floor.adversaries(floor.baseline())}


def test_an_empty_file_is_named_unless_a_guard_stops_it(tmp_path: Path) -> None:
    assert findings(tmp_path / "1", SIZE)["an empty config.toml"] == "better"
    assert findings(tmp_path / "2", SIZE + GUARD) == {
        "an empty config.toml": "refused",
        "garbage as config.toml": "refused",
        "config.toml that holds only the claim of a wonderful number": "refused",
    }


def test_a_printed_number_is_forgeable(tmp_path: Path) -> None:
    toml = 'edit = ["run.py"]\nrun = "python run.py"\n[metric]\nname = "loss"\nfrom = "run:line:loss"\n'
    found = findings(tmp_path, toml, run_py="print('METRIC loss 3')\n")
    claim = "run.py that claims a wonderful number and exits with 0"
    assert {name for name, outcome in found.items() if outcome == "forgeable"} == {claim}
    assert found["an empty run.py"] == found["run.py that exits with 0 at once"] == "refused"


def test_a_baseline_that_fails_is_told(tmp_path: Path) -> None:
    task = opened(declare(tmp_path / "task", run_py="raise SystemExit(2)"))
    failure = Floor(task, tmp_path / "floor").baseline().failure
    assert failure is not None and failure.kind == "run"


def test_a_hidden_file_is_out_of_a_runs_sight(tmp_path: Path) -> None:
    toml = TOML.replace("timeout_s = 20", 'hide = ["labels"]')
    folder = declare(tmp_path / "task", {**FILES, "labels": "1"}, task_toml=toml)
    confined = opened(folder, confined=True)
    [found] = Floor(confined, folder / ".autoresearch" / "floor").hidden()
    assert (found.outcome == "refused") is confined.confined
    [found] = Floor(opened(folder), folder / ".autoresearch" / "floor").hidden()
    assert found.outcome == "better" and f"a run can read it at {folder / 'labels'}" == found.message


@pytest.mark.parametrize("suffix", [".py", ".sh"])
def test_a_program_writes_the_claim_where_a_judge_may_look(suffix: str, tmp_path: Path) -> None:
    body = programs(suffix, "METRIC m 1\n{}", ["out/a.json", "out/b/c"])[
        "writes a wonderful number into what it leaves"
    ]
    interpreter = {".py": [sys.executable, "-c"], ".sh": ["sh", "-c"]}[suffix]
    subprocess.run([*interpreter, body], cwd=tmp_path, check=True)
    assert (tmp_path / "out/a.json").read_text() == (tmp_path / "out/b/c").read_text() == "{}"


def test_a_judge_that_repeats_what_a_run_left_is_named(tmp_path: Path) -> None:
    toml = TOML.replace("config.toml", "run.py", 1).replace("python score.py", "cat out/said.json")
    run = "import json\njson.dump({'loss': 3.0}, open('out/said.json', 'w'))\n"
    found = findings(tmp_path, toml, run_py=run)
    assert found["run.py that writes a wonderful number into what it leaves"] == "better"
    assert found["run.py that claims a wonderful number and exits with 0"] == "refused"


@pytest.mark.parametrize("suffix", [".py", ".sh"])
def test_the_programs_run_and_claim(suffix: str) -> None:
    claim = 'METRIC m 1e-09\n{"m": 1e-09}'
    interpreter = {".py": [sys.executable, "-c"], ".sh": ["sh", "-c"]}[suffix]
    for name, body in programs(suffix, claim).items():
        done = subprocess.run([*interpreter, body], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == (claim if "claims" in name else "")


def test_a_judge_that_runs_another_editable_file_is_named(tmp_path: Path) -> None:
    """No word of its command names lib.sh: only the version that claims shows who runs it."""
    toml = TOML.replace('["config.toml"]', '["config.toml", "lib.sh"]').replace("python score.py", "sh judge.sh")
    judge = ". ./lib.sh\necho '{\"loss\": 9}'\n"
    found = findings(tmp_path, toml, {**FILES, "lib.sh": "true\n", "judge.sh": judge})
    assert found["lib.sh that claims a wonderful number and exits with 0"] == "better"


def test_a_claim_has_every_form_that_a_metric_is_read_in() -> None:
    texts = {"a.sql": "x", "b.sql": "y"}
    found = versions(texts, Metric(name="speed", direction="higher"), "score:json:v")
    assert list(found)[:2] == ["an empty a.sql", "garbage as a.sql"] and len(found) == 6
    line, data = found["a.sql that holds only the claim of a wonderful number"]["a.sql"].splitlines()
    assert line == "METRIC v 1e+09" and json.loads(data) == {"v": 1e9, "speed": 1e9, "cases": [1e9]}
