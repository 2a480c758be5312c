"""The journal and the night that is replayed from it: cut, torn, killed, refused, resumed."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import JournalError
from autoresearch.record.codec import decode, decode_all, encode, measurement_from_json, plain, proposal_from_json
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal, read, read_source, run_folder, store_source
from autoresearch.record.night import Night, apply, replay
from autoresearch.records import Failure, Measurement, Proposal, ReplaceDefinition, SearchReplace, Set, WholeFile
from autoresearch.system.process import run
from testbed.toy import ROOT

TASK = {"dataset": "stdlib", "profile": "tiny", "fingerprint": "00ff", "budget_s": 20.0}
VERSIONS = {"mlx": "0.32.4", "python": "3.12", "harness": "abc"}
OPENED = {"tag": "t", "task": TASK, "versions": VERSIONS, "machine": {}, "base_commit": "c0", "options": {}}
IDEA = Proposal((Set("DEPTH", "6"),), "deeper", "depth helps", "depth", "tuner", {"seconds": 0.5})


@pytest.fixture
def clock() -> Iterator[datetime]:
    start = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
    return iter(start + timedelta(seconds=i) for i in range(10_000))


@pytest.fixture
def journal(tmp_path: Path, clock: Iterator[datetime]) -> Iterator[Journal]:
    with Journal(tmp_path / "t", lambda: next(clock)) as journal:
        journal.append("opened", **OPENED)
        yield journal


def measured(journal: Journal, n: int, bpb: float | None, purpose: str = "search") -> None:
    k = journal.night.experiments[n].next_run
    failure = None if bpb is not None else Failure("oom", "out of memory")
    journal.append("started", n=n, run=k, seed=k, purpose=purpose)
    journal.append("measured", n=n, run=k, measurement=Measurement(seed=k, val_bpb=bpb, failure=failure))


def proposed(journal: Journal, role: str = "candidate", source: str | None = None) -> int:
    n = journal.night.next_n
    sha = store_source(journal.folder, n, source or f"DEPTH = {n}\n")
    parent = journal.night.incumbent_n
    fields = {"source_sha256": sha, "parent_n": parent, "parent_commit": "c0"}
    journal.append("proposed", n=n, role=role, proposal=IDEA, **fields)
    return n


def decided(journal: Journal, n: int, verdict: str, bpb: float | None = None) -> None:
    figures = {"delta_bpb": 0.01, "sigma_bpb": 0.005, "z": 1.4, "estimate": bpb}
    journal.append("decided", n=n, verdict=verdict, reason="r", parent_commit="c0", blob="b0", **figures)


def baseline(journal: Journal, bpb: float = 1.5) -> int:
    n = proposed(journal, "baseline")
    measured(journal, n, bpb)
    decided(journal, n, "keep", bpb)
    return n


# --- the night ------------------------------------------------------------------------------------------------------


def test_a_night_from_baseline_to_keep(journal: Journal) -> None:
    assert journal.night.baseline_reason(VERSIONS) == "there is no baseline yet"
    assert baseline(journal) == 0
    n = proposed(journal)
    assert [e.n for e in journal.night.unfinished()] == [n]
    measured(journal, n, 1.45)
    measured(journal, n, 1.46, "repeat")
    assert journal.night.experiments[n].bpbs == [1.45, 1.46]
    decided(journal, n, "keep", 1.455)
    assert [e.n for e in journal.night.uncommitted()] == [n]
    journal.append("committed", n=n, commit="c1", ref="refs/heads/autoresearch/t")
    night = read(journal.folder)
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
    proposed(journal)  # undecided: no history yet
    night = journal.night
    first, second = night.trials(lambda n: read_source(journal.folder, night.experiments[n]))
    assert (first.verdict, first.val_bpb, first.edits, first.parent_source) == ("keep", 1.4, IDEA.edits, "DEPTH = 0\n")
    assert (second.verdict, second.val_bpb, second.parent_source) == ("crash", None, "DEPTH = 6\n")
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
    assert [[r.measurement.val_bpb for r in g if r.measurement] for g in groups] == [[1.50, 1.52], [1.43, 1.44]]
    assert groups[0][1].started > groups[0][0].started
    assert journal.night.experiments[n].bpbs == [1.50, 1.52]


def test_the_same_source_under_a_new_baseline_is_another_group(journal: Journal) -> None:
    for bpb in (1.5, 2.5):
        n = proposed(journal, "baseline", "DEPTH = 4\n")
        measured(journal, n, bpb)
        measured(journal, n, bpb + 0.01, "incumbent")
        decided(journal, n, "keep", bpb)
    assert [len(group) for group in journal.night.replicates()] == [2, 2]


def test_elapsed_time_leaves_out_pauses(tmp_path: Path) -> None:
    times = iter(datetime.fromisoformat(f"2026-11-{t}+01:00") for t in ("23T22:00", "23T22:10", "24T20:00", "24T20:05"))
    with Journal(tmp_path / "t", lambda: next(times)) as journal:
        journal.append("opened", **OPENED)
        journal.append("closed", why="Ctrl-C")
        assert journal.night.closed == "Ctrl-C"
        journal.append("opened", **OPENED)
        journal.append("note", text="hello")
    night = read(tmp_path / "t")
    assert (night.elapsed_s, night.sessions, night.closed, night.notes) == (900.0, 2, None, ("hello",))


def test_a_clock_set_back_takes_no_time_away(tmp_path: Path) -> None:
    times = iter(datetime.fromisoformat(f"2026-10-25T02:{m}:00{z}") for m, z in (("30", "+02:00"), ("10", "+02:00")))
    with Journal(tmp_path / "t", lambda: next(times)) as journal:
        journal.append("opened", **OPENED)
        journal.append("note", text="x")
    assert journal.night.elapsed_s == 0.0


# --- cut off, abandoned, head_moved ----------------------------------------------------------------------------------


def test_a_cut_off_run_is_made_again_and_quarantined_the_second_time(journal: Journal) -> None:
    baseline(journal)
    n = proposed(journal)
    for cuts in (1, 2):
        journal.append("started", n=n, run=journal.night.experiments[n].next_run, seed=1, purpose="search")
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
    journal.append("started", n=n, run=1, seed=1, purpose="repeat")
    journal.append("opened", **OPENED)
    (open_,) = journal.night.unfinished()
    assert (open_.bpbs, open_.next_run) == ([1.49], 2)


def test_a_cut_control_run_does_not_touch_the_incumbent(journal: Journal) -> None:
    n = baseline(journal)
    for k in (1, 2):
        journal.append("started", n=n, run=k, seed=k, purpose="incumbent")
        journal.append("opened", **OPENED)
    assert (journal.night.to_quarantine(), journal.night.unfinished(), journal.night.incumbent_n) == ([], [], n)


def test_ctrl_c_is_nobodys_fault(journal: Journal) -> None:
    baseline(journal)
    n = proposed(journal)
    journal.append("started", n=n, run=0, seed=1, purpose="search")
    journal.append("abandoned", n=n, run=0, why="Ctrl-C")
    journal.append("opened", **OPENED)
    assert (journal.night.experiments[n].cut_offs, journal.night.unfinished()) == (0, [])
    assert [e.n for e in journal.night.abandoned()] == [n]
    measured(journal, n, 1.4)
    decided(journal, n, "keep", 1.4)
    assert journal.night.incumbent_n == n


def test_a_person_who_moved_on_asks_for_a_new_baseline(journal: Journal) -> None:
    baseline(journal)
    n = proposed(journal)
    measured(journal, n, 1.4)
    decided(journal, n, "keep", 1.4)
    journal.append("committed", n=n, commit="c1", ref="refs/autoresearch/t/0001")
    assert journal.night.baseline_reason(VERSIONS) == "the branch went on without the loop"
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
    journal.night.check_resume({**TASK, "epochs": 3})
    with pytest.raises(JournalError, match=f"{name} was {TASK[name]}, is {value}"):
        journal.night.check_resume({**TASK, name: value})
    Night().check_resume(TASK)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_events_that_contradict_the_night_are_never_written(journal: Journal) -> None:
    n = baseline(journal)
    before = (journal.folder / "journal.jsonl").read_bytes()
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
    assert (journal.folder / "journal.jsonl").read_bytes() == before


def test_unknown_types_are_ignored_and_other_schema_versions_refused(journal: Journal, tmp_path: Path) -> None:
    baseline(journal)
    before = journal.night
    journal.append("weather", sky="clear")
    assert replace(read(journal.folder), last_t=None) == replace(before, last_t=None)
    path = journal.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"v":3,"t":"2026-11-23T22:00:00+00:00","type":"note","text":"x"}\n')
    data = path.read_bytes()
    with pytest.raises(JournalError, match="schema version 3; this program reads 2"):
        Journal(journal.folder)
    assert path.read_bytes() == data


def test_damage_in_the_middle_is_named_and_nothing_is_touched(journal: Journal) -> None:
    baseline(journal)
    path = journal.folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:40] + b"\n", *lines[2:], b"torn"]))
    data = path.read_bytes()
    with pytest.raises(JournalError, match=r"line 2 is damaged\. Mend it, or begin another branch"):
        Journal(journal.folder)
    assert path.read_bytes() == data


# --- torn and full --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b"{", b'{"v":2,"t":"20', b"\x00" * 300, b"\xff\xfe\n", b'"text"', b"[" * 90_000])
def test_a_torn_last_line_is_moved_aside(journal: Journal, torn: bytes) -> None:
    baseline(journal)
    night, path = journal.night, journal.folder / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert read(journal.folder) == night
    assert path.read_bytes() == whole + torn  # looking changes nothing
    with Journal(journal.folder) as again:
        assert again.night == night
        assert path.read_bytes() == whole
        again.append("note", text="on")
    assert (journal.folder / "journal.torn-1").read_bytes() == torn
    assert read(journal.folder).notes == ("on",)


def test_a_line_that_lacks_only_its_end_is_completed(journal: Journal) -> None:
    baseline(journal)
    path = journal.folder / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with Journal(journal.folder) as again:
        assert again.night == journal.night
        again.append("note", text="on")
    assert path.read_bytes().startswith(whole)
    assert len(read(journal.folder).notes) == 1


@pytest.mark.parametrize("room", [0, 1, 30])
def test_no_room_on_the_disk_decides_nothing(journal: Journal, room: int) -> None:
    baseline(journal)
    n = proposed(journal)
    measured(journal, n, 1.2)
    path, night = journal.folder / "journal.jsonl", journal.night
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        with pytest.raises(JournalError, match=r"cannot record `decided`.*MB are free"):
            decided(journal, n, "keep", 1.2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert journal.night == night == read(journal.folder)
    decided(journal, n, "keep", 1.2)
    assert read(journal.folder).incumbent_n == n


def test_a_line_whose_append_was_interrupted_does_not_contradict_the_next(journal: Journal) -> None:
    """As Ctrl-C in the middle of an append: the caller takes the event for not recorded."""
    n = proposed(journal)
    journal.append("started", n=n, run=0, seed=1, purpose="search")
    path = journal.folder / "journal.jsonl"
    written = {"type": "measured", "n": n, "run": 0, "measurement": Measurement(seed=1, val_bpb=1.0)}
    path.write_bytes(path.read_bytes() + encode({"v": 2, "t": "2026-11-23T22:00:00+00:00", **written}))
    assert read(journal.folder).experiments[n].status == "measured"  # should nothing follow, it counts
    journal.append("abandoned", n=n, run=0, why="Ctrl-C")
    assert read(journal.folder) == journal.night
    assert journal.night.experiments[n].status == "abandoned"


def test_no_room_for_a_source(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(JournalError, match="cannot store the source of experiment 3"):
            store_source(tmp_path, 3, "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(run_folder(tmp_path, 3).iterdir()) == []


def test_a_source_that_is_gone_or_changed_is_named(journal: Journal) -> None:
    n = proposed(journal, source="x = 'ü'\r\n")
    experiment = journal.night.experiments[n]
    assert read_source(journal.folder, experiment) == "x = 'ü'\r\n"
    path = run_folder(journal.folder, n) / "train_mlx.py"
    path.write_text("x = 2\n")
    with pytest.raises(JournalError, match=r"was changed after it was proposed\. Bring it back: git show"):
        read_source(journal.folder, experiment)
    path.unlink()
    with pytest.raises(JournalError, match="is gone"):
        read_source(journal.folder, experiment)


# --- any journal, cut at any byte -----------------------------------------------------------------------------------

texts = st.text(max_size=20)
numbers = st.none() | st.floats(0.1, 10)
edits = st.one_of(
    st.builds(Set, texts, texts),
    st.builds(SearchReplace, texts, texts),
    st.builds(ReplaceDefinition, st.sampled_from(["def", "class"]), texts, texts),
    st.builds(WholeFile, texts),
)
usage = st.dictionaries(texts, st.floats(0, 1e9), max_size=2)
proposals = st.builds(Proposal, st.lists(edits, max_size=2).map(tuple), texts, texts, texts, texts, usage)
measurements = st.builds(
    Measurement,
    seed=st.integers(0, 2**31),
    val_bpb=numbers,
    failure=st.none() | st.builds(Failure, texts, texts, texts),
    loss_curve=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 9)), max_size=3).map(tuple),
    num_steps=st.none() | st.integers(0, 9999),
    seconds=usage,
)


@given(proposals, measurements)
def test_records_survive_json(proposal: Proposal, measurement: Measurement) -> None:
    event = decode(encode({"proposal": proposal, "measurement": measurement}))
    assert event is not None
    assert proposal_from_json(event["proposal"]) == proposal
    assert measurement_from_json(event["measurement"]) == measurement


def test_numbers_of_other_libraries_and_none_at_all() -> None:
    got = plain({"a": np.float32(0.5), "b": np.int64(3), "c": math.nan, "d": -math.inf, "e": (1, {2}), 5: Path("x")})
    assert got == {"a": 0.5, "b": 3, "c": None, "d": None, "e": [1, [2]], "5": "x"}
    assert json.loads(encode({"s": "\ud800\n"})) == {"s": "\ud800\n"}
    curve = Measurement(seed=1, loss_curve=((0.5, math.nan), (1.0, 2.0)))
    assert measurement_from_json(plain(curve)).loss_curve == ((1.0, 2.0),)
    assert measurement_from_json({"seed": 1, "of_the_future": 1}) == Measurement(seed=1)


def possible(night: Night, draw: st.DataObject) -> dict[str, Any]:
    """Some event that the loop could record next."""
    fresh = {"source_sha256": "s", "parent_n": night.incumbent_n, "parent_commit": "c"}
    moves: list[dict[str, Any]] = [
        {"type": "opened", **OPENED},
        {"type": "proposed", "n": night.next_n, "role": "candidate", "proposal": draw.draw(proposals), **fresh},
        {"type": "proposed", "n": night.next_n, "role": "baseline", "proposal": IDEA, **fresh},
        {"type": "turn_failed", "proposer": "p", "reason": "r", "usage": {}},
        {"type": "future", "n": 1},
        {"type": "closed", "why": draw.draw(texts)},
    ]
    for e in night.experiments.values():
        begin = {"n": e.n, "run": e.next_run, "seed": 1}
        moves += [{"type": "started", "purpose": p, **begin} for p in ("search", "repeat", "incumbent")]
        for r in e.runs.values():
            if not r.ended:
                moves.append({"type": "measured", "n": e.n, "run": r.run, "measurement": draw.draw(measurements)})
                moves.append({"type": "abandoned", "n": e.n, "run": r.run, "why": "Ctrl-C"})
        if e.open and e.measurements:
            verdict = draw.draw(st.sampled_from(["keep", "discard", "crash"]))
            moves.append({"type": "decided", "n": e.n, "verdict": verdict, "reason": draw.draw(texts), "blob": "b"})
        elif e.open and e.cut_offs:
            moves.append({"type": "quarantined", "n": e.n, "why": "twice"})
        if e.verdict:
            ref = draw.draw(st.sampled_from(["refs/heads/autoresearch/t", "refs/autoresearch/t/0001"]))
            moves.append({"type": "committed", "n": e.n, "commit": "c", "ref": ref})
    return draw.draw(st.sampled_from(moves))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_journal_cut_at_any_byte_replays_and_loses_no_decided_result(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    night, lines, verdicts = Night(), [], []
    for _ in range(data.draw(st.integers(1, 15))):
        event = decode(encode({"v": 2, "t": "2026-11-23T22:00:00+01:00", **possible(night, data)}))
        assert event is not None
        night = apply(night, event)
        lines.append(encode(event))
        verdicts.append({e.n: e.verdict for e in night.decided})
    whole = b"".join(lines)
    assert replay(decode_all(whole)[0]) == night

    cut = data.draw(st.integers(0, len(whole)))
    folder = tmp_path_factory.mktemp("cut")
    (folder / "journal.jsonl").write_bytes(whole[:cut])
    ends = [len(b"".join(lines[: i + 1])) for i in range(len(lines))]
    complete = sum(end <= cut + 1 for end in ends)  # all but the end of the line is there
    with Journal(folder) as journal:
        assert {e.n: e.verdict for e in journal.night.decided} == (verdicts[complete - 1] if complete else {})
        journal.append("note", text="on")
    kept = (folder / "journal.jsonl").read_bytes()
    torn = b"".join(side.read_bytes() for side in folder.glob("journal.torn-*"))
    assert kept.startswith(b"".join(lines[:complete]))
    assert torn == (whole[:cut] if not complete else whole[ends[complete - 1] : cut])
    assert read(folder).notes[-1] == "on"


# --- kill -9 --------------------------------------------------------------------------------------------------------

NIGHT = """
import sys
from pathlib import Path
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal, read_source, store_source
from autoresearch.records import Measurement, Proposal, Set
from autoresearch.record.results_tsv import update

