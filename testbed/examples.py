"""The examples' folders for tests and benchmarks: copied, changed by a text in the form of a reply, and measured."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from autoresearch.candidate import edits, pack
from autoresearch.search.llm import replies
from testbed.toy import ROOT

EXAMPLES = ROOT / "examples"
FORGERIES = ROOT / "testbed" / "forgeries"
MADE = ("data", "out", ".autoresearch", "__pycache__")  # what a folder holds beside its files


def copied(name: str, into: Path) -> Path:
    """Copy an example's files into a folder and return the copy."""
    return Path(shutil.copytree(EXAMPLES / name, into / name, ignore=shutil.ignore_patterns(*MADE)))


def edited(folder: Path) -> list[str]:
    """Return the files that an example's experiments change, the main one first."""
    return list(tomllib.loads((folder / "task.toml").read_text())["edit"])


def source(folder: Path) -> str:
    """Return the source of an example's folder."""
    return pack.pack({path: (folder / path).read_text() for path in edited(folder)})


def changed(source: str, text: str) -> str:
    """Return a source with the edits of a reply. Raises EditError."""
    return edits.apply(source, replies.parse(text, files=tuple(pack.unpack(source))).edits)


def write(folder: Path, source: str) -> None:
    """Write a source's files into an example's folder."""
    for path, text in pack.unpack(source).items():
        (folder / path).write_text(text)


def by_hand(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run one of the commands of an example's task.toml in its folder, as a person would: by_hand(folder, "score")."""
    declared = tomllib.loads((folder / "task.toml").read_text())
    command = declared["guard"][0]["run"] if name == "guard" else declared[name]
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
