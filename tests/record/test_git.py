"""The branch, its commits and refs, on real repositories in a temporary folder."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from autoresearch.errors import GitError
from autoresearch.record.git import Repository, tag_of
from autoresearch.system.process import run
from testbed.toy import ROOT

FILE = "train_mlx.py"
V1, V2, V3 = b"LR = 1\n", b"LR = 2\n", b"LR = 3\n"


def git(folder: Path, *args: str, input: bytes = b"") -> str:
    return run(["git", *args], cwd=folder, input=input).stdout.rstrip("\n")


@pytest.fixture(autouse=True)
def no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither this machine's git configuration nor an identity of ours; the file that stands for ~/.gitconfig."""
    config = tmp_path / "gitconfig"
    config.write_text("[init]\n\tdefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    return config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / FILE).write_bytes(V1)
    (folder / "README").write_text("hello\n")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=P", "-c", "user.email=p@example.org", "commit", "-qm", "start")
    return folder


@pytest.fixture
def repo(folder: Path) -> Repository:
    repo = Repository.at(folder)
    repo.begin("t")
    return repo


def keep(repo: Repository, content: bytes, parent: str | None = None, n: int = 1, **options: object):  # type: ignore[no-untyped-def]
    return repo.keep("t", n, parent or repo.head(), FILE, content, f"Keep {n}\n\nwhy", **options)  # type: ignore[arg-type]


def consistent(folder: Path) -> None:
    git(folder, "fsck", "--strict", "--no-dangling")
    assert git(folder, "status", "--porcelain") == ""


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
    """As after a kill between the move of the branch and the write of the file."""
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


# --- setups that would stop the night -------------------------------------------------------------------------------


def test_a_missing_identity_gets_a_fallback(repo: Repository, folder: Path) -> None:
    keep(repo, V2)
    who = git(folder, "log", "-1", "--format=%an <%ae> %cn <%ce>")
    assert who == " ".join(["autoresearch-metal <autoresearch-metal@localhost>"] * 2)


def test_the_persons_identity_is_used(repo: Repository, folder: Path, no_config: Path) -> None:
    no_config.write_text("[user]\n\tname = Ü Person\n\temail = u@example.org\n\tuseConfigOnly = true\n")
    keep(repo, V2)
    assert git(folder, "log", "-1", "--format=%an <%ae>") == "Ü Person <u@example.org>"


@pytest.mark.parametrize("format", ["openpgp", "ssh"])
def test_a_signing_setup_never_prompts(repo: Repository, folder: Path, no_config: Path, format: str) -> None:
    no_config.write_text(
        f"[commit]\n\tgpgSign = true\n[gpg]\n\tformat = {format}\n\tprogram = /bin/false\n"
        f'[gpg "ssh"]\n\tprogram = /bin/false\n[user]\n\tsigningKey = ABCDEF\n[tag]\n\tgpgSign = true\n'
    )
    assert keep(repo, V2).state == "applied"
    assert "gpgsig" not in git(folder, "cat-file", "commit", "HEAD")


def test_hooks_do_not_run(repo: Repository, folder: Path) -> None:
    hooks = folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "reference-transaction", "post-index-change", "post-checkout"):
        (hooks / name).write_text("#!/bin/sh\ntouch hook-ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    keep(repo, V2)
    repo.set_aside("t", 2, "HEAD", FILE, V3, "x")
    Repository.at(folder).begin("other")
    assert not (folder / "hook-ran").exists()


def test_what_a_git_hook_exports_does_not_redirect_us(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    assert keep(repo, V2).settled


def test_worktrees(repo: Repository, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "second"
    git(folder, "worktree", "add", "-q", "-b", "work", str(other))
    second = Repository.at(other)
    second.begin("u")
    landed = second.keep("u", 1, second.head(), FILE, V2, "Keep")
    assert (landed.state, landed.settled) == ("applied", True)
    assert (other / FILE).read_bytes() == V2
    assert (folder / FILE).read_bytes() == V1
    consistent(other)
    consistent(folder)
    with pytest.raises(GitError, match="already"):
        second.begin("t")


def test_packed_refs_and_a_lock_left_by_a_power_cut(repo: Repository, folder: Path) -> None:
    keep(repo, V2)
    repo.set_aside("t", 2, "HEAD", FILE, V3, "x")
    git(folder, "pack-refs", "--all")
    old = time.time() - 3600
    names = ["HEAD", "refs/heads/autoresearch/t", "refs/autoresearch/t/0003"]
    for name in names:
        lock = folder / ".git" / f"{name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        os.utime(lock, (old, old))
    repo.begin("t")
    assert keep(repo, V3, n=3).state == "applied"
    repo.set_aside("t", 3, "HEAD", FILE, V1, "x")
    consistent(folder)


def test_a_fresh_ref_lock_is_not_broken(repo: Repository, folder: Path) -> None:
    lock = folder / ".git" / "refs" / "heads" / "autoresearch" / "t.lock"
    lock.touch()
    repo.begin("t")
    with pytest.raises(GitError, match="File exists"):
        keep(repo, V2)
    assert (folder / FILE).read_bytes() == V1
    lock.unlink()
    assert keep(repo, V2).state == "applied"


def test_no_room_on_the_disk(repo: Repository, folder: Path) -> None:
    head = repo.head()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(GitError, match="hash-object"):
            keep(repo, random.Random(0).randbytes(100_000))
    finally:
        signal.signal(signal.SIGXFSZ, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert repo.head() == head
    assert (folder / FILE).read_bytes() == V1
    consistent(folder)
    assert keep(repo, V2).settled


# --- kill -9 --------------------------------------------------------------------------------------------------------

KEEP_ON = """
import sys
from pathlib import Path
from autoresearch.files import write_atomic
from autoresearch.record.git import Repository
repo = Repository.at(Path(sys.argv[1]))
print("ready", flush=True)
for i in range(10_000):
    head, content = repo.head(), b"LR = %d\\n" % i + b"#" * 20_000
    write_atomic(repo.folder / "pending", f"{head} {i}".encode())
    repo.keep("t", i, head, "train_mlx.py", content, f"Keep {i}")
    repo.set_aside("t", i, head, "train_mlx.py", content + b"x", f"Discard {i}")
"""


def killed_with_its_children(process: subprocess.Popen[bytes]) -> None:
    """As a power cut would: git's own processes end with the loop, in the middle of what they do."""
    os.kill(process.pid, signal.SIGSTOP)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()


def test_kill_9_at_any_moment_leaves_a_repository_that_goes_on(repo: Repository, folder: Path) -> None:
    (folder / "README").write_text("staged\n")
    git(folder, "add", "README")
    (folder / "README").write_text("unstaged\n")
    argv = [sys.executable, "-c", KEEP_ON, str(folder)]
    chance = random.Random(1)
    for _ in range(6):
        process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        killed_with_its_children(process)
        process.stdout.close()
        for lock in (folder / ".git").rglob("*.lock"):
            os.utime(lock, (1, 1))  # the next start comes later, after a reboot
        git(folder, "fsck", "--strict", "--no-dangling")
        repo.begin("t")
        parent, i = (folder / "pending").read_text().split()
        landed = keep(repo, b"LR = %d\n" % int(i) + b"#" * 20_000, parent, n=int(i))
        assert landed.state in ("applied", "present")
        assert landed.settled
        assert (folder / FILE).read_bytes() == repo.read("HEAD", FILE)
        assert git(folder, "status", "--porcelain", "-uno") == "MM README"
        assert git(folder, "show", ":README") == "staged"
    assert int(git(folder, "rev-list", "--count", "HEAD")) > 1
