"""The examples' folders for tests and benchmarks: copied, changed by a text in the form of a reply, and measured."""

from __future__ import annotations

import json
import re
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
SHORTER = {  # example -> (file, text, text in its place)
    "sql": [("data.py", "200_000", "20_000")],
    "tests": [
        ("task.toml", "repeats = 2", "repeats = 1"),
        ("suite/conftest.py", "CATALOGUE_ITEMS = 6_000", "CATALOGUE_ITEMS = 300"),
        ("suite/conftest.py", "PASSWORD_ROUNDS = 80_000", "PASSWORD_ROUNDS = 400"),
        ("suite/conftest.py", "PAUSE_S = 0.04", "PAUSE_S = 0.01"),
        ("suite/helpers.py", "POLL_S = 0.2", "POLL_S = 0.02"),
    ],
}
ABOUT = re.compile(r"^(SOURCE|CLAIM): .+\n", re.MULTILINE)
MADE = ("data", "out", ".autoresearch", "__pycache__")  # what a folder holds beside its files


def copied(name: str, into: Path) -> Path:
    """Copy an example's files into a folder and return the copy."""
    return Path(shutil.copytree(EXAMPLES / name, into / name, ignore=shutil.ignore_patterns(*MADE)))


def shrink(folder: Path) -> None:
    """Make a copy's data small and its waits short, and let it be judged where Lighthouse is not installed."""
    if folder.name == "lighthouse":
        (folder / "data.py").write_text("")
    for path, old, new in SHORTER.get(folder.name, ()):
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))


def edited(folder: Path) -> list[str]:
    """Return the files that an example's experiments change, the main one first."""
    return list(tomllib.loads((folder / "task.toml").read_text())["edit"])


def source(folder: Path) -> str:
    """Return the source of an example's folder."""
    return pack.pack({path: (folder / path).read_text() for path in edited(folder)})


def idea(path: Path) -> str:
    """Return an idea's text without the lines that say where it comes from."""
    return ABOUT.sub("", path.read_text())


def changed(source: str, text: str) -> str:
    """Return a source with the edits of a reply. Raises EditError."""
    return edits.apply(source, replies.parse(text, files=tuple(pack.unpack(source))).edits)


def write(folder: Path, source: str) -> None:
    """Write a source's files into an example's folder."""
    for path, text in pack.unpack(source).items():
        (folder / path).write_text(text)


def judged(folder: Path) -> dict[str, object] | str:
    """Do by hand what a run does, and return what the judge printed; else what was refused, with its reason."""
    declared = tomllib.loads((folder / "task.toml").read_text())
    guards = [guard["run"] for guard in declared.get("guard", ())]
    printed = ""
    for command in [declared.get("prepare"), *guards, declared.get("run"), declared.get("score")]:
        if command:
            words = [sys.executable if word == "python" else word for word in shlex.split(command)]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return f"{command}: {done.stderr}"
            printed = done.stdout
    return json.loads(printed) if "score" in declared else {}
