"""Commands of the benchmarks: names, tables, and the comparison of two files."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import cli, compare
from testbed.toy import ROOT

FOLDER = ROOT / "benchmarks"


PACKAGES = {p.parent.name: import_module(f"benchmarks.{p.parent.name}") for p in FOLDER.glob("[a-z]*/__init__.py")}
del PACKAGES["tests"]


@pytest.mark.parametrize("names", [benchmarks.NAMES, *(package.PARTS for package in PACKAGES.values())])
def test_names_are_in_order(names: dict[str, str]) -> None:
    assert list(names) == sorted(names)


def test_every_benchmark_has_a_name_a_line_in_the_readme_and_a_quick_form_that_is_tested() -> None:
    scripts = {p.stem for p in FOLDER.glob("*.py") if "def main(argv" in p.read_text()}
    assert scripts | PACKAGES.keys() == set(benchmarks.NAMES)
    readme, tested = (FOLDER / "README.md").read_text(), (FOLDER / "tests" / "test_quick.py").read_text()
    commands = [name for name in benchmarks.NAMES if name not in PACKAGES]
    commands += [f"{name} {part}" for name, package in PACKAGES.items() for part in package.PARTS]
    assert [command for command in commands if f"`{command}" not in readme] == []
    assert [command for command in commands if command != "compare" and f'"{command}' not in tested] == []


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_every_part_of_a_package_can_be_started(package: ModuleType) -> None:
    for part in package.PARTS:
        module, _, function = getattr(package, "WHERE", {}).get(part, part).partition(":")
        source = (FOLDER / package.__name__.rpartition(".")[2] / f"{module}.py").read_text()
        assert f"\ndef {function or 'main'}(argv" in source


def test_without_a_name_the_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.choose("python -m x", {"one": "first", "second": "other"}, [])
    assert ended.value.code == 0
    assert "  one     first\n  second  other\n" in capsys.readouterr().out


def test_an_unknown_name_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.choose("python -m x", {"one": "first"}, ["two"])
    assert ended.value.code == 2
    assert "there is no benchmark two" in capsys.readouterr().err


def test_tables() -> None:
    rows = [{"T": 256, "s": 0.123456}, {"T": 512, "mib": 1234.5678}]
    assert cli.table(rows).splitlines() == [
        "| T | s | mib |",
        "| --- | --- | --- |",
        "| 256 | 0.1235 |  |",
        "| 512 |  | 1235 |",
    ]


def test_two_files_are_compared_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seconds in (("old", 2.0), ("new", 1.0)):
        found = {"machine": "M4", "date": "d", "command": "c", "benchmark": "b", "rows": [{"T": 256, "s": seconds}]}
        (tmp_path / name).write_text(json.dumps(found))
    assert compare.main([str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    assert "| T=256 | s | 2 | 1 | 0.5 |" in capsys.readouterr().out


def test_files_of_two_benchmarks_do_not_compare() -> None:
    with pytest.raises(ValueError, match="two benchmarks: a and b"):
        compare.compare({"benchmark": "a"}, {"benchmark": "b"})
