"""The branch, its commits and refs, on real repositories in a temporary folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch.errors import GitError
from autoresearch.record.git import Repository, tag_of
from testbed.checkouts import FILE, V1, V2, V3, consistent, git, keep

# --- where one may begin --------------------------------------------------------------------------------------------


def test_a_folder_outside_git_and_a_repository_without_commits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="not a git repository"):
        Repository.at(tmp_path)
    git(tmp_path, "init", "-q")
    with pytest.raises(GitError, match=r"no commits yet\. Run: git add -A && git commit"):
        Repository.at(tmp_path)


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare")
    with pytest.raises(GitError, match="work tree"):
        Repository.at(tmp_path)


def test_an_unfinished_merge_is_refused(folder: Path) -> None:
    (folder / ".git" / "MERGE_HEAD").write_text(git(folder, "rev-parse", "HEAD") + "\n")
    with pytest.raises(GitError, match="MERGE_HEAD"):
        Repository.at(folder)


def test_begin_makes_the_branch_and_touches_no_file(folder: Path) -> None:
    (folder / "README").write_text("mine\n")
    repo = Repository.at(folder)
    head = repo.head()
    assert repo.branch() == "main"
    assert repo.begin("nov23") == head
    assert repo.branch() == "autoresearch/nov23"
    assert tag_of(repo.branch()) == "nov23"
    assert repo.changes() == ["README"]


def test_begin_continues_a_branch(repo: Repository, folder: Path) -> None:
    kept = keep(repo, V2).commit
    git(folder, "switch", "-q", "main")
    assert (folder / FILE).read_bytes() == V1
    assert repo.begin("t") == kept
    assert (folder / FILE).read_bytes() == V2
    assert repo.begin("t") == kept


def test_begin_refuses_to_overwrite_the_persons_changes(repo: Repository, folder: Path) -> None:
    keep(repo, V2)
    git(folder, "switch", "-q", "main")
    (folder / FILE).write_bytes(b"mine\n")
    with pytest.raises(GitError, match="would be overwritten"):
        repo.begin("t")
    assert (folder / FILE).read_bytes() == b"mine\n"


def test_begin_from_a_detached_head(folder: Path) -> None:
    git(folder, "switch", "-q", "--detach")
    repo = Repository.at(folder)
    assert repo.branch() is None
    repo.begin("t")
    assert repo.branch() == "autoresearch/t"


@pytest.mark.parametrize("tag", ["a b", "x..y", "-x", "", "a.lock", "~", "a/b", "..", "x\n"])
def test_bad_tags_are_refused(folder: Path, tag: str) -> None:
    with pytest.raises(GitError, match="is no tag"):
        Repository.at(folder).begin(tag)


def test_a_branch_named_like_our_folder_of_branches_is_named(folder: Path) -> None:
    git(folder, "branch", "autoresearch")
    with pytest.raises(GitError, match="'refs/heads/autoresearch' exists"):
        Repository.at(folder).begin("t")


def test_changes_leave_out_results_and_untracked_files(folder: Path) -> None:
    (folder / "results.tsv").write_text("a\n")
    git(folder, "add", "results.tsv")
    git(folder, "-c", "user.name=P", "-c", "user.email=p@example.org", "commit", "-qm", "results")
    (folder / "results.tsv").write_text("b\n")
    (folder / "notes").write_text("x")
    (folder / "ü \t.txt").write_text("x")
    git(folder, "add", "ü \t.txt")
    git(folder, "mv", "README", "LIESMICH")
    assert sorted(Repository.at(folder).changes()) == ["LIESMICH", "README", "ü \t.txt"]


# --- keeping --------------------------------------------------------------------------------------------------------


def test_a_keep_moves_branch_file_and_index_together(repo: Repository, folder: Path) -> None:
    base = repo.head()
    landed = keep(repo, V2)
    assert (landed.state, landed.ref, landed.settled) == ("applied", "refs/heads/autoresearch/t", True)
    assert repo.head() == landed.commit
    assert repo.resolve("HEAD^") == base
    assert (folder / FILE).read_bytes() == V2 == repo.read("HEAD", FILE)
    assert git(folder, "log", "-1", "--format=%B") == "Keep 1\n\nwhy"
    assert git(folder, "reflog", "-1", "--format=%gs") == "autoresearch: Keep 1"
    consistent(folder)


def test_a_keep_takes_results_along(repo: Repository, folder: Path) -> None:
    (folder / "results.tsv").write_bytes(b"one\n")
    keep(repo, V2, also={"results.tsv": b"one\n"})
    assert repo.read("HEAD", "results.tsv") == b"one\n"
    consistent(folder)
    (folder / "results.tsv").write_bytes(b"one\ntwo\nthree\n")
    keep(repo, V3, also={"results.tsv": b"one\ntwo\n"})
    assert (folder / "results.tsv").read_bytes() == b"one\ntwo\nthree\n"
    assert repo.changes() == []


def test_keeping_twice_is_keeping_once(repo: Repository, folder: Path) -> None:
    base = repo.head()
    first, again = keep(repo, V2, base), keep(repo, V2, base)
    assert (again.state, again.commit) == ("present", first.commit)
    assert git(folder, "rev-list", "--count", "HEAD") == "2"


def test_a_keep_finished_in_part_is_completed(repo: Repository, folder: Path) -> None:
    """This is the state after a kill between moving the branch and writing the file."""
    base = repo.head()
    keep(repo, V2)
    (folder / FILE).write_bytes(V1)
    git(folder, "update-index", "--cacheinfo", f"100644,{repo.blob(base, FILE)},{FILE}")
    assert git(folder, "status", "--porcelain") == f"M  {FILE}"
    assert keep(repo, V2, base).settled
    consistent(folder)


def test_staged_and_unstaged_work_survives(repo: Repository, folder: Path) -> None:
    (folder / "README").write_text("staged\n")
    (folder / "new").write_text("new\n")
    git(folder, "add", "README", "new")
    (folder / "README").write_text("unstaged\n")
    keep(repo, V2)
    assert git(folder, "show", ":README") == "staged"
    assert (folder / "README").read_text() == "unstaged\n"
    assert git(folder, "status", "--porcelain") == "MM README\nA  new"
    assert git(folder, "show", "--name-only", "--format=") == FILE


def test_the_persons_edit_of_the_file_itself_survives(repo: Repository, folder: Path) -> None:
    (folder / FILE).write_bytes(b"staged by hand\n")
    git(folder, "add", FILE)
    (folder / FILE).write_bytes(b"edited by hand\n")
    landed = keep(repo, V2)
    assert (landed.state, landed.settled) == ("applied", False)
    assert repo.read("HEAD", FILE) == V2
    assert (folder / FILE).read_bytes() == b"edited by hand\n"
    assert git(folder, "show", f":{FILE}") == "staged by hand"


def test_the_person_committed_elsewhere_on_the_branch(repo: Repository, folder: Path) -> None:
    base = repo.head()
    (folder / "README").write_text("more\n")
    git(folder, "-c", "user.name=P", "-c", "user.email=p@example.org", "commit", "-qam", "readme")
    landed = keep(repo, V2, base)
    assert landed.state == "applied"
    assert repo.read("HEAD", "README") == b"more\n"
    consistent(folder)


def test_the_person_moved_on(repo: Repository, folder: Path) -> None:
    base = repo.head()
    (folder / FILE).write_bytes(V3)
    git(folder, "-c", "user.name=P", "-c", "user.email=p@example.org", "commit", "-qam", "my own idea")
    theirs = repo.head()
    landed = keep(repo, V2, base, n=7)
    assert (landed.state, landed.ref) == ("moved", "refs/autoresearch/t/0007")
    assert repo.head() == theirs
    assert repo.read(landed.commit, FILE) == V2
    assert (folder / FILE).read_bytes() == V3
    assert repo.resolve(landed.ref) == landed.commit
    consistent(folder)


@pytest.mark.parametrize("where", [["switch", "-q", "main"], ["switch", "-q", "--detach"]])
def test_the_person_left_the_branch(repo: Repository, folder: Path, where: list[str]) -> None:
    git(folder, *where)
    landed = keep(repo, V2)
    assert landed.state == "moved"
    assert (folder / FILE).read_bytes() == V1
    consistent(folder)


@pytest.mark.slow
def test_the_persons_index_is_locked(repo: Repository, folder: Path) -> None:
    lock = folder / ".git" / "index.lock"
    lock.touch()
    landed = keep(repo, V2)
    assert (landed.state, landed.settled) == ("applied", False)
    assert (folder / FILE).read_bytes() == V2
    assert lock.exists()
    lock.unlink()
    assert repo.settle(FILE)
    consistent(folder)


def test_a_conflict_in_the_index_is_left_alone(repo: Repository, folder: Path) -> None:
    blob = repo.blob("HEAD", FILE)
    entries = f"0 {'0' * 40}\t{FILE}\n" + "".join(f"100644 {blob} {stage}\t{FILE}\n" for stage in (1, 2, 3))
    git(folder, "update-index", "--index-info", input=entries.encode())
    assert not keep(repo, V2).settled
    assert len(git(folder, "ls-files", "--stage", FILE).splitlines()) == 3


def test_a_deleted_file_comes_back(repo: Repository, folder: Path) -> None:
    (folder / FILE).unlink()
    assert keep(repo, V2).settled
    consistent(folder)


def test_modes_line_endings_and_any_bytes_survive(repo: Repository, folder: Path) -> None:
    git(folder, "config", "core.autocrlf", "true")
    (folder / FILE).chmod(0o755)
    git(folder, "-c", "user.name=P", "-c", "user.email=p@example.org", "commit", "-qam", "executable")
    content = b"x = 1\r\ny = '\xff'\n\x00no newline at the end"
    keep(repo, content)
    assert repo.read("HEAD", FILE) == content == (folder / FILE).read_bytes()
    assert git(folder, "ls-tree", "HEAD", FILE).startswith("100755")
    assert os.access(folder / FILE, os.X_OK)


def test_a_project_in_a_folder_of_a_larger_repository(folder: Path) -> None:
    inner = folder / "some where"
    inner.mkdir()
    (inner / FILE).write_bytes(V1)
    git(folder, "add", ".")
    git(folder, "-c", "user.name=P", "-c", "user.email=p@example.org", "commit", "-qm", "inner")
    repo = Repository.at(inner)
    repo.begin("t")
    (folder / "README").write_text("not the project's\n")
    (inner / FILE).write_bytes(V2)
    assert repo.changes() == [FILE]
    (inner / FILE).write_bytes(V1)
    assert keep(repo, V2).settled
    assert (inner / FILE).read_bytes() == V2
    assert (folder / FILE).read_bytes() == V1
    assert git(folder, "show", "--name-only", "--format=") == f"some where/{FILE}"
    commit, _ = repo.set_aside("t", 2, "HEAD", FILE, V3, "x")
    assert repo.read(commit, FILE) == V3


def test_commit_of_one_file(repo: Repository, folder: Path) -> None:
    (folder / "README").write_text("staged\n")
    git(folder, "add", "README")
    (folder / "results.tsv").write_bytes(b"rows\n")
    commit = repo.commit({"results.tsv": b"rows\n"}, "Results")
    assert repo.commit({"results.tsv": b"rows\n"}, "Results") == commit == repo.head()
    assert git(folder, "status", "--porcelain") == "M  README"
    git(folder, "switch", "-q", "--detach")
    with pytest.raises(GitError, match="HEAD is detached"):
        repo.commit({"results.tsv": b"more\n"}, "Results")


# --- setting aside --------------------------------------------------------------------------------------------------


def test_a_discarded_candidate_is_reachable_and_nothing_else_moves(repo: Repository, folder: Path) -> None:
    head = repo.head()
    commit, ref = repo.set_aside("t", 12, head, FILE, V2, "Discard 12")
    assert ref == "refs/autoresearch/t/0012"
    assert repo.resolve(f"{commit}^") == head == repo.head()
    git(folder, "reflog", "expire", "--expire=now", "--all")
    git(folder, "gc", "-q", "--prune=now")
    assert repo.read(ref, FILE) == V2
    consistent(folder)


def test_setting_aside_twice_finds_the_first_and_another_night_is_not_overwritten(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = repo.head()
    first = repo.set_aside("t", 3, head, FILE, V2, "a")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2030-01-01T00:00:00Z")
    assert repo.set_aside("t", 3, head, FILE, V2, "a") == first
    other = repo.set_aside("t", 3, head, FILE, V3, "b")
    assert other[1] == "refs/autoresearch/t/0003-2"
    assert repo.set_aside("t", 3, head, FILE, V3, "b") == other
    assert repo.read("refs/autoresearch/t/0003", FILE) == V2
