from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch.errors import TaskError
from autoresearch.tasks.command import base as bases
from autoresearch.tasks.command.task import CommandTask
from testbed.declared import FILES, TOML, declare, opened
from testbed.toy import git

PREPARED = TOML.replace("timeout_s = 20", 'prepare = "python data.py"\nhide = ["labels/"]')
DATA = "import os\nos.makedirs('labels')\nopen('labels/a', 'w').write('7')\nassert not os.path.exists('config.toml')\n"


def prepared(folder: Path, data: str = DATA) -> Path:
    return declare(folder, task_toml=PREPARED, data_py=data)


@pytest.mark.slow
def test_data_are_prepared_once_without_the_editable_files_and_count_in_the_fingerprint(tmp_path: Path) -> None:
    folder, said = prepared(tmp_path / "task"), list[str]()
    first, again = opened(folder, said), opened(folder, said)
    assert [line for line in said if line.startswith("preparing")] == ["preparing: python data.py"]
    assert first.base.hidden == {"labels/a"} and (first.base.folder / "labels" / "a").read_text() == "7"
    assert first.facts == again.facts
    other = opened(prepared(tmp_path / "other" / "task", DATA.replace("7", "8")))
    assert other.facts.fingerprint != first.facts.fingerprint
    (first.base.folder / "labels" / "a").write_text("9")
    assert opened(folder).facts.fingerprint != first.facts.fingerprint


def test_the_fingerprint_does_not_depend_on_what_may_change(tmp_path: Path) -> None:
    plain = opened(declare(tmp_path / "a" / "task")).facts
    changed = {**FILES, "config.toml": "x = 9\n", "program.md": "Try hard.\n", "ideas/1.txt": "SET x = 2\n"}
    assert opened(declare(tmp_path / "b" / "task", changed)).facts == plain
    assert opened(declare(tmp_path / "c" / "task", run_py=FILES["run.py"] + "#\n")).facts != plain


@pytest.mark.slow
def test_a_file_that_is_prepared_is_not_edited(tmp_path: Path) -> None:
    toml = TOML.replace("timeout_s", 'prepare = "touch config.toml"\ntimeout_s')
    with pytest.raises(TaskError, match=r"line 4: `prepare` makes config\.toml, which candidates edit"):
        opened(declare(tmp_path / "task", task_toml=toml))


def test_a_base_that_nobody_opens_is_removed_after_a_month(tmp_path: Path) -> None:
    folder = declare(tmp_path / "task")
    first = opened(folder).base.folder
    (folder / "score.py").write_text("print(1)\n")
    git(folder, "commit", "-qam", "another judge")
    second = opened(folder).base.folder
    assert first.is_dir() and second.is_dir() and first != second
    os.utime(first.with_suffix(".done"), (0, 0))
    opened(folder)
    assert not first.exists() and second.is_dir()


def test_a_failed_preparation_is_told_with_its_line_and_log(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as error:
        opened(prepared(tmp_path / "task", "raise SystemExit('no data here')"))
    assert "line 4: `python data.py` exited with 1; its log is" in str(error.value)
    assert "no data here" in str(error.value)


def test_a_night_takes_the_commit_and_a_check_the_folder_as_it_is(tmp_path: Path) -> None:
    folder = declare(tmp_path / "task")
    (folder / "config.toml").write_text("x = 5\n")
    state = folder / ".autoresearch"
    assert opened(folder).base.edited["config.toml"] == b"x = 3\n"
    assert CommandTask.open(folder, state, lambda text: None, revision=None).base.edited["config.toml"] == b"x = 5\n"
    assert git(folder, "status", "--porcelain") == " M config.toml\n"


def test_a_folder_that_declares_nothing_is_told_how(tmp_path: Path) -> None:
    folder = declare(tmp_path / "task", {"a": "1"})
    with pytest.raises(TaskError, match=r"has no task.toml. Run: uv run loop.py new-task"):
        opened(folder)
    (folder / "task.toml").write_text(TOML)
    with pytest.raises(TaskError, match=r"is not committed, and a night works on what is. Run: git -C .* add"):
        opened(folder)
    git(folder, "add", "task.toml")
    git(folder, "commit", "-qm", "task")
    with pytest.raises(TaskError, match=r"line 1: `config.toml` matches no file"):
        opened(folder)
    with pytest.raises(TaskError, match=r"HEAD~1 has no task\.toml of .*Begin at a commit that has one"):
        bases.read_text(folder, "HEAD~1")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "task.toml").write_text(TOML)
    with pytest.raises(TaskError, match=r"is not committed.* init && git"):
        opened(tmp_path / "plain")
