"""Each check of a fleet's evidence finds its fault where one is planted, and nothing where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed import fleet_evidence as evidence
from testbed.fleet_member import LOG, TRAINING

Events = list[dict[str, Any]]
Records = dict[str, Events]


def entry(what: str, uid: str, mono: float, **more: Any) -> dict[str, Any]:
    return {"what": what, "uid": uid, "mono": mono, "wall": 0.0, **more}


def run(uid: str, n: int, k: int, start: float, end: float, score: float | None) -> Events:
    job = f"fleet-x86-2cpu-{n:04}-run-{k + 1}"
    first = entry("start", uid, start, pid=1, job=job, seed=1000 * n + k, purpose="search")
    last = entry("end", uid, end, score=score) if score is not None else entry("alive", uid, end)
    return [first, entry("alive", uid, (start + end) / 2), last]


def measured(n: int, k: int, score: float | None, member: str) -> Events:
    failure = {"kind": "exited", "message": "signal 9"} if score is None else None
    found = {"seed": 1000 * n + k, "score": score, "failure": failure, "member": member}
    return [
        {"type": "started", "n": n, "run": k, "seed": 1000 * n + k, "purpose": "search"},
        {"type": "measured", "n": n, "run": k, "measurement": found},
    ]


def sound() -> tuple[Events, Events, Records]:
    """Return a journal before an incident and after it, and the members' records: run 1 of 2 was made again by b."""
    first = [{"type": "proposed", "n": 1}, *measured(1, 0, 2.5, "a"), {"type": "decided", "n": 1, "verdict": "keep"}]
    rest = [
        *({"type": "proposed", "n": 2}, *measured(2, 0, 2.25, "b"), *measured(2, 1, None, "a")),
        {"type": "decided", "n": 2, "verdict": "crash"},
    ]
    records = {
        "a": [*run("a1", 1, 0, 1.0, 3.0, 2.5), *run("a2", 2, 0, 4.0, 5.0, None), *run("a3", 2, 1, 9.0, 9.5, None)],
        "b": run("b1", 2, 0, 6.5, 8.5, 2.25),
    }
    return first, first + rest, records


def lines(entries: Events) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def made(records: Records) -> list[evidence.Training]:
    return [t for member, entries in records.items() for t in evidence.trainings(member, lines(entries))]


def test_a_sound_night_has_no_fault_also_while_lines_are_being_written() -> None:
    before, after, records = sound()
    assert evidence.faults(lines(before), lines(after), made(records)) == []
    assert evidence.faults(lines(before)[:-9], lines(after) + b'{"type": "deci', made(records)) == []
    torn = evidence.trainings("a", lines(records["a"]) + b'{"what": "al')
    assert len(torn) == 3 and torn[0].key == (1, 0)


def lose(after: Events, records: Records) -> None:
    del after[3]


def change(after: Events, records: Records) -> None:
    after[3] = {**after[3], "verdict": "discard"}


def rewrite(after: Events, records: Records) -> None:
    after[0] = {**after[0], "role": "candidate"}


def decide_again(after: Events, records: Records) -> None:
    after.append(after[3])


def count_again(after: Events, records: Records) -> None:
    after += measured(1, 0, 2.5, "a")[1:]


def count_under_another_number(after: Events, records: Records) -> None:
    """Count a run of 1 once more, as its run 1 with the seed of run 0, which another training made."""
    again = measured(1, 1, 2.5, "a")
    again[1]["measurement"]["seed"] = 1000
    after += again
    records["a"] += [{**e, "seed": 1000} if e["what"] == "start" else e for e in run("a4", 1, 1, 11.0, 12.0, 2.5)]


def count_what_nobody_made(after: Events, records: Records) -> None:
    after += measured(3, 0, 2.0, "a")


def count_for_another_member(after: Events, records: Records) -> None:
    after[2]["measurement"] = {**after[2]["measurement"], "member": "b"}


def count_another_value(after: Events, records: Records) -> None:
    after[2]["measurement"] = {**after[2]["measurement"], "score": 2.5000001}


def fail_what_has_a_score(after: Events, records: Records) -> None:
    after[5 + 1]["measurement"] = measured(2, 0, None, "b")[1]["measurement"]


