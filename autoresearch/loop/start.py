"""Begin or resume a night's branch: which night is meant, from which commit it begins, and with which constants."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from autoresearch.errors import UsageError
from autoresearch.paths import EDITABLE, PROGRAM, RESULTS, Layout, tree
from autoresearch.record import journal
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository, branch_name, tag_of
from autoresearch.record.night import Night
from autoresearch.records import Say

NOT_JUDGING = (PROGRAM, "README.md", ".gitignore")  # files on which no value depends
SHOWN = 6  # nights that a message names, the latest


# --- which night ------------------------------------------------------------------------------------------------------


def which_night(root: Path, repo: Repository, tag: str | None, say: Say, *, by_hand: bool = False) -> str:
    """Return the tag of the night that a command means: `tag`, else that of the branch that is checked out.

    On another branch, it is today's; before it exists, an earlier one that has not ended and began from the file that
    is checked out. `by_hand`, it is the only night there is. Raises UsageError where that is not one of several, and
    for a name that a disk may take for another night's.
    """
    today, tags = f"{date.today():%b%d}".lower(), journal.nights(root)
    declared = tree(root) != root
    if declared:  # several tasks may lie in one repository, where a branch has one of them
        today = f"{_name(tree(root))}-{today}"
    named = tag or tag_of(repo.branch())
    if named is not None and (tag or not declared or named in tags):
        _check_case(named, tags)
        return named
    if by_hand and len(tags) > 1:
        shown = ", ".join(tags[-SHOWN:])
        raise UsageError(
            f"there are several nights here ({shown}). Say which one: --tag {tags[-1]}   (a new one: --tag {today})"
        )
    if by_hand and tags:
        say(f"night: {tags[0]}, the only one here")
        return tags[0]
    if today not in tags and tags and _goes_on(root, repo, tags[-1]):
        say(f"{tags[-1]} has not ended and is resumed; to begin another night: --tag {today}")
        return tags[-1]
    return _free(repo, today) if declared and today not in tags else today


def _check_case(tag: str, tags: Sequence[str]) -> None:
    """Raise UsageError for a name that differs from another night's by case alone."""
    same = next((other for other in tags if other != tag and other.casefold() == tag.casefold()), None)
    if same is not None:
        why = f"there is a night {same}, and the disk of a Mac takes both names for one"
        raise UsageError(f"--tag {tag}: {why}. To go on with it: --tag {same}")


def _free(repo: Repository, tag: str) -> str:
    """Return a tag that no branch has: `tag`, or one with a number where another folder of that name has a night."""
    names = itertools.chain([tag], (f"{tag}-{n}" for n in itertools.count(2)))
    return next(name for name in names if repo.resolve(f"refs/heads/{branch_name(name)}") is None)


def _goes_on(root: Path, repo: Repository, tag: str) -> bool:
    """Return whether a night was stopped or cut off, and began from the files that HEAD holds."""
    night = journal.read(Layout(root, tag))
    if not night.sessions or night.closed == "finished":
        return False
    return all(repo.blob("HEAD", path) == repo.blob(night.base_commit, path) for path in night.task.files)


def _name(folder: Path) -> str:
    """Return a folder's name as a part of a tag: _name(Path("my site")) -> "my-site" """
    return re.sub(r"[^\w.+-]+", "-", folder.resolve().name).strip(".-+") or "task"


def check_uncommitted(repo: Repository, files: Sequence[str], night: Night, say: Say) -> None:
    """Say that a resumed night does not use uncommitted work in its files; raise UsageError for a new night."""
    changed = [path for path in files if path in repo.changes()]
    if not changed:
        return
    named = " ".join(map(shlex.quote, changed))
    if night.sessions:
        say(f"{named}: your uncommitted changes are left alone, and the night does not use them")
        return
    raise UsageError(
        f"{named}: uncommitted changes, and a new night begins from a commit. "
        f"Run: git commit -m '...' {named}   (or: git checkout -- {named})"
    )


