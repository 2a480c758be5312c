"""Judge candidates by values that a test gives, in a real repository and without a training."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch.loop.experimenter import Experimenter
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.research import Limits, Research
from autoresearch.loop.runner import Wanted
from autoresearch.paths import Layout
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal
from autoresearch.record.night import Experiment
from autoresearch.records import Failure, Measurement, Proposer, Purpose, TaskFacts
from autoresearch.report.console import PlainView
from autoresearch.tasks.gpt.task import GptTask
from autoresearch.tasks.task import RunOrder
from testbed.toy import META, this_machine

VERSIONS = {"mlx": "1", "harness": "h"}


class GivenTask(GptTask):
    """Training of which nothing runs."""

    scored_again: float | None = None  # of a checkpoint that is scored again

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        assert baseline

    def preflight(self, source: str) -> Failure | None:
        """Return "train" for a source that holds the word `broken`."""
        return Failure("train", "NameError: name 'broken' is not defined", "line 3") if "broken" in source else None

    def score_again(self, order: RunOrder, run: int) -> Measurement | None:
        return Measurement(run, self.scored_again)


class Given:
    """Runner that journals the values given for an experiment, in their order."""

    at_once = None

    def __init__(self, notebook: Notebook, values: Mapping[int, list[float | Failure]]) -> None:
        self.notebook, self.values = notebook, {n: list(found) for n, found in values.items()}
        bench: Any = type("Bench", (), {"budget_s": 1.0})
        self.task = GivenTask(notebook.layout, bench, META, this_machine())

    def run(self, n: int, purpose: Purpose, seed: int | None = None) -> Experiment:
        run, value = self.notebook.night.experiments[n].next_run, self.values[n].pop(0)
        self.notebook.journal.append("started", n=n, run=run, seed=run, machine="m4", purpose=purpose)
        failure = value if isinstance(value, Failure) else None
        m = Measurement(run, None if failure else float(value), failure, total_s=1.0)  # type: ignore[arg-type]
        self.notebook.journal.append("measured", n=n, run=run, measurement=m)
        return self.notebook.night.experiments[n]

    def run_all(self, runs: Sequence[Wanted]) -> None:
        for n, purpose, seed in runs:
            if self.run(n, purpose, seed).failure is not None:
                return

    def score_again(self, x: Experiment, run: int) -> Measurement | None:
        return Measurement(run, self.task.scored_again)


def experimenter(root: Path, values: Mapping[int, list[float | Failure]]) -> Experimenter:
    """Return an experimenter on the branch of a night that has just been opened."""
    repo, layout = Repository.at(root), Layout(root, "nov23")
    branch = Branch.begin(repo, layout.tag, repo.head())
    repo.switch(branch.name)
    notebook = Notebook(layout, Journal(layout), PlainView(io.StringIO()))
    task = TaskFacts(dataset="toy", profile="tiny", fingerprint="toy0", budget_s=1.0, eval_rows=8)
    notebook.journal.append("opened", tag=layout.tag, task=task, versions=VERSIONS, base_commit=branch.tip())
    runner: Any = Given(notebook, {0: [1.60, 1.61, 1.59], **values})
    return Experimenter(notebook=notebook, runner=runner, branch=branch, facts=this_machine(), versions=VERSIONS)


def research(root: Path, values: Mapping[int, list[float | Failure]], proposer: Proposer) -> Research:
    """Return a night that has just been opened, with a proposer."""
    e = experimenter(root, values)
    return Research(notebook=e.notebook, experimenter=e, proposer=proposer, limits=Limits())