checkout = Path(sys.argv[1])
repo, journal = Repository.at(checkout), Journal(checkout / "runs" / "t")
opened = dict(tag="t", task={}, versions={}, base_commit=repo.begin("t"))

def land(e):
    source = read_source(journal.folder, e).encode()
    if e.verdict == "keep":
        landed = repo.keep("t", e.n, e.parent_commit, "train_mlx.py", source, f"Keep {e.n}")
        commit, ref = landed.commit, landed.ref
    else:
        commit, ref = repo.set_aside("t", e.n, e.parent_commit, "train_mlx.py", source, f"Discard {e.n}")
    journal.append("committed", n=e.n, commit=commit, ref=ref)

journal.append("opened", **opened)
for e in journal.night.uncommitted():
    land(e)
update(checkout / "results.tsv", journal.night)
print("ready", flush=True)
if sys.argv[2:]:
    raise SystemExit

def experiment(n, role):
    if n not in journal.night.experiments:
        sha = store_source(journal.folder, n, f"LR = {n}\\n" if n else "LR = 0\\n")
        proposal = Proposal((Set("LR", str(n)),), f"idea {n}", "", "other", "tuner")
        parent = dict(parent_n=journal.night.incumbent_n, parent_commit=repo.head())
        journal.append("proposed", n=n, role=role, proposal=proposal, source_sha256=sha, **parent)
    e = journal.night.experiments[n]
    if not e.measurements:
        journal.append("started", n=n, run=e.next_run, seed=n, purpose="search")
        journal.append("measured", n=n, run=e.next_run, measurement=Measurement(seed=n, val_bpb=2 - n / 1e4))
    verdict = "discard" if n % 3 == 2 else "keep"
    blob = repo.store(f"LR = {n}\\n".encode())
    journal.append("decided", n=n, verdict=verdict, reason="r", blob=blob, estimate=2 - n / 1e4)
    print("decided", n, flush=True)
    if role == "candidate":
        land(journal.night.experiments[n])
    update(checkout / "results.tsv", journal.night)

