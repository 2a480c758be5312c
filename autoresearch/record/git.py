"""Commit kept candidates to the branch and set the others aside under refs, by git plumbing alone.

No hook runs, nothing is signed and no prompt can appear. Nothing of the user's is lost: commits are built in an index
of their own, refs move by compare-and-swap, and a working file or an entry of the user's index is replaced only where
it holds a version that is already in the branch's history.

    refs/heads/autoresearch/TAG         the branch: one commit for each kept candidate
    refs/autoresearch/TAG/NNNN          a candidate that is not on the branch; clones fetch refs/autoresearch/* by name
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoresearch.errors import CommandError, GitError
from autoresearch.files import write_atomic
from autoresearch.system.process import CommandResult, run

SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsync": "all",
    "core.fsmonitor": "false",
    "core.filesRefLockTimeout": "2000",  # ms to wait for another git
    "core.packedRefsTimeout": "2000",
    "gc.auto": "0",
    "i18n.commitEncoding": "UTF-8",
}
FALLBACK_IDENTITY = {"user.name": "autoresearch-metal", "user.email": "autoresearch-metal@localhost"}
# Variables that git exports to hooks, aliases and editors; they would redirect our commands to another repository.
FOREIGN = frozenset(
    f"GIT_{name}"
    for name in ("DIR", "WORK_TREE", "INDEX_FILE", "COMMON_DIR", "PREFIX", "NAMESPACE", "OBJECT_DIRECTORY")
)
UNFINISHED = ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG")
INDEX_LOCK_S = 2.0  # to wait for a git of the user's that holds the index; then the index is left as it is
STALE_LOCK_S = 60.0  # age of a ref's lock from which a power cut left it; git holds one for milliseconds
RECENT = 50  # versions of a file in the history among which its present content is looked for


@dataclass(frozen=True, slots=True)
class Placement:
    """Place of a kept candidate in git."""

    state: Literal["applied", "present", "moved"]  # committed now; on the branch before; set aside under a ref
    commit: str
    ref: str
    settled: bool = True  # the working file and the user's index entry hold this version, too


@dataclass(frozen=True, slots=True)
class Repository:
    """The project's folder as a git checkout. All paths are relative to it."""

    folder: Path
    prefix: str = ""  # of the folder within the repository, e.g. "projects/metal/"; empty at its top

    # --- reading ---

    @classmethod
    def at(cls, folder: Path) -> Repository:
        """Open a checkout. Raises GitError where there is no working tree or no commit, or a merge is under way."""
        _, prefix = cls(folder)._git("rev-parse", "--show-toplevel", "--show-prefix").stdout.split("\n")[:2]
        repository = cls(folder, prefix)
        if repository.resolve("HEAD") is None:
            raise _refusal("rev-parse HEAD", f"{folder} has no commits yet. Run: git add -A && git commit -m start")
        paths = repository._git("rev-parse", *(a for name in UNFINISHED for a in ("--git-path", name))).stdout
        for name, path in zip(UNFINISHED, paths.splitlines(), strict=True):
            if (folder / path).exists():
                raise _refusal("status", f"an operation is unfinished in {folder} ({name}). See: git status")
        return repository

    def resolve(self, revision: str) -> str | None:
        """Return the id of the object that a revision names, e.g. of "HEAD:./train_mlx.py"; None without one."""
        done = self._git("rev-parse", "--verify", "--quiet", revision, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def head(self) -> str:
        """Return the commit of HEAD."""
        return self._git("rev-parse", "--verify", "HEAD^{commit}").stdout.strip()

    def branch(self) -> str | None:
        """Return the current branch, e.g. "autoresearch/nov23"; None where HEAD is detached."""
        done = self._git("symbolic-ref", "--quiet", "HEAD", check=False)
        return done.stdout.strip().removeprefix("refs/heads/") or None

    def blob(self, revision: str, path: str) -> str | None:
        """Return the id of a file's content in a revision; None where it is not there."""
        return self.resolve(f"{revision}:{self.prefix}{path}")

    def read(self, revision: str, path: str) -> bytes:
        """Return a file's content in a revision. Raises GitError where it is not there."""
        return self._git("cat-file", "blob", f"{revision}:{self.prefix}{path}").raw

    def changes(self, exempt: Sequence[str] = ("results.tsv",)) -> list[str]:
        """Return the tracked files of the project that differ from HEAD, staged or not, except the `exempt` ones."""
        done = self._git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--", ".")
        paths = [entry[3:].removeprefix(self.prefix) for entry in done.stdout.split("\0") if entry]
        return [path for path in paths if path not in exempt]

    # --- the branch ---

    def begin(self, tag: str) -> str:
        """Switch to the branch of `tag` and return its commit. A new branch starts at HEAD and changes no file."""
        name, ref = branch_name(tag), f"refs/heads/{branch_name(tag)}"
        if not re.fullmatch(r"\w[\w.+-]*", tag) or self._git("check-ref-format", ref, check=False).returncode:
            raise _refusal("check-ref-format", f"'{tag}' is no tag: letters, digits, dot, dash, e.g. nov23-b")
        self._clear_stale_locks(ref, f"refs/autoresearch/{tag}")
        if self.branch() != name:
            if self.resolve(ref):
                self._git("switch", "--quiet", "--no-guess", name)
            else:
                self._git("update-ref", "-m", f"autoresearch: begin {tag}", ref, self.head(), "")
                self._git("symbolic-ref", "-m", f"autoresearch: begin {tag}", "HEAD", ref)
        return self.head()

    def commit(self, files: Mapping[str, bytes], message: str) -> str:
        """Commit `files` on the current branch and return the commit, or HEAD's where nothing changes."""
        branch, head = self.branch(), self.head()
        if branch is None:
            raise _refusal("commit", f"HEAD is detached at {head[:10]} in {self.folder}. Run: git switch BRANCH")
        commit = self._commit_tree(head, files, message)
        if self.resolve(f"{commit}^{{tree}}") == self.resolve(f"{head}^{{tree}}"):
            return head
        self._swap(f"refs/heads/{branch}", commit, head, message)
        self.settle(*files)
        return commit

    def keep(
        self,
        tag: str,
        n: int,
        parent: str,
        path: str,
        content: bytes,
        message: str,
        also: Mapping[str, bytes] | None = None,
    ) -> Placement:
        """Bring a kept candidate onto the branch. Repeating it is safe, so this also rebuilds a commit that was lost.

        It depends on what HEAD holds at `path`: the version of `parent` -> commit `content`, and `also` as further
        files; `content` -> it was committed before; anything else, or another branch -> the user moved on without the
        loop, and the candidate is set aside under a ref of its own.
        """
        blob, ref = self.store(content), f"refs/heads/{branch_name(tag)}"
        for _ in range(5):  # HEAD may move between reading it and swapping it
            head, on_branch = self.head(), self.branch() == branch_name(tag)
            present = self.blob(head, path)
            if on_branch and present == blob:
                commit = self._git("log", "-1", "--format=%H", head, "--", path).stdout.strip()
                return Placement("present", commit, ref, self.settle(path))
            if not on_branch or present != self.blob(parent, path):
                break
            commit = self._commit_tree(head, {path: content, **(also or {})}, message)
            if self._swap(ref, commit, head, message, may_fail=True):
                self.settle(*(also or {}))
                return Placement("applied", commit, ref, self.settle(path))
        commit, ref = self.set_aside(tag, n, parent, path, content, message)
        return Placement("moved", commit, ref)

    def set_aside(self, tag: str, n: int, parent: str, path: str, content: bytes, message: str) -> tuple[str, str]:
        """Keep a candidate as a commit on `parent` under refs/autoresearch/TAG/NNNN; return (commit, ref).

        Nothing there is overwritten. If the ref holds the same candidate, it is returned; if it holds another one (of
        an older night with this tag), the new one becomes NNNN-2.
        """
        commit = self._commit_tree(parent, {path: content}, message)
        tree = self.resolve(f"{commit}^{{tree}}")
        for attempt in range(1, 1000):
            ref = f"refs/autoresearch/{tag}/{n:04}" + (f"-{attempt}" if attempt > 1 else "")
            found = self.resolve(ref)
            if found is None:
                self._git("update-ref", ref, commit, "")
                return commit, ref
            if (self.resolve(f"{found}^{{tree}}"), self.resolve(f"{found}^")) == (tree, self.resolve(parent)):
                return found, ref
        raise _refusal("update-ref", f"a thousand candidates are numbered {n} under refs/autoresearch/{tag}")

    def store(self, content: bytes) -> str:
        """Write a blob into the object store, where nothing refers to it yet, and return its id."""
        return self._git("hash-object", "-w", "--stdin", "--no-filters", input=content).stdout.strip()

    def settle(self, *paths: str) -> bool:
        """Bring the working file and the index entry of each path to HEAD's version; return whether all are there.

        Only versions from the branch's history are replaced: what the user wrote or staged stays as it is.
        """
        done = [self._settle_one(path) for path in paths]
        return all(done)

    # --- building blocks ---

    def _settle_one(self, path: str) -> bool:
        mode, head = self._entry("ls-tree", "HEAD", "--", path)
        if head is None:
            return True
        log = self._git("log", f"-{RECENT}", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", path)
        committed = {None, head, *(blob for line in log.stdout.splitlines() for blob in line.split()[2:4])}
        file = self.folder / path
        present = self._git("hash-object", "--", path).stdout.strip() if file.is_file() else None
        if present != head and present in committed:
            write_atomic(file, self._git("cat-file", "blob", head).raw)
            present = head
        _, staged = self._entry("ls-files", "--stage", "--", path)
        if staged != head and staged in committed and self._stage(mode, head, path):
            staged = head
        return present == staged == head

    def _entry(self, *args: str) -> tuple[str, str | None]:
        """Return mode and blob of one path by ls-tree or ls-files; ("100644", None) where it is absent.

        ls-tree prints `mode blob id TAB path`, and ls-files `mode id stage TAB path`, with one line per stage of a
        conflict. A conflict is for the user to resolve; its blob is "conflict", which equals no other.
        """
        lines = self._git(*args).stdout.splitlines()
        fields = lines[0].split("\t")[0].split() if lines else []
        if not fields:
            return "100644", None
        return fields[0], fields[2] if fields[1] == "blob" else fields[1] if fields[2] == "0" else "conflict"

    def _stage(self, mode: str, blob: str, path: str) -> bool:
        """Set one entry of the user's index; return False where another git holds the index."""
        deadline = time.monotonic() + INDEX_LOCK_S
        args = ("update-index", "--add", "--cacheinfo", f"{mode},{blob},{self.prefix}{path}")
        while (done := self._git(*args, check=False)).returncode:
            if "index.lock" not in done.stderr:
                raise _error(args, done)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _commit_tree(self, parent: str, files: Mapping[str, bytes], message: str) -> str:
        """Make a commit on `parent` with `files` changed, which nothing refers to yet, and return it."""
        import tempfile  # here, as psutil below: reading a night needs neither

        with tempfile.TemporaryDirectory(prefix="autoresearch-index-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._git("read-tree", parent, env=index)
            for path, content in files.items():
                mode, _ = self._entry("ls-tree", parent, "--", path)
                entry = f"{mode},{self.store(content)},{self.prefix}{path}"
                self._git("update-index", "--add", "--cacheinfo", entry, env=index)
            tree = self._git("write-tree", env=index).stdout.strip()
        text = message.replace("\0", " ").encode("utf-8", "replace")
        args = ("commit-tree", "--no-gpg-sign", tree, "-p", parent, "-F", "-")
        return self._git(*args, input=text, settings=self._identity()).stdout.strip()

    def _swap(self, ref: str, new: str, old: str, message: str, may_fail: bool = False) -> bool:
        """Move `ref` from `old` to `new`. With `may_fail`, return False where it is no longer at `old`."""
        title = (message.splitlines() or [""])[0][:72]
        args = ("update-ref", "-m", f"autoresearch: {title}", ref, new, old)
        done = self._git(*args, check=False)
        if done.returncode and not (may_fail and self.resolve(ref) != old):
            raise _error(args, done)
        return done.returncode == 0

    def _identity(self) -> dict[str, str]:
        """Return settings for a name and address where the user has configured none; commits need both."""
        return {k: v for k, v in FALLBACK_IDENTITY.items() if not self._git("config", k, check=False).stdout.strip()}

    def _clear_stale_locks(self, *refs: str) -> None:
        """Remove locks that a power cut left.

        An editor may hold the lock of the index for hours, so that one is stale only if it is older than the boot.
        """
        import psutil

        expiry = dict.fromkeys(("HEAD", *refs), time.time() - STALE_LOCK_S) | {"index": psutil.boot_time()}
        for name, before in expiry.items():
            path = self.folder / self._git("rev-parse", "--git-path", name).stdout.removesuffix("\n")
            for lock in (path.with_name(path.name + ".lock"), *path.glob("*.lock")):
                if lock.is_file() and lock.stat().st_mtime < before:
                    lock.unlink(missing_ok=True)

    def _git(
        self,
        *args: str,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> CommandResult:
        """Run git in the folder. Raises GitError where it cannot start, and with `check` for a code other than 0."""
        options = [a for k, v in {**SETTINGS, **(settings or {})}.items() for a in ("-c", f"{k}={v}")]
        clean = {k: v for k, v in os.environ.items() if k not in FOREIGN}
        quiet = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        try:
            full = {**clean, **quiet, **(env or {})}
            done = run(["git", *options, *args], cwd=self.folder, env=full, input=input, check=False)
        except CommandError as error:
            raise GitError(["git", *args], error.returncode, error.stdout, error.stderr) from None
        if check and done.returncode:
            raise _error(args, done)
        return done


def branch_name(tag: str) -> str:
    """Return the branch of a tag: branch_name("nov23") -> "autoresearch/nov23"."""
    return f"autoresearch/{tag}"


def tag_of(branch: str | None) -> str | None:
    """Return the tag of a branch: tag_of("autoresearch/nov23") -> "nov23", tag_of("main") -> None."""
    return branch.removeprefix("autoresearch/") if branch and branch.startswith("autoresearch/") else None


def _error(args: Sequence[str], done: CommandResult) -> GitError:
    return GitError(["git", *args], done.returncode, done.stdout, done.stderr)


def _refusal(command: str, why: str) -> GitError:
    return GitError(["git", *command.split()], 1, stderr=why)
