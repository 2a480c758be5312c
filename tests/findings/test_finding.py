"""A finding as it is shared: how a machine is told, and which way an effect points."""

from __future__ import annotations

import pytest

from autoresearch.findings.finding import Effect, SharedMachine, SharedMetric
from autoresearch.metrics import VAL_BPB, Metric
from testbed.bundles import BUNDLE


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (
            SharedMachine("Apple M4", os="macOS 26.2", gpu_cores=10, memory_gb=16),
            "Apple M4, 10 GPU cores, 16 GB, macOS 26.2",
        ),
        (SharedMachine("Xeon", cpu_cores=16), "Xeon, 16 CPU cores"),
        (SharedMachine("unknown"), "unknown"),
    ],
)
def test_a_machine_is_told_by_what_is_known_of_it(machine: SharedMachine, told: str) -> None:
    assert machine.describe() == told


@pytest.mark.parametrize(
    ("effect", "direction"),
    [(Effect(0.1, 0.05, 0.2), 1), (Effect(-0.1, -0.2, -0.05), -1), (Effect(0.1, -0.05, 0.2), 0), (Effect(0.1), None)],
)
def test_an_effect_has_a_direction_where_its_interval_excludes_zero(effect: Effect, direction: int | None) -> None:
    assert effect.direction == direction


def test_the_cost_is_a_run_that_was_measured() -> None:
    kept = BUNDLE.findings[-1]
    assert kept.cost is not None and kept.cost.tok_s and kept.cost.peak_memory_mb


def test_a_metric_survives_the_file() -> None:
    metric = Metric(name="accuracy", unit="", direction="higher", decimals=None, trust="reported")
    assert SharedMetric.of(metric).metric == metric and SharedMetric().metric == VAL_BPB
