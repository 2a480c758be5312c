from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.tasks.command import new_task
from testbed.declared import measured, opened
from testbed.toy import ROOT, git

pytestmark = pytest.mark.slow


def test_a_new_folder_holds_the_example_as_it_is_and_runs(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / ".DS_Store").touch()  # a folder that macOS's Finder has shown is still a new one
    lines = new_task.write(folder, ROOT)
    (folder / ".DS_Store").unlink()
    example = ROOT / "examples/any"
    tracked = git(example, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    files = {name: example / name for name in tracked}
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == set(files) - {"README.md"}
    assert all((folder / name).read_bytes() == files[name].read_bytes() for name in written)
    assert f"    git -C {folder} init && git -C {folder} add . && git -C {folder} commit -m task" in lines
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "task"]):
        git(folder, *command)
    task = opened(folder)
    before, final = measured(task, role="baseline"), measured(task, role="baseline", purpose="final")
    source = (folder / "model.py").read_text().replace("HEIGHT = 1.0", "HEIGHT = 3.0")
    after = measured(task, {"model.py": source})
    assert before.score and final.score and after.score and after.score < before.score != final.score
    assert len(before.cases) == len(final.cases) == 60
    assert len(task.brief().ideas) == 2 and "SET" not in task.program()


def test_a_folder_of_ones_own_gets_the_declaration_alone(tmp_path: Path) -> None:
    (tmp_path / "program.md").write_text("mine")
    lines = new_task.write(tmp_path, ROOT)
    assert lines[:2] == [f"wrote task.toml in {tmp_path}", "left as it is: program.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["program.md", "task.toml"]
    assert (tmp_path / "program.md").read_text() == "mine"
    with pytest.raises(UsageError, match=r"is there already. To check it: .* doctor --task"):
        new_task.write(tmp_path, ROOT)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/sub cannot be written: Not a directory"):
        new_task.write(tmp_path / "file" / "sub", ROOT)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        new_task.write(tmp_path / "x", ROOT)
