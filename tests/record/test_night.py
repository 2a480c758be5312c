"""The state of a night, replayed from its events: verdicts, cuts, pauses, new baselines."""

from __future__ import annotations

import pytest

from autoresearch.errors import JournalError
from autoresearch.record.journal import Journal, read, read_source
from autoresearch.record.night import Night
from autoresearch.records import Failure, Measurement, TaskFacts
from testbed.journals import IDEA, OPENED, TASK, VERSIONS, baseline, decided, measured, proposed


def test_a_night_from_baseline_to_keep(journal: Journal) -> None:
    assert journal.night.baseline_reason(VERSIONS) == "there is no baseline yet"
    assert baseline(journal) == 0
    n = proposed(journal)
    assert [e.n for e in journal.night.unfinished()] == [n]
    measured(journal, n, 1.45)
    measured(journal, n, 1.46, "repeat")
    assert journal.night.experiments[n].scores == [1.45, 1.46]
    decided(journal, n, "keep", 1.455)
    assert [e.n for e in journal.night.uncommitted()] == [n]
    journal.append("committed", n=n, commit="c1", ref="refs/heads/autoresearch/t")
    night = read(journal.layout)
    assert night == journal.night
    assert (night.incumbent_n, night.next_n, night.uncommitted(), night.unfinished()) == (1, 2, [], [])
    assert night.baseline_reason(VERSIONS) is None
    incumbent = night.incumbent
    assert incumbent is not None
    assert (incumbent.commit, incumbent.proposal) == ("c1", IDEA)


def test_trials_tell_proposers_what_happened(journal: Journal) -> None:
    baseline(journal)
    kept, crashed = proposed(journal, source="DEPTH = 6\n"), None
    measured(journal, kept, 1.4)
    decided(journal, kept, "keep", 1.4)
    crashed = proposed(journal, source="DEPTH = 99\n")
    measured(journal, crashed, None)
    decided(journal, crashed, "crash")
    proposed(journal)  # undecided, so not in the history yet
    night = journal.night
    first, second = night.trials(lambda n: read_source(journal.layout, night.experiments[n]))
    assert (first.verdict, first.score, first.edits, first.parent_source) == ("keep", 1.4, IDEA.edits, "DEPTH = 0\n")
    assert (second.verdict, second.score, second.parent_source) == ("crash", None, "DEPTH = 6\n")
    assert second.failure == Failure("oom", "out of memory")


def test_replicates_leave_out_what_was_selected_and_what_is_not_comparable(journal: Journal) -> None:
    n = baseline(journal, 1.50)
    measured(journal, n, 1.52, "incumbent")
    measured(journal, n, 9.99, "final")
    again = proposed(journal)
    for bpb, purpose in ((1.40, "search"), (1.43, "repeat"), (1.44, "incumbent")):
        measured(journal, again, bpb, purpose)
    single = proposed(journal)
    measured(journal, single, 1.3)
    groups = journal.night.replicates()
    assert [[r.measurement.score for r in g if r.measurement] for g in groups] == [[1.50, 1.52], [1.43, 1.44]]
    assert groups[0][1].started > groups[0][0].started
    assert journal.night.experiments[n].scores == [1.50, 1.52]


def test_runs_in_turns_with_another_version_are_replicates_of_each_other_alone(journal: Journal) -> None:
    n = proposed(journal, "baseline", "DEPTH = 4\n")
    for run, (score, beside) in enumerate(((1.5, False), (1.9, True), (1.8, True))):
        journal.append("started", n=n, run=run, seed=run, machine="m4", purpose="repeat" if run else "search")
        journal.append("measured", n=n, run=run, measurement=Measurement(run, score, beside=beside))
    [group] = journal.night.replicates()
    assert [r.measurement.score for r in group if r.measurement] == [1.9, 1.8]


def test_the_same_source_under_a_new_baseline_is_another_group(journal: Journal) -> None:
    for bpb in (1.5, 2.5):
        n = proposed(journal, "baseline", "DEPTH = 4\n")
        measured(journal, n, bpb)
        measured(journal, n, bpb + 0.01, "incumbent")
        decided(journal, n, "keep", bpb)
    assert [len(group) for group in journal.night.replicates()] == [2, 2]


def test_a_person_who_moved_on_asks_for_a_new_baseline(journal: Journal) -> None:
    baseline(journal)
    n = proposed(journal)
    measured(journal, n, 1.4)
    decided(journal, n, "keep", 1.4)
    journal.append("committed", n=n, commit="c1", ref="refs/autoresearch/t/0001")
    assert journal.night.baseline_reason(VERSIONS) == "the branch has moved on without the loop"
    baseline(journal)
    assert journal.night.baseline_reason(VERSIONS) is None


def test_another_mlx_or_harness_asks_for_a_new_baseline_even_after_a_kill(journal: Journal) -> None:
    baseline(journal)
    newer = {**VERSIONS, "mlx": "0.33.0"}
    assert journal.night.baseline_reason(newer) == "mlx 0.32.4 -> 0.33.0"
    assert journal.night.baseline_reason({**VERSIONS, "python": "3.13"}) is None
    for _ in range(2):  # the first of these starts is killed before it has measured
        journal.append("opened", **{**OPENED, "versions": newer})
        assert journal.night.baseline_reason(newer) == "mlx 0.32.4 -> 0.33.0"
    baseline(journal)
    assert journal.night.baseline_reason(newer) is None


@pytest.mark.parametrize(
    ("name", "value"), [("fingerprint", "beef"), ("budget_s", 300.0), ("profile", "mac"), ("dataset", "other")]
)
def test_another_task_is_refused_naming_both(journal: Journal, name: str, value: object) -> None:
    journal.night.check_resume(TaskFacts(**TASK, seq_len=256))
    with pytest.raises(JournalError, match=f"{name} was {TASK[name]}, is {value}"):
        journal.night.check_resume(TaskFacts(**{**TASK, name: value}))
    Night().check_resume(TaskFacts(**TASK))


def test_runs_of_two_machines_are_no_replicates(journal: Journal) -> None:
    n = baseline(journal, 1.50)
    for run, machine in ((1, "m4"), (2, "m1"), (3, "m1")):
        journal.append("started", n=n, run=run, seed=run, machine=machine, purpose="incumbent")
        journal.append("measured", n=n, run=run, measurement=Measurement(seed=run, score=1.5))
    assert [[r.machine for r in group] for group in journal.night.replicates()] == [["m4", "m4"], ["m1", "m1"]]
