"""Whose fault a failed run is: runs that the machine spoiled are repeated and never blamed on an idea."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import AutoresearchError
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.readiness import Readiness
from autoresearch.loop.runner import Runner, first_member, run_seed
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Experiment
from autoresearch.records import Failure, Measurement, Proposal, Purpose, Set
from autoresearch.report.console import PlainView
from testbed.night_builder import NightBuilder

GPU = Failure("machine", "Command buffer execution failed: Caused GPU Timeout Error")
DRY = Failure("memory", "held 9.1 GB of memory (limit 8.0 GB)")
WRONG = Failure("build", "NameError: name 'DEPHT' is not defined")
FINE = None


@dataclass(kw_only=True)
class Rehearsed(Runner):
    """Runner whose runs end as `ends` says for their experiment, and then without a failure."""

    ends: dict[int, list[Failure | None]]
    ran: list[int] = field(default_factory=list)

    members: list[str] = field(default_factory=list)  # of a fleet, that are there
    asked: list[str | None] = field(default_factory=list)  # whom each run was meant for

    def _run_once(
        self, x: Experiment, run: int, purpose: Purpose, seed: int | None, on: str | None = None
    ) -> Measurement:
        self.notebook.journal.append("started", n=x.n, run=run, seed=run, machine="m4", purpose=purpose)
        self.ran.append(x.n)
        self.asked.append(on)
        failure = self.ends[x.n].pop(0) if self.ends.get(x.n) else FINE
        member = on if on in self.members else next(iter(self.members), None)
        return Measurement(run, None if failure else 1.5, failure, tok_s=None, member=member)


@pytest.fixture
def runner(tmp_path: Path) -> Callable[..., Rehearsed]:
    """Return runners over a made-up night of three experiments and a fourth that is proposed."""
    layout = Layout(tmp_path, "nov23")
    folder = NightBuilder().try_all(3).write(layout.folder)
    unused: Any = None

    def make(**ends: list[Failure | None]) -> Rehearsed:
        notebook = Notebook(layout, journal.Journal(layout), PlainView(io.StringIO()))
        made = Rehearsed(
            notebook=notebook,
            task=unused,
            machine_slug="m4",
            readiness=Readiness(notebook, release=lambda training_mb: False),
            early_stopping=unused,
            patience_s=(0.0, 0.0),
            ends={{"idea": 4, "best": best}[name]: list(found) for name, found in ends.items()},
        )
        sha = journal.store_source(Layout.of(folder), 4, "DEPTH = 3\n")
        idea = Proposal((Set("DEPTH", "3"),), "Deeper", "", "depth", "tuner")
        notebook.journal.append(
            "proposed", n=4, role="candidate", proposal=idea, source_sha256=sha, parent_n=best, parent_commit="b" * 40
        )
        return made

    best = journal.read(Layout.of(folder)).incumbent_n
    assert best is not None
    return make


def test_one_failure_of_the_machine_is_a_run_made_again(runner: Callable[..., Rehearsed]) -> None:
    made = runner(idea=[GPU])
    x = made.run(4, "search")
    assert made.ran == [4, 4] and x.failure is None
    assert [r.ended for r in x.runs.values()] == ["abandoned", "measured"]


def test_a_candidate_s_runs_and_what_its_verdict_asks_for_stay_on_the_machine_that_ran_it_first(
    runner: Callable[..., Rehearsed],
) -> None:
    made = runner()
    made.members = ["mini"]
    made.run(4, "search")
    made.members = ["studio", "mini"]
    made.run(4, "repeat")
    made.rerun(made.notebook.incumbent, first_member(made.notebook.night.experiments[4]))
    assert made.asked == [None, "mini", "mini"] and not made.notebook.night.notes
    made.members = ["studio"]
    x = made.run(4, "repeat")
    assert [m.member for m in x.measurements] == ["mini", "mini", "studio"]
    assert made.notebook.night.notes == ("#4 run 3 was made by studio, since mini was not there",)


def test_where_a_candidate_fails_twice_the_incumbent_runs_on_that_machine(runner: Callable[..., Rehearsed]) -> None:
    made = runner(idea=[GPU, GPU, GPU])
    made.members = ["mini"]
    made.run(4, "search")
    assert made.asked == [None, None, "mini", None]


def test_a_run_that_lacks_memory_beside_the_model_is_made_again_without_it(runner: Callable[..., Rehearsed]) -> None:
    made = runner(idea=[DRY, DRY])
    asked: list[float | None] = []

    def release(training_mb: float | None) -> bool:
        asked.append(training_mb)
        return training_mb is not None

    made.readiness.release = release
    x = made.run(4, "search")
    assert made.ran == [4, 4] and x.failure == DRY  # alone it fails as well, so the idea is at fault
    assert asked[0] is not None and asked[1] is None


def test_after_two_the_incumbent_shows_whose_fault_it_is(runner: Callable[..., Rehearsed]) -> None:
    made = runner(idea=[GPU, GPU, GPU])
    best = made.notebook.incumbent.n
    x = made.run(4, "search")
    assert made.ran == [4, 4, best, 4]
    assert x.failure == GPU  # the incumbent runs, so the idea is at fault


def test_an_idea_is_not_blamed_while_the_incumbent_fails_too(runner: Callable[..., Rehearsed]) -> None:
    made = runner(idea=[GPU, GPU], best=[GPU, DRY, GPU])
    best = made.notebook.incumbent.n
    x = made.run(4, "search")
    assert made.ran == [4, 4, best, best, best, best, 4]
    assert x.failure is None and x.measurements[-1].ok


def test_a_machine_that_does_not_recover_ends_the_night_and_blames_nobody(
    runner: Callable[..., Rehearsed],
) -> None:
    made = runner(idea=[GPU, GPU], best=[GPU] * 9)
    with pytest.raises(AutoresearchError, match=r"GPU Timeout Error, 4 times in a row, with a file that ran before"):
        made.run(4, "search")
    night = made.notebook.night
    assert night.experiments[4].status == "abandoned" and night.experiments[4].verdict is None
    assert night.abandoned() == [night.experiments[4]]  # the next session resumes it


@pytest.mark.parametrize("failure", [WRONG, DRY])
def test_an_idea_s_own_failure_is_its_own_at_once(runner: Callable[..., Rehearsed], failure: Failure) -> None:
    made = runner(idea=[failure])
    assert made.run(4, "search").failure == failure
    assert made.ran == [4]


def test_every_run_of_a_night_has_a_seed_of_its_own() -> None:
    assert run_seed(0, 12, 1) == 12_001
    seeds = [run_seed(seed, n, run) for seed in (0, 1) for n in range(50) for run in range(9)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.slow
def test_a_machine_that_swaps_under_a_run_is_the_machine_s_failure(toy_data: Path, tmp_path: Path) -> None:
    """The swapping is scripted, since a test must not make this machine swap."""
    from autoresearch.measure import experiment
    from testbed.toy import HONEST, toy_bench

    used = iter([512, *range(1000, 100_000, 1000)])
    bench = toy_bench(toy_data, 20.0, swap_mb=lambda: next(used))
    m = experiment.rehearse(bench, HONEST, tmp_path / "run", seed=1)
    assert m.failure == Failure("machine", "the machine swapped 2.4 GB out during the run")


def test_a_repeated_run_is_made_beside_a_version_as_a_candidate_s_is(runner: Callable[..., Rehearsed]) -> None:
    made = runner()
    night, source = made.notebook.night, made.notebook.layout.source
    baseline, best, idea = made.notebook.baseline, made.notebook.incumbent, night.experiments[4]

    def beside(x: Experiment, purpose: Purpose) -> tuple[Path | None, float | None]:
        order = made._order(x, 9, purpose, 1)
        return order.incumbent, order.incumbent_score

    now = made.notebook.estimates
    assert baseline.n != best.n
    assert beside(idea, "search") == (source(best.n), now.estimate(best).mean)
    assert beside(best, "incumbent") == (source(baseline.n), now.estimate(baseline).mean)
    assert beside(baseline, "incumbent") == (source(baseline.n), baseline.scores[0])
    assert beside(replace(baseline, runs={}), "search") == beside(best, "final") == (None, None)


def test_each_run_of_a_known_version_shows_its_value_and_a_repeated_one_says_why(
    runner: Callable[..., Rehearsed],
) -> None:
    made, stream = runner(best=[GPU]), io.StringIO()
    made.notebook.view._stream = stream  # type: ignore[attr-defined]
    made.rerun(made.notebook.incumbent)
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"#\d run \d: the machine failed: .*GPU Timeout.*; running it again", first)
    assert re.fullmatch(r"#\d run \d: val_bpb 1\.500000", second)
