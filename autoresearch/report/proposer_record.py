"""Count what each proposer of a night cost and gave, and what a model added over the tuner alone. No I/O."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from autoresearch.formats import counted, span
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.record.night import Experiment, Night
from autoresearch.report import analysis

TUNER = "tuner"
LEAST_TURNS = 5  # of both, below which nothing is said of what a model added
RESAMPLES = 500
LEVEL = 0.9  # of the interval
WHY_CHARS = 120  # of the reason of a failed turn


@dataclass(frozen=True, slots=True)
class ProposerRecord:
    """Turns, costs and results of one proposer in one night. A failed turn brought no experiment."""

    name: str
    share: float  # of all turns, from 0 to 1
    tried: int
    kept: int
    crashed: int
    gain_score: float  # sum over the keeps
    failed_turns: int
    repairs: int  # answers that mend another
    prompt_tokens: int
    answer_tokens: int
    seconds: float  # of proposing
    last_failure: str  # why the latest failed turn brought nothing; empty without one
    metric: Metric = VAL_BPB

    @property
    def turns(self) -> int:
        return self.tried + self.failed_turns

    def __str__(self) -> str:
        """Return "ollama:x: 12 turns (40%), 9 tried, 2 kept (+0.0210 bpb), 3 failed, 4 repairs, 52k tokens, 8 min"."""
        parts = [f"{self.name}: {counted(self.turns, 'turn')} ({self.share:.0%})", f"{self.tried} tried"]
        parts += [f"{self.kept} kept" + (f" ({self.metric.signed(self.gain_score)})" if self.kept else "")]
        parts += [f"{self.crashed} crashed"] if self.crashed else []
        parts += [f"{self.failed_turns} failed"] if self.failed_turns else []
        parts += [counted(self.repairs, "repair")] if self.repairs else []
        tokens = self.prompt_tokens + self.answer_tokens
        parts += [f"{tokens / 1000:.0f}k tokens"] if tokens else []
        parts += [span(self.seconds)] if self.seconds >= 1 else []
        why = f"; the latest failure: {textwrap.shorten(self.last_failure, WHY_CHARS, placeholder='...')}"
        return ", ".join(parts) + (why if self.last_failure else "")


@dataclass(frozen=True, slots=True)
class Added:
    """What a proposer gained beyond what the tuner would have gained in the same time, in scores."""

    name: str
    gain_score: float
    low_score: float
    high_score: float
    metric: Metric = VAL_BPB

    def __str__(self) -> str:
        """Return "ollama:x added +0.0120 bpb to what the tuner would have found in its time (90%: -0.0030 to ...)"."""
        low, high = (self.metric.signed(bound).removesuffix(" bpb") for bound in (self.low_score, self.high_score))
        bounds = f"{LEVEL:.0%}: {low} to {high}"
        gain = self.metric.signed(self.gain_score)
        return f"{self.name} added {gain} to what the tuner would have found in its time ({bounds})"


@dataclass(frozen=True, slots=True)
class _Turn:
    gain_score: float
    seconds: float  # of proposing and of the candidate's own runs


@dataclass(frozen=True, slots=True)
class _Failure:
    proposer: str
    usage: Mapping[str, float]
    why: str


def records(night: Night) -> list[ProposerRecord]:
    """Return the record of each proposer, the one with the most turns first."""
    tried, failures = analysis.candidates(night), _failures(night)
    names = dict.fromkeys([*(x.proposal.proposer for x in tried), *(failure.proposer for failure in failures)])
    found = [
        _record(
            name,
            [x for x in tried if x.proposal.proposer == name],
            [failure for failure in failures if failure.proposer == name],
            len(tried) + len(failures),
            night.task.metric,
        )
        for name in names
    ]
    return sorted(found, key=lambda record: -record.turns)


def added(night: Night) -> list[Added]:
    """Return what each other proposer added over the tuner, where both had LEAST_TURNS turns.

    A turn's gain is that of a keep over its incumbent, and 0 otherwise; the time of a turn is that of the idea and of
    its runs. The interval is a bootstrap over turns, which is wide, since keeps are few.
    """
    turns: dict[str, list[_Turn]] = {}
    for x in analysis.candidates(night):
        turns.setdefault(x.proposal.proposer, []).append(_turn(x))
    for failure in _failures(night):
        turns.setdefault(failure.proposer, []).append(_Turn(0.0, failure.usage.get("seconds", 0.0)))
    tuner = turns.pop(TUNER, [])
    return [
        _compared(name, theirs, tuner, night.task.metric)
        for name, theirs in turns.items()
        if min(len(theirs), len(tuner)) >= LEAST_TURNS and sum(turn.seconds for turn in tuner) > 0
    ]


def _compared(name: str, theirs: Sequence[_Turn], tuner: Sequence[_Turn], metric: Metric) -> Added:
    rng = random.Random(f"{name} {len(theirs)} {len(tuner)}")
    draws = [_beyond(rng.choices(theirs, k=len(theirs)), rng.choices(tuner, k=len(tuner))) for _ in range(RESAMPLES)]
    cuts = quantiles(draws, n=20)  # 5% steps
    return Added(name, _beyond(theirs, tuner), cuts[0], cuts[-1], metric)


def _beyond(theirs: Sequence[_Turn], tuner: Sequence[_Turn]) -> float:
    rate = sum(turn.gain_score for turn in tuner) / (sum(turn.seconds for turn in tuner) or 1.0)
    return sum(turn.gain_score - rate * turn.seconds for turn in theirs)


def _turn(x: Experiment) -> _Turn:
    gain = x.delta_score if x.verdict == "keep" and x.delta_score is not None else 0.0
    runs_s = sum(r.measurement.total_s for r in x.runs.values() if r.measurement and r.purpose in ("search", "repeat"))
    return _Turn(gain, x.proposal.usage.get("seconds", 0.0) + runs_s)


def _failures(night: Night) -> list[_Failure]:
    """Return the failed turns: those that brought nothing, and those in which another stood in."""
    found = [_Failure(turn.proposer, turn.usage, turn.reason) for turn in night.turns_failed]
    for x in analysis.candidates(night):
        lost = {k.removeprefix("failed_"): v for k, v in x.proposal.usage.items() if k.startswith("failed_")}
        for i, (name, why) in enumerate(x.proposal.instead_of.items()):
            found.append(_Failure(name, lost if i == 0 else {}, why))  # the cost of several is counted with the first
    return found


def _record(
    name: str, own: Sequence[Experiment], failed: Sequence[_Failure], turns: int, metric: Metric
) -> ProposerRecord:
    """Return the record of a proposer by its experiments and its failed turns; `turns` are everybody's."""
    usages = [*(x.proposal.usage for x in own), *(failure.usage for failure in failed)]

    def total(kind: str) -> float:
        return sum(usage.get(kind, 0.0) for usage in usages)

    verdicts = [analysis.verdict_of(x) for x in own]
    return ProposerRecord(
        name,
        (len(own) + len(failed)) / turns,
        len(own),
        verdicts.count("keep"),
        verdicts.count("crash"),
        sum(_turn(x).gain_score for x in own),
        len(failed),
        int(total("repairs")),
        int(total("prompt_tokens")),
        int(total("answer_tokens")),
        total("seconds"),
        failed[-1].why if failed else "",
        metric,
    )