# --- the branch -------------------------------------------------------------------------------------------------------


def open_branch(repo: Repository, tag: str, night: Night, begin_at: str | None, say: Say) -> Branch:
    """Return the night's branch, which is begun or, where somebody deleted it, restored. No file changes.

    Raises UsageError where the branch belongs to a night of another checkout, or `begin_at` is not a commit.
    """
    ref = f"refs/heads/{branch_name(tag)}"
    exists = repo.resolve(ref) is not None
    if begin_at is not None and (exists or night.sessions):
        raise UsageError(f"--from is for a new night, and {tag} exists. Choose another name: --tag NAME")
    if night.sessions:
        at = last_commit(repo, night)
        if not exists:
            say(f"the branch {branch_name(tag)} was gone; it is restored at {repo.title(at)}")
        return Branch.begin(repo, tag, at, say)
    at, whence = ref if exists else "", "as the branch was left"
    if not exists:
        at, whence = beginning(repo, begin_at)
    branch = Branch.begin(repo, tag, repo.resolve(f"{at}^{{commit}}") or "", say)
    elsewhere = [place.folder for place in branch.checkouts() if place.folder.resolve() != repo.folder.resolve()]
    if exists and elsewhere:
        raise UsageError(f"{branch.name} is checked out in {elsewhere[0]}. Choose another name: --tag NAME")
    say(f"{tag} begins at {repo.title(branch.tip())} ({whence})")
    return branch


def beginning(repo: Repository, begin_at: str | None) -> tuple[str, str]:
    """Return the commit that a new night begins from, and where that is, for people.

    It is `begin_at`, else what is checked out; but where that is another night's branch, the default branch.
    """
    if begin_at is not None:
        if repo.resolve(f"{begin_at}^{{commit}}") is None:
            raise UsageError(f"--from {begin_at}: there is no such commit. See: git log --oneline --all")
        return begin_at, begin_at
    branch = repo.branch()
    if tag_of(branch) and (default := repo.default_branch()):
        return default, f"{default}; to begin from {branch}: --from {branch}"
    return "HEAD", branch or "detached HEAD"


def last_commit(repo: Repository, night: Night) -> str:
    """Return the last commit of a night's branch that its journal knows and that git still has; else HEAD's."""
    known = [
        x.commit if x.verdict == "keep" and x.commit and (x.ref or "").startswith("refs/heads/") else x.parent_commit
        for x in reversed(list(night.experiments.values()))
    ]
    return next((c for c in (*known, night.base_commit) if repo.resolve(f"{c}^{{commit}}")), None) or repo.head()


def revision(repo: Repository, night: Night, tag: str, begin_at: str | None, say: Say) -> str:
    """Return the commit whose fixed files a night's runs use: its branch's, or where it is going to begin.

    Say which of them the person has changed since, as far as a value could depend on them.
    """
    ref = f"refs/heads/{branch_name(tag)}"
    exists = repo.resolve(ref) is not None
    if not night.sessions:
        return ref if exists else beginning(repo, begin_at)[0]
    at = ref if exists else last_commit(repo, night)
    differ = repo.git("diff", "--name-only", "--relative", "-z", at, "HEAD", check=False).stdout.split("\0")
    fixed = [path for path in differ if path and path not in (*night.task.files, RESULTS, *NOT_JUDGING)]
    if changed := [path for path in fixed if path.partition("/")[0] != "ideas"]:
        named = ", ".join(changed[:SHOWN])
        say(f"{tag} goes on with the files that it began with. Another night would use yours (--tag NAME): {named}")
    return at


def check_out(branch: Branch, say: Say) -> None:
    """Check the branch out where git can without losing work; else say that the checkout stays as it is."""
    why = branch.repo.switch(branch.name)
    if why is not None:
        where = branch.repo.branch() or "a detached HEAD"
        say(f"your checkout stays on {where}, which the night does not need: {' '.join(why.split())}")
    branch.settle(EDITABLE, RESULTS)
