"""Which class a member of a fleet is given, and what its runs of the baseline count for."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from autoresearch.fleet.pool import Known
from autoresearch.loop import newcomers
from autoresearch.loop.notebook import Notebook
from autoresearch.loop.runner import Runner
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.records import Failure, Measurement
from autoresearch.report.console import PlainView
from autoresearch.tasks.task import RunOrder
from testbed.journals import OPENED, VERSIONS, decided, measured, proposed

MINI = Known("Mini.local", "1f", "Apple M4, macOS 26.2", "apple-m4")
OTHER = "apple-m4-mini-local"


@dataclass
class Members:
    """Task whose runs the members of a fleet make. `scores` are of the next runs of one that is named; None fails."""

    scores: list[float | None]
    versions: ClassVar = VERSIONS
    orders: list[RunOrder] = field(default_factory=list)

    def measure(self, order: RunOrder, listen: Any) -> Measurement:
        self.orders.append(order)
        score = self.scores.pop(0)
        failure = None if score is not None else Failure("machine", "it has gone")
        return Measurement(order.seed, score, failure, member=order.member)


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    made = journal.Journal(Layout(tmp_path, "t"))
    made.append("opened", **OPENED)
    return Notebook(made.layout, made, PlainView(io.StringIO()))


def runner(notebook: Notebook, *scores: float | None) -> Runner:
    unused: Any = None
    task: Any = Members(list(scores))
    return Runner(notebook=notebook, task=task, machine_slug="apple-m4", readiness=unused)


def baseline(notebook: Notebook, *scores: float, **more: Any) -> int:
    n = proposed(notebook.journal, "baseline")
    for score in scores:
        measured(notebook.journal, n, score, "repeat", **{"member": "studio", **more})
    decided(notebook.journal, n, "keep", scores[0])
    return n


def place(notebook: Notebook, known: Known = MINI) -> str | None:
    return newcomers.class_of(notebook.night, known, VERSIONS)


@pytest.mark.parametrize(
    ("scores", "key", "why"),
    [
        ((1.50, 1.51), "apple-m4", "0.0050 bpb worse than the class over 2 runs, 0.6 standard errors"),
        ((1.80, 1.81), OTHER, "0.3050 bpb worse than the class over 2 runs, 36.6 standard errors"),
        ((1.44, 1.45, 1.44, 1.45), OTHER, "0.0550 bpb better than the class over 4 runs, 9.3 standard errors"),
    ],
)
def test_a_newcomer_runs_the_baseline_twice_and_more_often_only_where_that_tells_too_little(
    notebook: Notebook, scores: tuple[float, ...], key: str, why: str
) -> None:
    baseline(notebook, 1.49, 1.50, 1.51)
    assert place(notebook) is None
    before, made = notebook.estimates, runner(notebook, *scores)
    known = before.estimate(notebook.baseline)
    assert newcomers.admit(made, MINI) == key == place(notebook)
    placed = notebook.night.placed[-1]
    assert placed.why == why and placed.runs == tuple(range(3, 3 + len(scores)))
    runs = [r for r in notebook.baseline.runs.values() if r.purpose == "newcomer"]
    assert [r.measurement.member for r in runs if r.measurement] == ["Mini.local"] * len(scores)
    assert notebook.estimates == before and notebook.estimates.estimate(notebook.baseline) == known
    assert len(notebook.baseline.measurements) == len(notebook.baseline.unselected) == 3


def test_a_place_holds_after_a_restart_and_as_long_as_the_machine_is_what_it_was(notebook: Notebook) -> None:
    baseline(notebook, 1.49, 1.50, 1.51)
    newcomers.admit(runner(notebook, 1.50, 1.51), MINI)
    again = replace(notebook, journal=journal.Journal(notebook.layout))
    again.journal.append("opened", **OPENED)
    assert place(again) == "apple-m4"
    newer = replace(MINI, what="Apple M4, macOS 26.3")
    assert place(again, newer) is None and place(again, replace(MINI, id="2e")) is None
    assert newcomers.admit(runner(again, 1.80, 1.81), newer) == OTHER, "earlier runs do not count for it"
    assert (place(again), place(again, newer)) == ("apple-m4", OTHER)
    assert newcomers.class_of(again.night, newer, VERSIONS | {"mlx": "0.33"}) == "apple-m4", "for a new baseline"


def test_who_measures_the_baseline_is_of_its_class_and_any_other_is_compared(notebook: Notebook) -> None:
    assert place(notebook) == "apple-m4"
    baseline(notebook, 1.49, 1.50, 1.51)
    studio = Known("studio", "5a", "Apple M4, macOS 26.2", "apple-m4")
    assert place(notebook, studio) == "apple-m4" and place(notebook) is None
    assert newcomers.founds(notebook, studio) and not newcomers.founds(notebook, MINI)
    assert [(p.member, p.key, p.why) for p in notebook.night.placed] == [
        ("studio", "apple-m4", "it measured the baseline")
    ]
    assert place(notebook, replace(studio, what="Apple M4, macOS 26.3")) is None


def test_while_the_baseline_is_measured_another_machine_makes_its_runs_and_waits(notebook: Notebook) -> None:
    def place_beside_another() -> str | None:
        return newcomers.class_of(notebook.night, MINI, VERSIONS, alone=False)

    assert place_beside_another() is None and newcomers.admit(runner(notebook), MINI) is None
    n = proposed(notebook.journal, "baseline")
    assert newcomers.admit(runner(notebook), MINI) is None, "one run of the first shows that the files run at all"
    measured(notebook.journal, n, 1.50, member="studio")
    assert newcomers.admit(runner(notebook, 1.80, None), MINI) is None
    assert notebook.night.experiments[n].open
    assert newcomers.admit(runner(notebook, 1.81), MINI) is None and place_beside_another() is None
    for k in range(2):  # a kill of the coordinator during such runs is not held against the baseline
        notebook.journal.append("started", n=n, run=9 + k, seed=9, purpose="newcomer", machine="apple-m4")
        notebook.journal.append("opened", **OPENED)
    for score in (1.49, 1.51):
        measured(notebook.journal, n, score, "repeat", member="studio")
    assert not notebook.night.to_quarantine()
    decided(notebook.journal, n, "keep", 1.50)
    idle = runner(notebook)
    assert newcomers.admit(idle, MINI) == OTHER and not idle.task.orders


def test_what_was_cut_off_goes_on_with_the_runs_that_were_made(notebook: Notebook) -> None:
    n = baseline(notebook, 1.49, 1.50, 1.51)
    assert newcomers.admit(runner(notebook, 1.50, None), MINI) is None and place(notebook) is None
    assert notebook.baseline.runs[4].ended == "abandoned"
    assert newcomers.admit(runner(notebook, 1.51), MINI) == "apple-m4"
    assert notebook.night.placed[-1].n == n and notebook.night.placed[-1].runs == (3, 5)


def test_any_difference_counts_where_runs_do_not_differ(notebook: Notebook) -> None:
    baseline(notebook, 1.5, 1.5, 1.5)
    assert newcomers.admit(runner(notebook, 1.5, 1.5), MINI) == "apple-m4"
    assert notebook.night.placed[-1].why == "the same value as the class over 2 runs"
    assert newcomers.admit(runner(notebook, 1.5, 1.5001), replace(MINI, id="2e")) == OTHER


def test_where_runs_are_pairs_the_incumbent_is_measured_beside_the_baseline(notebook: Notebook) -> None:
    first = baseline(notebook, 1.50, 1.49, 1.51, beside=True)
    idle = runner(notebook)
    assert newcomers.admit(idle, MINI) == "apple-m4" and not idle.task.orders, "a pair of one version tells nothing"
    n = proposed(notebook.journal)
    for score in (1.41, 1.40):
        measured(notebook.journal, n, score, "repeat", beside=True, member="studio")
    decided(notebook.journal, n, "keep", 1.40)
    air = Known("air", "7c", "Apple M4, macOS 26.2", "apple-m4")
    made = runner(notebook, 1.55, 1.56)
    assert newcomers.admit(made, air) == "apple-m4-air"
    assert [(order.source, order.incumbent, order.member) for order in made.task.orders] == [
        (notebook.layout.source(n), notebook.layout.source(first), "air")
    ] * 2


def test_a_name_of_any_letters_makes_a_key() -> None:
    assert newcomers.own_key(replace(MINI, name="Лаптоп")) == "apple-m4-1f"
