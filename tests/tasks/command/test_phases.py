"""What each process of a run sees and can change."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.system.sandbox import Unconfined
from autoresearch.tasks.command.task import CommandTask
from testbed.declared import FILES, TOML, declare, measured, opened
from testbed.toy import git

pytestmark = pytest.mark.slow

HIDING = (
    TOML.replace("timeout_s = 20", 'hide = ["labels/"]')
    + """\
[test]
run = "python run.py --on test/x"
hide = ["test/"]
"""
)
DATA = {"labels/a": "3", "test/x": "9", "test/y": "9", "helper.py": "NAME = 'fixed'\n"}


def task(tmp_path: Path, *, confined: bool = False, **changed: str) -> CommandTask:
    return opened(declare(tmp_path / "task", {**FILES, **DATA, "task.toml": HIDING}, **changed), confined=confined)


def seen_by(tmp_path: Path, who: str, purpose: str = "search") -> list[str]:
    """Return the files below the folder that a process of a run finds."""
    look = "import pathlib\nfound = sorted(str(p) for p in pathlib.Path('.').rglob('*') if p.is_file())\n"
    if who == "run":
        here = task(tmp_path, run_py=look + "open('out/x', 'w').write('1')\nprint(found)")
    else:
        here = task(tmp_path, score_py=look + "print(found)\nprint('{\"loss\": 1}')")
    m = measured(here, purpose=purpose)
    assert m.failure is None, m.failure
    name = {"run": "run.out", "judge": "score.out"}[who]
    return eval((here.folder / ".autoresearch/runs/night/run-1" / name).read_text().splitlines()[0])


def test_a_run_sees_nothing_that_is_hidden_and_the_judge_everything(tmp_path: Path) -> None:
    fixed = {"config.toml", "helper.py", "run.py", "score.py", "task.toml"}
    assert set(seen_by(tmp_path / "1", "run")) == fixed
    assert set(seen_by(tmp_path / "2", "run", "final")) == fixed | {"test/x"}
    assert set(seen_by(tmp_path / "3", "judge")) == fixed | {"labels/a", "test/x", "test/y", "out/x"}


@pytest.mark.parametrize("where", ["the folder", "the base", "git"])
def test_a_run_finds_what_is_hidden_nowhere_else(tmp_path: Path, where: str) -> None:
    plain = task(tmp_path / "plain", confined=True)
    if isinstance(plain.sandbox, Unconfined):
        pytest.skip("no sandbox here")
    folder = tmp_path / "real" / "task"
    path = {"the folder": folder / "labels/a", "the base": folder / ".autoresearch/base", "git": folder / ".git/HEAD"}
    read = f"import pathlib\np = pathlib.Path({str(path[where])!r})\n"
    read += "print(p.read_text() if p.is_file() else list(p.iterdir()))"
    here = task(tmp_path / "real", confined=True, run_py=read)
    m = measured(here)
    assert m.failure is not None and m.failure.kind == "run"
    assert "FileNotFoundError" in m.failure.detail or "PermissionError" in m.failure.detail


def test_the_judge_imports_fixed_files_and_none_of_the_candidates(tmp_path: Path) -> None:
    """Its helpers come from the base; a module that a candidate plants is never found."""
    judge = "import helper, json, sys\nassert helper.NAME == 'fixed'\n"
    judge += "try:\n    import planted\nexcept ImportError:\n    print(json.dumps({'loss': 1}))\n"
    toml = HIDING.replace('["config.toml"]', '["config.toml", "planted.py"]')
    run = "for name in ('json', 'helper', 'planted'):\n    open(f'out/{name}.py', 'w').write('raise SystemExit(0)')\n"
    files = {"planted.py": "x = 1\n"}
    here = opened(declare(tmp_path / "task", {**FILES, **DATA, **files}, task_toml=toml, score_py=judge, run_py=run))
    m = measured(here, {"planted.py": "print('{\"loss\": 0}')\nraise SystemExit(0)\n"})
    assert (m.failure, m.score) == (None, 1.0)


def test_a_guard_that_runs_the_candidates_code_sees_what_that_sees(tmp_path: Path) -> None:
    check = "import os, sys\nsys.exit(os.path.exists('labels'))"
    guard = '[[guard]]\nrun = "python check.py"\n'
    trusted = task(tmp_path / "1", task_toml=HIDING + guard, check_py=check)
    assert measured(trusted).failure.kind == "guard"
    own = task(tmp_path / "2", task_toml=HIDING + guard + "candidate = true\n", check_py=check)
    assert measured(own).failure is None


def test_a_seed_and_the_tasks_variables_are_told(tmp_path: Path) -> None:
    run = "import os\nopen('out/x', 'w').write(os.environ['AUTORESEARCH_SEED'] + os.environ['EXTRA'])"
    here = task(tmp_path, task_toml='env = { EXTRA = "5" }\n' + HIDING, run_py=run)
    assert measured(here, seed=4).score == 45.0**2


def test_a_build_makes_files_that_the_run_finds(tmp_path: Path) -> None:
    toml = "build = \"python -c \\\"open('made', 'w').write('6')\\\"\"\n" + HIDING
    here = task(tmp_path, task_toml=toml, run_py="open('out/x', 'w').write(open('made').read())")
    assert measured(here).score == 36.0


def test_without_a_sandbox_what_is_hidden_is_not_in_the_tree(tmp_path: Path) -> None:
    folder = declare(tmp_path / "task", {**FILES, **DATA, "task.toml": HIDING}, run_py="open('labels/a')")
    said: list[str] = []
    here = opened(folder, said)
    assert "sandbox: none" in said[0] and "FileNotFoundError" in measured(here).failure.detail


def test_an_editable_program_stays_one(tmp_path: Path) -> None:
    toml = HIDING.replace('["config.toml"]', '["config.toml", "work.sh"]').replace("python run.py", "./work.sh", 1)
    folder = declare(tmp_path / "task", {**FILES, **DATA, "work.sh": "#!/bin/sh\nprintf 5 > out/x\n"}, task_toml=toml)
    (folder / "work.sh").chmod(0o755)
    git(folder, "commit", "-qam", "a program")
    assert measured(opened(folder)).score == 25.0
