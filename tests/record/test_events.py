"""The events of a journal: their types, and the fields that each requires."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime

import pytest

from autoresearch.record.events import TYPES, Event, Paused, Quarantined


def test_every_event_has_a_name_in_the_journal() -> None:
    assert {kind.__name__ for kind in TYPES.values()} == {kind.__name__ for kind in Event.__subclasses__()}
    assert all(name == re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower() for name, kind in TYPES.items())


@pytest.mark.parametrize("kind", TYPES.values(), ids=lambda kind: kind.__name__)
def test_events_are_frozen_and_built_by_name(kind: type[Event]) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert dataclasses.fields(kind)[0].name == "t"


def test_events_of_one_moment_that_say_the_same_are_the_same() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert Quarantined(t=now, n=3, why="it was cut off twice") == Quarantined(t=now, n=3, why="it was cut off twice")
    assert Paused(t=now) != Event(t=now)
