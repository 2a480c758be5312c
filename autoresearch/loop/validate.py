"""The final validation: baseline against winner on fresh seeds and on the split that the search never saw.

The search's own figure is optimistic, since the winner is the best of many looks. So the top three are run again first,
and then baseline and winner, interleaved, are trained afresh and scored on the test split.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from autoresearch.decide import validation
from autoresearch.decide.interval import RETESTS, ROUNDS, Interval, interleaved, top, winner
from autoresearch.errors import ExhaustedError
from autoresearch.loop.research import Research
from autoresearch.record.night import Experiment

SHARE = 0.2  # of a night with an end that is kept for the validation
RETESTED = 3  # the best by the search's figure are run again before one of them is validated
LEAST_ROUNDS = 3  # fewer give no interval worth having
FIRST_SEED = 9_000_000  # of the validation's rounds, apart from the search's seeds


@dataclass(frozen=True)
class Plan:
    """How many runs a validation takes."""

    retests: int = RETESTS
    rounds: int = ROUNDS

    @property
    def runs(self) -> int:
        return RETESTED * self.retests + 2 * self.rounds


def plan(night_s: float, run_s: float, share: float = SHARE) -> Plan | None:
    """What a fifth of the night, or another share, can pay for; None where that is too little.

    plan(8 * 3600, 330) -> Plan(retests=2, rounds=5); plan(600, 30) -> None
    """
    affordable = int(share * night_s / run_s)
    for retests in (RETESTS, 0):
        each = min(ROUNDS, (affordable - RETESTED * retests) // 2)
        if each >= LEAST_ROUNDS:
            return Plan(retests, each)
    return None


def night(research: Research) -> str:
    """Researches to the night's end; one with a deadline keeps its last part for the validation. Says why it ended.

    Raises ExhaustedError where the ideas ran out, after the validation.
    """
    research.recover()
    research.ensure_baseline()
    end = research.limits.deadline
    if end is None:
        return research.run()
    run_s = research.run_s()
    chosen = plan(end - time.time(), run_s)
    kept_s = chosen.runs * run_s if chosen else 0.0
    research.limits = replace(research.limits, deadline=end - kept_s, run_s=run_s)
    research.view.state.reserve(end - kept_s if chosen else None)
    try:
        why = research.run()
    except ExhaustedError:
        _validate_by(research, end, chosen)
        raise
    _validate_by(research, end, chosen)
    return why


def _validate_by(research: Research, end: float, chosen: Plan | None) -> None:
    """The validation with what is left of the night: the last experiment may have taken more than one run."""
    left = plan(end - time.time(), research.limits.run_s, share=1.0)
    if time.time() < end and (chosen or left) and research.must_stop() is None:
        validate(research, left or Plan(0, LEAST_ROUNDS))


def validate(research: Research, chosen: Plan) -> Interval | None:
    """Makes the runs that are still missing and gives the interval; None where nothing was kept."""
    research.recover()
    research.ensure_baseline()
    night = research.night
    if night.incumbent is None or night.incumbent.role == "baseline":
        research.view.say("validation: nothing was kept, so there is nothing to validate")
        return None
    best = _winner(research, chosen)
    baseline = research.baseline()
    research.view.say(f"validation: #{best.n} {best.proposal.title} against the baseline, {chosen.rounds} rounds")
    for n, seed in interleaved([baseline.n, best.n], chosen.rounds, FIRST_SEED):
        if seed not in validation.final_bpbs(research.night.experiments[n]):
            if why := research.must_stop():
                research.view.say(f"validation: {why}; go on with: uv run loop.py validate")
                break
            research.measure(n, "final", seed)
    return validation.validated(research.night)


def _winner(research: Research, chosen: Plan) -> Experiment:
    """The incumbent, unless one of the next best does better in the same number of fresh runs."""
    night, now = research.night, research.reading()
    estimates = {x.n: now.estimate(x).mean for x in night.decided if x.verdict != "crash" and x.bpbs}
    assert night.incumbent is not None
    contenders = list(dict.fromkeys([night.incumbent.n, *top(estimates, RETESTED)]))[:RETESTED]
    before = {n: len(now.values(night.experiments[n], "incumbent")) for n in contenders}
    for n, _ in interleaved(contenders, chosen.retests, 0):
        research.measure(n, "incumbent")
    if not chosen.retests:
        return night.incumbent
    night, now = research.night, research.reading()
    retests = {n: now.values(night.experiments[n], "incumbent")[before[n] :] for n in contenders}
    search = {n: (estimates[n], len(night.experiments[n].bpbs)) for n in contenders}
    return night.experiments[winner(search, {n: runs for n, runs in retests.items() if runs})]
