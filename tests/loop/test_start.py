"""Which night a command means, from which commit a new one begins, and what becomes of a lost branch."""

from __future__ import annotations

import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.loop import start
from autoresearch.paths import STATE, Layout
from autoresearch.record import journal
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal
from testbed.journals import OPENED
from testbed.toy import git


def today() -> str:
    return f"{date.today():%b%d}".lower()


def silent(text: str) -> None:
    return None


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "train_mlx.py").write_text("LR = 1\n")
    (tmp_path / ".gitignore").write_text("/runs/\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "start")
    return tmp_path


def begun(root: Path, tag: str, *, closed: str | None = "finished", age_s: float = 0.0) -> str:
    """Record a night that began at HEAD, and return that commit."""
    base = git(root, "rev-parse", "HEAD").strip()
    with Journal(Layout(root, tag)) as book:
        book.append("opened", **{**OPENED, "tag": tag, "base_commit": base})
        if closed:
            book.append("closed", why=closed)
    path = Layout(root, tag).journal
    os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    return base


def test_a_night_says_which_of_its_fixed_files_the_person_has_changed(checkout: Path) -> None:
    repo, said, fresh = Repository.at(checkout), list[str](), journal.read(Layout(checkout, "new"))
    assert start.revision(repo, fresh, "new", None, said.append) == "HEAD"
    base = begun(checkout, "old")
    for path in ("train_mlx.py", "score.py", "program.md", "ideas/x.txt"):
        (checkout / path).parent.mkdir(exist_ok=True)
        (checkout / path).write_text("changed")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "mine")
    night = journal.read(Layout(checkout, "old"))
    assert start.revision(repo, night, "old", None, said.append) == base
    assert said == [
        "old goes on with the files that it began with. Another night would use yours (--tag NAME): score.py"
    ]


# --- which night ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "asked"), [("nov01", "Nov01"), ("A-b", "a-B")])
def test_a_name_that_a_disk_takes_for_another_night_s_is_refused(checkout: Path, there: str, asked: str) -> None:
    repo = Repository.at(checkout)
    begun(checkout, there)
    with pytest.raises(UsageError, match=f"there is a night {there}, .* To go on with it: --tag {there}"):
        start.which_night(checkout, repo, asked, silent)
    assert start.which_night(checkout, repo, there, silent) == there


def test_a_copy_of_a_night_s_folder_is_no_night(checkout: Path) -> None:
    begun(checkout, "old", closed=None)
    shutil.copytree(checkout / "runs" / "old", checkout / "runs" / "old copy")
    assert start.which_night(checkout, Repository.at(checkout), None, silent) == "old"


def test_a_tag_and_the_branch_of_a_night_say_which_one(checkout: Path) -> None:
    repo = Repository.at(checkout)
    begun(checkout, "old", closed=None)
    assert start.which_night(checkout, repo, "given", silent) == "given"
    git(checkout, "switch", "-qc", "autoresearch/nov01")
    assert start.which_night(checkout, repo, None, silent) == "nov01"
    assert start.which_night(checkout, repo, None, silent, by_hand=True) == "nov01"


@pytest.mark.parametrize("closed", [None, "terminated", "an error", "stopped by Ctrl-C"])
def test_a_night_that_has_not_ended_is_resumed_from_another_branch_after_midnight(
    checkout: Path, closed: str | None
) -> None:
    begun(checkout, "older", closed="finished", age_s=60)
    begun(checkout, "old", closed=closed)
    said: list[str] = []
    assert start.which_night(checkout, Repository.at(checkout), None, said.append) == "old"
    assert said == [f"old has not ended and is resumed; to begin another night: --tag {today()}"]


def test_a_new_night_is_named_today_where_the_last_one_ended_or_the_person_has_another_file(checkout: Path) -> None:
    repo = Repository.at(checkout)
    assert start.which_night(checkout, repo, None, silent) == today()
    begun(checkout, "done")
    assert start.which_night(checkout, repo, None, silent) == today()
    begun(checkout, "stopped", closed=None)
    (checkout / "train_mlx.py").write_text("LR = 2\n")
    git(checkout, "commit", "-qam", "adopted")
    assert start.which_night(checkout, repo, None, silent) == today()


def test_folders_of_one_name_in_a_repository_have_branches_of_their_own(checkout: Path) -> None:
    repo, folders = Repository.at(checkout), [checkout / side / "bench" / STATE for side in ("a", "b")]
    for folder, tag in zip(folders, (f"bench-{today()}", f"bench-{today()}-2"), strict=True):
        folder.mkdir(parents=True)
        assert start.which_night(folder, repo, None, silent) == tag
        begun(folder, tag)
        git(checkout, "branch", f"autoresearch/{tag}")
        assert start.which_night(folder, repo, f"bench-{today()}", silent) == f"bench-{today()}"
    assert start.which_night(folders[0], repo, None, silent) == f"bench-{today()}"


def test_by_hand_the_only_night_is_meant_and_of_several_one_is_to_be_named(checkout: Path) -> None:
    repo, said = Repository.at(checkout), []
    assert start.which_night(checkout, repo, None, silent, by_hand=True) == today()
    begun(checkout, "nov01")
    assert start.which_night(checkout, repo, None, said.append, by_hand=True) == "nov01"
    assert said == ["night: nov01, the only one here"]
    begun(checkout, "nov02", age_s=-60)
    with pytest.raises(
        UsageError, match=rf"nov01, nov02\)\. Say which one: --tag nov02   \(a new one: --tag {today()}\)"
    ):
        start.which_night(checkout, repo, None, silent, by_hand=True)


