"""Keep a night's branch: commit kept candidates to it and set the others aside, whatever the user has checked out.

The branch moves by compare-and-swap. A checkout is touched only where it has the branch checked out, and there only
the task's files and results.tsv, where they hold a version of the branch's history. So the user may switch, commit,
stash and edit while the loop runs.

    refs/heads/autoresearch/TAG         the branch: one commit for each kept candidate
    refs/autoresearch/TAG/NNNN          a candidate that is not on the branch; clones fetch refs/autoresearch/* by name
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autoresearch.errors import UsageError
from autoresearch.formats import printable
from autoresearch.record.git import Repository, branch_name
from autoresearch.record.gitcall import refusal
from autoresearch.records import Say

ATTEMPTS = 5  # to move the branch while the user commits to it


@dataclass(frozen=True, slots=True)
class Placement:
    """Place of a kept candidate in git."""

    state: Literal["applied", "present", "moved"]  # committed now; on the branch before; set aside under a ref
    commit: str
    ref: str
    settled: bool = True  # every checkout of the branch holds this version, too


@dataclass(slots=True)
class Branch:
    """The branch of one night. Nobody can take commits from it: where it was deleted or reset, it is restored."""

    repo: Repository
    tag: str
    say: Say = field(default=lambda text: None)
    _last: str = ""  # the commit that the branch was last seen at

    @classmethod
    def begin(cls, repo: Repository, tag: str, at: str, say: Say = lambda text: None) -> Branch:
        """Return the branch of `tag`, which is begun at the commit `at` where it does not exist. No file changes.

        Raises UsageError for a name that is not a tag.
        """
        branch = cls(repo, tag, say, at)
        check_tag(tag)
        repo.clear_stale_locks(branch.ref, f"refs/autoresearch/{tag}")
        if not branch.exists:
            repo.swap(branch.ref, at, "", f"begin {tag}")
        branch.tip()
        return branch

    @property
    def name(self) -> str:
        return branch_name(self.tag)

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.name}"

    @property
    def exists(self) -> bool:
        return self.repo.resolve(self.ref) is not None

    # --- reading ---

    def tip(self) -> str:
        """Return the branch's commit, after undoing what took commits of it away: a deletion, a `rebase --abort`."""
        repo, found = self.repo, self.repo.resolve(self.ref)
        if found != self._last and (found is None or repo.is_ancestor(found, self._last)):
            repo.swap(self.ref, self._last, found or "", f"restore {self.tag}", may_fail=True)
            self.say(f"{self.name} had lost commits; it is at {self._last[:10]} again")
            found = self._last
        self._last = found or self._last
        return self._last

    def blob(self, path: str) -> str | None:
        """Return the id of a file's content at the tip; None where it is not there."""
        return self.repo.blob(self.tip(), path)

    def read(self, path: str) -> bytes:
        """Return a file's content at the tip; empty where it is not there."""
        return self.repo.read(self._last, path) if self.blob(path) is not None else b""

    def holds(self, files: Mapping[str, bytes]) -> bool:
        """Return whether the tip has these contents in these files."""
        tip = self.tip()
        return all(self.repo.blob(tip, path) == self.repo.store(content) for path, content in files.items())

    # --- writing ---

    def commit(self, files: Mapping[str, bytes], message: str) -> str:
        """Commit `files` and return the commit, or the tip where nothing changes."""
        for attempt in range(ATTEMPTS):
            tip = self.tip()
            commit = self.repo.commit_tree(tip, files, message)
            if self.repo.resolve(f"{commit}^{{tree}}") == self.repo.resolve(f"{tip}^{{tree}}"):
                commit = tip
                break
            if self.repo.swap(self.ref, commit, tip, message, may_fail=attempt < ATTEMPTS - 1):
                break
        self.settle(*files)
        return commit

    def keep(
        self,
        n: int,
        parent: str,
        files: Mapping[str, bytes],
        message: str,
        also: Mapping[str, bytes] | None = None,
    ) -> Placement:
        """Bring a kept candidate onto the branch. Repeating it is safe, so this also rebuilds a commit that was lost.

        It depends on what the tip holds of `files`: the version of `parent` -> commit them, and `also` as further
        files; the candidate's -> it was committed before; anything else -> the user moved the branch on, and the
        candidate is set aside under a ref of its own.
        """
        repo = self.repo
        wanted = {path: repo.store(content) for path, content in files.items()}
        for _ in range(ATTEMPTS):  # the tip may move between reading it and swapping it
            tip = self.tip()
            present = {path: repo.blob(tip, path) for path in files}
            if present == wanted:
                commit = repo.last_change(tip, *files)
                return Placement("present", commit, self.ref, self.settle(*files))
            if present != {path: repo.blob(parent, path) for path in files}:
                break
            commit = repo.commit_tree(tip, {**files, **(also or {})}, message)
            if repo.swap(self.ref, commit, tip, message, may_fail=True):
                self.settle(*(also or {}))
                return Placement("applied", commit, self.ref, self.settle(*files))
        commit, ref = self.set_aside(n, parent, files, message)
        return Placement("moved", commit, ref)

    def set_aside(self, n: int, parent: str, files: Mapping[str, bytes], message: str) -> tuple[str, str]:
        """Keep a candidate as a commit on `parent` under refs/autoresearch/TAG/NNNN; return (commit, ref).

        Nothing there is overwritten. If the ref holds the same candidate, it is returned; if it holds another one (of
        an older night with this tag), the new one becomes NNNN-2.
        """
        repo = self.repo
        commit = repo.commit_tree(parent, files, message)
        tree = repo.resolve(f"{commit}^{{tree}}")
        for attempt in range(1, 1000):
            ref = f"refs/autoresearch/{self.tag}/{n:04}" + (f"-{attempt}" if attempt > 1 else "")
            found = repo.resolve(ref)
            if found is None:
                repo.git("update-ref", ref, commit, "")
                return commit, ref
            if (repo.resolve(f"{found}^{{tree}}"), repo.resolve(f"{found}^")) == (tree, repo.resolve(parent)):
                return found, ref
        raise refusal("update-ref", f"a thousand candidates are numbered {n} under refs/autoresearch/{self.tag}")

    def settle(self, *paths: str) -> bool:
        """Bring files and index entries to the tip in every checkout of the branch; return whether all are there."""
        versions = {path: self.repo.versions(self.tip(), path) for path in paths}
        done = [place.settle(path, versions[path]) for place in self.checkouts() for path in paths]
        return all(done)

    def checkouts(self) -> list[Repository]:
        """Return the working trees that have the branch checked out, without those in the middle of a merge."""
        listing = self.repo.git("worktree", "list", "--porcelain").stdout
        entries = [entry.splitlines() for entry in listing.split("\n\n") if f"branch {self.ref}" in entry.splitlines()]
        folders = [Path(lines[0].removeprefix("worktree ")) / self.repo.prefix for lines in entries]
        found = [Repository(folder, self.repo.prefix) for folder in folders if folder.is_dir()]
        return [place for place in found if place.unfinished() is None]


def is_tag(name: str) -> bool:
    """Return whether a name can be a branch's and a folder's.

    >>> [name for name in ("nov23-b", "nov23 copy", "../x", "x.lock", "") if is_tag(name)]
    ['nov23-b']
    """
    whole = re.fullmatch(r"\w[\w.+-]*", name) is not None and len(name.encode()) <= 100
    return whole and ".." not in name and not name.endswith((".", ".lock"))


def check_tag(tag: str) -> None:
    """Raise UsageError for a name that is no tag."""
    if not is_tag(tag):
        shown = printable(tag[:100])
        raise UsageError(f"--tag {shown!r} cannot name a night: letters, digits, dots and dashes, e.g. nov23-b")
