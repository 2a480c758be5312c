"""Judge a fleet by what it left: the coordinator's journal, and the record that each training kept of itself.

Nothing of the package is used: a journal is read as lines of JSON, and a record as testbed/fleet_training.py writes it.
Times are of CLOCK_MONOTONIC, which all processes of one machine share.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN = re.compile(r".*-(\d{4,})-run-(\d+)")  # of a job: experiment and run, which folders count from 1


@dataclass(frozen=True)
class Training:
    """One process that trained, by its own record. `last` is the time of its latest line."""

    member: str
    uid: str
    pid: int
    job: str
    seed: int
    purpose: str
    start: float
    last: float
    score: float | None = None  # that it ended with; None where it was cut off, or goes on
    beside: str | None = None  # the training that held the member's lock at its start

    @property
    def key(self) -> tuple[int, int]:
        """Experiment and run, both counted from 0."""
        found = RUN.fullmatch(self.job)
        assert found is not None, self.job
        return int(found[1]), int(found[2]) - 1


def trainings(member: str, record: bytes) -> list[Training]:
    """Return the trainings of a member in the order of their starts."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in record.splitlines(keepends=True):
        if line.endswith(b"\n"):  # else it is being written
            entry = json.loads(line)
            lines[entry["uid"]].append(entry)
    found = [_training(member, entries) for entries in lines.values() if any(e["what"] == "start" for e in entries)]
    return sorted(found, key=lambda training: training.start)


def _training(member: str, entries: Sequence[dict[str, Any]]) -> Training:
    said = {entry["what"]: entry for entry in entries}
    start, end, beside = said["start"], said.get("end"), said.get("beside")
    return Training(
        member, start["uid"], start["pid"], start["job"], start["seed"], start["purpose"], start["mono"],
        entries[-1]["mono"], end["score"] if end else None, beside["other"] if beside else None,
    )  # fmt: skip


def events(journal: bytes) -> list[dict[str, Any]]:
    """Return the events of a journal, without a last line that is being written."""
    return [json.loads(line) for line in journal.splitlines(keepends=True) if line.endswith(b"\n")]


# --- what must not be -------------------------------------------------------------------------------------------------


def faults(before: bytes, after: bytes, made: Iterable[Training]) -> list[str]:
    """Return what is wrong with a journal and with the trainings, a line each; `before` is an earlier copy of it.

    A line begins with its kind: "lost", "twice", "unmeasured", "value" or "overlap".
    """
    made = list(made)
    return [*lost(before, after), *twice(after), *unfounded(after, made), *overlaps(made)]


def lost(before: bytes, after: bytes) -> list[str]:
    """Find decided results of an earlier copy that are missing or changed, and any other line that was not kept."""
    then, now = (
        {e["n"]: json.dumps(e, sort_keys=True) for e in events(j) if e["type"] == "decided"} for j in (before, after)
    )
    found = [f"lost: the verdict on {n} is missing" for n in then if n not in now]
    found += [f"lost: the verdict on {n} was changed" for n in then if n in now and then[n] != now[n]]
    kept = before[: before.rfind(b"\n") + 1]
    if not found and not after.startswith(kept):
        found.append("lost: an earlier line of the journal is missing or changed")
    return found


def twice(journal: bytes) -> list[str]:
    """Find runs that count more than once, by (experiment, purpose, run), and second verdicts."""
    read = events(journal)
    purposes = {(e["n"], e["run"]): e["purpose"] for e in read if e["type"] == "started"}
    measured = [e for e in read if e["type"] == "measured"]
    counted = Counter((e["n"], purposes.get((e["n"], e["run"])), e["run"]) for e in measured)
    seeds = Counter((e["n"], purposes.get((e["n"], e["run"])), e["measurement"]["seed"]) for e in measured)
    decided = Counter(e["n"] for e in read if e["type"] == "decided")
    return [
        *(f"twice: the run {key} counts {times} times" for key, times in counted.items() if times > 1),
        *(
            f"twice: (experiment, purpose, seed) {key} counts {times} times"
            for key, times in seeds.items()
            if times > 1
        ),
        *(f"twice: {n} has {times} verdicts" for n, times in decided.items() if times > 1),
    ]


