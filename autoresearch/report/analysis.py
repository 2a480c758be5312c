"""What a night says, in the terms of the morning: the gain, the stack of keeps, the noise, the crashes, the machine.

Pure functions over the journal's Night; report.py and the charts show what they return.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from autoresearch.decide import estimates, validation
from autoresearch.decide.estimates import Estimates
from autoresearch.decide.interval import Interval
from autoresearch.failures import KINDS, meaning
from autoresearch.record.night import Experiment, Night, RunRecord
from autoresearch.records import CATEGORIES, Measurement
from autoresearch.system import machine

LOOKED_BETTER = 0.5  # sigma; a first run by which a candidate has to lead to count as having looked better


@dataclass(frozen=True, slots=True)
class Headline:
    """The night in numbers. `gain_bpb` is the validated one where `interval` is there, else the search's own."""

    baseline_bpb: float | None
    best_bpb: float | None
    gain_bpb: float | None
    interval: Interval | None
    sigma_bpb: float | None
    experiments: int
    keeps: int
    discards: int
    crashes: int
    hours: float

    @property
    def percent(self) -> float | None:
        return 100 * self.gain_bpb / self.baseline_bpb if self.gain_bpb is not None and self.baseline_bpb else None


@dataclass(frozen=True, slots=True)
class Point:
    """One experiment of the progress picture; `bpb` is None for a crash, and for one that was stopped early."""

    n: int
    bpb: float | None
    kind: str  # "baseline", "keep", "discard" or "crash"
    title: str


@dataclass(frozen=True, slots=True)
class Kept:
    """One change of the stack: what it gained over the incumbent of its time, alone."""

    x: Experiment
    gain_bpb: float | None
    error_bpb: float | None  # standard error of the gain, from sigma and the candidate's own runs
    best_bpb: float


@dataclass(frozen=True, slots=True)
class CrashGroup:
    kind: str
    meaning: str
    crashes: tuple[tuple[Experiment, str], ...]  # with its message


@dataclass(frozen=True, slots=True)
class Tally:
    """How the experiments of one category or proposer fared."""

    name: str
    keep: int
    discard: int
    crash: int
    gain_bpb: float  # of the keeps together
    failed_turns: int = 0
    idea_s: float | None = None  # median seconds that an idea took

    @property
    def total(self) -> int:
        return self.keep + self.discard + self.crash


@dataclass(frozen=True, slots=True)
class Moment:
    """The machine at one moment: the samples around the runs."""

    t: float  # POSIX seconds
    free_gb: float | None
    swap_gb: float | None
    power: str | None
    battery_percent: int | None
    thermal: str | None
    low_power: bool | None


@dataclass(frozen=True, slots=True)
class Speed:
    """One measured run: when, how fast the machine was (1.0 is the night's median), and what the run took."""

    t: float
    n: int
    relative: float | None
    tok_s: float | None
    peak_gb: float | None


# --- results --------------------------------------------------------------------------------------------------------


def candidates(night: Night) -> list[Experiment]:
    """Everything tried and settled: decided candidates, and those that were quarantined."""
    return [x for x in night.experiments.values() if x.role == "candidate" and (x.verdict or x.status == "quarantined")]


def verdict_of(x: Experiment) -> str:
    return x.verdict or "crash"


def headline(night: Night) -> Headline:
    tried, now = candidates(night), estimates.read(night)
    counts = Counter(map(verdict_of, tried))
    baseline, best = validation.baseline_of(night), night.incumbent
    first = now.estimate(baseline).mean if baseline else None
    last = now.estimate(best).mean if best and best.bpbs else None
    interval = validation.validated(night)
    search_gain = first - last if first is not None and last is not None else None
    return Headline(
        baseline_bpb=first,
        best_bpb=last,
        gain_bpb=interval.gain_bpb if interval else search_gain,
        interval=interval,
        sigma_bpb=now.noise.sigma_bpb if first is not None else None,
        experiments=len(tried),
        keeps=counts["keep"],
        discards=counts["discard"],
        crashes=counts["crash"],
        hours=night.elapsed_s / 3600,
    )


