"""Every module has its test file, and every test file its module."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from testbed.toy import ROOT

TESTS, PACKAGE = ROOT / "tests", ROOT / "autoresearch"
FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))
MODULES = sorted(
    [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    + [Path(name) for name in ("loop", "prepare", "program", "train_mlx")]
)
ABOUT_THE_TREE = {Path(f"test_{name}.py") for name in ("docs", "examples", "layers", "modules")}


def files_of(module: Path) -> list[Path]:
    """Return the test files of a module: record/git -> record/test_git.py and record/test_git_ASPECT.py."""
    name = f"test_{module.name}"
    return [f for f in FILES if f.parent == module.parent and (f.stem == name or f.stem.startswith(f"{name}_"))]


def too_long(paths: Iterable[Path], most: int) -> list[Path]:
    return [path for path in paths if len(path.read_text().splitlines()) > most]


def test_every_module_has_a_test_file() -> None:
    assert [module for module in MODULES if not files_of(module)] == []


def test_every_test_file_is_of_a_module() -> None:
    of_modules = {file for file in FILES if file.parts[0] != "examples"}  # those are of the folders in examples/
    assert of_modules == {file for module in MODULES for file in files_of(module)} | ABOUT_THE_TREE


def test_no_file_is_longer_than_can_be_read() -> None:
    assert too_long(PACKAGE.rglob("*.py"), 350) == []
    assert too_long(TESTS.rglob("test_*.py"), 400) == []


def test_a_class_or_type_has_a_name_of_its_own() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [target.id for target in targets if isinstance(target, ast.Name) and not target.id.isupper()]
            names += [node.name] if isinstance(node, ast.ClassDef) else []
            for name in names:
                if name[0].isupper():
                    found[name].append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


@pytest.mark.slow
def test_a_function_that_is_imported_by_its_bare_name_has_that_name_alone() -> None:
    """Functions of one name in several modules are called by their module's: journal.read(), bundle.read()."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
            if module[:1] == [PACKAGE.name] and ROOT.joinpath(*module).with_suffix(".py").is_file():
                for alias in node.names:
                    found[alias.asname or alias.name].add(".".join(module))
    assert {name: modules for name, modules in found.items() if name.islower() and len(modules) > 1} == {}
