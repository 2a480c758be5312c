"""Run experiments: each run is journaled before it starts, and one that the machine spoiled is made again.

A failure may be the machine's or the candidate's. `failures.KINDS` says whose it can be; where it can be either, a run
of the incumbent decides: if that fails as well, the machine is at fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby

from autoresearch.decide import estimates
from autoresearch.decide.disturbances import ATTEMPTS, disturbance, usual
from autoresearch.decide.keep_rule import hopeless_from, largest_plausible
from autoresearch.errors import AutoresearchError
from autoresearch.failures import KINDS
from autoresearch.formats import run_name, span
from autoresearch.loop.early_stopping import EarlyStopping
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.readiness import Readiness
from autoresearch.record.journal import read_source
from autoresearch.record.night import Experiment
from autoresearch.records import MachineState, Measurement, Purpose
from autoresearch.report.live_state import RunStart
from autoresearch.system import awake, machine
from autoresearch.tasks.task import RunOrder, Task

PATIENCE_S = (60.0, 300.0, 900.0)  # waits after the incumbent failed: the machine cools, another program ends
Wanted = tuple[int, Purpose, int | None]  # one run: of which experiment, for what, and its seed or None
RunAll = Callable[[Sequence[Wanted]], None]
DoAll = Callable[[Sequence[Callable[[], object]]], None]  # does several pieces of work, each on a machine of its own
PREFIXES: Mapping[Purpose, str] = {  # of a run's title
    "incumbent": "once more: ",
    "final": "final validation: ",
    "newcomer": "to compare a newcomer: ",
}


@dataclass(kw_only=True)
class Runner:
    """Executor of runs: on this machine one at a time, on a fleet's as many as threads call it."""

    notebook: Notebook
    task: Task
    machine_slug: str  # Facts.slug(), for the journal
    readiness: Readiness
    early_stopping: EarlyStopping | None = None  # of training
    seed: int = 0
    patience_s: tuple[float, ...] = PATIENCE_S
    rest: Callable[[float], None] = time.sleep  # waits for the machine to recover
    at_once: DoAll | None = None  # where several machines may be there
    usual_since: float = field(default_factory=time.time)  # POSIX time; runs since then show the machine's usual speed
    since_power: MachineState | None = None  # the first one on the present source of power
    sample: Callable[[], MachineState] = machine.sample

    def run(self, n: int, purpose: Purpose, seed: int | None = None, on: str | None = None) -> Experiment:
        """Make one more run of experiment n that counts, and return the experiment with it.

        In a fleet the member `on` makes it as long as it is there; for a candidate that is the one that ran it first,
        so that its runs differ by no machine. A run that the machine disturbed is repeated ATTEMPTS times at most; the
        next one counts whatever disturbed it. Raises AutoresearchError where the machine keeps failing.
        """
        disturbed = failed = 0
        began = time.time()
        while True:
            self.readiness.wait(self._peak_mb())
            x = self.notebook.night.experiments[n]
            run = x.next_run
            on = on or (first_member(x) if purpose == "repeat" and x.role == "candidate" else None)
            m = self._run_once(x, run, purpose, seed, on)
            if on is not None and m.member not in (on, None):
                self.notebook.note(f"#{n} {run_name(run)} was made by {m.member}, since {on} was not there")
            why = self._spoiled(x, m)
            if why is None:
                return self._record(n, run, m)
            if _failed(m):
                if failed == ATTEMPTS and _is_new(x):  # the incumbent ran in between: the failure is the candidate's
                    return self._record(n, run, m)
                failed += 1
            elif disturbed == ATTEMPTS:
                self.usual_since = began  # this is how the machine is from now on
                return self._record(n, run, m)
            else:
                disturbed += 1
            gave = f" ({self.notebook.metric.text(m.score)})" if m.score is not None else ""
            self.notebook.view.say(f"#{n} {run_name(run)}{gave}: {why}; running it again")
            self.notebook.journal.append("abandoned", n=n, run=run, why=why, measurement=m)
            if _failed(m) and failed >= ATTEMPTS:
                self._find_fault(x, failed, why, m.member)

    def run_all(self, runs: Sequence[Wanted]) -> None:
        """Make several runs: at once where that is possible, else in turn up to the first that fails."""
        if self.at_once is not None:
            rounds = [[wanted] for wanted in runs if wanted[2] is None]
            rounds += [list(found) for seed, found in groupby(runs, lambda wanted: wanted[2]) if seed is not None]
            self.at_once([partial(self._round, found) for found in rounds])
            return
        for n, purpose, seed in runs:
            if self.run(n, purpose, seed).failure is not None:
                return

    def _round(self, runs: Sequence[Wanted]) -> None:
        """Make runs of one seed, which are compared with each other, in turn: in a fleet on one machine."""
        on: str | None = None
        for n, purpose, seed in runs:
            found = self.run(n, purpose, seed, on).runs.values()
            on = next((r.measurement.member for r in found if r.seed == seed and r.measurement), on)

    def rerun(self, x: Experiment, on: str | None = None) -> None:
        """Run the incumbent or the baseline once more: it corrects a lucky estimate and shows a change of machine."""
        notebook = self.notebook
        before = notebook.estimates.drift
        self.run(x.n, "incumbent", on=on)
        notebook.counters.count_rerun(x)
        found = notebook.estimates.drift
        if found is not None and before is None:
            shift = notebook.metric.size(found.shift_score)
            side = "worse" if found.shift_score > 0 else "better"
            notebook.note(f"the machine now gives different values: {shift} {side}; estimates start over")
        notebook.show()

    def compare_on(self, member: str, n: int) -> Measurement:
        """Make a run of experiment n on a newcomer of a fleet, that is compared and counts for nothing else."""
        x = self.notebook.night.experiments[n]
        run = x.next_run
        m = self._run_once(x, run, "newcomer", None, member)
        if m.failure is None:
            self._record(x.n, run, m)
        else:
            self.notebook.journal.append("abandoned", n=x.n, run=run, why=m.failure.message)
        return m

    def score_again(self, x: Experiment, run: int) -> Measurement | None:
        """Score what a run of `x` left once more, in another way; None where the task has none."""
        return self.task.score_again(self._order(x, run, "repeat", x.runs[run].seed), run)

    def _record(self, n: int, run: int, m: Measurement) -> Experiment:
        """Record a run that counts, and show the value of one that no verdict follows: of a known version."""
        self.notebook.journal.append("measured", n=n, run=run, measurement=m)
        x = self.notebook.night.experiments[n]
        purpose = x.runs[run].purpose
        if m.score is not None and (x.role == "baseline" or purpose in PREFIXES):
            split = f", {self.task.facts.unseen}" if purpose == "final" else ""
            self.notebook.view.say(f"#{n} {run_name(run)}: {self.notebook.metric.text(m.score)}{split}")
        return x

    def _peak_mb(self) -> float:
        """Return the memory that a run takes, by the incumbent's; 0.0 until a candidate was decided."""
        if not self.notebook.counters.decided:
            return 0.0
        return max((m.peak_memory_mb or 0.0 for m in self.notebook.incumbent.measurements), default=0.0)

    def _find_fault(self, x: Experiment, failed: int, why: str, member: str | None) -> None:
        """Run the incumbent to learn whether a new candidate or the machine is at fault; wait where it is the machine.

        In a fleet it runs on the `member` that failed. Raises AutoresearchError when no wait helped.
        """
        view = self.notebook.view
        if _is_new(x):
            view.say(
                f"#{x.n}: {why}, {failed} times in a row; running the incumbent to see whether the machine is at fault"
            )
            self.rerun(self.notebook.incumbent, member)
            return
        if failed - ATTEMPTS >= len(self.patience_s):
            advice = "Restart the machine, or free memory and disk; then run the same command to resume"
            raise AutoresearchError(f"{why}, {failed} times in a row, with a file that ran before. {advice}")
        wait_s = self.patience_s[failed - ATTEMPTS]
        view.status(f"{why}, {failed} times in a row; waiting {span(wait_s)} for the machine")
        self.rest(wait_s)

    def _run_once(
        self, x: Experiment, run: int, purpose: Purpose, seed: int | None, on: str | None = None
    ) -> Measurement:
        """Make one run and return what it measured, with the machine's state before and after it."""
        notebook, seed = self.notebook, run_seed(self.seed, x.n, run) if seed is None else seed
        notebook.journal.append("started", n=x.n, run=run, seed=seed, purpose=purpose, machine=self.machine_slug)
        before = self._observe()
        title = PREFIXES.get(purpose, "") + x.proposal.title
        notebook.view.begin(RunStart.of(x.n, run, x.proposal, title))
        try:
            m = self._measure(x, replace(self._order(x, run, purpose, seed), member=on))
        except KeyboardInterrupt:
            notebook.journal.append("abandoned", n=x.n, run=run, why="stopped by Ctrl-C")
            raise
        if m.member is not None:  # another machine made the run, and tells of its own state
            return m
        return replace(m, machine_before=before, machine_after=self.sample())

    def _observe(self) -> MachineState:
        """Sample the machine and show it, with what is left of the battery."""
        now = self.sample()
        if self.since_power is None or now.power != self.since_power.power:
            self.since_power = now
        self.notebook.view.state.observe(now, awake.battery_outlook(now, self.since_power))
        return now

    def _measure(self, x: Experiment, order: RunOrder) -> Measurement:
        """Measure the source of `x`. Raises JournalError where it is no longer what was proposed."""
        read_source(self.notebook.layout, x)
        if x.role == "candidate" and order.purpose in ("search", "repeat"):
            order = self._bounded(order, x)
        return self.task.measure(order, self.notebook.view.hear)

    def _order(self, x: Experiment, run: int, purpose: Purpose, seed: int) -> RunOrder:
        """Return the order of a run, with the version beside which it may be made.

        That is the incumbent for a candidate. A run that is repeated for the noise or against luck has to scatter as
        theirs do, so the incumbent's own is made beside the baseline, and the baseline's beside itself.
        """
        notebook, layout = self.notebook, self.notebook.layout
        order = RunOrder(
            source=layout.source(x.n), folder=layout.run(x.n, run), seed=seed, purpose=purpose, role=x.role
        )
        if purpose == "final" or (x.role == "baseline" and not x.scores):
            return order
        if x.role == "baseline":  # against its first run: an estimate would move towards each of the others
            return replace(order, incumbent=layout.source(x.n), incumbent_score=x.scores[0])
        incumbent = notebook.incumbent
        other = notebook.baseline if incumbent.n == x.n else incumbent
        score = notebook.estimates.estimate(other).mean
        return replace(order, incumbent=layout.source(other.n), incumbent_score=score)

    def _bounded(self, order: RunOrder, x: Experiment) -> RunOrder:
        """Add the score below which a gain is implausible, and to a first run what may end it early."""
        night, now = self.notebook.night, self.notebook.estimates
        best = now.estimate(self.notebook.incumbent)
        floor = best.mean - largest_plausible(estimates.kept_gains(night), now.noise)
        if order.purpose != "search":
            return replace(order, floor_score=floor)
        check = self.early_stopping.check_for(x) if self.early_stopping else None
        return replace(order, floor_score=floor, early_stop=check, ceiling_score=hopeless_from(best, now.noise))

    def _spoiled(self, x: Experiment, m: Measurement) -> str | None:
        """Return why a run does not count, because of the machine; None where it counts."""
        if m.failure is None:
            return disturbance(m, usual(self.notebook.night, x.source_sha256, self.usual_since))
        if m.failure.kind == "memory" and self.readiness.shared and not self.readiness.alone:
            self.readiness.alone = True
            return f"{m.failure.message} beside the loaded language model, which is unloaded from now on"
        if m.failure.kind == "late":  # a stall of the machine can make a run late, but not every run of a candidate
            return m.failure.message
        fault = KINDS[m.failure.kind].fault if m.failure.kind in KINDS else "candidate"
        machines = fault == "machine" or (fault == "either" and bool(x.scores))
        return f"the machine failed: {m.failure.message}" if machines else None


def first_member(x: Experiment) -> str | None:
    """Return the member of a fleet that ran an experiment first; None where this machine makes all runs."""
    return next((m.member for m in x.measurements if m.ok), None)


def run_seed(seed: int, n: int, run: int) -> int:
    """Return the seed of a run: run_seed(0, 12, 1) -> 12_001"""
    return seed * 10_000_000 + n * 1000 + run


def _failed(m: Measurement) -> bool:
    """Return whether a run ended without a result; one that was late has a result that is not valid."""
    return m.failure is not None and m.failure.kind != "late"


def _is_new(x: Experiment) -> bool:
    """Return whether a candidate has not run to its end here yet, so that the fault may be its own."""
    return x.role == "candidate" and not x.scores
