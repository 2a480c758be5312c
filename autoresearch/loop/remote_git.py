"""Take files out of somebody's git repository: of its newest commit, and without checking it out.

A checkout runs the filters that .gitattributes names (Git LFS asks servers of the repository's choice), makes links,
and unpacks trees that are far larger than what was sent. Here two folders are listed, and single files are read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autoresearch.record import gitcall

SETTINGS = {"protocol.ext.allow": "never", "http.lowSpeedLimit": "1000", "http.lowSpeedTime": "20"}
FILE_MODES = ("100644", "100755")

Choose = Callable[[Sequence[tuple[str, int]]], list[str]]  # names to take, of files as (name, bytes)


def update(folder: Path, address: str, subfolder: str, choose: Choose, refuse: Callable[[str, str], None]) -> None:
    """Bring folder/files up to date with what `choose` takes of the top and of `subfolder` of a repository.

    What is not a file is told to `refuse` with its kind. Raises GitError, and then folder/files is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def git(*args: str) -> bytes:
        return gitcall.call(folder, args, settings=SETTINGS).raw

    if not (folder / ".git").is_dir():
        git("init", "--quiet")
    git("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", address, "HEAD")
    listed = git("ls-tree", "-lz", "FETCH_HEAD") + git("ls-tree", "-lz", "FETCH_HEAD", f"{subfolder}/")
    found: dict[str, tuple[str, int]] = {}
    for mode, sha, size, name in _entries(listed):
        if mode in FILE_MODES:
            found[name] = sha, int(size)
        elif mode in ("120000", "160000"):
            refuse(name, "a link" if mode == "120000" else "a submodule")
    chosen = choose([(name, size) for name, (_, size) in found.items()])
    new = folder / "new"
    shutil.rmtree(new, ignore_errors=True)
    (new / subfolder).mkdir(parents=True)
    for name in chosen:
        (new / name).write_bytes(git("cat-file", "blob", found[name][0]))
    shutil.rmtree(folder / "files", ignore_errors=True)
    new.rename(folder / "files")


def _entries(listed: bytes) -> Iterator[tuple[str, str, str, str]]:
    """Yield mode, hash, size and name of each line of `git ls-tree -lz`."""
    for line in listed.decode("utf-8", "replace").split("\0")[:-1]:
        head, _, name = line.partition("\t")
        mode, _, sha, size = head.split()
        yield mode, sha, size, name
