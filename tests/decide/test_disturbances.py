"""Which runs the machine disturbed, in words; usual and unknown values give no false alarm."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autoresearch.decide.disturbances import NEEDED, Expectation, UsualSpeed, disturbance, expectation, usual
from autoresearch.records import MachineState, Measurement
from autoresearch.system import machine
from testbed import nights

CALM = MachineState(
    power="ac", low_power=False, thermal="nominal", swap_mb=100,
    since_boot=50.0, monotonic=40.0, wall=1e9, free_memory_mb=8000,
)  # fmt: skip
USUAL = Expectation(tok_s=UsualSpeed(1000.0, 0.08), index=UsualSpeed(2.0, 0.08))


def _run(tok_s=1000.0, index=2.0, **end):
    after = replace(CALM, **{"since_boot": 350.0, "monotonic": 340.0, **end})
    return Measurement(1, 1.0, tok_s=tok_s, speed_index=index, machine_before=CALM, machine_after=after)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (_run(), None),
        (_run(tok_s=960.0, index=1.9), None),
        (_run(since_boot=950.0), "the machine slept for 600 s of the run"),
        (_run(power="battery"), "power went from ac to battery during the run"),
        (_run(low_power=True), "low-power mode went from off to on during the run"),
        (_run(thermal="heavy"), "thermal state went from nominal to heavy during the run"),
        (_run(swap_mb=700), "swap grew by 600 MB during the run"),
        (_run(swap_mb=0), None),
        (_run(index=1.5), "the machine was 25% slower than usual (1.5 against 2)"),
        (_run(index=2.6), "the machine was 30% faster than usual (2.6 against 2)"),
        (_run(tok_s=700.0), "training was 30% slower than usual (700 against 1000)"),
        (_run(tok_s=700.0, power="battery"), "power went from ac to battery during the run"),
    ],
)
def test_reasons(run, reason):
    assert disturbance(run, USUAL) == reason


@pytest.mark.parametrize("key", ["power", "low_power", "thermal", "swap_mb"])
def test_what_a_platform_cannot_tell_proves_nothing(key):
    unknown = replace(CALM, **{key: None})
    for before, after in ((unknown, CALM), (CALM, unknown), (unknown, unknown), (CALM, None), (None, CALM)):
        measurement = Measurement(1, 1.0, machine_before=before, machine_after=after)
        assert disturbance(measurement, Expectation()) is None


def test_nothing_known_nothing_said():
    assert disturbance(Measurement(1, 1.0), USUAL) is None
    assert disturbance(_run(tok_s=1.0, index=0.01), Expectation()) is None


def test_reads_the_samples_that_this_machine_gives():
    here = machine.sample()
    measurement = Measurement(1, 1.0, machine_before=here, machine_after=machine.sample())
    assert disturbance(measurement, Expectation()) is None
    asleep = replace(here, since_boot=here.since_boot + 60)
    slept = Measurement(1, 1.0, machine_before=here, machine_after=asleep)
    assert disturbance(slept, Expectation()) == "the machine slept for 60 s of the run"


# --- what is usual ---------------------------------------------------------------------------------------------------


def _runs(speeds):
    return [Measurement(i, 1.0, tok_s=500 * speed, speed_index=speed) for i, speed in enumerate(speeds)]


def test_expects_what_the_latest_runs_did():
    known = expectation(_runs([9.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]), _runs([2.0, 2.02, 1.98]))
    assert known.tok_s == UsualSpeed(pytest.approx(1000.0), 0.08)
    assert known.index is not None
    assert known.index.usual == pytest.approx(2.0, rel=1e-3)
    assert expectation(_runs([2.0] * (NEEDED - 1)), []) == Expectation(None, None)
    assert expectation([Measurement(1, None)] * 9, []) == Expectation()


def test_only_what_the_machine_was_like_since_then_counts():
    night = nights.night(12)
    starts = sorted(r.started for x in night.experiments.values() for r in x.runs.values() if r.measurement)
    everything = usual(night, night.experiments[0].source_sha256, 0.0)
    assert everything.index is not None and everything.tok_s is not None
    assert usual(night, "another source", 0.0) == Expectation(None, everything.index)
    assert usual(night, "another source", starts[1 - NEEDED]) == Expectation()


def test_new_code_is_not_blamed_for_its_own_speed():
    known = expectation([], _runs([2.0, 2.0, 2.0]))
    assert disturbance(_run(tok_s=1.0, index=2.0), known) is None
    assert disturbance(_run(tok_s=1.0, index=1.0), known) is not None


@pytest.mark.parametrize("habit", [0.02, 0.2])
def test_a_busy_machine_is_not_always_contaminated(habit):
    """A usual run rarely counts as disturbed. A run of half the speed does, as far as the usual scatter lets it."""
    rng = np.random.default_rng(8)
    alarms, seen = [], []
    for _ in range(500):
        known = expectation([], _runs([2 * math.exp(x) for x in rng.normal(scale=habit, size=6)]))
        usual = 2 * math.exp(rng.normal(scale=habit))
        alarms.append(disturbance(_run(index=usual), known) is not None)
        seen.append(disturbance(_run(index=usual / 2), known) is not None)
    assert np.mean(alarms) < 0.03
    assert np.mean(seen) > (0.99 if habit < 0.1 else 0.1)
