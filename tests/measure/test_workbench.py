"""The conditions of a night's runs, and one run on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil

from autoresearch.measure.workbench import RunSpec
from testbed.toy import HONEST, toy_bench


def test_a_child_may_hold_nine_tenths_of_the_memory(toy_data: Path) -> None:
    bench = toy_bench(toy_data)
    assert bench.memory_limit == int(0.9 * psutil.virtual_memory().total)
    assert replace(bench, budget_s=2.0).memory_limit == bench.memory_limit


def test_a_run_is_of_the_source_as_it_was(toy_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "train_mlx.py"
    source.write_bytes(HONEST.read_bytes())
    spec, same = (RunSpec.of(toy_bench(toy_data), path, tmp_path / "run", 1) for path in (source, HONEST))
    assert spec.sha256 == same.sha256
    source.write_text("another = 1\n")
    assert RunSpec.of(spec.bench, source, spec.folder, 1).sha256 != spec.sha256