def test_uncommitted_work_stops_a_new_night_and_not_one_that_is_resumed(checkout: Path) -> None:
    repo, said = Repository.at(checkout), []
    (checkout / "train_mlx.py").write_text("mine\n")
    with pytest.raises(UsageError, match="a new night begins from a commit"):
        start.check_uncommitted(repo, ["train_mlx.py"], journal.read(Layout(checkout, "new")), silent)
    begun(checkout, "old")
    start.check_uncommitted(repo, ["train_mlx.py"], journal.read(Layout(checkout, "old")), said.append)
    assert said == ["train_mlx.py: your uncommitted changes are left alone, and the night does not use them"]


# --- the branch -------------------------------------------------------------------------------------------------------


def opened(root: Path, tag: str, begin_at: str | None = None) -> tuple[str, list[str]]:
    """Open the branch of a night; return its commit's title, and what was said."""
    said: list[str] = []
    branch = start.open_branch(Repository.at(root), tag, journal.read(Layout(root, tag)), begin_at, said.append)
    return git(root, "log", "-1", "--format=%s", branch.tip()).strip(), said


def commit(root: Path, source: str, title: str) -> str:
    (root / "train_mlx.py").write_text(source)
    git(root, "commit", "-qam", title)
    return git(root, "rev-parse", "--short", "HEAD").strip()


def test_a_new_night_begins_from_what_is_checked_out_and_says_so(checkout: Path) -> None:
    git(checkout, "switch", "-qc", "ideas")
    at = commit(checkout, "LR = 2\n", "an idea of mine")
    assert opened(checkout, "a") == ("an idea of mine", [f"a begins at {at} an idea of mine (ideas)"])
    git(checkout, "switch", "-q", "--detach", "main")
    title, said = opened(checkout, "b")
    assert title == "start" and said[0].endswith("start (detached HEAD)")
    assert git(checkout, "branch", "--show-current") == ""  # nothing was checked out


def test_a_new_night_does_not_build_on_another_one_unless_it_is_asked_to(checkout: Path) -> None:
    git(checkout, "switch", "-qc", "autoresearch/first")
    commit(checkout, "LR = 2\n", "a keep of the first night")
    title, said = opened(checkout, "second")
    assert title == "start"
    assert said[0].endswith("start (main; to begin from autoresearch/first: --from autoresearch/first)")
    assert opened(checkout, "third", "autoresearch/first")[0] == "a keep of the first night"
    with pytest.raises(UsageError, match=r"--from is for a new night, and third exists"):
        opened(checkout, "third", "main")
    with pytest.raises(UsageError, match=r"--from nowhere: there is no such commit"):
        opened(checkout, "fourth", "nowhere")


def test_a_branch_that_a_deleted_night_left_is_begun_from_as_it_is(checkout: Path) -> None:
    git(checkout, "branch", "autoresearch/t")
    commit(checkout, "LR = 2\n", "later")
    title, said = opened(checkout, "t")
    assert title == "start" and "as the branch was left" in said[0]


def test_a_branch_of_another_checkout_is_refused(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "second"
    git(checkout, "worktree", "add", "-q", "-b", "autoresearch/t", str(other))
    with pytest.raises(UsageError, match=r"autoresearch/t is checked out in .*second\. Choose another name"):
        opened(checkout, "t")


@pytest.mark.parametrize("lost", ["update-ref -d refs/heads/autoresearch/t", "branch -qf autoresearch/t main"])
def test_a_resumed_night_gets_back_the_commits_of_its_branch(checkout: Path, lost: str) -> None:
    base = begun(checkout, "t", closed=None)
    git(checkout, "switch", "-qc", "autoresearch/t")
    commit(checkout, "LR = 2\n", "a keep")
    proposal = {"edits": [], "title": "x", "hypothesis": "", "category": "other", "proposer": "tuner"}
    with Journal(Layout(checkout, "t")) as book:
        parent = {"parent_n": None, "parent_commit": git(checkout, "rev-parse", "HEAD").strip()}
        book.append("proposed", n=0, role="baseline", proposal=proposal, source_sha256="", **parent)
    git(checkout, "switch", "-q", "main")
    git(checkout, *lost.split())
    title, said = opened(checkout, "t")
    assert title == "a keep" and len(said) == 1 and base != parent["parent_commit"]


def test_a_checkout_that_git_cannot_switch_stays(checkout: Path) -> None:
    said: list[str] = []
    git(checkout, "switch", "-qc", "autoresearch/t")
    commit(checkout, "LR = 2\n", "a keep")
    git(checkout, "switch", "-q", "main")
    (checkout / "train_mlx.py").write_text("mine\n")
    branch = start.open_branch(Repository.at(checkout), "t", journal.read(Layout(checkout, "t")), None, silent)
    start.check_out(branch, said.append)
    assert said[0].startswith("your checkout stays on main, which the night does not need: error: Your local changes")
    assert (checkout / "train_mlx.py").read_text() == "mine\n"
