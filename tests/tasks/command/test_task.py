from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.candidate.pack import pack
from autoresearch.errors import TaskError
from autoresearch.records import Failure, Measurement
from autoresearch.tasks.task import Task
from testbed.declared import FILES, TOML, declare, opened
from testbed.toy import git


def test_it_is_a_task_whose_state_git_ignores(tmp_path: Path) -> None:
    folder, said = declare(tmp_path / "my-task"), list[str]()
    here = opened(folder, said)
    task: Task = here
    assert (task.facts.name, task.facts.dataset, task.facts.files) == ("my-task", "my-task", ("config.toml",))
    assert task.facts.metric.name == "loss" and set(task.versions) == {"task", "python"}
    assert git(folder, "status", "--porcelain") == ""
    assert task.brief() is not None and task.preflight("") is None and said[0].startswith("sandbox: ")
    assert task.describe() == "1 x python run.py, then python score.py -> loss (judged)"


def test_a_source_holds_the_editable_files(tmp_path: Path) -> None:
    here = opened(declare(tmp_path / "task"))
    source = here.read(lambda path: FILES[path].encode())
    assert source == pack({"config.toml": "x = 3\n"}) and here.files(source) == {"config.toml": b"x = 3\n"}
    assert here.check(source, source) == ()
    assert here.check(pack({"config.toml": "x = "}), source)[0].startswith("config.toml cannot be parsed")
    assert here.check("x = 3", source) == ("not a packed source",)


@pytest.mark.parametrize(("content", "said"), [(b"\xff", "is not UTF-8 text"), (b"a\0", "a NUL character")])
def test_a_file_that_is_no_text_cannot_be_edited(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(TaskError, match=f"config.toml .*{said}"):
        opened(declare(tmp_path / "task")).read(lambda path: content)


def test_a_candidates_time_follows_from_the_baselines(tmp_path: Path) -> None:
    here = opened(declare(tmp_path / "task"))
    here.limit_candidates([Measurement(1, failure=Failure("run", ""))])
    assert here.bench.run_limit_s == 20 and here.run_s == 0
    runs = [
        Measurement(1, score=1.0, total_s=2.0, figures={"wall": wall}, seconds={"score": 3.0}) for wall in (0.5, 0.2)
    ]
    here.limit_candidates(runs)
    assert (
        (here.bench.run_limit_s, here.bench.score_limit_s) == (15, 40)
        and here.run_s == 2.0
        and here.baseline["wall"] == 0.35
    )


def test_an_open_network_is_said_loudly(tmp_path: Path) -> None:
    said: list[str] = []
    opened(declare(tmp_path / "task", task_toml="network = true\n" + TOML), said, confined=True)
    assert any(line.startswith("warning:") for line in said)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="is not a folder"):
        opened(tmp_path / "nothing")