for e in journal.night.to_quarantine():
    journal.append("quarantined", n=e.n, why="twice")
for e in journal.night.unfinished():
    experiment(e.n, e.role)
while True:
    experiment(journal.night.next_n, "candidate" if journal.night.experiments else "baseline")
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "train_mlx.py").write_text("LR = 0\n")
    (folder / "notes").write_text("a\n")
    (folder / ".gitignore").write_text("/runs/\n")
    for args in (["init", "-q"], ["add", "."], ["-c", "user.name=P", "-c", "user.email=p@e.org", "commit", "-qm", "a"]):
        run(["git", *args], cwd=folder)
    (folder / "notes").write_text("staged\n")
    run(["git", "add", "notes"], cwd=folder)
    return folder


def killed_night(checkout: Path, after_s: float) -> list[int]:
    """Start the loop, kill it after `after_s` seconds of work; the experiments that it said were decided."""
    argv = [sys.executable, "-c", NIGHT, str(checkout)]
    process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_s)
    process.kill()
    said, _ = process.communicate()
    return [int(line.split()[1]) for line in said.splitlines() if line.startswith("decided") and line.split()[1:]]


def test_kill_9_at_random_moments_of_a_night(checkout: Path) -> None:
    chance = random.Random(7)
    said: set[int] = set()
    for _ in range(6):
        said.update(killed_night(checkout, chance.uniform(0.0, 0.5)))
        night = read(checkout / "runs" / "t")
        assert said <= {e.n for e in night.decided}
        run(["git", "fsck", "--strict", "--no-dangling"], cwd=checkout)
        assert run(["git", "show", ":notes"], cwd=checkout).stdout == "staged\n"
        assert len(night.uncommitted()) <= 1
    assert said
    run([sys.executable, "-c", NIGHT, checkout, "mend"], env={**os.environ, "PYTHONPATH": str(ROOT)})
    night, repo = read(checkout / "runs" / "t"), Repository.at(checkout)
    assert night.uncommitted() == []
    kept = [e for e in night.decided if e.verdict == "keep" and e.role == "candidate"]
    log = run(["git", "log", "--reverse", "--format=%H %s", "autoresearch/t"], cwd=checkout).stdout.splitlines()
    assert log[1:] == [f"{e.commit} Keep {e.n}" for e in kept]
    assert repo.changes() == ["notes"]
    for e in night.decided:
        if e.commit:
            assert repo.read(e.commit, "train_mlx.py") == f"LR = {e.n}\n".encode()
    rows = (checkout / "results.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[4] for row in rows] == [f"idea {e.n}" for e in night.decided]
