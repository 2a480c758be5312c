"""Imports between the package's rooms run downward, and tests and benchmarks do not import each other."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from testbed.toy import ROOT

pytestmark = pytest.mark.slow

PACKAGE = ROOT / "autoresearch"
# A room may import the rooms after it.
ROOMS = (
    "loop",
    "fleet",
    "serve",
    "report",
    "findings",
    "tasks",
    "measure",
    "decide",
    "search",
    "record",
    "candidate",
    "system",
    "leaf",
)
PEERS = ({"decide", "search"}, {"search", "record"}, {"candidate", "system"})  # these do not import each other


def room(module: str) -> str:
    """Return the room of a module: "autoresearch.system.process" -> "system", "autoresearch.errors" -> "leaf"."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "leaf"


@cache
def imports(path: Path) -> list[str]:
    """Return the names that a file imports anywhere in it: "from a.b import c" -> "a.b.c"."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def test_rooms_import_downward() -> None:
    wrong = set()
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(ROOT).with_suffix("")
        here = room(".".join(module.parts))
        for name in imports(path):
            there = room(name)
            if name.startswith("autoresearch") and (ROOMS.index(there) < ROOMS.index(here) or {here, there} in PEERS):
                wrong.add(f"{module} -> {there}")
    assert not wrong


def test_tests_and_benchmarks_do_not_import_each_other() -> None:
    """Both use testbed/, which imports neither of them."""
    forbidden = {"tests": {"benchmarks"}, "benchmarks": {"tests"}, "testbed": {"tests", "benchmarks"}}
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder, others in forbidden.items()
        for path in (ROOT / folder).rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] in others
    }
    assert not wrong


def test_a_test_file_imports_no_other() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] == "tests"
    }
    assert not wrong


def test_no_test_changes_where_imports_are_looked_for() -> None:
    lines = {
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("tests", "testbed")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.lstrip().startswith("sys.path")
    }
    assert not lines
