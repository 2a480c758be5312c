from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch.tasks.command.tree import (
    UnfitError,
    copy_files,
    digest,
    export,
    files_below,
    hand_over,
    plant,
    uncommitted,
    working_files,
)
from testbed.declared import declare
from testbed.toy import git


def test_a_commit_is_exported_without_what_is_only_in_the_folder(tmp_path: Path) -> None:
    repo = declare(tmp_path / "repo", {"sub/task/a.txt": "1", "sub/task/run.sh": "#!/bin/sh\n", "other": "2"})
    folder = repo / "sub" / "task"
    (folder / "run.sh").chmod(0o755)
    git(repo, "commit", "-qam", "run")
    (folder / "a.txt").write_text("changed")
    (folder / "new.txt").write_text("x")
    export(folder, "HEAD", tmp_path / "copy")
    assert {path: file.read_text() for path, file in files_below(tmp_path / "copy").items()} == {
        "a.txt": "1",
        "run.sh": "#!/bin/sh\n",
    }
    assert os.access(tmp_path / "copy" / "run.sh", os.X_OK)
    assert sorted(working_files(folder)) == ["a.txt", "new.txt", "run.sh"]
    assert git(repo, "status", "--porcelain").splitlines() == [" M sub/task/a.txt", "?? sub/task/new.txt"]


def test_a_folder_without_git_is_listed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    for path in ("a.py", "b/c.py", ".git/x", "__pycache__/a.pyc", "out/x", "b/.DS_Store", "b/._c.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    assert working_files(tmp_path) == ["a.py", "b/c.py", "link"]
    copy_files(tmp_path, ["b/c.py", "link"], tmp_path / "copy")
    assert (tmp_path / "copy/link").readlink() == Path("nothing"), "as the commit has it"


def test_what_a_mac_leaves_in_a_folder_is_no_change_of_it(tmp_path: Path) -> None:
    repo = declare(tmp_path / "repo", {"a.txt": "1"})
    (repo / ".DS_Store").write_bytes(b"\0\xff")
    assert (uncommitted(repo), working_files(repo)) == ([], ["a.txt"])
    (repo / "b.txt").touch()
    assert uncommitted(repo) == ["b.txt"]


def test_a_digest_changes_with_path_content_mode_and_link(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a").write_text("1")
    seen = [digest(folder)]
    (folder / "a").write_text("2")
    seen.append(digest(folder))
    (folder / "a").chmod(0o755)
    seen.append(digest(folder))
    (folder / "a").rename(folder / "b")
    seen.append(digest(folder))
    (folder / "c").symlink_to("b")
    seen.append(digest(folder))
    assert len(set(seen)) == 5
    assert digest(folder, {"c"}) == seen[3]


def test_a_tree_has_the_fixed_files_the_own_ones_links_and_out(tmp_path: Path) -> None:
    base, modules = tmp_path / "base", tmp_path / "modules"
    (base / "labels").mkdir(parents=True)
    modules.mkdir()
    for path in ("run.py", "labels/a"):
        (base / path).write_text(path)
    plant(base, tmp_path / "tree", {"src/a.js": b"1"}, without={"labels/a"}, links={"node_modules": modules})
    assert sorted(files_below(tmp_path / "tree")) == ["node_modules", "run.py", "src/a.js"]
    assert (tmp_path / "tree" / "node_modules").resolve() == modules and (tmp_path / "tree" / "out").is_dir()


def test_only_files_and_folders_are_handed_over(tmp_path: Path) -> None:
    out, into = tmp_path / "out", tmp_path / "into"
    (out / "a").mkdir(parents=True)
    into.mkdir()
    (out / "a" / "b").write_text("1")
    hand_over(out, into)
    assert (into / "a" / "b").read_text() == "1"
    (out / "labels").symlink_to("../labels")
    with pytest.raises(UnfitError, match="out/labels is neither"):
        hand_over(out, into)
    (out / "labels").unlink()
    os.mkfifo(out / "pipe")
    with pytest.raises(UnfitError, match="out/pipe"):
        hand_over(out, into)
