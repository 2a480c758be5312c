"""What each child of the harness is given: seen by a program that stands in its place and writes it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoresearch.measure.launch import start
from autoresearch.measure.workbench import RunSpec
from autoresearch.system.connection import connection
from autoresearch.system.sandbox import Unconfined
from testbed.toy import HONEST, toy_bench

CHILD = """\
import json, os, sys
wires = {k: os.fstat(int(v)).st_size for k, v in os.environ.items() if k.startswith("AUTORESEARCH_WIRE")}
facts = {k: os.environ[k] for k in ("HOME", "TMPDIR", "AUTORESEARCH_SEED")}
found = {"argv": sys.argv[1:], "cwd": os.getcwd(), "input": sys.stdin.read(), "wires": sorted(wires), **facts}
print(json.dumps(found))
"""


def said(spec: RunSpec, name: str, log: str | None = None, **options: Any) -> dict[str, Any]:
    child, _ = start(spec, name, log=log, **options)
    with child:
        assert child.wait(60) == 0
    found: dict[str, Any] = json.loads((spec.folder / f"{log or name}.log").read_text())
    return found


@pytest.fixture
def spec(toy_data: Path, tmp_path: Path) -> RunSpec:
    program = tmp_path / "harness.py"
    program.write_text(CHILD)
    bench = toy_bench(toy_data, sandbox=Unconfined())
    made = RunSpec.of(type(bench)((program,), bench.data, 1.0, Unconfined()), HONEST, tmp_path / "run", seed=7)
    (made.folder / "home").mkdir(parents=True)
    return made


def test_the_judge_is_not_given_the_candidate(spec: RunSpec, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.write_text("the rows")
    with connection(4096) as (a, _), connection(4096) as (b, _):
        found = said(spec, "judge", stdin=rows, home=spec.folder / "home", wires=[a, b])
    assert found["argv"] == ["judge", str(spec.folder), "--seed", "7"] and str(HONEST) not in json.dumps(found)
    assert found["input"] == "the rows" and len(found["wires"]) == 6
    assert found["HOME"] == found["cwd"] == str(spec.folder / "home")


def test_the_model_s_process_is_given_the_candidate_and_no_rows(spec: RunSpec) -> None:
    with connection(4096) as (_, end):
        found = said(spec, "model", log="probe", options=["--rows", "1"], wires=[end])
    options = ["--seed", "7", "--rows", "1", "--source", str(HONEST), "--sha256", spec.sha256]
    assert found["argv"] == ["model", str(spec.folder), *options]
    assert found["input"] == "" and len(found["wires"]) == 3 and found["AUTORESEARCH_SEED"] == "7"
