"""Events as lines of the journal: nothing is lost, and no number of another library breaks a line."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from autoresearch.errors import JournalError
from autoresearch.record.codec import VERSION, decode, encode
from autoresearch.record.events import Event, Measured, Note, Proposed
from autoresearch.records import Measurement, Proposal
from testbed.journals import IDEA, measurements, proposals

HEAD = {"v": VERSION, "t": "2026-11-23T22:00:00+01:00"}
PROPOSED = {**HEAD, "type": "proposed", "n": 0, "role": "baseline", "source_sha256": "s", "parent_commit": "c"}


def measurement_of(measurement: Measurement | dict[str, Any]) -> Measurement:
    event = decode(encode({**HEAD, "type": "measured", "n": 0, "run": 0, "measurement": measurement}))
    assert isinstance(event, Measured)
    return event.measurement


@given(proposals, measurements)
def test_records_survive_json(proposal: Proposal, measurement: Measurement) -> None:
    event = decode(encode({**PROPOSED, "proposal": proposal}))
    assert isinstance(event, Proposed) and event.proposal == proposal
    assert measurement_of(measurement) == measurement


def test_numbers_that_are_none_and_fields_of_the_future() -> None:
    curve = ((0.5, math.nan), (1.0, 2.0))
    found = measurement_of(Measurement(seed=1, score=math.inf, tok_s=np.float32(0.5), loss_curve=curve))
    assert found == Measurement(seed=1, tok_s=0.5, loss_curve=((1.0, 2.0),))
    assert measurement_of({"seed": 1, "of_the_future": 1}) == Measurement(seed=1)


def test_a_line_is_ascii() -> None:
    line = encode({**HEAD, "type": "note", "text": "ü \ud800\n"})
    assert line.isascii() and line.count(b"\n") == 1
    event = decode(line)
    assert isinstance(event, Note) and event.text == "ü \ufffd\n"


def test_an_unknown_type_is_a_bare_event() -> None:
    event = decode(encode({**HEAD, "type": "weather", "sky": "clear"}))
    assert type(event) is Event


@pytest.mark.parametrize("line", [b"", b"{", b'"text"', b"[1]", b"\xff", b"[" * 90_000, b'{"v":2,"t":"20'])
def test_a_torn_line_is_none(line: bytes) -> None:
    assert decode(line) is None


@pytest.mark.parametrize(
    "edit", [{}, {"edit": "Patch"}, {"name": "A"}, {"name": "A", "literal": 1}, {"search": "a"}, "A = 1"]
)
def test_unknown_edits_are_refused(edit: Any) -> None:
    stored = {**json.loads(encode(dict(vars_of(IDEA)))), "edits": [edit]}
    with pytest.raises(JournalError, match=r"the event `proposed` of .* makes no sense: proposal\.edits\.0"):
        decode(encode({**PROPOSED, "proposal": stored}))


def vars_of(proposal: Proposal) -> dict[str, Any]:
    return {"title": proposal.title, "hypothesis": "", "category": "other", "proposer": "tuner"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": "0"}, "n: Input should be a valid integer"),
        ({"role": "judge"}, "role: Input should be 'baseline' or 'candidate'"),
        ({"proposal": None}, "proposal: Field required"),
        ({"t": "yesterday"}, "t: Input should be a valid datetime"),
    ],
)
def test_a_field_of_another_type_is_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(JournalError, match=told):
        decode(encode({**PROPOSED, "proposal": IDEA, **fields}))


@pytest.mark.parametrize(
    ("version", "advice"), [(3, "Update it: git pull"), (1, "Begin another night"), (None, "Begin")]
)
def test_another_version_is_refused_with_what_helps(version: object, advice: str) -> None:
    with pytest.raises(JournalError, match=advice):
        decode(json.dumps({"v": version, "t": "2026-11-23T22:00:00+00:00", "type": "note", "text": "x"}).encode())
