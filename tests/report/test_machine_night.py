"""What the report says of the machine: heat, battery, swapping, sleep, reboots, and where the time went."""

from __future__ import annotations

import pytest

from autoresearch.report import machine_night
from testbed import nights
from testbed.journals import night_of


def test_the_machine_s_night_is_told() -> None:
    def battery(builder: nights.Builder) -> None:
        builder.battery_after, builder.hot_between = 5, (8, 12)

    night = nights.night(15, edit=battery, validate=False)
    lines = "\n".join(machine_night.incidents(night))
    assert "on battery, down to 66%" in lines and "at worst heavy" in lines and "swap grew by 0.8 GB" in lines
    shares = machine_night.time_shares(night)
    assert sum(shares.values()) == pytest.approx(night.elapsed_s, rel=0.02)
    slow = [s.relative for s in machine_night.speeds(night) if s.relative and 8 <= s.n < 12]
    assert max(slow) < 0.95
    assert machine_night.incidents(nights.night(5, validate=False)) == []


def test_sleep_reboots_and_lost_runs_are_told() -> None:
    builder = nights.Builder()
    list(nights._events(builder, 4, False))
    builder.propose(5, "cut off", "other", "tuner", 0)
    builder.event("started", n=5, run=0, seed=1, machine="m4", purpose="search")
    builder.open()
    builder.run(5, 1, 1.5)
    builder.events[-1]["measurement"]["machine_after"]["since_boot"] += 1800
    lines = "\n".join(machine_night.incidents(night_of(builder.events)))
    assert "2 sessions" in lines and "1 run cut off" in lines and "slept for 30 min" in lines
