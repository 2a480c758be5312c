"""Take a candidate from its source to its verdict, and record it in the journal, in git and in results.tsv.

Each step is in the journal before the next one happens, so a kill at any moment loses no decided result. `prepare`
first finishes what an earlier session left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

from autoresearch.candidate.complexity import simplifies
from autoresearch.decide import early_stop, estimates
from autoresearch.decide.keep_rule import decide, implausible
from autoresearch.decide.kinds import SCATTERS, runs_needed
from autoresearch.errors import AutoresearchError
from autoresearch.formats import counted
from autoresearch.loop.baseline_advice import advice
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.runner import Runner, first_member
from autoresearch.paths import RESULTS
from autoresearch.record import results_tsv
from autoresearch.record.branch import Branch
from autoresearch.record.commit_message import commit_message
from autoresearch.record.night import CUT_OFFS, MOVED_ON, Experiment, Night
from autoresearch.records import Candidate, Decision, Failure, Proposal, Role
from autoresearch.report.live_state import result_of
from autoresearch.system.machine import Facts
from autoresearch.tasks.task import Task

SAME_SCORE = 2e-3  # relative difference up to which a checkpoint scored again gives the same score


@dataclass(kw_only=True)
class Experimenter:
    """Judge and recorder of one night's candidates. `afterwards` are called with the night after each decision."""

    notebook: Notebook
    runner: Runner
    branch: Branch
    facts: Facts
    versions: Mapping[str, str] = field(default_factory=dict)  # of MLX, Python and the harness
    afterwards: Sequence[Callable[[Night], None]] = ()  # housekeeping after each decision
    overtaken: list[Proposal] = field(default_factory=list)  # ideas whose incumbent was replaced during their runs
    _stood: str = ""  # the commit of the branch at which it was last seen to hold the incumbent

    # --- one candidate ---

    def try_out(self, candidate: Candidate) -> Experiment:
        """Record a candidate, run it until the keep rule has a verdict, and record that."""
        x = self._propose("candidate", candidate)
        if candidate.violations:
            return self._reject(x, candidate.violations)
        if candidate.broken is not None:
            return self._conclude(x, Decision("crash", None, f"preflight: {candidate.broken.message}"))
        return self._finish(x)

    @property
    def task(self) -> Task:
        return self.runner.task

    def violations(self, source: str) -> tuple[str, ...]:
        """Return what `source` breaks of the task's contract."""
        return self.task.check(source, self.notebook.source_of(self.notebook.baseline.n))

    def preflight(self, source: str) -> Failure | None:
        """Return why `source` cannot work, found within seconds; None where it may."""
        self.notebook.view.status("trying the change before it is run")
        return self.task.preflight(source)

    def _propose(self, role: Role, candidate: Candidate) -> Experiment:
        """Store the candidate's source and record it as the next experiment."""
        journal, n = self.notebook.journal, self.notebook.night.next_n
        journal.append(
            "proposed",
            n=n,
            role=role,
            proposal=candidate.proposal,
            source_sha256=journal.store_source(n, candidate.source),
            parent_n=candidate.parent_n,
            parent_commit=self.branch.tip() if role == "baseline" else self._stood,
        )
        return self.notebook.night.experiments[n]

    def _reject(self, x: Experiment, violations: Sequence[str]) -> Experiment:
        return self._conclude(x, Decision("crash", None, f"contract: {listed(violations)}"))

    def _finish(self, x: Experiment) -> Experiment:
        """Run an experiment until the keep rule has a verdict, and record it."""
        while True:
            decision = self._decide(x)
            if decision.verdict is not None:
                return self._conclude(x, decision)
            if x.scores:
                self.notebook.view.say(f"#{x.n} {x.proposal.title}: {decision.reason}, so {_again(decision)}")
            if decision.rerun == "incumbent":
                self.runner.rerun(self.notebook.incumbent, first_member(x))
                x = self.notebook.night.experiments[x.n]
            else:
                x = self.runner.run(x.n, "repeat" if x.scores else "search")

    # --- what comes before the first candidate of a session ---

    def prepare(self) -> None:
        """Finish what an earlier session left, and measure a baseline where none stands.

        Raises AutoresearchError where the baseline does not run.
        """
        self.notebook.show()
        self._recover()
        self.catch_up()
        self.task.limit_candidates(self.notebook.baseline.measurements)
        self.notebook.show()

    def catch_up(self) -> None:
        """Measure a baseline where none stands, or where the user committed another version to the branch.

        Raises AutoresearchError where it does not run.
        """
        tip = self.branch.tip()
        while (why := self._out_of_date()) is not None:
            self._measure_baseline(why)
            self.task.limit_candidates(self.notebook.baseline.measurements)
            self.notebook.show()
            tip = self.branch.tip()
        self._stood = tip

    def _out_of_date(self) -> str | None:
        """Return why a baseline is to be measured; None where the incumbent is what the branch holds."""
        if (why := self.notebook.night.baseline_reason(self.versions)) is not None:
            return why
        holds = self.branch.holds(self.task.files(self.notebook.source_of(self.notebook.incumbent.n)))
        return None if holds else MOVED_ON

    def _recover(self) -> None:
        """Finish decisions without a commit and candidates without a verdict; give up what took the machine down."""
        notebook, night = self.notebook, self.notebook.night
        for x in night.to_quarantine():
            why = f"cut off {counted(x.cut_offs, 'time')} when the machine went down; not tried again"
            notebook.journal.append("quarantined", n=x.n, why=why)
            notebook.view.say(f"#{x.n} {x.proposal.title}: {why}")
        for x in notebook.night.uncommitted():
            self._land(x)
        left = [x for x in (*notebook.night.unfinished(), *notebook.night.abandoned()) if x.role == "candidate"]
        if notebook.night.incumbent is None:
            return
        suspects = [x for x in left if x.cut_offs >= CUT_OFFS]  # alone, so that the next cut-off shows which it was
        for x in suspects:
            self._resume(x)
        (self.runner.at_once or _in_turn)([partial(self._resume, x) for x in left if x not in suspects])

    def _resume(self, x: Experiment) -> None:
        """Finish a candidate of an earlier session; it is checked again, since its source comes from the disk."""
        self.notebook.view.say(f"#{x.n} {x.proposal.title}: unfinished; resuming it")
        violations = self.violations(self.notebook.source_of(x.n))
        if violations:
            self._reject(x, violations)
        else:
            self._finish(x)

    def _measure_baseline(self, why: str) -> None:
        """Measure the branch's file as the new baseline."""
        x = self._begun_baseline() or self._new_baseline(why)
        number = "" if self.notebook.layout.declared else f"{self._baseline_runs()} "
        self.notebook.view.say(f"baseline: {number}runs of the same files, which show how far runs differ")
        while (missing := self._baseline_runs() - _replicates(x)) > 0:
            if x.scores:
                self.runner.run_all([(x.n, "repeat", None)] * missing)
            else:  # alone, since it shows whether the files run at all
                self.runner.run(x.n, "search")
            x = self.notebook.night.experiments[x.n]
            if x.failure is not None:
                self._conclude(x, _crash(x.failure))
                main = self.task.facts.files[0]
                raise AutoresearchError(advice(x, x.failure, main, self.notebook.layout, self.branch))
        declared, shown = self.notebook.metric.scatter, self.notebook.estimates.metric.scatter
        if shown != declared:
            self.notebook.note(f"the metric is declared {declared}, but {SCATTERS[shown]}: it is taken as {shown}")
        self._conclude(x, Decision("keep", None, f"the baseline, {counted(len(x.scores), 'run')}"))

    def _baseline_runs(self) -> int:
        """Return how many runs the baseline needs, by what its runs have shown so far."""
        return runs_needed(self.notebook.estimates.metric, self.notebook.prior).baseline

    def _begun_baseline(self) -> Experiment | None:
        """Return the baseline that an earlier session began to measure, where the branch still holds its source."""
        night = self.notebook.night
        begun = [x for x in (*night.unfinished(), *night.abandoned()) if x.role == "baseline"]
        return begun[-1] if begun and self.notebook.source_of(begun[-1].n) == self._tip_source() else None

    def _new_baseline(self, why: str) -> Experiment:
        budget = f"; {self.task.run_s:g} s" if self.task.run_s else ""
        title = f"baseline ({self.facts.describe()}{budget})"
        proposal = Proposal((), title, f"measured because {why}", "other", "by hand")
        return self._propose("baseline", Candidate(self._tip_source(), proposal, None))

    def _tip_source(self) -> str:
        try:
            return self.task.read(self.branch.read)
        except AutoresearchError as error:
            raise type(error)(f"{self.branch.name}: {error}") from error

    # --- decisions ---

    def _decide(self, x: Experiment) -> Decision:
        if x.failure is not None:
            return _crash(x.failure)
        if x.stopped is not None:
            return Decision("discard", None, early_stop.reason(x.stopped))
        if not x.scores:
            return Decision(None, "candidate", "not run yet")
        notebook, night = self.notebook, self.notebook.night
        incumbent = notebook.incumbent if x.under is None else night.experiments[x.under]
        now = notebook.estimates
        simpler = simplifies(notebook.source_of(incumbent.n), notebook.source_of(x.n))
        given_up = estimates.given_up_sigma(night, now)
        decision = decide(
            now.values(x),
            now.estimate(incumbent),
            now.noise,
            metric=now.metric,
            cases=now.cases(incumbent, x),
            simplifies=simpler,
            given_up_sigma=given_up,
        )
        gain = decision.delta_score or 0.0
        if incumbent.n != night.incumbent_n and decision.verdict != "discard":
            return self._overtaken(x, incumbent, decision)
        if decision.verdict == "keep" and implausible(gain, estimates.kept_gains(night), now.noise):
            return self._look_again(x, decision)
        return decision

    def _overtaken(self, x: Experiment, then: Experiment, decision: Decision) -> Decision:
        """Discard a candidate whose incumbent was replaced during its runs, in a fleet; keep its idea for the new one.

        What looked better than the old incumbent is never kept as it is.
        """
        self.overtaken.append(x.proposal)
        why = f"#{then.n} was replaced by #{self.notebook.incumbent.n} meanwhile; the idea is tried on top of that"
        return replace(decision, verdict="discard", rerun=None, reason=f"{decision.reason}; {why}")

    def _look_again(self, x: Experiment, decision: Decision) -> Decision:
        """Score an implausible gain in another way, where the task has one; a different score makes it a crash."""
        for run in sorted((k for k, r in x.runs.items() if r.measurement and r.measurement.ok), reverse=True):
            if (again := self.runner.score_again(x, run)) is not None:
                break
        else:
            return decision
        first, metric = x.runs[run].measurement, self.notebook.metric
        assert first is not None and first.score is not None
        if again.score is None or abs(again.score - first.score) > SAME_SCORE * abs(first.score):
            found = metric.shown(again.score) if again.score is not None else again.failure
            was = metric.shown(first.score)
            return Decision("crash", None, f"implausible: {was} became {found} when it was scored in another order")
        self.notebook.note(f"#{x.n}, far better than all before, was scored again in another order: it holds")
        return decision

    # --- records ---

    def _conclude(self, x: Experiment, decision: Decision) -> Experiment:
        """Record the verdict in the journal, then in git, then in results.tsv and the view."""
        notebook = self.notebook
        assert decision.verdict is not None
        x = notebook.night.experiments[x.n]
        mean = fmean(notebook.estimates.values(x)) if x.scores and decision.verdict != "crash" else None
        notebook.journal.append(
            "decided",
            n=x.n,
            verdict=decision.verdict,
            reason=decision.reason,
            delta_score=decision.delta_score,
            sigma_score=decision.sigma_score,
            z=decision.z,
            parent_commit=x.parent_commit,
            blob=self.branch.repo.store(notebook.source_of(x.n).encode()),
            estimate=mean,
        )
        x = self._land(notebook.night.experiments[x.n])
        if x.role == "candidate":
            notebook.counters.count_decided(x)
            notebook.view.decided(result_of(x))
        results_tsv.update(notebook.layout.table, notebook.night, self.table_before())
        notebook.show()
        for chore in self.afterwards:
            chore(notebook.night)
        return x

    def _land(self, x: Experiment) -> Experiment:
        """Commit a kept candidate on the branch; put any other under a ref of its own, where it stays reachable."""
        if x.role == "candidate":
            night = self.notebook.night
            files = self.task.files(self.notebook.source_of(x.n))
            message = commit_message(night, x, self.facts.describe())
            if x.verdict == "keep":
                commit, ref = self._keep(x, files, message)
            else:
                commit, ref = self.branch.set_aside(x.n, x.parent_commit, files, message)
            self.notebook.journal.append("committed", n=x.n, commit=commit, ref=ref)
        return self.notebook.night.experiments[x.n]

    def _keep(self, x: Experiment, files: Mapping[str, bytes], message: str) -> tuple[str, str]:
        """Commit the candidate, in training together with results.tsv; return the commit and its ref."""
        branch, night, view = self.branch, self.notebook.night, self.notebook.view
        table = {}
        if not self.notebook.layout.declared:
            earlier = replace(night, experiments={n: e for n, e in night.experiments.items() if n != x.n})
            table = {RESULTS: results_tsv.render(earlier, branch.read(RESULTS))}  # its own row needs the commit's name
        landed = branch.keep(x.n, x.parent_commit, files, message, table)
        if landed.state == "moved":
            view.say(f"the branch has moved on without the loop: #{x.n} is kept as {landed.ref}")
        elif not landed.settled:
            named = " and ".join(files)
            view.say(f"{named}: your own changes were left alone; the kept version is {landed.commit[:10]}")
        return landed.commit, landed.ref

    def table_before(self) -> bytes:
        """Return results.tsv without this night's last rows: the branch's, or that of a declared task's folder."""
        path = self.notebook.layout.results
        if not self.notebook.layout.declared:
            return self.branch.read(RESULTS)
        return path.read_bytes() if path.exists() else b""


def _in_turn(works: Sequence[Callable[[], object]]) -> None:
    for work in works:
        work()


def _replicates(x: Experiment) -> int:
    """Count the runs that tell the noise: those in turns with another version, where there are any."""
    good = [m for m in x.measurements if m.ok]
    return sum(m.beside for m in good) or len(good)


def listed(violations: Sequence[str]) -> str:
    """Return the first five violations in a line."""
    return "; ".join(violations[:5])


def _again(decision: Decision) -> str:
    return "the incumbent runs again" if decision.rerun == "incumbent" else "it runs again"


def _crash(failure: Failure) -> Decision:
    return Decision("crash", None, f"{failure.kind}: {failure.message}")
