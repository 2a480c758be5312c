"""Which kind of scatter the runs show, and how many runs it takes."""

import pytest

from autoresearch.decide.kinds import RunsNeeded, observed, runs_needed
from autoresearch.decide.noise import Noise
from autoresearch.metrics import Metric, Scatter


@pytest.mark.parametrize(
    ("declared", "groups", "shown"),
    [
        ("noisy", [], "noisy"),
        ("noisy", [[1.0, 1.0]], "noisy"),
        ("noisy", [[1.0, 1.0, 1.0]], "exact"),
        ("noisy", [[1.0, 1.0, 1.0], [0.9, 0.8]], "noisy"),
        ("exact", [], "exact"),
        ("exact", [[0.1 + 0.2, 0.3]], "exact"),
        ("exact", [[1.0, 1.001]], "noisy"),
        ("counts", [[1.0, 1.0, 1.0]], "counts"),
    ],
)
def test_the_runs_have_the_last_word(declared: Scatter, groups: list[list[float]], shown: Scatter) -> None:
    assert observed(Metric(scatter=declared), groups).scatter == shown


@pytest.mark.parametrize(
    ("scatter", "prior", "needed"),
    [
        ("noisy", None, RunsNeeded(3, 2, 5)),
        ("noisy", Noise(0.01, 3.0), RunsNeeded(3, 2, 5)),
        ("noisy", Noise(0.01, 4.0), RunsNeeded(2, 2, 5)),
        ("counts", None, RunsNeeded(2, 2, 5)),
        ("exact", None, RunsNeeded(2, 0, 1, reruns=False)),
    ],
)
def test_an_exact_metric_is_run_once(scatter: Scatter, prior: Noise | None, needed: RunsNeeded) -> None:
    assert runs_needed(Metric(scatter=scatter), prior) == needed
