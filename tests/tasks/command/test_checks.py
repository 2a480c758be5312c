from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.errors import TaskError
from autoresearch.tasks.command import declaration
from autoresearch.tasks.command.checks import before_preparing
from testbed.declared import FILES, TOML, declare, opened
from testbed.toy import git


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["config.toml"]', '["config.tmol"]', "line 1: `config.tmol` matches no file that git has here. There are"),
        ('["config.toml"]', '["*.toml"]', "line 1: task.toml cannot be edited by a candidate"),
        (
            '["config.toml"]',
            '["config.toml", "*.py"]',
            "line 3: `python score.py` runs score.py, which a candidate may",
        ),
        ("score.py", "./score.py x", None),
        ("run.py", "runn.py", "line 2: `python runn.py` runs runn.py, and git has no such file"),
        ("python run.py", "no-such-program x", "line 2: the program `no-such-program` is not installed"),
        ("python run.py", "./bin/x", "line 2: there is no program ./bin/x"),
        ("timeout_s = 20", 'read = ["schema.sql"]', "line 4: `schema.sql` matches no file"),
        ("timeout_s = 20", 'hide = ["run.py"]', "line 2: `run` needs run.py, which is hidden from it"),
        ("timeout_s = 20", 'hide = ["config.toml"]', "line 1: config.toml is hidden and stands in `edit` too"),
        ("timeout_s = 20", 'hide = ["labels/"]', "line 4: `labels/` matches no file"),
        ("timeout_s = 20", 'brief = "brief.md"', "line 4: there is no file brief.md"),
        (
            "[metric]",
            "[knobs]\nxs = [1, 2]\n[metric]",
            "line 6: no editable file has a constant xs. There are x",
        ),
        ("[metric]", "[knobs]\nx = [1, 2]\n[metric]", None),
        ("[metric]", "[knobs]\nx = [1.5, 9.5]\n[metric]", None),
        (
            "[metric]",
            "[knobs]\nx = ['a', 'b']\n[metric]",
            "line 6: x may be one of a, b, and is 3. Declare values of its",
        ),
        ("[metric]", '[test]\nrun = "true"\nshow = ["run.py"]\n[metric]', "line 7: `run.py` is not hidden"),
        ("timeout_s = 20", 'link = ["node_modules"]', "line 4: there is no folder node_modules"),
        ("timeout_s = 20", 'link = ["."]', "line 4: . holds "),
        ("timeout_s = 20", 'link = [".git"]', "line 4: .git holds what is the loop's"),
        ("timeout_s = 20", 'hide = ["d/x"]\nlink = ["d"]', "line 5: d holds d/x, which git has. Link folders that git"),
        (
            "[metric]",
            '[[guard]]\nrun = "python config.toml"\n[metric]',
            "line 6: `python config.toml` runs config.toml",
        ),
    ],
)
def test_what_does_not_fit_the_folder_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, said: str | None
) -> None:
    folder = declare(tmp_path / "task", {**FILES, "d/x": ""}, task_toml=TOML.replace(old, new, 1))
    if said is None:
        assert opened(folder).facts.files == ("config.toml",)
        return
    with pytest.raises(TaskError) as error:
        opened(folder)
    assert said in str(error.value)


def test_linked_folders_do_not_overlap(tmp_path: Path) -> None:
    (tmp_path / "modules/a").mkdir(parents=True)
    declared = declaration.read('link = ["modules/a", "modules/"]\n' + TOML)
    [problem] = before_preparing(declared, tmp_path, set(FILES))
    assert problem.what == "modules/ and modules/a overlap"


def test_an_editable_file_is_no_link(tmp_path: Path) -> None:
    folder = declare(
        tmp_path / "task", {key: text for key, text in FILES.items() if key != "config.toml"}, x_toml="x=1"
    )
    (folder / "config.toml").symlink_to("x.toml")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "link")
    with pytest.raises(TaskError, match=r"line 1: config.toml is a link"):
        opened(folder)


def test_a_guard_that_runs_what_is_edited_may_say_so(tmp_path: Path) -> None:
    text = TOML.replace("config.toml", "run.py", 1) + '[[guard]]\nrun = "python -m pytest"\n'
    [problem] = before_preparing(declaration.read(text), tmp_path, {"run.py", "score.py"})
    assert problem.what == "`python -m pytest` runs run.py, which a candidate may change"
    assert "or write candidate = true" in problem.mend
    assert not list(before_preparing(declaration.read(f"{text}candidate = true\n"), tmp_path, {"run.py", "score.py"}))
