"""The door through which a child's words come in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch import jsonable
from autoresearch.failures import KINDS, sayable
from autoresearch.measure import child_events
from autoresearch.measure.child_events import EVENTS, IllFormedError
from autoresearch.records import Failure

STEP = {"event": "step", "step": 3, "loss": 2.5}
BAD = [None, True, "3", "1e3", [3], [[3]], {}, -1, 1.5, 10**400, float("nan"), float("inf"), "\udc80", "\x1b[1m"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def read(child: str = "train", **event: Any) -> dict[str, Any]:
    return dict(child_events.read(child, event))


def test_a_well_formed_event_keeps_its_fields_and_no_others() -> None:
    assert read(**STEP, token="t", more="\x1b") == STEP
    assert read(event="ready", num_params=5, depth=None) == {"event": "ready", "num_params": 5}
    assert read(event="warmed_up", peak_memory_mb=1, warmup_step_s=0.5)["peak_memory_mb"] == 1.0


@pytest.mark.parametrize("bad", BAD, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("field", ["step", "loss"])
def test_a_value_of_another_kind_is_refused(field: str, bad: Any) -> None:
    if field == "loss" and bad in (-1, 1.5):
        return
    with pytest.raises(IllFormedError) as caught:
        read(**{**STEP, field: bad})
    assert str(caught.value).isprintable() and field in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, [], {}, "", "clock_started", "evaluated", "\udc80\x1b]0;", "x" * 10**4])
def test_an_event_that_this_child_has_not_got_is_refused(name: Any) -> None:
    with pytest.raises(IllFormedError) as caught:
        read(event=name)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.slow
@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.text(max_size=8), JSON, max_size=5), JSON)
def test_no_event_raises_anything_else(child: str, fields: dict[str, Any], name: Any) -> None:
    for event in (fields, {**fields, "event": name}, *({**fields, "event": known} for known in EVENTS[child])):
        try:
            found = child_events.read(child, event)
        except IllFormedError as error:
            assert str(error).isprintable()
        else:
            assert json.loads(jsonable.to_json(found)) == found  # finite, and no half of a character


@given(st.text(st.characters(), max_size=700), st.text(st.characters(), max_size=3500), st.text(max_size=50))
def test_a_reported_failure_is_printable_short_and_of_a_kind_that_is_known(
    message: str, detail: str, kind: str
) -> None:
    event = read(event="failed", kind=kind, message=message, detail=detail)
    found = child_events.failure("train", event, imported=True)
    assert found.message.isprintable() and found.detail.replace("\n", "").isprintable()
    assert len(found.message) <= 600 and len(found.detail) <= 3000
    assert found.kind == "tampered" or sayable(found.kind, "train")
    json.loads(jsonable.to_json(found))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("child", ["train", "model", "sample"])
def test_a_candidate_cannot_blame_the_machine_or_speak_for_the_judge(child: str, kind: str) -> None:
    event = read(child, event="failed", kind=kind, message="no")
    found = child_events.failure(child, event, imported=True)
    own = {"train": ("train", "warmup", "diverged", "save"), "model": ("evaluate", "checkpoint"), "sample": ("sample",)}
    shared = ("source", "import", "build", "interface", "nonfinite", "tampered")
    if kind in (*own[child], *shared) or (child, kind) == ("sample", "checkpoint"):
        assert found == Failure(kind, "no")
    else:
        assert found.kind == "tampered" and kind in found.message


def test_before_the_candidate_is_imported_a_failure_can_be_the_machine_s() -> None:
    event = read(event="failed", kind="machine", message="no GPU")
    assert child_events.failure("train", event, imported=False) == Failure("machine", "no GPU")