def leave_an_orphan(after: Events, records: Records) -> None:
    """The training a2, which was cut off, lives on while its member makes a3."""
    records["a"].append(entry("alive", "a2", 9.25))


def hold_the_lock(after: Events, records: Records) -> None:
    records["a"].insert(0, entry("beside", "a3", 8.9, other="a2"))


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lose, "lost: the verdict on 1 is missing"),
        (change, "lost: the verdict on 1 was changed"),
        (rewrite, "lost: an earlier line"),
        (decide_again, "twice: 1 has 2 verdicts"),
        (count_again, "twice: the run (1, 'search', 0) counts 2 times"),
        (count_under_another_number, "twice: (experiment, purpose, seed) (1, 'search', 1000) counts 2 times"),
        (count_what_nobody_made, "unmeasured: a made no run (3, 0)"),
        (count_for_another_member, "unmeasured: b made no run (1, 0)"),
        (count_another_value, "value: 2.5000001 of run (1, 0)"),
        (fail_what_has_a_score, "value: None of run (2, 0)"),
        (leave_an_orphan, "overlap: a made "),
        (hold_the_lock, "overlap: a began "),
    ],
)
def test_each_planted_fault_is_found(plant: Callable[[Events, Records], None], kind: str) -> None:
    before, after, records = sound()
    plant(after := json.loads(json.dumps(after)), records)
    found = evidence.faults(lines(before), lines(after), made(records))
    assert any(fault.startswith(kind) for fault in found), found


def test_a_machine_failure_is_told_apart() -> None:
    _, after, records = sound()
    after[2]["measurement"] = {"seed": 1000, "failure": {"kind": "machine", "message": "a: the disk is full"}}
    assert evidence.unfounded(lines(after), made(records)) == []
    assert evidence.refusals(lines(after)) == ["a: the disk is full"]


def test_how_a_struck_run_goes_on() -> None:
    _, after, records = sound()
    journal, trainings = lines(after), made(records)
    assert evidence.goes_on("a1", 2.0, trainings, journal) == evidence.Struck("by itself")
    assert evidence.goes_on("a2", 4.5, trainings, journal) == evidence.Struck("elsewhere", 2.0)
    assert evidence.goes_on("a3", 9.4, trainings, journal) == evidence.Struck("settled")
    assert evidence.goes_on("a3", 9.4, trainings, lines(after[:-1])) == evidence.Struck("open")


def test_a_candidate_that_a_restart_forgets_is_found() -> None:
    _, after, _ = sound()
    restarted = [*after[:-1], {"type": "opened"}]
    assert evidence.forgotten(lines(restarted)) == []
    assert evidence.forgotten(lines([*restarted, {"type": "proposed", "n": 3}])) == [2]
    resumed = [*restarted, *measured(2, 2, 2.0, "b"), {"type": "proposed", "n": 3}]
    assert evidence.forgotten(lines(resumed)) == []


def test_a_training_records_itself_and_whom_it_runs_beside(tmp_path: Path) -> None:
    def start(k: int, run_s: float) -> subprocess.Popen[bytes]:
        given = [TRAINING, tmp_path, f"n-0007-run-{k + 1}", k, "search", 57, run_s, tmp_path / f"result{k}"]
        return subprocess.Popen([sys.executable, "-I", "-S", *map(str, given)])

    with start(0, 600.0) as orphan:
        while not evidence.read_trainings([tmp_path], LOG):
            time.sleep(0.02)
        assert start(1, 0.0).wait() == 0
        orphan.kill()
    cut_off, ended = evidence.read_trainings([tmp_path], LOG)
    assert (cut_off.key, cut_off.score, cut_off.beside, cut_off.pid) == ((7, 0), None, None, orphan.pid)
    assert (ended.key, ended.beside, ended.seed) == ((7, 1), cut_off.uid, 1)
    assert float((tmp_path / "result1").read_text()) == ended.score
    assert evidence.overlaps([ended])[0].startswith(f"overlap: {tmp_path.name} began n-0007-run-2 while {cut_off.uid}")
    assert start(2, 0.0).wait() == 0
    assert evidence.read_trainings([tmp_path], LOG)[2].beside is None
