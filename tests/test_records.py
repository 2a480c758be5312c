"""Records are frozen data; a measurement knows whether it ended, and whether the early stop was for it."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from autoresearch import records
from autoresearch.records import CATEGORIES, Failure, Measurement, Proposal

CLASSES = [c for _, c in inspect.getmembers(records, dataclasses.is_dataclass) if c.__module__ == records.__name__]


@pytest.mark.parametrize("record", CLASSES, ids=lambda c: c.__name__)
def test_records_are_frozen(record: type) -> None:
    assert record.__dataclass_params__.frozen
    assert not hasattr(record, "__dict__") or "__slots__" in vars(record)


def test_categories_are_words_without_repeats_and_end_with_other() -> None:
    assert len(set(CATEGORIES)) == len(CATEGORIES) and CATEGORIES[-1] == "other"
    assert all(category.isidentifier() and category.islower() for category in CATEGORIES)


@pytest.mark.parametrize(
    ("measurement", "ok", "past_limit", "stopped"),
    [
        (Measurement(1, 1.5), True, False, False),
        (Measurement(1, failure=Failure("memory", "held 9 GB")), False, False, False),
        (Measurement(1, behind_nats=0.3, stop_limit_nats=0.2), False, True, True),
        (Measurement(1, 1.5, behind_nats=0.3, stop_limit_nats=0.2), True, True, False),  # ran on as a sample
        (Measurement(1, failure=Failure("diverged", "nan"), behind_nats=0.3, stop_limit_nats=0.2), False, True, False),
        (Measurement(1, 1.5, behind_nats=0.1, stop_limit_nats=0.2), True, False, False),
        (Measurement(1, 1.5, behind_nats=0.3), True, False, False),  # the early stop was off
    ],
)
def test_how_a_run_ended(measurement: Measurement, ok: bool, past_limit: bool, stopped: bool) -> None:
    assert (measurement.ok, measurement.past_limit, measurement.stopped) == (ok, past_limit, stopped)


def test_what_was_not_measured_is_none() -> None:
    empty = Measurement(seed=1)
    empty_at_first = ("seed", "total_s", "seconds", "loss_curve", "figures", "cases", "beside")
    given = {f.name for f in dataclasses.fields(empty) if f.name not in empty_at_first}
    assert all(getattr(empty, name) is None for name in given)
    assert Proposal((), "a title", "", "other", "tuner").usage == {}
