from __future__ import annotations

import math

import pytest

from autoresearch.tasks.command.declaration import read
from autoresearch.tasks.command.keys import metric_of, split_source


def metric_text(lines: str) -> str:
    return f'edit = ["a"]\nrun = "true"\n[metric]\nname = "m"\n{lines}\n'


@pytest.mark.parametrize(
    ("lines", "trust", "scatter", "unit"),
    [
        ('from = "wall"', "clocked", "noisy", "s"),
        ('from = "peak_rss"\nunit = "MiB"', "clocked", "noisy", "MiB"),
        ('from = "size:a"\nmin_gain = 1', "clocked", "exact", "bytes"),
        ('from = "run:line:m"', "reported", "noisy", ""),
        ('from = "run:line:m"\nscatter = "exact"\nmin_gain = 1', "reported", "exact", ""),
    ],
)
def test_a_source_tells_trust_scatter_and_unit(lines: str, trust: str, scatter: str, unit: str) -> None:
    metric = metric_of(read(metric_text(lines)))
    assert (metric.trust, metric.scatter, metric.unit) == (trust, scatter, unit)


@pytest.mark.parametrize(("direction", "gain"), [("lower", -math.log(0.99)), ("higher", math.log(1.01))])
def test_a_least_gain_on_a_log_scale_is_a_share_of_the_value(direction: str, gain: float) -> None:
    lines = f'from = "wall"\nscale = "log"\nmin_gain = 0.01\ndirection = "{direction}"'
    metric = metric_of(read(metric_text(lines)))
    assert metric.min_gain == pytest.approx(gain)
    assert metric.size(metric.min_gain) == "1.0%"


@pytest.mark.parametrize(
    "text", ["", "score:json:", "walls", "run:regex:(", "run:regex:a", "run:regex:(a)(b)", "size:"]
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_source(text)
