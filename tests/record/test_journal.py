"""The journal and the night that is replayed from it: cut, torn, killed, refused, resumed."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import JournalError
from autoresearch.paths import Layout
from autoresearch.record.codec import decode, decode_all, encode
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal, read, read_source, store_source
from autoresearch.record.night import Night
from autoresearch.record.replay import apply, replay
from autoresearch.records import Measurement
from autoresearch.system.process import run
from testbed.journals import IDEA, OPENED, baseline, decided, measured, measurements, proposals, proposed, texts
from testbed.toy import ROOT

# --- what is refused ------------------------------------------------------------------------------------------------


def test_unknown_types_are_ignored_and_other_schema_versions_refused(journal: Journal, tmp_path: Path) -> None:
    baseline(journal)
    before = journal.night
    journal.append("weather", sky="clear")
    assert replace(read(journal.layout), last_t=None) == replace(before, last_t=None)
    path = journal.layout.journal
    path.write_bytes(path.read_bytes() + b'{"v":3,"t":"2026-11-23T22:00:00+00:00","type":"note","text":"x"}\n')
    data = path.read_bytes()
    with pytest.raises(JournalError, match="schema version 3; this program reads 2"):
        Journal(journal.layout)
    assert path.read_bytes() == data


def test_damage_in_the_middle_is_named_and_nothing_is_touched(journal: Journal) -> None:
    baseline(journal)
    path = journal.layout.journal
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:40] + b"\n", *lines[2:], b"torn"]))
    data = path.read_bytes()
    with pytest.raises(JournalError, match=r"line 2 is damaged\. Bring the file back from a backup, or"):
        Journal(journal.layout)
    assert path.read_bytes() == data


DAMAGES = {
    "a digit is changed": (lambda a: [*a[:2], a[2].replace(b'"run":0', b'"run":1'), *a[3:]], 3),
    "a line is lost": (lambda a: [*a[:2], *a[3:]], 3),
    "the middle is lost": (lambda a: [*a[:1], *a[-2:]], 2),
    "the beginning is lost": (lambda a: a[1:], 1),
    "a line stands twice": (lambda a: [*a[:3], *a[2:]], 4),
    "two lines are swapped": (lambda a: [*a[:4], a[5], a[4], *a[6:]], 5),
    "two journals are one file": (lambda a: [*a, *a], 9),
    "a line is of another program": (lambda a: [*a[:3], b"<<<<<<< HEAD\n", *a[3:]], 4),
}


@pytest.mark.parametrize(("damage", "number"), DAMAGES.values(), ids=DAMAGES)
def test_a_journal_that_is_not_what_was_written_is_refused_with_the_line(
    journal: Journal, damage: Callable[[list[bytes]], list[bytes]], number: int
) -> None:
    baseline(journal)
    path = journal.layout.journal
    for text in ("one", "two", "three"):
        journal.append("note", text=text)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 8
    path.write_bytes(b"".join(damage(lines)))
    for open_it in (read, Journal):
        with pytest.raises(JournalError, match=rf"line {number}\b.* Bring the file back from a backup, or"):
            open_it(journal.layout)
    if number > 1:  # what the message advises
        path.write_bytes(b"".join(damage(lines)[: number - 1]))
        with Journal(journal.layout) as mended:
            mended.append("note", text="on")
        assert read(journal.layout).notes[-1] == "on"


@pytest.mark.parametrize("deed", ["delete", "replace"])
def test_a_journal_that_is_deleted_or_replaced_meanwhile_is_said(journal: Journal, deed: str) -> None:
    path = journal.layout.journal
    whole = path.read_bytes()
    path.unlink()
    if deed == "replace":
        path.write_bytes(whole)
    with pytest.raises(JournalError, match=r"journal\.jsonl was deleted or replaced while the night ran"):
        journal.append("note", text="on")


# --- torn and full --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b"{", b'{"v":2,"t":"20', b"\x00" * 300, b"\xff\xfe\n", b'"text"', b"[" * 90_000])
def test_a_torn_last_line_is_moved_aside(journal: Journal, torn: bytes) -> None:
    baseline(journal)
    night, path = journal.night, journal.layout.journal
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert read(journal.layout) == night
    assert path.read_bytes() == whole + torn  # reading changes nothing
    with Journal(journal.layout) as again:
        assert again.night == night
        assert path.read_bytes() == whole
        again.append("note", text="on")
    assert (journal.layout.folder / "journal.torn-1").read_bytes() == torn
    assert read(journal.layout).notes == ("on",)


def test_a_line_that_lacks_only_its_end_is_completed(journal: Journal) -> None:
    baseline(journal)
    path = journal.layout.journal
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with Journal(journal.layout) as again:
        assert again.night == journal.night
        again.append("note", text="on")
    assert path.read_bytes().startswith(whole)
    assert len(read(journal.layout).notes) == 1


@pytest.mark.parametrize("room", [0, 1, 30])
def test_no_room_on_the_disk_decides_nothing(journal: Journal, room: int) -> None:
    baseline(journal)
    n = proposed(journal)
    measured(journal, n, 1.2)
    path, night = journal.layout.journal, journal.night
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        with pytest.raises(JournalError, match=r"cannot record `decided`.*MB are free"):
            decided(journal, n, "keep", 1.2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert journal.night == night == read(journal.layout)
    decided(journal, n, "keep", 1.2)
    assert read(journal.layout).incumbent_n == n


def test_a_line_whose_append_was_interrupted_does_not_contradict_the_next(journal: Journal) -> None:
    """After Ctrl-C in the middle of an append, the line may be there although the caller takes it for not recorded."""
    n = proposed(journal)
    journal.append("started", n=n, run=0, seed=1, machine="m4", purpose="search")
    path = journal.layout.journal
    written = {"type": "measured", "n": n, "run": 0, "measurement": Measurement(seed=1, score=1.0)}
    path.write_bytes(path.read_bytes() + encode({"v": 2, "t": "2026-11-23T22:00:00+00:00", **written}))
    assert read(journal.layout).experiments[n].status == "measured"  # it counts if nothing follows
    journal.append("abandoned", n=n, run=0, why="Ctrl-C")
    assert read(journal.layout) == journal.night
    assert journal.night.experiments[n].status == "abandoned"


def test_no_room_for_a_source(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(JournalError, match="cannot store the source of experiment 3"):
            store_source(Layout(tmp_path, "t"), 3, "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(Layout(tmp_path, "t").experiment(3).iterdir()) == []


def test_a_source_that_is_gone_or_changed_is_named(journal: Journal) -> None:
    n = proposed(journal, source="x = 'ü'\r\n")
    experiment = journal.night.experiments[n]
    assert read_source(journal.layout, experiment) == "x = 'ü'\r\n"
    path = journal.layout.source(n)
    path.write_text("x = 2\n")
    with pytest.raises(JournalError, match=r"was changed after it was proposed\. Bring it back: git show"):
        read_source(journal.layout, experiment)
    path.unlink()
    with pytest.raises(JournalError, match="is gone"):
        read_source(journal.layout, experiment)


def test_a_source_is_read_and_verified_once(journal: Journal) -> None:
    n = proposed(journal, source="x = 1\n")
    assert journal.source_of(n) == "x = 1\n"
    journal.layout.source(n).unlink()
    assert journal.source_of(n) == "x = 1\n"


# --- any journal, cut at any byte -----------------------------------------------------------------------------------


def possible(night: Night, draw: st.DataObject) -> dict[str, Any]:
    """Draw an event that the loop could record next."""
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
        begin = {"n": e.n, "run": e.next_run, "seed": 1, "machine": "m4"}
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


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_journal_cut_at_any_byte_replays_and_loses_no_decided_result(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    night, lines, verdicts = Night(), [], []
    for _ in range(data.draw(st.integers(1, 15))):
        line = encode({"v": 2, "t": "2026-11-23T22:00:00+01:00", **possible(night, data)})
        event = decode(line)
        assert event is not None
        night = apply(night, event)
        lines.append(line)
        verdicts.append({e.n: e.verdict for e in night.decided})
    whole = b"".join(lines)
    assert replay(decode_all(whole)[0]) == night

    cut = data.draw(st.integers(0, len(whole)))
    layout = Layout(tmp_path_factory.mktemp("cut"), "t")
    folder = layout.folder
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(whole[:cut])
    ends = [len(b"".join(lines[: i + 1])) for i in range(len(lines))]
    complete = sum(end <= cut + 1 for end in ends)  # a line that lacks only its line feed counts
    with Journal(layout) as journal:
        assert {e.n: e.verdict for e in journal.night.decided} == (verdicts[complete - 1] if complete else {})
        journal.append("note", text="on")
    kept = (folder / "journal.jsonl").read_bytes()
    torn = b"".join(side.read_bytes() for side in folder.glob("journal.torn-*"))
    assert kept.startswith(b"".join(lines[:complete]))
    assert torn == (whole[:cut] if not complete else whole[ends[complete - 1] : cut])
    assert read(layout).notes[-1] == "on"


# --- kill -9 --------------------------------------------------------------------------------------------------------

NIGHT = """
import sys
from pathlib import Path
from autoresearch.paths import Layout
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
from autoresearch.record.journal import Journal, read_source, store_source
from autoresearch.records import Measurement, Proposal, Set
from autoresearch.record.results_tsv import update

