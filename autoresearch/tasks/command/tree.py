"""Copy a task's folder: once as it is committed, and for each run as a tree of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from autoresearch.files import is_clutter
from autoresearch.measure.run_folder import tidy
from autoresearch.record.git import Repository
from autoresearch.record.gitcall import call

OUT = "out"  # the one folder where a run may write
LEFT_OUT = (".git", ".autoresearch", "__pycache__", OUT)  # of a folder that git does not list
OUT_FILES, OUT_BYTES = 10_000, 2 * 2**30  # that a run may leave


class UnfitError(Exception):
    """What a run left in ./out cannot be handed to the judge. The text says why."""


# --- the folder -------------------------------------------------------------------------------------------------------


def export(folder: Path, revision: str, into: Path) -> None:
    """Write the folder's files as a commit has them, as a checkout would."""
    prefix = call(folder, ("rev-parse", "--show-prefix")).stdout.strip()
    top = call(folder, ("rev-parse", "--show-toplevel")).stdout.removesuffix("\n")
    with tempfile.TemporaryDirectory(prefix="autoresearch-index-") as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        Repository(Path(top)).git("read-tree", f"{revision}:{prefix}" if prefix else revision, env=index)
        Repository(Path(top)).git("checkout-index", "--all", f"--prefix={into}/", env=index)


def in_repository(folder: Path) -> bool:
    """Return whether a folder lies in a git repository."""
    return call(folder, ("rev-parse", "--show-toplevel"), check=False).returncode == 0


def uncommitted(folder: Path) -> list[str]:
    """Return the files below a folder that differ from HEAD or are new, as far as git does not ignore them."""
    done = call(folder, ("status", "--porcelain", "-z", "--no-renames", "--", "."), check=False)
    paths = [entry[3:] for entry in done.stdout.split("\0") if entry]
    return [path for path in paths if not is_clutter(Path(path).name)]


def working_files(folder: Path) -> list[str]:
    """Return the files of a folder that need not be committed yet: all that git does not ignore."""
    done = call(folder, ("ls-files", "-z", "--cached", "--others", "--exclude-standard"), check=False)
    if done.returncode == 0:
        return [path for path in done.stdout.split("\0") if path and _is_file(folder / path)]
    found = (path.relative_to(folder) for path in folder.rglob("*") if _is_file(path))
    return sorted(path.as_posix() for path in found if not set(LEFT_OUT) & set(path.parts))


def submodules(folder: Path) -> list[str]:
    """Return the submodules below a folder: git lists their folders, and none of their files."""
    done = call(folder, ("ls-files", "-z", "--stage"), check=False)
    return [entry.partition("\t")[2] for entry in done.stdout.split("\0") if entry.startswith("160000 ")]


def links_out(folder: Path) -> list[str]:
    """Return the links of a copied folder that lead out of it or to nothing; those with a whole path are left alone."""
    inside = folder.resolve()
    links = {path: file for path, file in files_below(folder).items() if file.is_symlink()}
    relative = {path: file for path, file in links.items() if not file.readlink().is_absolute()}
    return [path for path, file in relative.items() if not (file.exists() and file.resolve().is_relative_to(inside))]


def _is_file(path: Path) -> bool:
    """Return whether a path is what a person would commit: a file, or a link wherever it leads."""
    return (path.is_symlink() or path.is_file()) and not is_clutter(path.name)


def copy_files(folder: Path, paths: Sequence[str], into: Path) -> None:
    """Copy some files of a folder, with their modes, and links as links."""
    for path in paths:
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / path, into / path, follow_symlinks=False)


def files_below(folder: Path) -> dict[str, Path]:
    """Return the files and links below a folder by their path; no link is followed."""
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder):
        paths = [Path(parent) / name for name in (*folders, *names)]
        kept = (p for p in paths if p.is_symlink() or stat.S_ISREG(p.lstat().st_mode))
        found |= {p.relative_to(folder).as_posix(): p for p in kept}
    return dict(sorted(found.items()))


def digest(folder: Path, without: Collection[str] = ()) -> str:
    """Return a hash over path, content and mode of each file below a folder but those `without`."""
    total = hashlib.sha256()
    for path, file in files_below(folder).items():
        if path in without:
            continue
        if file.is_symlink():
            kind, content = "link", str(file.readlink()).encode()
        else:
            kind, content = "program" if file.stat().st_mode & 0o100 else "file", content_hash(file)
        total.update(f"{kind} {len(path)} {path} {len(content)} ".encode() + content)
    return total.hexdigest()


def content_hash(file: Path) -> bytes:
    """Return a hash of a file's content; a link is followed."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


# --- a run's tree -----------------------------------------------------------------------------------------------------


def plant(
    base: Path,
    tree: Path,
    files: Mapping[str, bytes],
    *,
    without: Collection[str] = (),
    programs: Collection[str] = (),
    links: Mapping[str, Path] | None = None,
) -> None:
    """Make a tree of the fixed files in `base` but those `without`, the candidate's `files`, links, and an empty out/.

    Of the candidate's files, those in `programs` can be executed.
    """
    for path, file in files_below(base).items():
        if path not in without:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tree / path, follow_symlinks=False)
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
        (tree / path).chmod(0o755 if path in programs else 0o644)
    for path, target in (links or {}).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).symlink_to(target)
    (tree / OUT).mkdir(parents=True, exist_ok=True)


def hand_over(out: Path, into: Path) -> None:
    """Copy what a run left in ./out to the judge's tree. Raises UnfitError for anything but files and folders.

    A link could lead the judge to the labels, and a pipe could make it wait for ever.
    """
    count = size = 0
    waiting = [out]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            entries = list(found)
        for entry in entries:
            name = Path(entry.path).relative_to(out)
            if entry.is_dir(follow_symlinks=False):
                (into / name).mkdir(parents=True, exist_ok=True)
                waiting.append(Path(entry.path))
                continue
            if not entry.is_file(follow_symlinks=False):
                raise UnfitError(f"{OUT}/{name} is neither a file nor a folder: links and pipes are not handed on")
            count, size = count + 1, size + entry.stat(follow_symlinks=False).st_size
            if count > OUT_FILES or size > OUT_BYTES:
                raise UnfitError(f"{OUT}/ holds over {OUT_FILES:,} files or {OUT_BYTES // 2**30} GB")
            shutil.copyfile(entry.path, into / name, follow_symlinks=False)


def empty(folder: Path) -> None:
    """Make a folder anew, whatever a command left in it or in its place."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    tidy(folder, ())
    folder.mkdir(parents=True, exist_ok=True)