def points(night: Night, now: Estimates) -> list[Point]:
    """Every settled experiment in its order, for the progress picture; the kept ones as they are believed today."""
    found = []
    for x in night.experiments.values():
        if x.verdict or x.status == "quarantined":
            kind = "baseline" if x.role == "baseline" else verdict_of(x)
            bpb = now.estimate(x).mean if x.verdict == "keep" and x.bpbs else x.estimate
            found.append(Point(x.n, bpb if kind != "crash" else None, kind, x.proposal.title))
    return found


def best_line(night: Night, now: Estimates) -> list[tuple[int, float]]:
    """The running best as (experiment, bits per byte): every baseline and keep, as they are believed today."""
    kept = [x for x in night.experiments.values() if x.verdict == "keep" and x.bpbs]
    return [(x.n, now.estimate(x).mean) for x in kept]


def stack(night: Night) -> list[Kept]:
    """The kept changes that the incumbent consists of, oldest first."""
    chain, x, now = [], night.incumbent, estimates.read(night)
    while x is not None and x.role == "candidate":
        error = x.sigma_bpb / len(x.bpbs) ** 0.5 if x.sigma_bpb is not None and x.bpbs else None
        chain.append(Kept(x, x.delta_bpb, error, now.estimate(x).mean))
        x = None if x.parent_n is None else night.experiments[x.parent_n]
    return chain[::-1]


def looked_better(night: Night) -> list[tuple[Experiment, float, float]]:
    """Discards whose first run was a lucky one: (experiment, its lead then, its lead in the end), luckiest first."""
    found = []
    for x in candidates(night):
        if x.verdict == "discard" and x.estimate is not None and x.delta_bpb is not None and x.bpbs:
            lead = x.estimate + x.delta_bpb - x.bpbs[0]
            if lead > LOOKED_BETTER * (x.sigma_bpb or 0.0):
                found.append((x, lead, x.delta_bpb))
    return sorted(found, key=lambda entry: -entry[1])


def crashes(night: Night) -> list[CrashGroup]:
    """By cause, the most frequent first."""
    groups: dict[str, list[tuple[Experiment, str]]] = {}
    for x in candidates(night):
        if verdict_of(x) == "crash":
            kind, message = _cause(x)
            groups.setdefault(kind, []).append((x, message))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [CrashGroup(kind, meaning(kind), tuple(found)) for kind, found in ordered]


def _cause(x: Experiment) -> tuple[str, str]:
    if x.status == "quarantined":
        return "quarantined", x.reason
    if x.failure is not None:
        return x.failure.kind, x.failure.message
    kind, colon, message = x.reason.partition(": ")
    return (kind, message) if colon and kind in KINDS else ("other", x.reason)


# --- who and what ---------------------------------------------------------------------------------------------------


def by_category(night: Night) -> list[Tally]:
    """Categories that were tried, in their usual order; what a proposer made up comes last."""
    tried = candidates(night)
    names = dict.fromkeys([*CATEGORIES, *(x.proposal.category for x in tried)])
    tallies = [_tally(name, [x for x in tried if x.proposal.category == name]) for name in names]
    return [tally for tally in tallies if tally.total]


def by_proposer(night: Night) -> list[Tally]:
    """Who had the ideas, the most active first, with the turns that brought none."""
    tried, failed = candidates(night), Counter(e.proposer for e in night.turns_failed)
    names = dict.fromkeys([*(x.proposal.proposer for x in tried), *failed])
    tallies = [_tally(n, [x for x in tried if x.proposal.proposer == n], failed[n]) for n in names]
    return sorted(tallies, key=lambda tally: -tally.total)


def _tally(name: str, tried: Sequence[Experiment], failed_turns: int = 0) -> Tally:
    counts = Counter(map(verdict_of, tried))
    gain = sum(x.delta_bpb for x in tried if x.verdict == "keep" and x.delta_bpb is not None)
    seconds = [s for x in tried if (s := x.proposal.usage.get("seconds")) is not None]
    idea_s = median(seconds) if seconds else None
    return Tally(name, counts["keep"], counts["discard"], counts["crash"], gain, failed_turns, idea_s)


# --- the machine's night --------------------------------------------------------------------------------------------


def measured(night: Night) -> list[tuple[Experiment, RunRecord, Measurement]]:
    """All measured runs in the order of time."""
    found = [(x, r, r.measurement) for x in night.experiments.values() for r in x.runs.values() if r.measurement]
    return sorted(found, key=lambda entry: entry[1].started)


