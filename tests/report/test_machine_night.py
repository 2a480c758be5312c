"""What the report says of the machine: heat, battery, swapping, sleep, reboots, and where the time went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.report import machine_night
from testbed import nights
from testbed.night_builder import set_to


def test_the_machine_s_night_is_told() -> None:
    night = nights.night(15, mac=nights.MacMini(hot_between=(8, 12), battery_after=5), validate=False)
    lines = "\n".join(machine_night.incidents(night))
    assert "on battery, down to 66%" in lines and "at worst heavy" in lines and "swap grew by 0.8 GB" in lines
    shares = machine_night.time_shares(night)
    assert sum(shares.values()) == pytest.approx(night.elapsed_s, rel=0.02)
    slow = [s.relative for s in machine_night.speeds(night) if s.relative and 8 <= s.n < 12]
    assert max(slow) < 0.95
    assert machine_night.incidents(nights.night(5, validate=False)) == []


def test_a_member_of_a_fleet_that_measures_otherwise_is_told() -> None:
    made = nights.long_night(1, validate=False)
    kind = made.night.tag.rpartition("-")[2]
    for member, key, why in (("studio", kind, "it measured the baseline"), ("mini", f"{kind}-mini", "0.3 bpb worse")):
        made.add("placed", member=member, id=member, what="a Mac", key=key, why=why)
    night = replace(made.night, tag=f"nov27-{kind}")
    assert machine_night.other_class_text(night) == f"mini has a class of its own, {kind}-mini: 0.3 bpb worse"
    assert machine_night.other_class_text(nights.night(1, validate=False)) is None


def test_sleep_reboots_and_lost_runs_are_told() -> None:
    made = nights.long_night(4, validate=False)
    n = made.propose("candidate", set_to("EXTRA", 5), made.sources[0], 1.5)
    made.add("started", n=n, run=0, seed=1, machine="m4", purpose="search")
    made.open()
    made.run(n, "search")
    m = made.events[-1]["measurement"]
    woken = replace(m.machine_after, since_boot=m.machine_after.since_boot + 1800)
    made.events[-1]["measurement"] = replace(m, machine_after=woken)
    lines = "\n".join(machine_night.incidents(made.night))
    assert "2 sessions" in lines and "1 run cut off" in lines and "slept for 30 min" in lines
