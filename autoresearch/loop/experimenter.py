"""One experiment: its runs, its verdict, its record. Each step is in the journal before the next one happens."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from autoresearch.candidate.complexity import simplifies
from autoresearch.decide import early_stop, estimates, validation
from autoresearch.decide.disturbances import ATTEMPTS, contaminated, usual
from autoresearch.decide.early_stop import EarlyStopCheck, Example
from autoresearch.decide.keep_rule import decide, implausible
from autoresearch.decide.noise import Noise
from autoresearch.errors import AutoresearchError, ProposerError
from autoresearch.failures import KINDS
from autoresearch.formats import span
from autoresearch.measure import experiment
from autoresearch.measure.workbench import FREE_DISK, Workbench
from autoresearch.record import pause, results_tsv
from autoresearch.record.git import Repository
from autoresearch.record.journal import SOURCE_NAME, Journal, read_source, run_folder
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Candidate, Decision, MachineState, Measurement, Proposer, Purpose, Role
from autoresearch.report.console import View
from autoresearch.report.live_state import RunStart, result_of
from autoresearch.system import awake, chips, machine
from autoresearch.tasks.gpt import contract
from autoresearch.tasks.gpt.comparable import comparable

FILE = "train_mlx.py"
ROOM_WAITS_S = (10.0, 30.0, 60.0, 120.0)  # between looks whether memory and disk suffice for a run
PATIENCE_S = (60.0, 300.0, 900.0)  # after the machine's second failure in a row, and the next: heat, another program
LEAST_STEPS = 3  # in the budget, of what is measured however slow: with fewer no training ends in time
RELEASE_WAITS_S = (10.0, 30.0, 60.0, 120.0)  # between attempts to unload the language model


@dataclass(kw_only=True)
class Experimenter:
    """Measures, judges and records candidates. `root` is the checkout, `folder` is runs/TAG."""

    root: Path
    tag: str
    folder: Path
    repo: Repository
    journal: Journal
    bench: Workbench
    proposer: Proposer
    view: View
    facts: machine.Facts
    seed: int = 0
    prior: Noise | None = None
    earlier: Sequence[Example] = ()  # what other nights of this machine and task taught the early stop
    stops_losers: bool = True  # where a number of each candidate is wanted, they run to their end
    afterwards: Callable[[Night], None] = lambda night: None  # housekeeping after each decision
    decided: int = 0  # candidates, in this session
    single_run_discards: int = 0  # discards on a single run since a candidate came near, or the incumbent ran
    since_baseline: int = 0  # experiments decided since the baseline's last run
    patience_s: tuple[float, ...] = PATIENCE_S
    usual_since: float = field(default_factory=time.time)  # runs since then say how fast the machine is: this session's
    since_power: MachineState | None = None  # the first one on the present source of power
    limit_nats: float | None = None  # of the early stop, as last said

    def try_out(self, candidate: Candidate) -> Experiment:
        """Record a candidate, run it until the keep rule has a verdict, and record that."""
        x = self.propose("candidate", candidate)
        return self.reject(x, candidate.violations) if candidate.violations else self.finish(x)

    def try_again(self, x: Experiment) -> Experiment:
        """Finish a candidate of an earlier session. It is checked again, since its source comes from the disk."""
        violations = self.violations(self.source_of(x.n))
        return self.reject(x, violations) if violations else self.finish(x)

    def violations(self, source: str) -> tuple[str, ...]:
        """Return what `source` breaks of the task's contract."""
        return tuple(str(violation) for violation in contract.check(source, self.source_of(self.baseline().n)))

    def reject(self, x: Experiment, violations: Sequence[str]) -> Experiment:
        """Record a candidate that breaks the contract as a crash."""
        return self.conclude(x.n, Decision("crash", None, f"contract: {listed(violations)}"))

    def finish(self, x: Experiment) -> Experiment:
        """Run an experiment until the keep rule has a verdict, and record it."""
        n = x.n
        while True:
            decision = self._decide(x)
            if decision.verdict is not None:
                return self.conclude(n, decision)
            if decision.rerun == "incumbent":
                self.rerun(self.incumbent())
                x = self.night.experiments[n]
            else:
                x = self.measure(n, "repeat" if x.bpbs else "search")

    def rerun(self, x: Experiment) -> None:
        """One more run of a known file: it corrects a lucky estimate and shows whether the machine has changed."""
        before = self.reading().drift
        self.measure(x.n, "incumbent")
        self.single_run_discards, self.since_baseline = 0, 0 if x.role == "baseline" else self.since_baseline
        found = self.reading().drift
        if found is not None and before is None:
            self._note(f"the machine gives other values than before: {found.shift_bpb:+.4f} bpb; estimates begin anew")
        self.show_standing()

    def propose(self, role: Role, candidate: Candidate) -> Experiment:
        """Store the candidate's source and record it as the next experiment."""
        n = self.night.next_n
        self.journal.append(
            "proposed",
            n=n,
            role=role,
            proposal=candidate.proposal,
            source_sha256=self.journal.store_source(n, candidate.source),
            parent_n=candidate.parent_n,
            parent_commit=self.repo.head(),
        )
        return self.night.experiments[n]

    def measure(self, n: int, purpose: Purpose, seed: int | None = None) -> Experiment:
        """One more run of experiment n, journaled from start to end. Runs that the machine spoiled are made again."""
        spoiled = broken = 0
        began = time.time()
        while True:
            self.rest()
            self._make_room()
            x = self.night.experiments[n]
            run = x.next_run
            measurement = self._run_once(x, run, purpose, seed)
            why = self._spoiled(x, measurement)
            gave_out = measurement.failure is not None and measurement.failure.kind != "late"
            its_own = broken == ATTEMPTS and _doubtful(x) if gave_out else spoiled == ATTEMPTS
            if why is None or its_own:
                if why is not None and not gave_out:
                    self.usual_since = began  # so is the machine now
                self.journal.append("measured", n=n, run=run, measurement=measurement)
                return self.night.experiments[n]
            self.view.say(f"#{n} run {run}: {why}; running it again")
            self.journal.append("abandoned", n=n, run=run, why=why, measurement=measurement)
            if gave_out:
                broken += 1
                self._doubt(x, broken, why)
            else:
                spoiled += 1

    def _doubt(self, x: Experiment, broken: int, why: str) -> None:
        """From the machine's second failure in a row on: the incumbent shows whose fault it is; where it fails, wait.

        What fails again while the incumbent runs is itself to blame. Raises AutoresearchError when no wait helped.
        """
        if broken < ATTEMPTS:
            return
        if _doubtful(x):
            self.view.say(f"#{x.n}: {why}, {broken} times in a row; the incumbent shows whether it is the machine")
            self.rerun(self.incumbent())
            return
        if broken - ATTEMPTS >= len(self.patience_s):
            advice = "Restart the machine, or free memory and disk; the same command goes on"
            raise AutoresearchError(f"{why}, {broken} times in a row, with a file that ran before. {advice}")
        wait_s = self.patience_s[broken - ATTEMPTS]
        self.view.status(f"{why}, {broken} times in a row; waiting {span(wait_s)} for the machine")
        time.sleep(wait_s)

    def _make_room(self) -> None:
        """The model is out of memory, and memory and disk suffice for a run; what others hold is waited for."""
        self._free_memory()
        for wait_s in ROOM_WAITS_S:
            short = self._short_of()
            if short is None:
                return
            self.view.status(f"{short}; waiting {wait_s:.0f} s")
            time.sleep(wait_s)
        if shutil.disk_usage(self.folder).free < FREE_DISK:
            raise AutoresearchError(f"{short}. Make room: uv run loop.py clean; then the same command goes on")
        self.view.say(f"{short}; going on all the same")

    def _short_of(self) -> str | None:
        free = shutil.disk_usage(self.folder).free
        if free < FREE_DISK:
            return f"{free / 2**20:.0f} MB of disk are left, and a run needs {FREE_DISK / 2**20:.0f}"
        peaks = [m.peak_memory_mb for m in self.incumbent().measurements if m.peak_memory_mb] if self.decided else []
        needed, free_mb = max(peaks, default=0.0), machine.free_memory_mb()
        if free_mb >= needed:
            return None
        return f"{free_mb / 1024:.1f} GB of memory are free, and a run takes {needed / 1024:.1f}"

    def rest(self, until: Callable[[], bool] = lambda: False) -> None:
        """Waits while a person has asked for a pause, with the memory given back; ends by `until` as well."""
        since = pause.asked(self.folder)
        if since is None:
            return
        self._free_memory()
        self.journal.append("paused")
        self.view.state.pause(since)
        self.view.status(f"paused; to go on: {pause.GO_ON}")
        while pause.asked(self.folder) is not None and not until():
            time.sleep(pause.POLL_S)
        self.view.state.resume()
        self.journal.append("resumed")
        self.view.say(f"paused for {span(time.time() - since)}; going on")

    def _free_memory(self) -> None:
        """The language model is out of memory before a training begins: beside it, training is measured wrong."""
        for wait_s in RELEASE_WAITS_S:
            try:
                self.proposer.release()
                return
            except ProposerError as error:
                self.view.status(f"{error}; waiting {wait_s:.0f} s")
                problem = error
            time.sleep(wait_s)
        raise AutoresearchError(f"no training beside a loaded model: {problem}") from problem

    def _run_once(self, x: Experiment, run: int, purpose: Purpose, seed: int | None) -> Measurement:
        seed = run_seed(self.seed, x.n, run) if seed is None else seed
        self.journal.append("started", n=x.n, run=run, seed=seed, purpose=purpose, machine=self.facts.slug())
        title = x.proposal.title if purpose in ("search", "repeat") else f"the incumbent again: {x.proposal.title}"
        before = machine.sample()
        if self.since_power is None or before.power != self.since_power.power:
            self.since_power = before
        self.view.state.observe(before, awake.battery_outlook(before, self.since_power))
        self.view.begin(RunStart.of(x.n, run, x.proposal, title))
        read_source(self.folder, x)  # what runs is what was proposed
        path = run_folder(self.folder, x.n) / SOURCE_NAME
        ours = x.role == "baseline"  # the person's own file: it is measured however slow, and its kernels are kept
        bench = replace(self.bench, min_steps=LEAST_STEPS) if ours or purpose != "search" else self.bench
        half = self._halfway(x) if purpose == "search" and not ours else None
        try:
            m = experiment.measure(
                bench,
                path,
                self.run_dir_of(x.n, run),
                seed,
                self.view.hear,
                split="test" if purpose == "final" else "val",
                keep_kernels=ours,
                early_stop=half,
            )
        except KeyboardInterrupt:
            self.journal.append("abandoned", n=x.n, run=run, why="stopped by Ctrl-C")
            raise
        return replace(m, machine_before=before, machine_after=machine.sample())

    def _halfway(self, x: Experiment) -> EarlyStopCheck | None:
        """The look at half the budget of a candidate's first run; None where its curve says nothing about its end."""
        if not comparable(self.source_of(self.incumbent().n), self.source_of(x.n)):
            return None
        rule = early_stop.calibrate([*self.earlier, *early_stop.examples(self.night)]) if self.stops_losers else None
        limit = rule.limit_nats if rule else None
        if (limit is None) != (self.limit_nats is None):
            self._note(f"early stop: {rule or 'off: no limit stops losers and spares all that end no worse'}")
        self.limit_nats = limit
        audit = early_stop.audit_due(early_stop.past_limit(self.night))
        return EarlyStopCheck(early_stop.curve(self.incumbent()), limit, audit)

    def _note(self, text: str) -> None:
        self.journal.append("note", text=text)
        self.view.say(text)

    def _spoiled(self, x: Experiment, m: Measurement) -> str | None:
        """Why the machine, and not the idea, is to blame for this run; None when it counts."""
        if m.failure is not None:
            if m.failure.kind == "late":  # once it may be the machine; who is late each time, meant it
                return m.failure.message
            fault = KINDS[m.failure.kind].fault if m.failure.kind in KINDS else "candidate"
            machines = fault == "machine" or (fault == "either" and bool(x.bpbs))
            return f"the machine failed: {m.failure.message}" if machines else None
        return contaminated(m, usual(self.night, x.source_sha256, self.usual_since))

    # --- decisions ---

    def _decide(self, x: Experiment) -> Decision:
        if x.failure is not None:
            return Decision("crash", None, f"{x.failure.kind}: {x.failure.message}")
        if x.stopped is not None:
            return Decision("discard", None, early_stop.reason(x.stopped))
        if not x.bpbs:
            return Decision(None, "candidate", "not run yet")
        incumbent, now = self.incumbent(), self.reading()
        simpler = simplifies(self.source_of(incumbent.n), self.source_of(x.n))
        estimate, given_up = now.estimate(incumbent), estimates.given_up_sigma(self.night, now)
        decision = decide(now.values(x), estimate, now.noise, simplifies=simpler, given_up_sigma=given_up)
        gain = decision.delta_bpb or 0.0
        if decision.verdict == "keep" and implausible(gain, estimates.kept_gains(self.night), now.noise):
            return self._look_again(x, decision)
        return decision

    def _look_again(self, x: Experiment, decision: Decision) -> Decision:
        """An implausible gain is scored again from its checkpoint, with other batch rows in another order."""
        run = max(k for k, r in x.runs.items() if r.measurement and r.measurement.ok)
        first = x.runs[run].measurement
        assert first is not None and first.val_bpb is not None
        rows = max(1, (self.night.task.eval_rows or 8) // 2 - 1)
        path, seed = run_folder(self.folder, x.n) / SOURCE_NAME, x.runs[run].seed
        again = experiment.evaluate(self.bench, path, self.run_dir_of(x.n, run), seed, "val", rows=rows, order=run + 1)
        if again.val_bpb is None or abs(again.val_bpb - first.val_bpb) > 2e-3 * first.val_bpb:
            found = again.val_bpb if again.val_bpb is not None else again.failure
            return Decision("crash", None, f"implausible: {first.val_bpb:.6f} became {found} with other batch rows")
        self._note(f"#{x.n}, far better than all before, was scored again with {rows} rows in another order: it holds")
        return decision

    def conclude(self, n: int, decision: Decision) -> Experiment:
        """The verdict into the journal, then into git, then into results.tsv and the view."""
        x = self.night.experiments[n]
        assert decision.verdict is not None
        mean = fmean(self.reading().values(x)) if x.bpbs and decision.verdict != "crash" else None
        self.journal.append(
            "decided",
            n=n,
            verdict=decision.verdict,
            reason=decision.reason,
            delta_bpb=decision.delta_bpb,
            sigma_bpb=decision.sigma_bpb,
            z=decision.z,
            parent_commit=x.parent_commit,
            blob=self.repo.store(self.source_of(n).encode()),
            estimate=mean,
        )
        x = self.land(self.night.experiments[n])
        if x.role == "candidate":
            self.decided += 1
            self.since_baseline += 1
            if len(x.bpbs) == 1 or x.stopped is not None:
                self.single_run_discards += 1
            elif x.bpbs:
                self.single_run_discards = 0
            self.view.decided(result_of(x))
        results_tsv.update(self.root / "results.tsv", self.night)
        self.show_standing()
        self.afterwards(self.night)
        return x

    def land(self, x: Experiment) -> Experiment:
        """A keep becomes a commit of the branch; anything else stays reachable under a ref of its own."""
        if x.role == "candidate":
            content, message = self.source_of(x.n).encode(), commit_message(self.night, x, self.facts)
            if x.verdict == "keep":
                table = {"results.tsv": (self.root / "results.tsv").read_bytes()}
                landed = self.repo.keep(self.tag, x.n, x.parent_commit, FILE, content, message, table)
                commit, ref = landed.commit, landed.ref
                if landed.state == "moved":
                    self.view.say(f"the branch went on without the loop: #{x.n} is kept as {ref}")
                elif not landed.settled:
                    self.view.say(f"{FILE} has changes of yours and was left alone; the kept version is {commit[:10]}")
            else:
                commit, ref = self.repo.set_aside(self.tag, x.n, x.parent_commit, FILE, content, message)
            self.journal.append("committed", n=x.n, commit=commit, ref=ref)
        return self.night.experiments[x.n]

    # --- looking ---

    @property
    def night(self) -> Night:
        return self.journal.night

    def reading(self) -> estimates.Estimates:
        return estimates.read(self.night, self.prior)

    def run_s(self) -> float:
        """Seconds that one run takes here, from the incumbent's."""
        return max(m.total_s for m in self.incumbent().measurements if m.ok)

    def source_of(self, n: int) -> str:
        return self.journal.source_of(n)

    def incumbent(self) -> Experiment:
        incumbent = self.night.incumbent
        assert incumbent is not None, "a baseline is measured first"
        return incumbent

    def baseline(self) -> Experiment:
        baseline = validation.baseline_of(self.night)
        assert baseline is not None, "a baseline is measured first"
        return baseline

    def run_dir_of(self, n: int, run: int) -> Path:
        return run_folder(self.folder, n) / f"run-{run}"

    def show_standing(self) -> None:
        self.view.state.take(self.night, self.reading(), self.decided)


def _doubtful(x: Experiment) -> bool:
    """An idea that has not run here yet: a failure that looks like the machine's may be its own."""
    return x.role == "candidate" and not x.bpbs


def listed(violations: Sequence[str]) -> str:
    return "; ".join(violations[:5])


def run_seed(seed: int, n: int, run: int) -> int:
    """The harness owns the seeds: another one for each run of a night. run_seed(0, 12, 1) -> 12_001"""
    return seed * 10_000_000 + n * 1000 + run


def describe_machine(facts: machine.Facts, incumbent: Experiment) -> str:
    """Apple M4 Pro, ...; 82,000 tokens a second, 751 steps in the budget, peak memory 4.1 GB, 27% MFU (24% of ...)

    MFU is against the float32 product measured around the training, and against the chip's table where it is in it.
    """
    m = next((m for m in reversed(incumbent.measurements) if m.ok), None)
    if m is None or m.tok_s is None or m.peak_memory_mb is None:
        return facts.describe()
    mfu = f", {m.mfu_percent:.0f}% MFU" if m.mfu_percent is not None else ""
    tabled = chips.peak_tflops(facts, "float32")
    if m.mfu_percent is not None and m.speed_index and tabled:
        mfu += f" ({m.mfu_percent * m.speed_index / tabled:.0f}% of the chip's tabled peak)"
    speed = f"{m.tok_s:,.0f} tokens a second, {m.num_steps} steps in the budget"
    return f"{facts.describe()}; {speed}, peak memory {m.peak_memory_mb / 1024:.2f} GB{mfu}"


def commit_message(night: Night, x: Experiment, facts: machine.Facts) -> str:
    """A page of the notebook: what was tried and why, before and after, how sure, on which machine."""
    lines = [f"{x.proposal.title}", "", x.proposal.hypothesis, ""]
    if x.estimate is not None and x.delta_bpb is not None:
        before = x.estimate + x.delta_bpb
        lines += [f"val_bpb {before:.6f} -> {x.estimate:.6f} over {len(x.bpbs)} runs, sigma {x.sigma_bpb or 0:.6f}"]
    lines += [f"{x.verdict}: {x.reason}", ""]
    task = night.task
    lines += [
        f"Experiment: {night.tag}/{x.n:04d}",
        f"Proposer: {x.proposal.proposer}",
        f"Category: {x.proposal.category}",
        f"Task: {task.dataset}/{task.profile} {task.fingerprint}, {task.budget_s:g} s",
        f"Machine: {facts.describe()}",
    ]
    return "\n".join(lines) + "\n"