def moments(night: Night) -> list[Moment]:
    states = [s for _, _, m in measured(night) for s in (m.machine_before, m.machine_after) if s]
    return [
        Moment(
            t=s.wall,
            free_gb=_gb(s.free_memory_mb),
            swap_gb=_gb(s.swap_mb),
            power=s.power,
            battery_percent=s.battery_percent,
            thermal=s.thermal,
            low_power=s.low_power,
        )
        for s in states
    ]


def speeds(night: Night) -> list[Speed]:
    done = measured(night)
    indices = [m.speed_index for _, _, m in done if m.speed_index]
    usual = median(indices) if indices else None
    return [
        Speed(
            r.started, x.n, m.speed_index / usual if m.speed_index and usual else None, m.tok_s, _gb(m.peak_memory_mb)
        )
        for x, r, m in done
    ]


def _gb(mb: float | None) -> float | None:
    return None if mb is None else mb / 1024


def time_shares(night: Night) -> dict[str, float]:
    """Where the night went, in seconds; "ideas and decisions" is what no run accounts for."""
    names = {
        "training": "training",
        "evaluation": "evaluation",
        "evaluation_startup": "starting up",
        "startup": "starting up",
        "warmup": "starting up",
        "saving": "starting up",
        "overhead": "starting up",
    }
    shares = dict.fromkeys(("training", "evaluation", "starting up"), 0.0)
    for _, _, m in measured(night):
        for name, seconds in m.seconds.items():
            shares[names.get(name, "starting up")] += seconds
    lost = sum(float(r.ended != "measured") for x in night.experiments.values() for r in x.runs.values())
    rest = night.elapsed_s - sum(shares.values())
    return {**shares, "ideas, decisions" + (" and lost runs" if lost else ""): max(0.0, rest)}


def incidents(night: Night) -> list[str]:
    """What disturbed the night, a line each."""
    runs = [r for x in night.experiments.values() for r in x.runs.values()]
    cut, spoiled = sum(r.ended == "cut off" for r in runs), sum(r.ended == "abandoned" for r in runs)
    lines = [f"{night.sessions} sessions: the night was interrupted {night.sessions - 1} times"] * (night.sessions > 1)
    lines += [f"{_counted(cut, 'run')} cut off by the machine (a reboot, a power cut, a kill) and made again"] * (
        cut > 0
    )
    lines += [f"{_counted(spoiled, 'run')} stopped or spoiled by the machine and not counted"] * (spoiled > 0)
    paused = f"paused {_counted(night.pauses, 'time')} by hand, for {night.paused_s / 60:.0f} min in all"
    lines += [paused] * (night.pauses > 0)
    lines += _states(night, moments(night))
    return lines


def _states(night: Night, seen: Sequence[Moment]) -> Iterable[str]:
    slept = sum(_slept(m) for _, _, m in measured(night))
    if slept > 1:
        yield f"the machine slept for {slept / 60:.0f} min in the middle of runs"
    if any(m.power == "battery" for m in seen):
        lowest = min((m.battery_percent for m in seen if m.battery_percent is not None), default=None)
        yield "a part of the night ran on battery" + (f", down to {lowest}%" if lowest is not None else "")
    if any(m.low_power for m in seen):
        yield "low-power mode was on for a part of the night, which slows training"
    hot = Counter(m.thermal for m in seen if m.thermal not in (None, "nominal"))
    if hot:
        worst = max(hot, key=lambda level: machine.THERMAL_LEVELS.index(str(level)))
        yield f"thermal pressure at {sum(hot.values())} of {len(seen)} samples, at worst {worst}"
    swaps = [m.swap_gb for m in seen if m.swap_gb is not None]
    if swaps and max(swaps) - swaps[0] > 0.25:
        yield f"swap grew by {max(swaps) - swaps[0]:.1f} GB"


def _slept(m: Measurement) -> float:
    before, after = m.machine_before, m.machine_after
    return machine.slept_s(before, after) if before and after else 0.0


def _counted(count: int, noun: str) -> str:
    """_counted(1, "run") -> "1 run", _counted(2, "run") -> "2 runs"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