checkout = Path(sys.argv[1])
repo, journal = Repository.at(checkout), Journal(Layout(checkout, "t"))
branch = Branch.begin(repo, "t", repo.head())
opened = dict(tag="t", task={}, versions={}, base_commit=branch.tip())

def land(e):
    source = read_source(journal.layout, e).encode()
    if e.verdict == "keep":
        landed = branch.keep(e.n, e.parent_commit, {"train_mlx.py": source}, f"Keep {e.n}")
        commit, ref = landed.commit, landed.ref
    else:
        commit, ref = branch.set_aside(e.n, e.parent_commit, {"train_mlx.py": source}, f"Discard {e.n}")
    journal.append("committed", n=e.n, commit=commit, ref=ref)

journal.append("opened", **opened)
for e in journal.night.uncommitted():
    land(e)
update(journal.layout.table, journal.night, b"")
branch.settle("train_mlx.py")
print("ready", flush=True)
if sys.argv[2:]:
    raise SystemExit

def experiment(n, role):
    if n not in journal.night.experiments:
        sha = store_source(journal.layout, n, f"LR = {n}\\n" if n else "LR = 0\\n")
        proposal = Proposal((Set("LR", str(n)),), f"idea {n}", "", "other", "tuner")
        parent = dict(parent_n=journal.night.incumbent_n, parent_commit=branch.tip())
        journal.append("proposed", n=n, role=role, proposal=proposal, source_sha256=sha, **parent)
    e = journal.night.experiments[n]
    if not e.measurements:
        journal.append("started", n=n, run=e.next_run, seed=n, machine="m4", purpose="search")
        journal.append("measured", n=n, run=e.next_run, measurement=Measurement(seed=n, score=2 - n / 1e4))
    verdict = "discard" if n % 3 == 2 else "keep"
    blob = repo.store(f"LR = {n}\\n".encode())
    journal.append("decided", n=n, verdict=verdict, reason="r", blob=blob, estimate=2 - n / 1e4)
    print("decided", n, flush=True)
    if role == "candidate":
        land(journal.night.experiments[n])
    update(journal.layout.table, journal.night, b"")

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
        run(["git", "-c", "init.defaultBranch=main", *args], cwd=folder)
    (folder / "notes").write_text("staged\n")
    run(["git", "add", "notes"], cwd=folder)
    return folder


