"""The branch of a night, its commits and refs, on real repositories in a temporary folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import GitError, UsageError
from autoresearch.record.branch import Branch, check_tag
from autoresearch.record.git import Repository, tag_of
from testbed.checkouts import FILE, PERSON, V1, V2, V3, begin, consistent, git, keep

pytestmark = pytest.mark.slow


def test_begin_makes_the_branch_and_touches_no_file(folder: Path) -> None:
    (folder / "README").write_text("mine\n")
    repo = Repository.at(folder)
    head = repo.head()
    branch = Branch.begin(repo, "nov23", head)
    assert branch.tip() == head and repo.branch() == "main"
    assert repo.switch(branch.name) is None
    assert repo.branch() == "autoresearch/nov23"
    assert tag_of(repo.branch()) == "nov23"
    assert repo.changes() == ["README"]


def test_begin_continues_a_branch(branch: Branch, folder: Path) -> None:
    kept = keep(branch, V2).commit
    git(folder, "switch", "-q", "main")
    assert (folder / FILE).read_bytes() == V1
    assert begin(folder, at="main").tip() == kept
    assert (folder / FILE).read_bytes() == V2


def test_a_checkout_with_changes_stays_where_it_is(branch: Branch, folder: Path) -> None:
    kept = keep(branch, V2).commit
    git(folder, "switch", "-q", "main")
    (folder / FILE).write_bytes(b"mine\n")
    assert "would be overwritten" in (branch.repo.switch(branch.name) or "")
    assert (branch.repo.branch(), branch.tip()) == ("main", kept)
    assert (folder / FILE).read_bytes() == b"mine\n"


def test_begin_from_a_detached_head(folder: Path) -> None:
    git(folder, "switch", "-q", "--detach")
    assert Repository.at(folder).branch() is None
    assert begin(folder).repo.branch() == "autoresearch/t"


@pytest.mark.parametrize("tag", ["a b", "x..y", "-x", "", "a.lock", "~", "a/b", "..", "x\n", "x" * 101, "../x", "a."])
def test_bad_tags_are_refused(folder: Path, tag: str) -> None:
    with pytest.raises(UsageError, match="cannot name a night"):
        begin(folder, tag)
    assert git(folder, "for-each-ref", "refs/heads/autoresearch") == ""


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=20) | st.from_regex(r"\w[\w.+-]{0,9}", fullmatch=True))
def test_a_name_that_is_taken_is_one_folder_and_a_valid_branch(tag: str) -> None:
    try:
        check_tag(tag)
    except UsageError as error:
        assert error.exit_code == 2 and "\n" not in str(error)
    else:
        assert Path("runs", tag).parts == ("runs", tag) and "\0" not in tag
        done = subprocess.run(["git", "check-ref-format", f"refs/heads/autoresearch/{tag}"], check=False)
        assert done.returncode == 0


def test_a_branch_named_like_our_folder_of_branches_is_named(folder: Path) -> None:
    git(folder, "branch", "autoresearch")
    with pytest.raises(GitError, match="'refs/heads/autoresearch' exists"):
        begin(folder)


# --- keeping --------------------------------------------------------------------------------------------------------


def test_a_keep_moves_branch_file_and_index_together(branch: Branch, folder: Path) -> None:
    base = branch.repo.head()
    landed = keep(branch, V2)
    assert (landed.state, landed.ref, landed.settled) == ("applied", "refs/heads/autoresearch/t", True)
    assert branch.repo.head() == landed.commit
    assert branch.repo.resolve("HEAD^") == base
    assert (folder / FILE).read_bytes() == V2 == branch.repo.read("HEAD", FILE)
    assert git(folder, "log", "-1", "--format=%B") == "Keep 1\n\nwhy"
    assert git(folder, "reflog", "-1", "--format=%gs") == "autoresearch: Keep 1"
    consistent(folder)


def test_a_keep_takes_results_along(branch: Branch, folder: Path) -> None:
    (folder / "results.tsv").write_bytes(b"one\n")
    keep(branch, V2, also={"results.tsv": b"one\n"})
    assert branch.repo.read("HEAD", "results.tsv") == b"one\n"
    consistent(folder)
    (folder / "results.tsv").write_bytes(b"one\ntwo\nthree\n")
    keep(branch, V3, also={"results.tsv": b"one\ntwo\n"})
    assert (folder / "results.tsv").read_bytes() == b"one\ntwo\nthree\n"
    assert branch.repo.changes() == []


def test_keeping_twice_is_keeping_once(branch: Branch, folder: Path) -> None:
    base = branch.repo.head()
    first, again = keep(branch, V2, base), keep(branch, V2, base)
    assert (again.state, again.commit) == ("present", first.commit)
    assert git(folder, "rev-list", "--count", "HEAD") == "2"


def test_a_keep_finished_in_part_is_completed(branch: Branch, folder: Path) -> None:
    """This is the state after a kill between moving the branch and writing the file."""
    base = branch.repo.head()
    keep(branch, V2)
    (folder / FILE).write_bytes(V1)
    git(folder, "update-index", "--cacheinfo", f"100644,{branch.repo.blob(base, FILE)},{FILE}")
    assert git(folder, "status", "--porcelain") == f"M  {FILE}"
    assert keep(branch, V2, base).settled
    consistent(folder)


def test_staged_and_unstaged_work_survives(branch: Branch, folder: Path) -> None:
    (folder / "README").write_text("staged\n")
    (folder / "new").write_text("new\n")
    git(folder, "add", "README", "new")
    (folder / "README").write_text("unstaged\n")
    keep(branch, V2)
    assert git(folder, "show", ":README") == "staged"
    assert (folder / "README").read_text() == "unstaged\n"
    assert git(folder, "status", "--porcelain") == "MM README\nA  new"
    assert git(folder, "show", "--name-only", "--format=") == FILE


def test_the_persons_edit_of_the_file_itself_survives(branch: Branch, folder: Path) -> None:
    (folder / FILE).write_bytes(b"staged by hand\n")
    git(folder, "add", FILE)
    (folder / FILE).write_bytes(b"edited by hand\n")
    landed = keep(branch, V2)
    assert (landed.state, landed.settled) == ("applied", False)
    assert branch.repo.read("HEAD", FILE) == V2
    assert (folder / FILE).read_bytes() == b"edited by hand\n"
    assert git(folder, "show", f":{FILE}") == "staged by hand"


def test_the_person_committed_elsewhere_on_the_branch(branch: Branch, folder: Path) -> None:
    base = branch.repo.head()
    (folder / "README").write_text("more\n")
    git(folder, *PERSON, "commit", "-qam", "readme")
    landed = keep(branch, V2, base)
    assert landed.state == "applied"
    assert branch.repo.read("HEAD", "README") == b"more\n"
    consistent(folder)


def test_the_person_moved_on(branch: Branch, folder: Path) -> None:
    base = branch.repo.head()
    (folder / FILE).write_bytes(V3)
    git(folder, *PERSON, "commit", "-qam", "my own idea")
    theirs = branch.repo.head()
    landed = keep(branch, V2, base, n=7)
    assert (landed.state, landed.ref) == ("moved", "refs/autoresearch/t/0007")
    assert branch.repo.head() == theirs
    assert branch.repo.read(landed.commit, FILE) == V2
    assert (folder / FILE).read_bytes() == V3
    assert branch.repo.resolve(landed.ref) == landed.commit
    consistent(folder)


# --- whatever the person does meanwhile -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [["switch", "-q", "main"], ["switch", "-q", "--detach"], ["switch", "-qc", "mine"]])
def test_a_keep_lands_on_its_branch_when_the_person_has_left_it(branch: Branch, folder: Path, where: list[str]) -> None:
    git(folder, *where)
    (folder / "README").write_text("my work\n")
    landed = keep(branch, V2, also={"results.tsv": b"one\n"})
    assert (landed.state, landed.ref, landed.settled) == ("applied", "refs/heads/autoresearch/t", True)
    assert branch.tip() == landed.commit and branch.read(FILE) == V2
    assert branch.commit({"results.tsv": b"one\ntwo\n"}, "results") == branch.tip() != landed.commit
    assert (folder / FILE).read_bytes() == V1 and not (folder / "results.tsv").exists()
    assert git(folder, "status", "--porcelain") == "M README" or git(folder, "status", "--porcelain") == " M README"
    git(folder, "checkout", "-q", "README")
    git(folder, "switch", "-q", "autoresearch/t")
    assert (folder / FILE).read_bytes() == V2
    consistent(folder)


@pytest.mark.parametrize("gone", [["branch", "-D", "autoresearch/t"], ["branch", "-m", "autoresearch/t", "mine"]])
def test_a_branch_that_is_deleted_or_renamed_is_restored(branch: Branch, folder: Path, gone: list[str]) -> None:
    first, said = keep(branch, V2).commit, []
    git(folder, "switch", "-q", "main")
    git(folder, *gone)
    branch.say = said.append
    second = keep(branch, V3, first)
    assert second.state == "applied" and branch.repo.resolve(f"{second.commit}^") == first
    assert said == [f"autoresearch/t had lost commits; it is at {first[:10]} again"]
    assert (folder / FILE).read_bytes() == V1
    consistent(folder)


def test_every_checkout_of_the_branch_follows_it(branch: Branch, folder: Path, tmp_path: Path) -> None:
    git(folder, "switch", "-q", "main")
    other = tmp_path / "with a space"
    git(folder, "worktree", "add", "-q", str(other), "autoresearch/t")
    assert keep(branch, V2).settled
    assert (other / FILE).read_bytes() == V2 and (folder / FILE).read_bytes() == V1
    consistent(other)
    consistent(folder)


def test_a_checkout_in_the_middle_of_a_rebase_is_left_alone(branch: Branch, folder: Path) -> None:
    (folder / "README").write_text("theirs\n")
    git(folder, *PERSON, "commit", "-qam", "readme")
    argv = ["git", "-c", "sequence.editor=sed -i s/^pick/edit/", *PERSON, "rebase", "-q", "-i", "HEAD~1"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    assert branch.repo.branch() is None and branch.repo.unfinished() == "rebase-merge"
    assert keep(branch, V2).state == "applied"
    assert (folder / FILE).read_bytes() == V1
    git(folder, "rebase", "--abort")
    assert branch.settle(FILE)  # the abort had set the branch back
    assert (folder / FILE).read_bytes() == V2
    consistent(folder)


def test_the_persons_index_is_locked(branch: Branch, folder: Path) -> None:
    lock = folder / ".git" / "index.lock"
    lock.touch()
    landed = keep(branch, V2)
    assert (landed.state, landed.settled) == ("applied", False)
    assert (folder / FILE).read_bytes() == V2
    assert lock.exists()
    lock.unlink()
    assert branch.settle(FILE)
    consistent(folder)


def test_a_conflict_in_the_index_is_left_alone(branch: Branch, folder: Path) -> None:
    blob = branch.repo.blob("HEAD", FILE)
    entries = f"0 {'0' * 40}\t{FILE}\n" + "".join(f"100644 {blob} {stage}\t{FILE}\n" for stage in (1, 2, 3))
    git(folder, "update-index", "--index-info", input=entries.encode())
    assert not keep(branch, V2).settled
    assert len(git(folder, "ls-files", "--stage", FILE).splitlines()) == 3


def test_a_deleted_file_comes_back(branch: Branch, folder: Path) -> None:
    (folder / FILE).unlink()
    assert keep(branch, V2).settled
    consistent(folder)


def test_modes_line_endings_and_any_bytes_survive(branch: Branch, folder: Path) -> None:
    git(folder, "config", "core.autocrlf", "true")
    (folder / FILE).chmod(0o755)
    git(folder, *PERSON, "commit", "-qam", "executable")
    content = b"x = 1\r\ny = '\xff'\n\x00no newline at the end"
    keep(branch, content)
    assert branch.repo.read("HEAD", FILE) == content == (folder / FILE).read_bytes()
    assert git(folder, "ls-tree", "HEAD", FILE).startswith("100755")
    assert os.access(folder / FILE, os.X_OK)


def test_a_project_in_a_folder_of_a_larger_repository(folder: Path) -> None:
    inner = folder / "some where"
    inner.mkdir()
    (inner / FILE).write_bytes(V1)
    git(folder, "add", ".")
    git(folder, *PERSON, "commit", "-qm", "inner")
    branch = begin(inner)
    (folder / "README").write_text("not the project's\n")
    (inner / FILE).write_bytes(V2)
    assert branch.repo.changes() == [FILE]
    (inner / FILE).write_bytes(V1)
    assert keep(branch, V2).settled
    assert (inner / FILE).read_bytes() == V2
    assert (folder / FILE).read_bytes() == V1
    assert git(folder, "show", "--name-only", "--format=") == f"some where/{FILE}"
    commit, _ = branch.set_aside(2, "HEAD", {FILE: V3}, "x")
    assert branch.repo.read(commit, FILE) == V3


# --- setting aside --------------------------------------------------------------------------------------------------


def test_a_discarded_candidate_is_reachable_and_nothing_else_moves(branch: Branch, folder: Path) -> None:
    head = branch.repo.head()
    commit, ref = branch.set_aside(12, head, {FILE: V2}, "Discard 12")
    assert ref == "refs/autoresearch/t/0012"
    assert branch.repo.resolve(f"{commit}^") == head == branch.repo.head()
    git(folder, "reflog", "expire", "--expire=now", "--all")
    git(folder, "gc", "-q", "--prune=now")
    assert branch.repo.read(ref, FILE) == V2
    consistent(folder)


def test_setting_aside_twice_finds_the_first_and_another_night_is_not_overwritten(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = branch.repo.head()
    first = branch.set_aside(3, head, {FILE: V2}, "a")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2030-01-01T00:00:00Z")
    assert branch.set_aside(3, head, {FILE: V2}, "a") == first
    other = branch.set_aside(3, head, {FILE: V3}, "b")
    assert other[1] == "refs/autoresearch/t/0003-2"
    assert branch.set_aside(3, head, {FILE: V3}, "b") == other
    assert branch.repo.read("refs/autoresearch/t/0003", FILE) == V2
