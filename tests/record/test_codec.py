"""Records as JSON lines: nothing is lost, and no number of another library breaks a line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from hypothesis import given

from autoresearch.record.codec import decode, encode, measurement_from_json, plain, proposal_from_json
from autoresearch.records import Measurement, Proposal
from testbed.journals import measurements, proposals


@given(proposals, measurements)
def test_records_survive_json(proposal: Proposal, measurement: Measurement) -> None:
    event = decode(encode({"proposal": proposal, "measurement": measurement}))
    assert event is not None
    assert proposal_from_json(event["proposal"]) == proposal
    assert measurement_from_json(event["measurement"]) == measurement


def test_numbers_of_other_libraries_and_none_at_all() -> None:
    got = plain({"a": np.float32(0.5), "b": np.int64(3), "c": math.nan, "d": -math.inf, "e": (1, {2}), 5: Path("x")})
    assert got == {"a": 0.5, "b": 3, "c": None, "d": None, "e": [1, [2]], "5": "x"}
    assert json.loads(encode({"s": "\ud800\n"})) == {"s": "\ud800\n"}
    curve = Measurement(seed=1, loss_curve=((0.5, math.nan), (1.0, 2.0)))
    assert measurement_from_json(plain(curve)).loss_curve == ((1.0, 2.0),)
    assert measurement_from_json({"seed": 1, "of_the_future": 1}) == Measurement(seed=1)