def unfounded(journal: bytes, made: Sequence[Training]) -> list[str]:
    """Find measurements that no training made: of this run and seed, on this member, with this very score.

    A failure needs a training that was cut off, but for one of the kind "machine": see `refusals`.
    """
    by_run: dict[tuple[int, int], list[Training]] = defaultdict(list)
    for training in made:
        by_run[training.key].append(training)
    found = []
    for event in events(journal):
        measured = event.get("measurement")
        if event["type"] not in ("measured", "abandoned") or measured is None or _refusal(measured):
            continue
        key, score, member = (event["n"], event["run"]), measured.get("score"), measured.get("member")
        own = [t for t in by_run[key] if t.seed == measured["seed"] and t.member == member]
        if not own:
            found.append(f"unmeasured: {member} made no run {key} with seed {measured['seed']}")
        elif not any(t.score == score for t in own):
            found.append(f"value: {score} of run {key} is none that {member} measured: {[t.score for t in own]}")
    return found


def _refusal(measured: dict[str, Any]) -> bool:
    return (measured.get("failure") or {}).get("kind") == "machine"


def refusals(journal: bytes) -> list[str]:
    """Return the runs of which the coordinator holds that a member could not make them; incidents are no cause."""
    given = [e["measurement"] for e in events(journal) if e.get("measurement")]
    return [measured["failure"]["message"] for measured in given if _refusal(measured)]


def overlaps(made: Iterable[Training]) -> list[str]:
    """Find two trainings at once on one member: by their times, and by the lock that each holds while it lives."""
    found, by_member = [], defaultdict(list)
    for training in made:
        by_member[training.member].append(training)
    for member, own in by_member.items():
        latest: Training | None = None
        for training in sorted(own, key=lambda each: each.start):
            if latest is not None and training.start < latest.last:
                both = latest.last - training.start
                found.append(f"overlap: {member} made {latest.job} and {training.job} at once, {both:.2f} s")
            elif training.beside is not None:
                found.append(f"overlap: {member} began {training.job} while {training.beside} lived")
            if latest is None or training.last > latest.last:
                latest = training
    return found


# --- how it goes on ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Struck:
    """A training during which an incident came, at `t`."""

    how: str  # "by itself": this very training counts; "again": on its member, or "elsewhere"; "settled": without it
    after_s: float | None = None  # until the experiment's next training began


def goes_on(uid: str, t: float, made: Sequence[Training], journal: bytes) -> Struck:
    """Return how an experiment went on whose training `uid` an incident struck at `t`."""
    struck = next(training for training in made if training.uid == uid)
    n, run = struck.key
    read = [e for e in events(journal) if e.get("n") == n]
    counts = [e["measurement"].get("score") for e in read if e["type"] == "measured" and e["run"] == run]
    if struck.score is not None and struck.score in counts:
        return Struck("by itself")
    later = sorted((each for each in made if each.key[0] == n and each.start > t), key=lambda each: each.start)
    if later:
        return Struck("again" if later[0].member == struck.member else "elsewhere", later[0].start - t)
    settled = any(e["type"] in ("decided", "quarantined") for e in read)
    return Struck("settled" if settled else "open")


def forgotten(journal: bytes) -> list[int]:
    """Return the experiments without a verdict that the latest session left alone while it proposed others.

    A session resumes what an earlier one left before anything else.
    """
    read = events(journal)
    done = {e["n"] for e in read if e["type"] in ("decided", "quarantined")}
    opened = max((i for i, e in enumerate(read) if e["type"] == "opened"), default=0)
    touched = {e["n"] for e in read[opened:] if "n" in e}
    if not any(e["type"] == "proposed" for e in read[opened:]):
        return []
    return [e["n"] for e in read if e["type"] == "proposed" and e["n"] not in done | touched]


def read_trainings(folders: Iterable[Path], log: str) -> list[Training]:
    """Return the trainings of all members, whose folders have their names."""
    return [
        training
        for folder in folders
        if (folder / log).exists()
        for training in trainings(folder.name, (folder / log).read_bytes())
    ]