def killed_night(checkout: Path, after_s: float) -> list[int]:
    """Start the loop, kill it after `after_s` seconds of work, and return the experiments it reported as decided."""
    argv = [sys.executable, "-c", NIGHT, str(checkout)]
    process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_s)
    process.kill()
    said, _ = process.communicate()
    return [int(line.split()[1]) for line in said.splitlines() if line.startswith("decided") and line.split()[1:]]


@pytest.mark.slow
def test_kill_9_at_random_moments_of_a_night(checkout: Path) -> None:
    chance = random.Random(7)
    said: set[int] = set()
    for where in ("main", "autoresearch/t") * 3:  # what the user has checked out meanwhile
        if where == "main" or said:
            # Git refuses where a kill came between the branch and its file: the next start brings the file to it.
            run(["git", "switch", "-q", where], cwd=checkout, check=False)
        said.update(killed_night(checkout, chance.uniform(0.0, 0.5)))
        night = read(Layout(checkout, "t"))
        assert said <= {e.n for e in night.decided}
        run(["git", "fsck", "--strict", "--no-dangling"], cwd=checkout)
        assert run(["git", "show", ":notes"], cwd=checkout).stdout == "staged\n"
        assert len(night.uncommitted()) <= 1
    assert said
    run([sys.executable, "-c", NIGHT, checkout, "mend"], env={**os.environ, "PYTHONPATH": str(ROOT)})
    night, repo = read(Layout(checkout, "t")), Repository.at(checkout)
    assert night.uncommitted() == []
    kept = [e for e in night.decided if e.verdict == "keep" and e.role == "candidate"]
    log = run(["git", "log", "--reverse", "--format=%H %s", "autoresearch/t"], cwd=checkout).stdout.splitlines()
    assert log[1:] == [f"{e.commit} Keep {e.n}" for e in kept]
    assert repo.changes() == ["notes"]
    for e in night.decided:
        if e.commit:
            assert repo.read(e.commit, "train_mlx.py") == f"LR = {e.n}\n".encode()
    rows = (checkout / "runs" / "t" / "results.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[4] for row in rows] == [f"idea {e.n}" for e in night.decided]
