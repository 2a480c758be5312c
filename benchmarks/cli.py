"""Parse the benchmarks' commands and print their tables."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib import import_module
from importlib.metadata import version
from itertools import groupby
from typing import Any

from autoresearch.system import machine, process
from testbed.toy import ROOT

Row = Mapping[str, Any]
SubCommand = Callable[[Sequence[str]], int]


def choose(command: str, names: Mapping[str, str], argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name that `argv` begins with, and the arguments after it.

    Without a name, print `names` with their meanings and exit with code 0; after an unknown one, with code 2.
    """
    if argv and argv[0] in names:
        return argv[0], argv[1:]
    asked_for_help = not argv or argv[0] in ("-h", "--help")
    if not asked_for_help:
        print(f"error: there is no benchmark {argv[0]}", file=sys.stderr)
    width = max(map(len, names))
    print(f"usage: {command} NAME [options]\n")
    print("\n".join(f"  {name:{width}}  {meaning}" for name, meaning in names.items()))
    print(f"\nOptions of one: {command} NAME --help. --quick takes seconds and checks that it runs.")
    raise SystemExit(0 if asked_for_help else 2)


def run_one(name: str, commands: Mapping[str, SubCommand], argv: Sequence[str]) -> int:
    """Run the part of a benchmark that `argv` begins with; the first lines of docstrings are the parts' meanings."""
    meanings = {part: (command.__doc__ or "").partition("\n")[0].rstrip(".") for part, command in commands.items()}
    part, rest = choose(f"python -m benchmarks {name}", meanings, argv)
    return commands[part](rest)


def run_module(
    package: str, names: Mapping[str, str], argv: Sequence[str], where: Mapping[str, str] | None = None
) -> int:
    """Run the benchmark in `package` that `argv` begins with; `names` gives meanings.

    `where` names its function as "module:function"; else that is `main` in the module of its name. A package has PARTS,
    names with their meanings, of which the next word of `argv` is one, and may have WHERE for them.
    """
    name, rest = choose(f"python -m {package.replace('.', ' ')}", names, argv)
    module, _, function = (where or {}).get(name, name).partition(":")
    found = import_module(f"{package}.{module}")
    if hasattr(found, "PARTS"):
        return run_module(found.__name__, found.PARTS, rest, getattr(found, "WHERE", None))
    code: int = getattr(found, function or "main")(rest)
    return code


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that every benchmark has; the docstring is its help."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="seconds instead of minutes: checks that it runs")
    made.set_defaults(benchmark=name)
    return made


def command_line() -> str:
    """Return the command that runs now, as it can be typed again."""
    return f"python -m benchmarks {shlex.join(sys.argv[1:])}"


def setting() -> dict[str, str]:
    """Return what a reader needs beside a number: machine, versions, load, date and command."""
    commit = process.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=False).stdout.strip()
    return {
        "machine": machine.facts().describe(),
        "mlx": version("mlx"),
        "load": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end",
        "date": str(date.today()),
        "source": commit,
        "command": command_line(),
    }


def cell(value: Any) -> str:
    """Format a table's value with at most four significant digits: 1234.5678 -> "1235", 0.123456 -> "0.1235"."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table, with columns in the order in which they first appear."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns), *([cell(row.get(column)) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(rows: Sequence[Row], args: argparse.Namespace, **facts: str) -> int:
    """Print the rows below the setting, write them to `args.json` if that is set, and return 0.

    Rows with different first columns become tables of their own.
    """
    found = {**setting(), **facts}
    print("\n".join(f"{key}: {value}" for key, value in found.items()), end="\n\n")
    print("\n\n".join(table(list(same)) for _, same in groupby(rows, key=lambda row: next(iter(row)))))
    if args.json:
        args.json.write_text(json.dumps({"benchmark": args.benchmark, **found, "rows": list(rows)}, indent=1))
    return 0
