from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.jsonable import from_plain
from autoresearch.metrics import VAL_BPB, Metric

TIME = Metric(name="p50_ms", unit="ms", scale="log", decimals=None)
ACCURACY = Metric(name="accuracy", unit="", direction="higher", decimals=None)
RATE = Metric(name="requests", unit="/s", direction="higher", scale="log", decimals=None)


@given(st.floats(1e-6, 1e6))
def test_a_score_gives_its_value_back_and_lower_is_better(value: float) -> None:
    for metric in (VAL_BPB, TIME, ACCURACY, RATE):
        assert metric.value(metric.score(value)) == pytest.approx(value)
        better = 0.9 * value if metric.direction == "lower" else 1.1 * value
        assert metric.score(better) < metric.score(value)


@pytest.mark.parametrize(
    ("metric", "value"),
    [(VAL_BPB, math.nan), (ACCURACY, math.inf), (TIME, 0.0), (RATE, -1.0), (VAL_BPB, 1e300)],
)
def test_a_value_without_a_score_is_refused(metric: Metric, value: float) -> None:
    with pytest.raises(ValueError, match="has no score"):
        metric.score(value)


def test_no_value_is_a_negative_zero() -> None:
    for value in (0.0, -0.0, 1e-300, -1e-300):
        assert ACCURACY.text(ACCURACY.score(value)) == "accuracy 0" and math.copysign(1, ACCURACY.score(0.0)) == 1


def test_values_are_written_with_name_and_unit() -> None:
    assert VAL_BPB.text(1.5) == "val_bpb 1.500000"
    assert TIME.text(math.log(12.5)) == "p50_ms 12.5 ms"
    assert ACCURACY.text(-0.91) == "accuracy 0.91"


def test_differences_are_ratios_on_a_log_scale() -> None:
    assert VAL_BPB.size(-0.021) == "0.0210 bpb" and VAL_BPB.signed(-0.021) == "-0.0210 bpb"
    assert TIME.signed(math.log(2)) == "+50.0%", "half of the time is saved"
    assert RATE.signed(math.log(2)) == "+100.0%", "twice the throughput"
    assert ACCURACY.signed(0.02) == "+0.02"
    assert (TIME.signed(-0.0645), TIME.sided(-0.0645)) == ("-6.7%", "6.7% worse"), "a loss has one size"
    assert VAL_BPB.sided(0.021) == "0.0210 bpb better"


def test_a_metric_reads_back_as_it_was_written() -> None:
    for metric in (VAL_BPB, Metric(name="p50", unit="ms", scale="log"), Metric(name="f1", unit="", decimals=2)):
        assert from_plain(Metric, metric) == metric  # None is left out when written, and is the default
