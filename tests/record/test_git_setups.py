"""What could stop a night's commits: identities, signing, hooks, locks, full disks, kills."""

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
from autoresearch.record.branch import Branch
from testbed.checkouts import FILE, V1, V2, V3, begin, consistent, git, keep
from testbed.toy import ROOT

pytestmark = pytest.mark.slow


def test_a_missing_identity_gets_a_fallback(branch: Branch, folder: Path) -> None:
    keep(branch, V2)
    who = git(folder, "log", "-1", "--format=%an <%ae> %cn <%ce>")
    assert who == " ".join(["autoresearch-metal <autoresearch-metal@localhost>"] * 2)


def test_the_persons_identity_is_used(branch: Branch, folder: Path, no_config: Path) -> None:
    no_config.write_text("[user]\n\tname = Ü Person\n\temail = u@example.org\n\tuseConfigOnly = true\n")
    keep(branch, V2)
    assert git(folder, "log", "-1", "--format=%an <%ae>") == "Ü Person <u@example.org>"


@pytest.mark.parametrize("format", ["openpgp", "ssh"])
def test_a_signing_setup_never_prompts(branch: Branch, folder: Path, no_config: Path, format: str) -> None:
    no_config.write_text(
        f"[commit]\n\tgpgSign = true\n[gpg]\n\tformat = {format}\n\tprogram = /bin/false\n"
        f'[gpg "ssh"]\n\tprogram = /bin/false\n[user]\n\tsigningKey = ABCDEF\n[tag]\n\tgpgSign = true\n'
    )
    assert keep(branch, V2).state == "applied"
    assert "gpgsig" not in git(folder, "cat-file", "commit", "HEAD")


def test_hooks_do_not_run(branch: Branch, folder: Path) -> None:
    hooks = folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "reference-transaction", "post-index-change", "post-checkout"):
        (hooks / name).write_text("#!/bin/sh\ntouch hook-ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    keep(branch, V2)
    branch.set_aside(2, "HEAD", {FILE: V3}, "x")
    begin(folder, "other")
    assert not (folder / "hook-ran").exists()


def test_what_a_git_hook_exports_does_not_redirect_us(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    assert keep(branch, V2).settled


def test_worktrees(branch: Branch, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "second"
    git(folder, "worktree", "add", "-q", "-b", "work", str(other))
    second = begin(other, "u")
    landed = keep(second, V2)
    assert (landed.state, landed.settled) == ("applied", True)
    assert (other / FILE).read_bytes() == V2
    assert (folder / FILE).read_bytes() == V1
    consistent(other)
    consistent(folder)
    assert "already" in (second.repo.switch(branch.name) or "")


def test_packed_refs_and_a_lock_left_by_a_power_cut(branch: Branch, folder: Path) -> None:
    keep(branch, V2)
    branch.set_aside(2, "HEAD", {FILE: V3}, "x")
    git(folder, "pack-refs", "--all")
    old = time.time() - 3600
    names = ["HEAD", "refs/heads/autoresearch/t", "refs/autoresearch/t/0003"]
    for name in names:
        lock = folder / ".git" / f"{name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        os.utime(lock, (old, old))
    begin(folder)
    assert keep(branch, V3, n=3).state == "applied"
    branch.set_aside(3, "HEAD", {FILE: V1}, "x")
    consistent(folder)


def test_a_fresh_ref_lock_is_not_broken(branch: Branch, folder: Path) -> None:
    lock = folder / ".git" / "refs" / "heads" / "autoresearch" / "t.lock"
    lock.touch()
    begin(folder)
    with pytest.raises(GitError, match="File exists"):
        keep(branch, V2)
    assert (folder / FILE).read_bytes() == V1
    lock.unlink()
    assert keep(branch, V2).state == "applied"


def test_no_room_on_the_disk(branch: Branch, folder: Path) -> None:
    head = branch.repo.head()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(GitError, match="hash-object"):
            keep(branch, random.Random(0).randbytes(100_000))
    finally:
        signal.signal(signal.SIGXFSZ, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert branch.repo.head() == head
    assert (folder / FILE).read_bytes() == V1
    consistent(folder)
    assert keep(branch, V2).settled


KEEP_ON = """
import sys
from pathlib import Path
from autoresearch.files import write_atomic
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
repo = Repository.at(Path(sys.argv[1]))
branch = Branch.begin(repo, "t", repo.head())
for i in range(10_000):
    tip, content = branch.tip(), b"LR = %d\\n" % i + b"#" * 20_000
    write_atomic(repo.folder / "pending", f"{tip} {i}".encode())
    if i == 0:
        print("ready", flush=True)
    branch.keep(i, tip, {"train_mlx.py": content}, f"Keep {i}", {"results.tsv": b"%d\\n" % i})
    branch.set_aside(i, tip, {"train_mlx.py": content + b"x"}, f"Discard {i}")
"""


def killed_with_its_children(process: subprocess.Popen[bytes]) -> None:
    """Kill the loop together with git's processes in the middle of their work, as a power cut would."""
    os.kill(process.pid, signal.SIGSTOP)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()


def test_kill_9_at_any_moment_leaves_a_repository_that_goes_on(branch: Branch, folder: Path) -> None:
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
        begin(folder).settle(FILE, "results.tsv")
        parent, i = (folder / "pending").read_text().split()
        landed = keep(branch, b"LR = %d\n" % int(i) + b"#" * 20_000, parent, n=int(i))
        assert landed.state in ("applied", "present")
        assert landed.settled
        assert (folder / FILE).read_bytes() == branch.repo.read("HEAD", FILE)
        assert git(folder, "status", "--porcelain", "-uno") == "MM README"
        assert git(folder, "show", ":README") == "staged"
    assert int(git(folder, "rev-list", "--count", "HEAD")) > 1
