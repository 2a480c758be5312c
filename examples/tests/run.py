"""Run the suite on a copy of the shop into which the run's seed has planted about half of the known bugs.

A suite that still tests finds exactly the bugs that are there. judge.py, which knows which tests must fail, judges
out/junit.xml; the wall time of this process is the metric.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from pathlib import Path


def planted(bugs: list[dict[str, str]], seed: int) -> list[dict[str, str]]:
    """Return the bugs that a seed plants: in half of the functions one of the function's bugs, in the others none."""
    functions: dict[str, list[dict[str, str]]] = {}
    for bug in bugs:
        functions.setdefault(bug["function"], []).append(bug)
    draws = {name: random.Random(f"{seed} {name}") for name in functions}
    return [draws[name].choice(known) for name, known in functions.items() if draws[name].random() < 0.5]


def plant(bugs: list[dict[str, str]], folder: Path) -> None:
    for bug in bugs:
        path = folder / bug["file"]
        text = path.read_text()
        if text.count(bug["old"]) != 1:
            raise ValueError(f"{bug['name']}: {bug['old']!r} stands {text.count(bug['old'])} times in {bug['file']}")
        path.write_text(text.replace(bug["old"], bug["new"]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the suite on a copy of the shop with bugs.")
    parser.add_argument("--bugs", default="bugs.json")
    bugs = json.loads(Path(parser.parse_args().bugs).read_text())
    out = Path("out").resolve()
    shutil.copytree("shop", out / "shop", dirs_exist_ok=True)
    plant(planted(bugs, int(os.environ.get("AUTORESEARCH_SEED", "0"))), out)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.pycache_prefix = str(out / "bytecode")  # a cached module could be another version's
    sys.path.insert(0, str(out))

    import pytest

    code = pytest.main(["-c", "pytest.ini", "--junitxml", str(out / "junit.xml"), "suite"])
    return 0 if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else 1


if __name__ == "__main__":
    raise SystemExit(main())
