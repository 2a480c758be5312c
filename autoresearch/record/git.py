"""Read a checkout, build commits and move refs, by git plumbing alone. branch.py keeps a night's branch with it.

No hook runs, nothing is signed and no prompt can appear. Nothing of the user's is lost: commits are built in an index
of their own, refs move by compare-and-swap, and a working file or an entry of the user's index is replaced only where
it holds a version that is known to be committed.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from autoresearch.files import write_atomic
from autoresearch.paths import EDITABLE, TASK_FILE
from autoresearch.record import gitcall
from autoresearch.record.gitcall import OFFLINE, START, failure, refusal
from autoresearch.system.process import CommandResult

FALLBACK_IDENTITY = {"user.name": "autoresearch-metal", "user.email": "autoresearch-metal@localhost"}
UNFINISHED = ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG")
INDEX_LOCK_S = 2.0  # to wait for a git of the user's that holds the index; then the index is left as it is
STALE_LOCK_S = 60.0  # age of a ref's lock from which a power cut left it; git holds one for milliseconds
RECENT = 50  # versions of a file in the history among which its present content is looked for


@dataclass(frozen=True, slots=True)
class Repository:
    """The project's folder as a git checkout. All paths are relative to it."""

    folder: Path
    prefix: str = ""  # of the folder within the repository, e.g. "projects/metal/"; empty at its top

    # --- reading ---

    @classmethod
    def at(cls, folder: Path) -> Repository:
        """Open a checkout.

        Raises GitError where there is no working tree or no commit, and where the folder lies in the repository of
        another project, whose branch must not be moved: a download that was unpacked there.
        """
        top, prefix = cls(folder).git("rev-parse", "--show-toplevel", "--show-prefix").stdout.split("\n")[:2]
        repository = cls(folder, prefix)
        if not (Path(top) / prefix).is_dir() or not (Path(top) / prefix).samefile(folder):
            raise refusal("rev-parse", f"git works on {top} and not on {folder}. See: git config core.worktree")
        if prefix and not repository.holds_task():
            how = f"cd {shlex.quote(str(folder))} && {START}"
            raise refusal("rev-parse", f"{folder} lies in the repository {top} but is not part of it. Run: {how}")
        if repository.resolve("HEAD") is None:
            raise refusal("rev-parse HEAD", f"{folder} has no commits yet. Run: git add -A && git commit -m start")
        return repository

    def holds_task(self) -> bool:
        """Return whether HEAD holds what a loop works on: train_mlx.py, or the task.toml of a declared task."""
        if self.resolve("HEAD") is None:
            return False
        return any(self.blob("HEAD", name) is not None for name in (EDITABLE, TASK_FILE))

    def unfinished(self) -> str | None:
        """Return the mark of a merge, rebase, cherry-pick, revert or bisect that is under way: "MERGE_HEAD"."""
        paths = self.git("rev-parse", *(a for name in UNFINISHED for a in ("--git-path", name))).stdout.splitlines()
        marks = zip(UNFINISHED, paths, strict=True)
        return next((name for name, path in marks if (self.folder / path).exists()), None)

    def resolve(self, revision: str) -> str | None:
        """Return the id of the object that a revision names, e.g. of "HEAD:./train_mlx.py"; None without one."""
        done = self.git("rev-parse", "--verify", "--quiet", revision, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Return whether `commit` is in the history of `of`."""
        return self.git("merge-base", "--is-ancestor", commit, of, check=False).returncode == 0

    def head(self) -> str:
        """Return the commit of HEAD."""
        return self.git("rev-parse", "--verify", "HEAD^{commit}").stdout.strip()

    def branch(self) -> str | None:
        """Return the current branch, e.g. "autoresearch/nov23"; None where HEAD is detached."""
        done = self.git("symbolic-ref", "--quiet", "HEAD", check=False)
        return done.stdout.strip().removeprefix("refs/heads/") or None

    def title(self, revision: str) -> str:
        """Return a commit's short id and title: "1a2b3c4 Halve the batch"."""
        return self.git("log", "-1", "--format=%h %s", revision).stdout.strip()

    def default_branch(self) -> str | None:
        """Return the branch of the remote's HEAD, else main or master; None where there is none of them here."""
        remote = self.git("symbolic-ref", "--quiet", "refs/remotes/origin/HEAD", check=False).stdout.strip()
        names = (remote.removeprefix("refs/remotes/origin/"), "main", "master")
        return next((name for name in names if name and self.resolve(f"refs/heads/{name}")), None)

    def last_change(self, revision: str, *paths: str) -> str:
        """Return the commit that last changed a file; the revision itself where a partial clone cannot tell."""
        log = self.git("log", "-1", "--format=%H", revision, "--", *paths, settings=OFFLINE, check=False).stdout
        return log.strip() or revision

    def first_version(self, path: str) -> bytes:
        """Return the oldest version of a file in HEAD's history. Raises GitError where there is none."""
        args = ("log", "--diff-filter=A", "--format=%H", "HEAD", "--", path)
        added = self.git(*args, settings=OFFLINE, check=False).stdout.split()
        return self.read((added or ["HEAD"])[-1], path)

    def blob(self, revision: str, path: str) -> str | None:
        """Return the id of a file's content in a revision; None where it is not there."""
        return self.resolve(f"{revision}:{self.prefix}{path}")

    def read(self, revision: str, path: str) -> bytes:
        """Return a file's content in a revision. Raises GitError where it is not there."""
        return self.git("cat-file", "blob", f"{revision}:{self.prefix}{path}").raw

    def changes(self, exempt: Sequence[str] = ("results.tsv",)) -> list[str]:
        """Return the tracked files of the project that differ from HEAD, staged or not, except the `exempt` ones."""
        done = self.git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--", ".")
        paths = [entry[3:].removeprefix(self.prefix) for entry in done.stdout.split("\0") if entry]
        return [path for path in paths if path not in exempt]

    def merged(self, ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
        """Merge two texts that were made from `base`; None where both changed the same lines."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="autoresearch-merge-") as folder:
            paths = [Path(folder, name) for name in ("ours", "base", "theirs")]
            for path, text in zip(paths, (ours, base, theirs), strict=True):
                path.write_bytes(text)
            done = self.git("merge-file", "-p", "-q", *map(str, paths), check=False)
        return done.raw if done.returncode == 0 else None

    # --- the person's own branch ---

    def commit(self, files: Mapping[str, bytes], message: str) -> str:
        """Commit `files` on the current branch and return the commit, or HEAD's where nothing changes.

        Raises GitError where HEAD is detached, or another git holds the index, which would stay behind the commit.
        """
        branch, head = self.branch(), self.head()
        if branch is None:
            raise refusal("commit", f"HEAD is detached at {head[:10]} in {self.folder}. Run: git switch BRANCH")
        commit = self.commit_tree(head, files, message)
        if self.resolve(f"{commit}^{{tree}}") == self.resolve(f"{head}^{{tree}}"):
            return head
        lock = self.folder / self.git("rev-parse", "--git-path", "index.lock").stdout.removesuffix("\n")
        if not _gone(lock):
            raise refusal("commit", f"another git holds the index. Wait for it; if there is none, remove {lock}")
        self.swap(f"refs/heads/{branch}", commit, head, message)
        for path in files:
            self.settle(path, self.versions(commit, path))
        return commit

    def switch(self, branch: str) -> str | None:
        """Check a branch out as far as git can without losing work; return None, or git's reason against it."""
        if (name := self.unfinished()) is not None:
            return f"an operation is unfinished in {self.folder} ({name}). See: git status"
        if self.branch() == branch:
            return None
        done = self.git("switch", "--quiet", "--no-guess", "--no-recurse-submodules", branch, check=False)
        return done.stderr.strip() or f"git switch exited with {done.returncode}" if done.returncode else None

    def settle(self, path: str, versions: Set[str | None]) -> bool:
        """Bring the working file and the index entry of `path` to HEAD's version; return whether both are there.

        Only a content among `versions` (blobs; None is a missing file) is replaced: what the user wrote or staged stays
        as it is. Where the user checks out another branch meanwhile, the path is brought to that one's version.
        """
        settled = False
        for _ in range(3):
            where = self.branch(), self.head()
            settled = self._settle(path, versions)
            if where == (self.branch(), self.head()):
                break
        return settled

    # --- building blocks ---

    def store(self, content: bytes) -> str:
        """Write a blob into the object store, where nothing refers to it yet, and return its id."""
        return self.git("hash-object", "-w", "--stdin", "--no-filters", input=content).stdout.strip()

    def versions(self, revision: str, path: str) -> set[str | None]:
        """Return the blobs that `path` has had up to `revision`, in the latest RECENT changes of it, and None.

        Without a network a partial clone has only the latest of them.
        """
        log = self.git(
            *("log", f"-{RECENT}", "--format=", "--raw", "--no-abbrev", revision, "--", path),
            settings=OFFLINE,
            check=False,
        )
        return {None, self.blob(revision, path), *(b for line in log.stdout.splitlines() for b in line.split()[2:4])}

    def _settle(self, path: str, versions: Set[str | None]) -> bool:
        mode, head = self._entry("ls-tree", "HEAD", "--", path)
        if head is None:
            return True
        file = self.folder / path
        present = self.git("hash-object", "--", path).stdout.strip() if file.is_file() else None
        if present != head and present in versions:
            write_atomic(file, self.git("cat-file", "blob", head).raw)
            present = head
        _, staged = self._entry("ls-files", "--stage", "--", path)
        if staged != head and staged in versions and self._stage(mode, head, path):
            staged = head
        return present == staged == head

    def _entry(self, *args: str) -> tuple[str, str | None]:
        """Return mode and blob of one path by ls-tree or ls-files; ("100644", None) where it is absent.

        ls-tree prints `mode blob id TAB path`, and ls-files `mode id stage TAB path`, with one line per stage of a
        conflict. A conflict is for the user to resolve; its blob is "conflict", which equals no other.
        """
        lines = self.git(*args).stdout.splitlines()
        fields = lines[0].split("\t")[0].split() if lines else []
        if not fields:
            return "100644", None
        return fields[0], fields[2] if fields[1] == "blob" else fields[1] if fields[2] == "0" else "conflict"

    def _stage(self, mode: str, blob: str, path: str) -> bool:
        """Set one entry of the user's index; return False where another git holds the index."""
        deadline = time.monotonic() + INDEX_LOCK_S
        args = ("update-index", "--add", "--cacheinfo", f"{mode},{blob},{self.prefix}{path}")
        while (done := self.git(*args, check=False)).returncode:
            if "index.lock" not in done.stderr:
                raise failure(self.folder, args, done)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def commit_tree(self, parent: str, files: Mapping[str, bytes], message: str) -> str:
        """Make a commit on `parent` with `files` changed, which nothing refers to yet, and return it."""
        import tempfile  # here, as psutil below: reading a night needs neither

        with tempfile.TemporaryDirectory(prefix="autoresearch-index-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git("read-tree", parent, env=index)
            for path, content in files.items():
                mode, _ = self._entry("ls-tree", parent, "--", path)
                entry = f"{mode},{self.store(content)},{self.prefix}{path}"
                self.git("update-index", "--add", "--cacheinfo", entry, env=index)
            tree = self.git("write-tree", env=index).stdout.strip()
        text = message.replace("\0", " ").encode("utf-8", "replace")
        args = ("commit-tree", "--no-gpg-sign", tree, "-p", parent, "-F", "-")
        return self.git(*args, input=text, settings=self._identity()).stdout.strip()

    def swap(self, ref: str, new: str, old: str, message: str, may_fail: bool = False) -> bool:
        """Move `ref` from `old`, or create it where that is empty, to `new`.

        With `may_fail`, return False where it is no longer at `old`.
        """
        title = (message.splitlines() or [""])[0][:72]
        args = ("update-ref", "-m", f"autoresearch: {title}", ref, new, old)
        done = self.git(*args, check=False)
        if done.returncode and not (may_fail and (self.resolve(ref) or "") != old):
            raise failure(self.folder, args, done)
        return done.returncode == 0

    def _identity(self) -> dict[str, str]:
        """Return settings for a name and address where the user has configured none; commits need both."""
        return {k: v for k, v in FALLBACK_IDENTITY.items() if not self.git("config", k, check=False).stdout.strip()}

    def clear_stale_locks(self, *refs: str) -> None:
        """Remove locks that a power cut left.

        An editor may hold the lock of the index for hours, so that one is stale only if it is older than the boot.
        """
        import psutil

        expiry = dict.fromkeys(("HEAD", *refs), time.time() - STALE_LOCK_S) | {"index": psutil.boot_time()}
        for name, before in expiry.items():
            path = self.folder / self.git("rev-parse", "--git-path", name).stdout.removesuffix("\n")
            for lock in (path.with_name(path.name + ".lock"), *path.glob("*.lock")):
                if lock.is_file() and lock.stat().st_mtime < before:
                    lock.unlink(missing_ok=True)

    def git(
        self,
        *args: str,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> CommandResult:
        """Run git in the folder, as gitcall.call does. Raises GitError."""
        return gitcall.call(self.folder, args, input=input, env=env, settings=settings, check=check)


def _gone(lock: Path) -> bool:
    """Wait for a lock of another git to end, INDEX_LOCK_S at most, and return whether it did."""
    deadline = time.monotonic() + INDEX_LOCK_S
    while lock.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not lock.exists()


def branch_name(tag: str) -> str:
    """Return the branch of a tag: branch_name("nov23") -> "autoresearch/nov23"."""
    return f"autoresearch/{tag}"


def tag_of(branch: str | None) -> str | None:
    """Return the tag of a branch: tag_of("autoresearch/nov23") -> "nov23", tag_of("main") -> None."""
    return branch.removeprefix("autoresearch/") if branch and branch.startswith("autoresearch/") else None
