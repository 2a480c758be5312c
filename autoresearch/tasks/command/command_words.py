"""Tell from a command's words which files it names, and which of them it runs. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatch
from pathlib import PurePosixPath

from autoresearch.tasks.command.keys import words

PYTHON = ("python", "python3")  # the Python that runs the loop

CODE = (".py", ".js", ".mjs", ".cjs", ".ts", ".sh", ".bash", ".rb", ".pl", ".php", ".lua", ".r", ".jl")
READERS = ("grep", "cat", "wc", "diff", "cmp", "test", "head", "tail", "jq", "sed", "awk", "sort")  # run no file

# What a program runs although no word names it: build files, and the code that a test runner finds.
FINDS = {
    "make": ("Makefile", "makefile", "GNUmakefile"),
    "just": ("justfile", "Justfile", ".justfile"),
    "rake": ("Rakefile",),
    "pytest": ("*.py", "pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini"),
    "unittest": ("*.py",),
    "tox": ("*.py", "tox.ini", "pyproject.toml", "setup.cfg"),
    "npm": ("*.js", "*.mjs", "*.cjs", "*.ts", "package.json"),
    "cargo": ("*.rs", "Cargo.toml"),
    "go": ("*.go", "go.mod"),
}
FINDS |= dict.fromkeys(("npx", "yarn", "pnpm", "bun", "deno", "jest", "vitest", "mocha"), FINDS["npm"])
FINDS |= dict.fromkeys(("py.test", "nox"), FINDS["pytest"])


def named_files(command: str, files: Collection[str]) -> list[str]:
    """Return the files that a command's words name, a module after -m as well.

    >>> named_files("python -I ./score.py --db=data/a.db", {"score.py", "data/a.db", "b"})
    ['score.py', 'data/a.db']
    """
    found, before = [], ""
    for word in words(command):
        candidates = [word.removeprefix("./"), word.partition("=")[2].removeprefix("./")]
        if before == "-m":
            module = word.replace(".", "/")
            candidates += [f"{module}.py", f"{module}/__main__.py", f"{module}/__init__.py"]
        found += [path for path in candidates if path in files]
        before = word
    return found


def programs(command: str, files: Collection[str]) -> list[str]:
    """Return the files that a command runs, and does not only read.

    >>> programs("env -i python -W ignore score.py query.sql", {"score.py", "query.sql"})
    ['score.py']

    These are the program, the first file of code that it is given, a module's files, and what a program finds by
    itself. Of a shell's text every file counts.
    """
    found = words(command)
    return [] if found[0] in READERS else list(dict.fromkeys(_run_by(found, files)))


def _run_by(found: list[str], files: Collection[str]) -> Iterator[str]:
    given = ""  # the ending of a file that is loaded before the one that is run: node --require hook.js judge.js
    for i, word in enumerate(found):
        name, before = word.removeprefix("./"), found[i - 1] if i else ""
        yield from _found_by(PurePosixPath(word).name, files)
        if before == "-m" and any(PurePosixPath(one).name.startswith("python") for one in found[:i]):
            yield from named_files(f"python -m {word}", files)
            return
        ending = PurePosixPath(name).suffix
        if name in files and given in ("", ending) and (i == 0 or before in PYTHON or ending.lower() in CODE):
            yield name
            if not before.startswith("-") or found[0] in PYTHON:
                return  # what follows is given to it
            given = ending
        elif re.search(r"\s", word):
            yield from (path for path in files if re.search(rf"(?<![\w.-]){re.escape(path)}(?![\w.-])", word))


def _found_by(program: str, files: Collection[str]) -> list[str]:
    return [path for path in files if any(fnmatch(PurePosixPath(path).name, end) for end in FINDS.get(program, ()))]


def script_of(command: str) -> str | None:
    """Return the script that a Python command runs, None for another command: "python -I a/b.py x" -> "a/b.py"."""
    first, *rest = words(command)
    if first not in PYTHON:
        return None
    script = next((word for word in rest if not word.startswith("-")), None)
    return script.removeprefix("./") if script and script.endswith(".py") else None
