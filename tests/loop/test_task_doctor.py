"""What `doctor --task` tells of a declared task."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.loop.checkup import FINE, NOTE, PROBLEM, Check
from autoresearch.loop.task_doctor import checks
from testbed.declared import FILES, TOML, declare
from testbed.toy import git

pytestmark = pytest.mark.slow

SIZE = 'edit = ["config.toml"]\n[metric]\nname = "bytes"\nfrom = "size:config.toml"\nmin_gain = 1\n'


def found(folder: Path) -> dict[str, list[Check]]:
    by_name: dict[str, list[Check]] = {}
    for check in checks(folder, no_sandbox=True):
        by_name.setdefault(check.name, []).append(check)
    return by_name


def test_a_declaration_that_does_not_fit_ends_it_with_each_problem(tmp_path: Path) -> None:
    folder = declare(tmp_path / "task", task_toml=TOML.replace("run.py", "ran.py").replace("score.py", "no.py"))
    said = found(folder)
    assert list(said) == ["task.toml"] and [c.level for c in said["task.toml"]] == [PROBLEM, PROBLEM]
    assert said["task.toml"][0].message.startswith("task.toml, line 2: ")


def test_a_problem_keeps_the_lines_that_belong_to_it_and_ideas_are_read(tmp_path: Path) -> None:
    prepare = TOML.replace("timeout_s", 'prepare = "python prep.py"\ntimeout_s')
    folder = declare(tmp_path / "1", task_toml=prepare, prep_py="import sys\nprint('looking')\nsys.exit('no disk')\n")
    [problem] = found(folder)["task.toml"]
    assert problem.message.startswith("task.toml, line 4: ") and problem.message.endswith("looking\nno disk")
    ideas = {"ideas/10-x.txt": "TITLE: X\n", "ideas/20-y.txt": "TITLE: Y\nSET x = 2\n", "ideas/30-z.txt": "SET y = 1\n"}
    folder = declare(tmp_path / "2", {**FILES, **ideas}, run_py="raise SystemExit(1)")
    said = found(folder)["ideas"]
    assert [c.level for c in said] == [PROBLEM, FINE] and said[0].message.startswith("ideas/10-x.txt: ")
    assert said[1].message == "2 ideas to try, 1 once others are kept"


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"score_py": "import config", "files": ["config.py"]}, "config.py is what candidates edit, and what judges"),
        ({"run_py": "open('labels/a')", "hide": "labels/"}, "labels/a is hidden from every run"),
    ],
)
def test_a_command_that_asks_for_what_it_does_not_see_is_told_so(tmp_path: Path, changed: dict, advice: str) -> None:
    toml = TOML.replace("timeout_s", f'hide = ["{hide}"]\ntimeout_s') if (hide := changed.pop("hide", "")) else TOML
    toml = toml.replace('"config.toml"', '"config.toml", "config.py"') if changed.pop("files", None) else toml
    folder = declare(tmp_path / "task", {**FILES, "config.py": "", "labels/a": ""}, task_toml=toml, **changed)
    [failed] = found(folder)["run"]
    assert failed.level is PROBLEM and failed.advice.startswith(advice)


def test_a_final_validation_on_files_that_all_runs_see_is_named(tmp_path: Path) -> None:
    toml = f'{TOML}[test]\nrun = "python run.py"\n'
    [open_to_all] = found(declare(tmp_path / "1", task_toml=toml))["test"]
    assert open_to_all.level is NOTE and "nothing that is hidden" in open_to_all.message
    [hidden] = found(declare(tmp_path / "2", {**FILES, "x": ""}, task_toml=f'{toml}hide = ["x"]\n'))["test"]
    assert hidden.level is FINE


def test_what_no_run_has_is_named(tmp_path: Path) -> None:
    folder = (
        declare(tmp_path / "repo", {f"task/{path}": text for path, text in FILES.items()} | {"shared": "x"}) / "task"
    )
    declare(folder / "lib", {"a.py": ""})
    (folder / "data").symlink_to("../shared")
    (folder / "fine").symlink_to("run.py")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "more")
    notes = [check.message for check in found(folder)["git"] if check.level is NOTE]
    assert notes == ["a submodule, whose files no run has: lib", "a link to what no run has: data"]


def test_what_is_fine_and_what_a_guard_lets_through_is_told(tmp_path: Path) -> None:
    folder = declare(tmp_path / "task", task_toml=SIZE)
    (folder / "config.toml").write_text("x = 3 # edited\n")
    said = found(folder)
    assert said["git"][0].level is NOTE and "config.toml" in said["git"][0].message
    assert said["run"][0].message.startswith("bytes 15 bytes and 15 bytes: the same twice")
    assert said["test"][0].level is NOTE and said["trust"][0].level is FINE and said["sandbox"][0].level is NOTE
    [empty] = [c for c in said["floor"] if "an empty config.toml" in c.message]
    assert empty.level is PROBLEM and "[[guard]]" in empty.advice
    assert not (folder / ".autoresearch" / "doctor").exists()
    assert git(folder, "status", "--porcelain") == " M config.toml\n"


@pytest.mark.parametrize(
    ("judge", "toml", "name", "level"),
    [
        ("raise SystemExit('no')", TOML, "run", PROBLEM),
        ("print('{\"lass\": 1}')", TOML, "run", PROBLEM),
        ("import time\nprint({'loss': time.time()}.__repr__().replace(chr(39), chr(34)))", TOML, "noise", PROBLEM),
        ("print('{\"loss\": 9}')", TOML, "noise", NOTE),
    ],
)
def test_a_baseline_that_fails_or_scatters_otherwise_is_told(
    tmp_path: Path, judge: str, toml: str, name: str, level: object
) -> None:
    exact = toml + 'scatter = "exact"\nmin_gain = 1\n' if level is PROBLEM and name == "noise" else toml
    folder = declare(tmp_path / "task", task_toml=exact, score_py=judge)
    for check in checks(folder, no_sandbox=True):
        if check.name == name:
            assert check.level is level
            at = {"run": "see task.toml, line "}.get(name, "")
            assert check.advice.startswith(at)
            return
    raise AssertionError(name)
