"""Run experiments: each run is journaled before it starts, and one that the machine spoiled is made again.

A failure may be the machine's or the candidate's. `failures.KINDS` says whose it can be; where it can be either, a run
of the incumbent decides: if that fails as well, the machine is at fault.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autoresearch.decide.disturbances import ATTEMPTS, disturbance, usual
from autoresearch.decide.keep_rule import hopeless_from
from autoresearch.errors import AutoresearchError
from autoresearch.failures import KINDS
from autoresearch.formats import run_name, span
from autoresearch.loop.early_stopping import EarlyStopping
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.readiness import Readiness
from autoresearch.measure import experiment
from autoresearch.measure.workbench import Workbench, probe_tolerance
from autoresearch.record.journal import read_source
from autoresearch.record.night import Experiment
from autoresearch.records import MachineState, Measurement, Purpose
from autoresearch.report.live_state import RunStart
from autoresearch.system import awake, gpu, machine

PATIENCE_S = (60.0, 300.0, 900.0)  # waits after the incumbent failed: the machine cools, another program ends
EVALUATION_FLOOR_S = 120.0  # what a candidate's evaluation may take in any case
EVALUATIONS = 10  # times the baseline's slowest that it may take: a candidate may be deeper, and learn by it
LEAST_STEPS = 3  # in the budget, of a baseline or an incumbent: with fewer no training ends in time
STARTUP_FLOOR_S = 60.0  # what a candidate's start may take in any case: new kernels, a busy machine
COMPILING_FLOOR_S = 180.0  # the same where g++ compiles the kernels
CUDA_FLOOR_S = 300.0  # the same with CUDA: a first step without any kernel took 147 s on an H100
PREFIXES: Mapping[Purpose, str] = {"incumbent": "once more: ", "final": "final validation: "}  # of a run's title


@dataclass(kw_only=True)
class Runner:
    """Executor of runs on this machine, one at a time."""

    notebook: Notebook
    bench: Workbench
    machine_slug: str  # Facts.slug(), for the journal
    readiness: Readiness
    early_stopping: EarlyStopping
    seed: int = 0
    patience_s: tuple[float, ...] = PATIENCE_S
    usual_since: float = field(default_factory=time.time)  # POSIX time; runs since then show the machine's usual speed
    since_power: MachineState | None = None  # the first one on the present source of power

    def limit_candidates(self, baseline: Experiment) -> None:
        """Limit what candidates may take by the baseline's slowest start and evaluation, and by a sixth of its steps.

        A start that takes over twice as long and 5 s is taken off the training, and ends the run only where it is past
        a floor as well. How far a probe may move their scores follows from how far it moves the baseline's.
        """
        runs = baseline.measurements
        compiling = sys.platform != "darwin" and "MLX_DISABLE_COMPILE" not in self.bench.env
        slow_s = CUDA_FLOOR_S if gpu.find() is not None else COMPILING_FLOOR_S
        floor_s = slow_s if compiling else STARTUP_FLOOR_S
        starts = [m.seconds.get("startup", 0.0) + m.seconds.get("warmup", 0.0) for m in runs]
        scorings = [m.seconds.get("evaluation", 0.0) for m in runs]
        usual_s = 2 * max(starts, default=0.0) + 5
        steps = min((m.num_steps for m in runs if m.num_steps), default=0)
        self.bench = replace(
            self.bench,
            startup_limit_s=max(floor_s, usual_s),
            free_start_s=max(floor_s, usual_s) if compiling else usual_s,
            evaluation_limit_s=max(EVALUATION_FLOOR_S, EVALUATIONS * max(scorings, default=EVALUATION_FLOOR_S)),
            min_steps=min(self.bench.min_steps, steps // 6),
            probe_nats=probe_tolerance([m.probe_nats for m in runs if m.probe_nats is not None]),
        )

    def run(self, n: int, purpose: Purpose, seed: int | None = None) -> Experiment:
        """Make one more run of experiment n that counts, and return the experiment with it.

        A run that the machine disturbed is repeated ATTEMPTS times at most; the next one counts whatever disturbed it.
        Raises AutoresearchError where the machine keeps failing.
        """
        disturbed = failed = 0
        began = time.time()
        while True:
            self.readiness.wait(self._peak_mb())
            x = self.notebook.night.experiments[n]
            run = x.next_run
            m = self._run_once(x, run, purpose, seed)
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
            gave = f" (val_bpb {m.score:.6f})" if m.score is not None else ""
            self.notebook.view.say(f"#{n} {run_name(run)}{gave}: {why}; running it again")
            self.notebook.journal.append("abandoned", n=n, run=run, why=why, measurement=m)
            if _failed(m) and failed >= ATTEMPTS:
                self._find_fault(x, failed, why)

    def rerun(self, x: Experiment) -> None:
        """Run the incumbent or the baseline once more: it corrects a lucky estimate and shows a change of machine."""
        notebook = self.notebook
        before = notebook.estimates.drift
        self.run(x.n, "incumbent")
        notebook.counters.count_rerun(x)
        found = notebook.estimates.drift
        if found is not None and before is None:
            shift = f"{found.shift_score:+.4f} bpb"
            notebook.note(f"the machine now gives different values: {shift}; estimates start over")
        notebook.show()

    def score_again(self, x: Experiment, run: int, *, rows: int) -> Measurement:
        """Score the checkpoint of a run again, `rows` at a time and in another order."""
        layout, seed = self.notebook.layout, x.runs[run].seed
        source, folder = layout.source(x.n), layout.run(x.n, run)
        return experiment.evaluate(self.bench, source, folder, seed, "val", rows=rows, order=run + 1)

    def _record(self, n: int, run: int, m: Measurement) -> Experiment:
        """Record a run that counts, and show the value of one that no verdict follows: of a known version."""
        self.notebook.journal.append("measured", n=n, run=run, measurement=m)
        x = self.notebook.night.experiments[n]
        purpose = x.runs[run].purpose
        if m.score is not None and (x.role == "baseline" or purpose in PREFIXES):
            split = ", on the test split" if purpose == "final" else ""
            self.notebook.view.say(f"#{n} {run_name(run)}: val_bpb {m.score:.6f}{split}")
        return x

    def _peak_mb(self) -> float:
        """Return the memory that a run takes, by the incumbent's; 0.0 until a candidate was decided."""
        if not self.notebook.counters.decided:
            return 0.0
        return max((m.peak_memory_mb or 0.0 for m in self.notebook.incumbent.measurements), default=0.0)

    def _find_fault(self, x: Experiment, failed: int, why: str) -> None:
        """Run the incumbent to learn whether a new candidate or the machine is at fault; wait where it is the machine.

        Raises AutoresearchError when no wait helped.
        """
        view = self.notebook.view
        if _is_new(x):
            view.say(
                f"#{x.n}: {why}, {failed} times in a row; running the incumbent to see whether the machine is at fault"
            )
            self.rerun(self.notebook.incumbent)
            return
        if failed - ATTEMPTS >= len(self.patience_s):
            advice = "Restart the machine, or free memory and disk; then run the same command to resume"
            raise AutoresearchError(f"{why}, {failed} times in a row, with a file that ran before. {advice}")
        wait_s = self.patience_s[failed - ATTEMPTS]
        view.status(f"{why}, {failed} times in a row; waiting {span(wait_s)} for the machine")
        time.sleep(wait_s)

    def _run_once(self, x: Experiment, run: int, purpose: Purpose, seed: int | None) -> Measurement:
        """Make one run and return what it measured, with the machine's state before and after it."""
        notebook, seed = self.notebook, run_seed(self.seed, x.n, run) if seed is None else seed
        notebook.journal.append("started", n=x.n, run=run, seed=seed, purpose=purpose, machine=self.machine_slug)
        before = self._observe()
        title = PREFIXES.get(purpose, "") + x.proposal.title
        notebook.view.begin(RunStart.of(x.n, run, x.proposal, title))
        try:
            m = self._measure(x, run, purpose, seed)
        except KeyboardInterrupt:
            notebook.journal.append("abandoned", n=x.n, run=run, why="stopped by Ctrl-C")
            raise
        return replace(m, machine_before=before, machine_after=machine.sample())

    def _observe(self) -> MachineState:
        """Sample the machine and show it, with what is left of the battery."""
        now = machine.sample()
        if self.since_power is None or now.power != self.since_power.power:
            self.since_power = now
        self.notebook.view.state.observe(now, awake.battery_outlook(now, self.since_power))
        return now

    def _measure(self, x: Experiment, run: int, purpose: Purpose, seed: int) -> Measurement:
        """Train and score the source of `x`. Raises JournalError where it is no longer what was proposed."""
        layout = self.notebook.layout
        read_source(layout, x)
        ours = x.role == "baseline"  # a person wrote it: it is measured however slow, and its kernels are kept
        bench = replace(self.bench, min_steps=LEAST_STEPS) if ours or purpose != "search" else self.bench
        return experiment.measure(
            bench,
            layout.source(x.n),
            layout.run(x.n, run),
            seed,
            self.notebook.view.hear,
            split="test" if purpose == "final" else "val",
            keep_kernels=ours,
            early_stop=self.early_stopping.check_for(x) if purpose == "search" and not ours else None,
            ceiling_score=self._ceiling() if purpose == "search" and not ours else None,
        )

    def _ceiling(self) -> float:
        """Return a val_bpb above which a first run leads nowhere, so that few probes are enough."""
        now = self.notebook.estimates
        return hopeless_from(now.estimate(self.notebook.incumbent), now.noise)

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


def run_seed(seed: int, n: int, run: int) -> int:
    """Return the seed of a run: run_seed(0, 12, 1) -> 12_001"""
    return seed * 10_000_000 + n * 1000 + run


def _failed(m: Measurement) -> bool:
    """Return whether a run ended without a result; one that was late has a result that is not valid."""
    return m.failure is not None and m.failure.kind != "late"


def _is_new(x: Experiment) -> bool:
    """Return whether a candidate has not run to its end here yet, so that the fault may be its own."""
    return x.role == "candidate" and not x.scores
