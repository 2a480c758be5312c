"""Events become the state of a night: cuts, pauses, clocks, and events that contradict it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import JournalError
from autoresearch.paths import Layout
from autoresearch.record.journal import Journal, read
from autoresearch.records import Failure, Measurement
from testbed.journals import IDEA, OPENED, baseline, decided, measured, proposed


def test_elapsed_time_leaves_out_pauses(tmp_path: Path) -> None:
    times = iter(datetime.fromisoformat(f"2026-11-{t}+01:00") for t in ("23T22:00", "23T22:10", "24T20:00", "24T20:05"))
    with Journal(Layout(tmp_path, "t"), lambda: next(times)) as journal:
        journal.append("opened", **OPENED)
        journal.append("closed", why="Ctrl-C")
        assert journal.night.closed == "Ctrl-C"
        journal.append("opened", **OPENED)
        journal.append("note", text="hello")
    night = read(Layout(tmp_path, "t"))
    assert (night.elapsed_s, night.sessions, night.closed, night.notes) == (900.0, 2, None, ("hello",))


def test_a_clock_set_back_takes_no_time_away(tmp_path: Path) -> None:
    times = iter(datetime.fromisoformat(f"2026-10-25T02:{m}:00{z}") for m, z in (("30", "+02:00"), ("10", "+02:00")))
    with Journal(Layout(tmp_path, "t"), lambda: next(times)) as journal:
        journal.append("opened", **OPENED)
        journal.append("note", text="x")
    assert journal.night.elapsed_s == 0.0


def test_of_two_that_are_cut_off_together_neither_is_blamed_until_one_is_alone(journal: Journal) -> None:
    baseline(journal)
    both = [proposed(journal), proposed(journal)]
    for _ in range(2):
        for n in both:
            journal.append(
                "started", n=n, run=journal.night.experiments[n].next_run, seed=1, machine="m4", purpose="search"
            )
        journal.append("opened", **OPENED)
    assert [x.n for x in journal.night.unfinished()] == both and not journal.night.to_quarantine()
    journal.append("started", n=both[0], run=2, seed=1, machine="m4", purpose="search")
    journal.append("opened", **OPENED)
    assert [x.n for x in journal.night.to_quarantine()] == both[:1]
    assert [x.n for x in journal.night.unfinished()] == both[1:]


def test_a_cut_off_run_is_made_again_and_quarantined_the_second_time(journal: Journal) -> None:
    baseline(journal)
    n = proposed(journal)
    for cuts in (1, 2):
        journal.append(
            "started", n=n, run=journal.night.experiments[n].next_run, seed=1, machine="m4", purpose="search"
        )
        running = journal.night.running
        assert running is not None
        assert running[0].n == n
        journal.append("opened", **OPENED)
        assert journal.night.running is None
        assert journal.night.experiments[n].cut_offs == cuts
        assert [e.n for e in journal.night.unfinished()] == ([n] if cuts == 1 else [])
        assert [e.n for e in journal.night.to_quarantine()] == ([] if cuts == 1 else [n])
    journal.append("quarantined", n=n, why="the machine went down twice")
    assert journal.night.to_quarantine() == []
    (trial,) = journal.night.trials(lambda n: "source")
    assert (trial.verdict, trial.failure) == ("crash", Failure("quarantined", "the machine went down twice"))


def test_what_was_measured_before_a_cut_counts(journal: Journal) -> None:
    baseline(journal)
    n = proposed(journal)
    measured(journal, n, 1.49)
    journal.append("started", n=n, run=1, seed=1, machine="m4", purpose="repeat")
    journal.append("opened", **OPENED)
    (open_,) = journal.night.unfinished()
    assert (open_.scores, open_.next_run) == ([1.49], 2)


def test_a_cut_control_run_does_not_touch_the_incumbent(journal: Journal) -> None:
    n = baseline(journal)
    for k in (1, 2):
        journal.append("started", n=n, run=k, seed=k, machine="m4", purpose="incumbent")
        journal.append("opened", **OPENED)
    assert (journal.night.to_quarantine(), journal.night.unfinished(), journal.night.incumbent_n) == ([], [], n)


def test_ctrl_c_is_nobodys_fault(journal: Journal) -> None:
    baseline(journal)
    n = proposed(journal)
    journal.append("started", n=n, run=0, seed=1, machine="m4", purpose="search")
    journal.append("abandoned", n=n, run=0, why="Ctrl-C")
    journal.append("opened", **OPENED)
    assert (journal.night.experiments[n].cut_offs, journal.night.unfinished()) == (0, [])
    assert [e.n for e in journal.night.abandoned()] == [n]
    measured(journal, n, 1.4)
    decided(journal, n, "keep", 1.4)
    assert journal.night.incumbent_n == n


def test_events_that_contradict_the_night_are_never_written(journal: Journal) -> None:
    n = baseline(journal)
    before = journal.layout.journal.read_bytes()
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("decided", {"n": n, "verdict": "discard", "reason": "again"}),
        ("decided", {"n": 99, "verdict": "keep", "reason": "unknown"}),
        ("measured", {"n": n, "run": 0, "measurement": Measurement(seed=0)}),
        ("measured", {"n": n, "run": 7, "measurement": Measurement(seed=0)}),
        ("started", {"n": n, "run": 0, "seed": 1, "purpose": "search"}),
        ("started", {"n": n, "run": 5, "seed": 1, "purpose": "fun"}),
        ("proposed", {"n": n, "role": "candidate", "proposal": IDEA, "source_sha256": "", "parent_n": 0}),
        ("quarantined", {"n": n, "why": "decided already"}),
        ("abandoned", {"n": n, "run": 0, "why": "ended already"}),
        ("opened", {"tag": "t"}),
    ]
    for type, fields in wrong:
        with pytest.raises(JournalError, match=f"`{type}`"):
            journal.append(type, **fields)
    assert journal.layout.journal.read_bytes() == before
