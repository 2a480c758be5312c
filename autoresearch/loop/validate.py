"""Validate a night: train baseline and winner on fresh seeds and score them on the split that the search never saw.

The search's own figure is optimistic, since the winner is the best of many looks. So the top three are run again first,
and then baseline and winner are trained and scored in turn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from autoresearch.decide import estimates, validation
from autoresearch.decide.interval import RETESTS, ROUNDS, Interval, interleaved, top, winner
from autoresearch.decide.kinds import RunsNeeded, runs_needed
from autoresearch.errors import ExhaustedError
from autoresearch.formats import counted
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.research import Research
from autoresearch.loop.runner import RunAll, Wanted
from autoresearch.metrics import VAL_BPB
from autoresearch.record.night import Experiment
from autoresearch.system.invocation import command

SHARE = 0.2  # of a night with an end that is kept for the validation
RETESTED = 3  # the best by the search's figure are run again before one of them is validated
LEAST_ROUNDS = 3  # fewer give no interval worth having
FIRST_SEED = 9_000_000  # of the validation's rounds, apart from the search's seeds


@dataclass(frozen=True)
class ValidationPlan:
    """The number of runs of a validation: `retests` of each of the top three, then `rounds` of both finalists."""

    retests: int = RETESTS
    rounds: int = ROUNDS

    @property
    def runs(self) -> int:
        return RETESTED * self.retests + 2 * self.rounds


NOISY = runs_needed(VAL_BPB)


def affordable_plan(
    night_s: float, run_s: float, share: float = SHARE, needed: RunsNeeded = NOISY
) -> ValidationPlan | None:
    """Return what a fifth of the night, or another share, can pay for; None where that is too little.

    affordable_plan(8 * 3600, 330) -> ValidationPlan(retests=2, rounds=5); affordable_plan(600, 30) -> None
    """
    affordable = int(share * night_s / run_s)
    for retests in (needed.retests, 0):
        each = min(needed.rounds, (affordable - RETESTED * retests) // 2)
        if each >= min(LEAST_ROUNDS, needed.rounds):
            return ValidationPlan(retests, each)
    return None


def run_night(research: Research) -> str:
    """Research to the night's end and say why it ended; a deadline's last part is kept for the final validation.

    Raises ExhaustedError where the ideas ran out, after the validation.
    """
    research.experimenter.prepare()
    end = research.limits.deadline
    if end is None:
        return research.run()
    run_s = research.notebook.run_s()
    plan = affordable_plan(end - time.time(), run_s, needed=_needed(research))
    kept_s = plan.runs * run_s if plan else 0.0
    research.notebook.view.state.reserve(end - kept_s if plan else None)
    try:
        why = research.run(replace(research.limits, deadline=end - kept_s, run_s=run_s))
    except ExhaustedError:
        _validate_by(research, end, run_s, plan)
        raise
    _validate_by(research, end, run_s, plan)
    return why


def _validate_by(research: Research, end: float, run_s: float, plan: ValidationPlan | None) -> None:
    """Validate with what is left of the night: the last experiment may have taken more than one run."""
    left = affordable_plan(end - time.time(), run_s, share=1.0, needed=_needed(research))
    if time.time() < end and (plan or left) and research.must_stop() is None:
        validate(research, left or ValidationPlan(0, LEAST_ROUNDS))


def _needed(research: Research) -> RunsNeeded:
    return runs_needed(estimates.metric_of(research.night))


def validate(research: Research, plan: ValidationPlan) -> Interval | None:
    """Make the runs that are missing and return the interval; None where nothing was kept.

    An exact metric gets one round whatever the plan is, since a second one would say the same.
    """
    research.experimenter.prepare()
    return settle(research, plan, partial(_one_by_one, research))


def settle(research: Research, plan: ValidationPlan, run_all: RunAll) -> Interval | None:
    """Do what `validate` does for a night whose baseline stands; `run_all` makes runs, in turn or at once."""
    notebook, night = research.notebook, research.night
    if night.incumbent is None or night.incumbent.role == "baseline":
        notebook.view.say("validation: nothing was kept, so there is nothing to validate")
        return None
    if not (needed := _needed(research)).reruns:
        plan = ValidationPlan(needed.retests, needed.rounds)
    best, baseline = _winner(notebook, run_all, plan), notebook.baseline
    notebook.view.say(
        f"validation: #{best.n} {best.proposal.title} against the baseline, {counted(plan.rounds, 'round')}"
    )
    rounds = interleaved([baseline.n, best.n], plan.rounds, FIRST_SEED)
    done = {n: validation.final_scores(research.night.experiments[n]) for n in (baseline.n, best.n)}
    run_all([(n, "final", seed) for n, seed in rounds if seed not in done[n]])
    return validation.validated(research.night)


def _one_by_one(research: Research, runs: Sequence[Wanted]) -> None:
    for n, purpose, seed in runs:
        if purpose == "final" and (why := research.must_stop()):
            research.notebook.view.say(f"validation: {why}; to resume it: {command('loop.py validate')}")
            break
        research.experimenter.runner.run(n, purpose, seed)


def _winner(notebook: Notebook, run_all: RunAll, plan: ValidationPlan) -> Experiment:
    """Return the incumbent, unless one of the next best does better in the same number of fresh runs."""
    now, incumbent = notebook.estimates, notebook.incumbent
    found = {x.n: now.estimate(x).mean for x in notebook.night.decided if x.verdict != "crash" and x.scores}
    contenders = list(dict.fromkeys([incumbent.n, *top(found, RETESTED)]))[:RETESTED]
    before = {n: len(now.values(notebook.night.experiments[n], "incumbent")) for n in contenders}
    run_all([(n, "incumbent", None) for n, _ in interleaved(contenders, plan.retests, 0)])
    if not plan.retests:
        return incumbent
    night, now = notebook.night, notebook.estimates
    retests = {n: now.values(night.experiments[n], "incumbent")[before[n] :] for n in contenders}
    search = {n: (found[n], len(night.experiments[n].scores)) for n in contenders}
    return night.experiments[winner(search, {n: runs for n, runs in retests.items() if runs})]
