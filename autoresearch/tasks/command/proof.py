"""Check from inside the sandbox that a run can read no hidden file and change nothing outside of ./out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from autoresearch import jsonable
from autoresearch.errors import SandboxError
from autoresearch.system.sandbox import Unconfined
from autoresearch.tasks.command import tree
from autoresearch.tasks.command.base import Base
from autoresearch.tasks.command.confined import Call, Ended, execute
from autoresearch.tasks.command.phases import Bench

MOST = 200  # hidden files that are looked for
TELLING_BYTES = 16  # of the smallest file whose copy tells something

_LOOK = """\
import json, sys
seen, changed = [], []
for path in json.load(open("look.json"))["hidden"]:
    try:
        open(path, "rb").read(1)
        seen.append(path)
    except OSError:
        pass
for path in json.load(open("look.json"))["fixed"]:
    try:
        open(path, "ab").close()
        changed.append(path)
    except OSError:
        pass
open("out/written", "w").close()
print(json.dumps([seen, changed]))
"""


def readable(bench: Bench, base: Base, folder: Path, scratch: Path) -> dict[str, list[str]]:
    """Return the paths at which a run could read each hidden file; at most MOST files are tried."""
    seen, _ = _look(bench, base, folder, scratch)
    return {path: [place for place in _places(path, base, folder) if place in seen] for path in _hidden(base)}


def copies(base: Base) -> dict[str, str]:
    """Return the hidden files whose content a run can read in another file, with that file; a link is what it names."""
    files = tree.files_below(base.folder)
    shown = {path: file for path, file in files.items() if path not in base.hidden and not file.is_symlink()}
    known = {key: path for path, file in shown.items() if (key := _telling(file)) is not None}
    found = {path: known[key] for path in base.hidden if (key := _telling(files[path])) in known and key is not None}
    for path in base.hidden:  # of a hidden link to a folder, what is in there
        target = files[path].resolve()
        if target.is_dir() and (within := [name for name, file in shown.items() if file.is_relative_to(target)]):
            found[path] = within[0]
    return found


def _telling(file: Path) -> bytes | None:
    """Return a hash of what a file or a link holds, None where that is too short to tell something."""
    return tree.content_hash(file) if file.is_file() and file.stat().st_size >= TELLING_BYTES else None


def prove(bench: Bench, base: Base, folder: Path, state: Path) -> None:
    """Raise SandboxError where a run can read what is hidden from it, or change what it may only read."""
    if isinstance(bench.confinement.sandbox, Unconfined):
        return
    seen, changed = _look(bench, base, folder, state / "proof")
    if wrong := [*(f"{path} can be read" for path in seen), *(f"{path} can be written" for path in changed)]:
        name = bench.confinement.sandbox.name
        raise SandboxError(f"{name} does not confine as it should: {wrong[0]}. To run without it: --no-sandbox")


def _look(bench: Bench, base: Base, folder: Path, scratch: Path) -> tuple[list[str], list[str]]:
    """Return what a run could read of the hidden files, and what it could write of the others."""
    tree.empty(scratch)
    planted = scratch / "tree"
    tree.plant(bench.base, planted, base.edited, without=bench.hidden, links=bench.links)
    places = [place for path in _hidden(base) for place in _places(path, base, folder)]
    fixed = [str(folder / "task.toml"), str(bench.base / "task.toml"), "task.toml", next(iter(base.edited))]
    (planted / "look.json").write_bytes(json.dumps({"hidden": places, "fixed": fixed}).encode())
    order = Call(
        argv=[sys.executable, "-c", _LOOK],
        cwd=planted,
        scratch=scratch / "tmp",
        log=scratch / "look.log",
        limit_s=60,
        write=(planted / tree.OUT,),
        env={"PYTHONSAFEPATH": ""},
    )
    ended = execute(order, bench.confinement)
    seen, changed = _answer(ended)
    tree.empty(scratch)
    scratch.rmdir()
    return seen, changed


def _answer(ended: Ended) -> tuple[list[str], list[str]]:
    try:
        return jsonable.from_json(tuple[list[str], list[str]], ended.printed)
    except jsonable.MalformedError:
        raise SandboxError(f"a run does not work in the sandbox: it {ended.how}\n{ended.detail}") from None


def _hidden(base: Base) -> list[str]:
    return sorted(base.hidden)[:MOST]


def _places(path: str, base: Base, folder: Path) -> list[str]:
    return [path, str(folder / path), str(base.folder / path)]
