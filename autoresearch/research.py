"""The loop itself: propose, check, run, decide, record; again until stopped. Everything it uses is passed in.

Each step is in the journal before the next one happens, so that a kill at any moment loses no decided result; what the
next start finds unfinished is finished first.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autoresearch import constants, contract, edits, experiment, machine, policy, results, standing
from autoresearch.contamination import ATTEMPTS, contaminated, expectation
from autoresearch.decide import baseline_due, control_due, decide, implausible, simplifies
from autoresearch.errors import AutoresearchError, EditError, ProposerError, UsageError
from autoresearch.experiment import Workbench
from autoresearch.git import Repository
from autoresearch.journal import SOURCE_NAME, Journal, read_source, run_folder, store_source
from autoresearch.night import Experiment, Night, Purpose
from autoresearch.noise import Noise
from autoresearch.records import Context, Decision, Failure, Measurement, Proposal, Proposer, Trial, WholeFile
from autoresearch.view import Result, View

FILE = "train_mlx.py"
BASELINE_RUNS = 3  # replicates of a baseline: the first look at sigma
BASELINE_RUNS_KNOWN = 2  # where earlier nights of this machine and task know sigma already
KNOWN_DF = 4.0
RELEASE_WAITS_S = (10.0, 30.0, 60.0, 120.0)  # between attempts to unload the language model
MAX_FAILED_TURNS = 20  # turns in a row without a candidate: no proposer has anything left to say
STARTUP_FLOOR_S = 60.0  # what a candidate's start may take in any case: new kernels, a busy machine
COMPILING_FLOOR_S = 180.0  # where g++ compiles them
BEFORE_TRAINING = frozenset({"contract", "source", "import", "build", "warmup", "interface", "slow", "startup"})


@dataclass(frozen=True)
class Limits:
    """When the night ends. `deadline` is by time.time(); `experiments` counts candidates decided in this session."""

    experiments: int | None = None
    deadline: float | None = None
    run_s: float = 0.0  # what one run takes: none is begun that cannot end before the deadline

    def reached(self, decided: int) -> str | None:
        if self.experiments is not None and decided >= self.experiments:
            return f"{decided} experiments done"
        if self.deadline is not None and time.time() + self.run_s > self.deadline:
            return "the time is up"
        return None


@dataclass
class Research:
    """One night on one branch. `root` is the checkout, `folder` is runs/TAG."""

    root: Path
    tag: str
    folder: Path
    repo: Repository
    journal: Journal
    bench: Workbench
    proposer: Proposer
    view: View
    limits: Limits
    versions: Mapping[str, str]
    facts: machine.Facts
    seed: int = 0
    prior: Noise | None = None
    must_stop: Callable[[], str | None] = lambda: None  # why the machine asks for an end, before each turn
    afterwards: Callable[[Night], None] = lambda night: None  # housekeeping after each decision
    drafts: deque[Proposal] = field(default_factory=deque)
    decided: int = 0
    alone: int = 0  # discards on a single run since a candidate came near, or the incumbent ran
    since_baseline: int = 0  # experiments decided since the baseline's last run
    failed_turns: int = 0

    # --- the night ---

    def run(self) -> str:
        """Researches until a limit, and says which. Raises KeyboardInterrupt when the person stops it."""
        self.recover()
        self.ensure_baseline()
        while (why := self.limits.reached(self.decided) or self.must_stop()) is None:
            self.turn()
        return why

    def recover(self) -> None:
        """Finishes what an earlier session left: decisions without a commit, runs without an end, dropped ideas."""
        for x in self.night.to_quarantine():
            why = f"cut off {x.cut_offs} times with the machine; not tried again"
            self.journal.append("quarantined", n=x.n, why=why)
            self.view.say(f"#{x.n} {x.proposal.title}: {why}")
        for x in self.night.uncommitted():
            self._land(x)
        for x in (*self.night.unfinished(), *self.night.abandoned()):
            if x.role == "candidate" and self.night.incumbent is not None:
                self.view.say(f"#{x.n} {x.proposal.title}: unfinished; going on with it")
                self.finish(x.n)

    def ensure_baseline(self) -> None:
        """Measures the tree's file where there is no incumbent, or where the old one no longer compares."""
        why = self.night.baseline_reason(self.versions)
        if why is None:
            self._limit_startup()
            self._show_standing()
            return
        source = self.repo.read("HEAD", FILE).decode()
        begun = [x for x in (*self.night.unfinished(), *self.night.abandoned()) if x.role == "baseline"]
        if begun and self.source_of(begun[-1].n) == source:
            x = begun[-1]
        else:
            title = f"baseline ({self.facts.describe()}; {self.bench.budget_s:g} s)"
            proposal = Proposal((), title, f"measured because {why}", "other", "by hand")
            x = self._propose("baseline", proposal, source, None)
        known = self.prior is not None and self.prior.df >= KNOWN_DF
        while len(x.bpbs) < (BASELINE_RUNS_KNOWN if known else BASELINE_RUNS):
            x = self.measure(x.n, "confirm" if x.bpbs else "search")
            if x.failure is not None:
                self._conclude(x.n, Decision("crash", None, f"{x.failure.kind}: {x.failure.message}"))
                detail = f"\n{x.failure.detail}" if x.failure.detail else ""
                raise AutoresearchError(
                    f"the baseline does not run ({x.failure.kind}): {x.failure.message}{detail}\n"
                    f"Mend {FILE}, commit it, and start again; the log is in {self._run_dir(x.n, x.next_run - 1)}"
                )
        self._conclude(x.n, Decision("keep", None, f"the baseline, {len(x.bpbs)} runs"))
        self._limit_startup()

    def _limit_startup(self) -> None:
        """Candidates may take twice the slowest start of the baseline and 5 s, and no less than new kernels need."""
        starts = [m.seconds.get("startup", 0.0) + m.seconds.get("warmup", 0.0) for m in self._baseline().measurements]
        compiling = sys.platform != "darwin" and "MLX_DISABLE_COMPILE" not in self.bench.env
        floor = COMPILING_FLOOR_S if compiling else STARTUP_FLOOR_S
        limit = max(floor, 2 * max(starts, default=0.0) + 5)
        self.bench = replace(self.bench, startup_limit_s=limit)

    def turn(self) -> None:
        """One experiment, from an idea to its record; or one failed turn; or one more run of the incumbent."""
        incumbent = self._incumbent()
        if control_due(self.reading().estimate(incumbent), self.alone):
            self._control(incumbent)
            return
        if baseline_due(self.since_baseline) and incumbent.role != "baseline":
            self._control(self._baseline())
            return
        try:
            proposal, source, parent_n = self._next_candidate()
        except ProposerError as error:
            self._turn_failed(error)
            return
        self.failed_turns = 0
        x = self.finish(self._propose("candidate", proposal, source, parent_n).n)
        if x.verdict == "crash" and x.failure is not None and x.failure.kind in BEFORE_TRAINING:
            self._ask_repair(x.proposal, x.failure)

    def _control(self, x: Experiment) -> None:
        """One more run of a known file: it corrects a lucky estimate and shows whether the machine has changed."""
        before = self.reading().drift
        self.measure(x.n, "control")
        self.alone, self.since_baseline = 0, 0 if x.role == "baseline" else self.since_baseline
        found = self.reading().drift
        if found is not None and before is None:
            text = f"the machine gives other values than before: {found.shift_bpb:+.4f} bpb; estimates begin anew"
            self.journal.append("note", text=text)
            self.view.say(text)
        self._show_standing()

    def finish(self, n: int) -> Experiment:
        """Runs experiment n until the keep rule has a verdict, and records it."""
        x = self.night.experiments[n]
        violations = contract.check(self.source_of(n), self.source_of(self._baseline().n))
        if violations:
            return self._conclude(n, Decision("crash", None, f"contract: {_text(violations)}"))
        while True:
            decision = self._decide(x)
            if decision.verdict is not None:
                return self._conclude(n, decision)
            if decision.rerun == "incumbent":
                self._control(self._incumbent())
                x = self.night.experiments[n]
            else:
                x = self.measure(n, "confirm" if x.bpbs else "search")

    def attempt(self, file: Path, message: str) -> Experiment:
        """One candidate from a person or an agent that drives itself, under the same rules as any other."""
        self.recover()
        self.ensure_baseline()
        try:
            source = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from None
        if constants.normalised(source) == constants.normalised(self.source_of(self._incumbent().n)):
            raise UsageError(f"{file} computes what the incumbent computes: there is nothing to measure")
        title, _, why = message.strip().partition("\n")
        proposal = Proposal((WholeFile(source),), title[:80], why.strip() or title, "other", "by hand")
        return self.finish(self._propose("candidate", proposal, source, self._incumbent().n).n)

    # --- ideas ---

    def context(self) -> Context:
        incumbent, now = self._incumbent(), self.reading()
        history = self.night.trials(self.source_of)
        turn = self.night.next_n
        return Context(
            source=self.source_of(self._parent(history)),
            incumbent_bpb=now.estimate(incumbent).mean,
            sigma_bpb=now.noise.sigma_bpb,
            program=(self.root / "program.md").read_text() if (self.root / "program.md").exists() else "",
            task=self.night.task,
            machine=describe_machine(self.facts, incumbent),
            history=history,
            directive=policy.next_directive(history, turn),
            seed=self.seed,
            turn=turn,
        )

    def _parent(self, history: Sequence[Trial]) -> int:
        """The experiment that the next idea edits: the incumbent, or on a long plateau one of its ancestors."""
        ancestor = policy.branch_point(history)
        if ancestor is None:
            return self._incumbent().n
        return self._baseline().n if ancestor == 0 else ancestor

    def _next_candidate(self) -> tuple[Proposal, str, int]:
        """The next new idea, the source it makes and the experiment it edits. Raises ProposerError."""
        context = self.context()
        parent_n = self._parent(context.history)
        fresh = not self.drafts
        if fresh:
            self.view.status(f"asking {self.proposer.name} for an idea")
            self.drafts.extend(self.proposer.propose(context))
        proposal = self.drafts.popleft()
        try:
            source = edits.apply(context.source, proposal.edits)
        except EditError as error:
            if not fresh:
                raise ProposerError(f"dropped a stale draft, {proposal.title}: {error}") from error
            raise
        if repeated := policy.repeat_of(source, context.source, context.history):
            raise ProposerError(f"{proposal.title}: {policy.repeat_sentence(source, repeated)}", reason="repeat")
        violations = contract.check(source, self.source_of(self._baseline().n))
        if violations:
            repaired = self.proposer.repair(context, proposal, Failure("contract", _text(violations)))
            if repaired is not None:
                return repaired, edits.apply(context.source, repaired.edits), parent_n
        return proposal, source, parent_n

    def _turn_failed(self, error: ProposerError) -> None:
        self.failed_turns += 1
        told = {"reason": str(error), "kind": error.reason, "usage": dict(error.usage)}
        self.journal.append("turn_failed", proposer=self.proposer.name, **told)
        self.view.say(f"no experiment: {error}")
        if self.failed_turns >= MAX_FAILED_TURNS:
            raise AutoresearchError(
                f"{self.failed_turns} turns in a row brought no new candidate; the last: {error}\n"
                "Go on with another proposer: uv run loop.py --proposer tuner"
            )

    def _ask_repair(self, proposal: Proposal, failure: Failure) -> None:
        try:
            repaired = self.proposer.repair(self.context(), proposal, failure)
        except ProposerError as error:
            self._turn_failed(error)
            return
        if repaired is not None:
            self.drafts.appendleft(repaired)

    # --- runs ---

    def _propose(self, role: str, proposal: Proposal, source: str, parent_n: int | None) -> Experiment:
        n = self.night.next_n
        sha256 = store_source(self.folder, n, source)
        self.journal.append(
            "proposed",
            n=n,
            role=role,
            proposal=proposal,
            source_sha256=sha256,
            parent_n=parent_n,
            parent_commit=self.repo.head(),
        )
        return self.night.experiments[n]

    def measure(self, n: int, purpose: Purpose, seed: int | None = None) -> Experiment:
        """One more run of experiment n, journaled from start to end. Runs that the machine spoiled are made again."""
        self._free_memory()
        for attempt in range(ATTEMPTS + 1):
            x = self.night.experiments[n]
            run = x.next_run
            measurement = self._run_once(x, run, purpose, seed)
            why = self._spoiled(x, measurement)
            if why is None or attempt == ATTEMPTS:
                self.journal.append("measured", n=n, run=run, measurement=measurement)
                break
            self.view.say(f"#{n} run {run}: {why}; running it again")
            self.journal.append("abandoned", n=n, run=run, why=why, measurement=measurement)
        return self.night.experiments[n]

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
        self.journal.append("started", n=x.n, run=run, seed=seed, purpose=purpose)
        title = x.proposal.title if purpose in ("search", "confirm") else f"the incumbent again: {x.proposal.title}"
        self.view.begin(x.n, run, title, x.proposal.hypothesis)
        before = machine.sample()
        path = run_folder(self.folder, x.n) / SOURCE_NAME
        ours = x.role == "baseline"  # the person's own file: it is measured however slow, and its kernels are kept
        bench = replace(self.bench, min_steps=0) if ours else self.bench
        try:
            run_dir = self._run_dir(x.n, run)
            m = experiment.measure(bench, path, run_dir, seed, self.view.hear, harvest=ours)
            if purpose == "validation" and m.ok:
                m = replace(m, val_bpb=experiment.evaluate(bench, path, run_dir, seed, "confirm").val_bpb)
        except KeyboardInterrupt:
            self.journal.append("abandoned", n=x.n, run=run, why="stopped by Ctrl-C")
            raise
        return replace(m, machine={"start": before, "end": machine.sample()})

    def _spoiled(self, x: Experiment, m: Measurement) -> str | None:
        """Why the machine, and not the idea, is to blame for this run; None when it counts."""
        if m.failure is not None:
            return f"the machine failed: {m.failure.message}" if m.failure.kind == "machine" else None
        every = [(e, earlier) for e in self.night.experiments.values() for earlier in e.measurements if earlier.ok]
        same = [earlier for e, earlier in every if e.source_sha256 == x.source_sha256]
        return contaminated(m, expectation(same, [earlier for _, earlier in every]))

    # --- decisions ---

    def _decide(self, x: Experiment) -> Decision:
        if x.failure is not None:
            return Decision("crash", None, f"{x.failure.kind}: {x.failure.message}")
        if not x.bpbs:
            return Decision(None, "candidate", "not run yet")
        incumbent, now = self._incumbent(), self.reading()
        simpler = simplifies(self.source_of(incumbent.n), self.source_of(x.n))
        estimate, conceded = now.estimate(incumbent), standing.conceded_sigma(self.night, now)
        decision = decide(now.values(x), estimate, now.noise, simplifies=simpler, conceded_sigma=conceded)
        gain = decision.delta_bpb or 0.0
        if decision.verdict == "keep" and implausible(gain, standing.kept_gains(self.night), now.noise):
            return self._look_again(x, decision)
        return decision

    def _look_again(self, x: Experiment, decision: Decision) -> Decision:
        """An implausible gain is scored again from its checkpoint, with other batch rows in another order."""
        run = max(k for k, r in x.runs.items() if r.measurement and r.measurement.ok)
        first = x.runs[run].measurement
        assert first is not None and first.val_bpb is not None
        rows = max(1, int(self.night.task.get("eval_rows", 8)) // 2 - 1)
        path, seed = run_folder(self.folder, x.n) / SOURCE_NAME, x.runs[run].seed
        again = experiment.evaluate(self.bench, path, self._run_dir(x.n, run), seed, "val", rows=rows, order=run + 1)
        if again.val_bpb is None or abs(again.val_bpb - first.val_bpb) > 2e-3 * first.val_bpb:
            found = again.val_bpb if again.val_bpb is not None else again.failure
            return Decision("crash", None, f"implausible: {first.val_bpb:.6f} became {found} with other batch rows")
        return decision

    def _conclude(self, n: int, decision: Decision) -> Experiment:
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
        x = self._land(self.night.experiments[n])
        if x.role == "candidate":
            self.decided += 1
            self.since_baseline += 1
            if len(x.bpbs) == 1:
                self.alone += 1
            elif x.bpbs:
                self.alone = 0
            self.view.decided(Result(n, decision.verdict, mean, x.proposal.title, x.reason, x.proposal.proposer))
        results.update(self.root / "results.tsv", self.night)
        self._show_standing()
        self.afterwards(self.night)
        return x

    def _land(self, x: Experiment) -> Experiment:
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

    def reading(self) -> standing.Standing:
        return standing.read(self.night, self.prior)

    def run_s(self) -> float:
        """Seconds that one run takes here, from the incumbent's."""
        return max(m.total_s for m in self._incumbent().measurements if m.ok)

    def source_of(self, n: int) -> str:
        return read_source(self.folder, self.night.experiments[n])

    def _incumbent(self) -> Experiment:
        incumbent = self.night.incumbent
        assert incumbent is not None, "a baseline is measured first"
        return incumbent

    def _baseline(self) -> Experiment:
        return next(x for x in reversed(list(self.night.experiments.values())) if x.role == "baseline")

    def _run_dir(self, n: int, run: int) -> Path:
        return run_folder(self.folder, n) / f"run-{run}"

    def _show_standing(self) -> None:
        incumbent, board, now = self.night.incumbent, self.view.board, self.reading()
        if incumbent is None:
            return
        board.incumbent_bpb, board.incumbent_title = now.estimate(incumbent).mean, incumbent.proposal.title
        board.baseline_bpb, board.sigma_bpb = now.estimate(self._baseline()).mean, now.noise.sigma_bpb
        board.incumbent_curve = next((m.loss_curve for m in incumbent.measurements if m.ok), ())
        board.machine = describe_machine(self.facts, incumbent)


def _text(violations: list[contract.Violation]) -> str:
    return "; ".join(str(v) for v in violations[:5])


def run_seed(seed: int, n: int, run: int) -> int:
    """The harness owns the seeds: another one for each run of a night. run_seed(0, 12, 1) -> 12_001"""
    return seed * 10_000_000 + n * 1000 + run


def describe_machine(facts: machine.Facts, incumbent: Experiment) -> str:
    """Apple M4 Pro, ...; 82,000 tokens a second, 751 steps in the budget, peak memory 4.1 GB, 27% MFU"""
    m = next((m for m in reversed(incumbent.measurements) if m.ok), None)
    if m is None or m.tok_s is None or m.peak_memory_mb is None:
        return facts.describe()
    mfu = f", {m.mfu_percent:.0f}% MFU" if m.mfu_percent is not None else ""
    speed = f"{m.tok_s:,.0f} tokens a second, {m.num_steps} steps in the budget"
    return f"{facts.describe()}; {speed}, peak memory {m.peak_memory_mb / 1024:.2f} GB{mfu}"


def commit_message(night: Night, x: Experiment, facts: machine.Facts) -> str:
    """A page of the notebook: what was tried and why, before and after, how sure, on which machine."""
    lines = [f"{x.proposal.title}", "", x.proposal.hypothesis, ""]
    if x.estimate is not None and x.delta_bpb is not None:
        before = x.estimate + x.delta_bpb
        lines += [f"val_bpb {before:.6f} -> {x.estimate:.6f} over {len(x.bpbs)} runs, sigma {x.sigma_bpb or 0:.6f}"]
    lines += [f"{x.verdict}: {x.reason}", ""]
    task: Mapping[str, Any] = night.task
    lines += [
        f"Experiment: {night.tag}/{x.n:04d}",
        f"Proposer: {x.proposal.proposer}",
        f"Category: {x.proposal.category}",
        f"Task: {task.get('dataset')}/{task.get('profile')} {task.get('fingerprint')}, {task.get('budget_s'):g} s",
        f"Machine: {facts.describe()}",
    ]
    return "\n".join(lines) + "\n"
