"""A candidate's way from its source to its record, with a runner that returns given values."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoresearch.candidate import edits
from autoresearch.errors import AutoresearchError
from autoresearch.loop.experimenter import Experimenter
from autoresearch.loop.notebook import Notebook
from autoresearch.paths import Layout
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal
from autoresearch.record.night import Experiment
from autoresearch.records import Candidate, Failure, Measurement, Proposal, Purpose, Set, TaskFacts
from autoresearch.report.console import PlainView
from autoresearch.system import machine
from autoresearch.tasks.gpt import contract
from testbed.toy import git

IDEA = Proposal((Set("LR", "0.02"),), "learn faster", "more of each step", "learning_rate", "tuner")
VERSIONS = {"mlx": "1", "harness": "h"}


class Given:
    """Runner that journals the values given for an experiment, in their order."""

    def __init__(self, notebook: Notebook, values: Mapping[int, list[float | Failure]]) -> None:
        self.notebook, self.values = notebook, {n: list(found) for n, found in values.items()}
        self.scored_again: float | None = None  # bits per byte of a checkpoint that is scored again
        self.bench: Any = type("Bench", (), {"budget_s": 1.0})

    def run(self, n: int, purpose: Purpose, seed: int | None = None) -> Experiment:
        run, value = self.notebook.night.experiments[n].next_run, self.values[n].pop(0)
        self.notebook.journal.append("started", n=n, run=run, seed=run, machine="m4", purpose=purpose)
        failure = value if isinstance(value, Failure) else None
        m = Measurement(run, None if failure else float(value), failure, total_s=1.0)  # type: ignore[arg-type]
        self.notebook.journal.append("measured", n=n, run=run, measurement=m)
        return self.notebook.night.experiments[n]

    def score_again(self, x: Experiment, run: int, *, rows: int) -> Measurement:
        return Measurement(run, self.scored_again)

    def limit_candidates(self, baseline: Experiment) -> None:
        assert baseline.role == "baseline"


def experimenter(root: Path, values: Mapping[int, list[float | Failure]]) -> Experimenter:
    """Return an experimenter on the branch of a night that has just been opened."""
    repo, layout = Repository.at(root), Layout(root, "nov23")
    base = repo.begin(layout.tag)
    notebook = Notebook(layout, Journal(layout), PlainView(io.StringIO()))
    task = TaskFacts(dataset="toy", profile="tiny", fingerprint="toy0", budget_s=1.0, eval_rows=8)
    notebook.journal.append("opened", tag=layout.tag, task=task, versions=VERSIONS, base_commit=base)
    runner: Any = Given(notebook, {0: [1.60, 1.61, 1.59], **values})
    return Experimenter(notebook=notebook, runner=runner, repo=repo, facts=machine.facts(), versions=VERSIONS)


def candidate_of(e: Experimenter, *change: Set) -> Candidate:
    source = edits.apply(e.notebook.source_of(0), change)
    return Candidate(source, IDEA, 0, e.violations(source))


def test_a_kept_candidate_is_a_commit_of_the_branch(repository: Path) -> None:
    e = experimenter(repository, {1: [1.56, 1.56]})
    e.prepare()
    x = e.try_out(candidate_of(e, Set("LR", "0.02")))
    assert x.verdict == "keep" and x.ref == "refs/heads/autoresearch/nov23"
    assert "LR = 0.02" in git(repository, "show", "HEAD:train_mlx.py")
    assert git(repository, "log", "-1", "--format=%s") == "learn faster\n"
    assert e.notebook.incumbent.n == 1 and e.notebook.counters.decided == 1
    assert "keep" in e.notebook.layout.results.read_text()


@pytest.mark.parametrize(("scored_again", "verdict"), [(1.2001, "keep"), (1.6, "crash"), (None, "crash")])
def test_an_implausible_gain_is_scored_again(repository: Path, scored_again: float | None, verdict: str) -> None:
    e = experimenter(repository, {1: [1.2, 1.2]})
    e.runner.scored_again = scored_again  # type: ignore[attr-defined]
    e.prepare()
    x = e.try_out(candidate_of(e, Set("LR", "0.02")))
    assert x.verdict == verdict and (verdict == "keep" or x.reason.startswith("implausible: 1.200000 became "))
    assert bool(e.notebook.night.notes) == (verdict == "keep")


def test_a_candidate_that_breaks_the_contract_is_recorded_and_never_run(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = experimenter(repository, {})
    e.prepare()
    check, checked = contract.check, []
    monkeypatch.setattr(contract, "check", lambda *given: checked.append(given) or check(*given))
    source = "import os\n" + e.notebook.source_of(0)
    x = e.try_out(Candidate(source, IDEA, 0, e.violations(source)))
    assert x.verdict == "crash" and x.reason.startswith("contract: ") and "os" in x.reason and not x.runs
    assert x.ref == "refs/autoresearch/nov23/0001"
    assert len(checked) == 1  # nothing checks it again after the gate


def test_a_candidate_of_an_earlier_session_is_checked_again_and_finished(repository: Path) -> None:
    e = experimenter(repository, {1: [1.9]})
    e.prepare()
    source = edits.apply(e.notebook.source_of(0), [Set("LR", "0.02")])
    e._propose("candidate", Candidate(source, IDEA, 0))
    forbidden = Candidate("import os\n" + source, IDEA, 0)  # as if somebody had put it there between two sessions
    e._propose("candidate", forbidden)
    e.prepare()
    night = e.notebook.night
    assert night.experiments[1].verdict == "discard"
    assert night.experiments[2].verdict == "crash" and not night.experiments[2].runs


def test_a_baseline_is_measured_once_and_its_failure_ends_the_night(repository: Path) -> None:
    e = experimenter(repository, {})
    e.prepare()
    e.prepare()
    assert [x.role for x in e.notebook.night.decided] == ["baseline"]
    assert e.notebook.baseline.reason == "the baseline, 3 runs"
    again = experimenter(repository, {1: [Failure("slow", "3 steps")]})
    again.versions = {"mlx": "2", "harness": "h"}
    with pytest.raises(AutoresearchError, match=r"the baseline does not run \(slow\)[^$]*--time-budget S"):
        again.prepare()
