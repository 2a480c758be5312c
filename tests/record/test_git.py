"""Reading a checkout, and committing on a person's own branch, on real repositories in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.errors import GitError
from autoresearch.record.git import Repository
from testbed.checkouts import PERSON, git

# --- where one may begin --------------------------------------------------------------------------------------------


def test_a_folder_outside_git_and_a_repository_without_commits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="is not a git repository"):
        Repository.at(tmp_path)
    git(tmp_path, "init", "-q")
    with pytest.raises(GitError, match=r"no commits yet\. Run: git add -A && git commit"):
        Repository.at(tmp_path)


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare")
    with pytest.raises(GitError, match="is a bare git repository"):
        Repository.at(tmp_path)


def test_an_unfinished_merge_is_seen_and_the_checkout_stays(folder: Path) -> None:
    repo = Repository.at(folder)
    assert repo.unfinished() is None
    git(folder, "branch", "other")
    (folder / ".git" / "MERGE_HEAD").write_text(git(folder, "rev-parse", "HEAD") + "\n")
    assert repo.unfinished() == "MERGE_HEAD"
    assert "unfinished" in (repo.switch("other") or "") and repo.branch() == "main"


def test_changes_leave_out_results_and_untracked_files(folder: Path) -> None:
    (folder / "results.tsv").write_text("a\n")
    git(folder, "add", "results.tsv")
    git(folder, *PERSON, "commit", "-qm", "results")
    (folder / "results.tsv").write_text("b\n")
    (folder / "notes").write_text("x")
    (folder / "ü \t.txt").write_text("x")
    git(folder, "add", "ü \t.txt")
    git(folder, "mv", "README", "LIESMICH")
    assert sorted(Repository.at(folder).changes()) == ["LIESMICH", "README", "ü \t.txt"]


def test_commit_of_one_file(folder: Path) -> None:
    repo = Repository.at(folder)
    (folder / "README").write_text("staged\n")
    git(folder, "add", "README")
    (folder / "results.tsv").write_bytes(b"rows\n")
    commit = repo.commit({"results.tsv": b"rows\n"}, "Results")
    assert repo.commit({"results.tsv": b"rows\n"}, "Results") == commit == repo.head()
    assert git(folder, "status", "--porcelain") == "M  README"
    git(folder, "switch", "-q", "--detach")
    with pytest.raises(GitError, match="HEAD is detached"):
        repo.commit({"results.tsv": b"more\n"}, "Results")


@pytest.mark.slow
def test_nothing_is_committed_where_the_index_could_not_follow(folder: Path) -> None:
    repo = Repository.at(folder)
    head, lock = repo.head(), repo.folder / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(GitError, match=r"another git holds the index.*remove .*index\.lock"):
        repo.commit({"results.tsv": b"rows\n"}, "Results")
    assert repo.head() == head
