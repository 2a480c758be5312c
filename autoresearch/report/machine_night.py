"""Describe the machine during a night: its states, its speed, where the time went, and what disturbed it. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from autoresearch.formats import counted, span
from autoresearch.record.night import Experiment, Night, RunRecord
from autoresearch.records import MachineState, Measurement
from autoresearch.system import load

SWAP_GROWTH_MB = 256  # of a night, from which on the swap is reported
STARTING = "starting up"
RUN_PHASES = {"training": "training", "evaluation": "evaluation"}  # of Measurement.seconds; all others are starting up


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One measured run and the experiment that it belongs to."""

    experiment: Experiment
    run: RunRecord
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class RunSpeed:
    """When a run began, how fast the machine was then (1.0 is the night's median), and what the run took."""

    t: float  # POSIX seconds
    n: int
    relative: float | None
    tok_s: float | None
    peak_memory_mb: float | None


def measured(night: Night) -> list[MeasuredRun]:
    """Return all measured runs in the order of time."""
    runs = [(x, r, r.measurement) for x in night.experiments.values() for r in x.runs.values()]
    found = [MeasuredRun(x, r, measurement) for x, r, measurement in runs if measurement is not None]
    return sorted(found, key=lambda one: one.run.started)


def machine_states(night: Night) -> list[MachineState]:
    """Return the machine's states before and after each run, in the order of time."""
    both = [(one.measurement.machine_before, one.measurement.machine_after) for one in measured(night)]
    return [state for pair in both for state in pair if state is not None]


def speeds(night: Night) -> list[RunSpeed]:
    """Return the speed of each measured run, in the order of time."""
    done = measured(night)
    indices = [one.measurement.speed_index for one in done if one.measurement.speed_index]
    usual = median(indices) if indices else None
    return [_speed(one, usual) for one in done]


def _speed(one: MeasuredRun, usual: float | None) -> RunSpeed:
    index = one.measurement.speed_index
    relative = index / usual if index and usual else None
    return RunSpeed(one.run.started, one.experiment.n, relative, one.measurement.tok_s, one.measurement.peak_memory_mb)


def time_shares(night: Night) -> dict[str, float]:
    """Return where the time of the night went, in seconds. What no measured run accounts for comes last.

    time_shares(night) -> {"training": 3000.0, "evaluation": 200.0, "starting up": 90.0, "ideas, decisions": 310.0}
    """
    shares = dict.fromkeys((*RUN_PHASES.values(), STARTING), 0.0)
    for one in measured(night):
        for name, seconds in one.measurement.seconds.items():
            shares[RUN_PHASES.get(name, STARTING)] += seconds
    lost = any(r.ended != "measured" for x in night.experiments.values() for r in x.runs.values())
    rest = night.elapsed_s - sum(shares.values())
    return {**shares, "ideas, decisions" + (" and lost runs" if lost else ""): max(0.0, rest)}


def other_class_text(night: Night) -> str | None:
    """Return which members of a fleet were compared with this class and measure otherwise; None where none does.

    "mini has a class of its own, apple-m4-10gpu-16gb-mini: 0.03 bpb worse than the class over 2 runs, ..."
    """
    latest = {placed.member: placed for placed in night.placed}
    others = [p for p in latest.values() if not night.tag.endswith(f"-{p.key}")]
    return "\n".join(f"{p.member} has a class of its own, {p.key}: {p.why}" for p in others) or None


def incidents(night: Night) -> list[str]:
    """Return what disturbed the night, a line each."""
    return [*_interruptions(night), *_disturbances(night, machine_states(night))]


def _interruptions(night: Night) -> Iterator[str]:
    ends = Counter(r.ended for x in night.experiments.values() for r in x.runs.values())
    if night.interruptions:
        ended = "a kill, a shutdown or an error ended a session"
        yield f"{night.sessions} sessions: {ended} {counted(night.interruptions, 'time')}, and another one resumed"
    if cut := ends["cut off"]:
        yield f"{counted(cut, 'run')} cut off by the machine (a reboot, a power cut, a kill) and made again"
    if spoiled := ends["abandoned"]:
        yield f"{counted(spoiled, 'run')} stopped or spoiled by the machine and not counted"
    if night.pauses:
        yield f"paused {counted(night.pauses, 'time')} by hand, for {span(night.paused_s)} in all"


def _disturbances(night: Night, states: Sequence[MachineState]) -> Iterator[str]:
    slept = sum(_slept_s(one.measurement) for one in measured(night))
    if slept > 1:
        yield f"the machine slept for {slept / 60:.0f} min in the middle of runs"
    if busy := busy_text(night):
        yield busy
    if any(state.power == "battery" for state in states):
        lowest = min((s.battery_percent for s in states if s.battery_percent is not None), default=None)
        yield "a part of the night ran on battery" + (f", down to {lowest}%" if lowest is not None else "")
    if any(state.low_power for state in states):
        yield "low-power mode was on for a part of the night, which slows training"
    hot = Counter(state.thermal for state in states if state.thermal not in (None, "nominal"))
    if hot:
        from autoresearch.system import machine

        worst = max(hot, key=lambda level: machine.THERMAL_LEVELS.index(str(level)))
        yield f"thermal pressure at {sum(hot.values())} of {len(states)} samples, at worst {worst}"
    swaps = [state.swap_mb for state in states if state.swap_mb is not None]
    if swaps and max(swaps) - swaps[0] > SWAP_GROWTH_MB:
        yield f"swap grew by {(max(swaps) - swaps[0]) / 1024:.1f} GB"


def busy_text(night: Night) -> str | None:
    """Return in how many of the measured runs other programs kept the machine busy; None where in none."""
    shares = [_others(one.measurement) for one in measured(night)]
    busy = [share for share in shares if share is not None and share >= load.BUSY]
    if not busy:
        return None
    return (
        f"other programs used a quarter of the CPU or more in {len(busy)} of {counted(len(shares), 'run')} (at most "
        f"{max(busy):.0%}): such runs are slow and noisy, so small gains are missed"
    )


def _others(measurement: Measurement) -> float | None:
    before, after = measurement.machine_before, measurement.machine_after
    return load.share(before, after) if before and after else None


def _slept_s(measurement: Measurement) -> float:
    before, after = measurement.machine_before, measurement.machine_after
    from autoresearch.system import machine  # here: `status` does without it

    return machine.slept_s(before, after) if before and after else 0.0
