"""Run a recorded night of training again: the loop decides afresh on what its journal says was proposed and measured.

testbed/recordings/night holds a night of the toy trainer: its journal, and the train_mlx.py that it began with.
Machine, ideas, results and the machine's state come from there; contract, keep rule, estimates, git and the final
validation are the present ones.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

from autoresearch.errors import ProposerError
from autoresearch.loop.research import DEFAULT_RULES
from autoresearch.loop.session import Options, open_research
from autoresearch.loop.validate import ValidationPlan, validate
from autoresearch.measure.follower import Listener
from autoresearch.paths import EDITABLE, JOURNAL, Layout
from autoresearch.record.codec import decode
from autoresearch.record.events import Abandoned, Decided, Event, Measured, Opened, Proposed
from autoresearch.record.git import Repository
from autoresearch.records import Context, Failure, Measurement, Proposal
from autoresearch.report.console import PlainView
from autoresearch.search.proposer import BaseProposer
from autoresearch.system.machine import Facts
from autoresearch.tasks.gpt.data import prepared
from autoresearch.tasks.gpt.task import GptTask
from autoresearch.tasks.task import RunOrder
from testbed.recorded import FOLDER
from testbed.toy import git, make_repository, toy_bench, write_toy_data

NIGHT = FOLDER / "night"
PLAN = ValidationPlan(retests=1, rounds=3)
PREFLIGHT = "preflight: "
UNEQUAL = ("t", "crc")
COMMITS = ("commit", "parent_commit", "base_commit")  # fields whose values depend on the time


@dataclass
class RecordedTask(GptTask):
    """Training whose runs were made before: each gives what the journal says of it."""

    recorded: Mapping[str, str]  # versions of MLX, Python and the harness
    results: Iterator[Measurement]
    broken: Mapping[str, Failure]  # by the sha256 of the source that does not work
    made: dict[Path, Measurement] = field(default_factory=dict)  # by the folder of the run

    @property
    def versions(self) -> Mapping[str, str]:
        return self.recorded

    def preflight(self, source: str) -> Failure | None:
        return self.broken.get(sha256(source.encode()).hexdigest())

    def measure(self, order: RunOrder, listen: Listener) -> Measurement:
        found = next(self.results)
        order.folder.mkdir(parents=True, exist_ok=True)
        self.made[order.folder] = found
        return found

    def score_again(self, order: RunOrder, run: int) -> Measurement | None:
        return self.made[order.folder]  # it held


class RecordedIdeas(BaseProposer):
    """Proposer of what was proposed in a night."""

    name = "scripted"

    def __init__(self, proposals: Sequence[Proposal]) -> None:
        self.left = list(proposals)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        if not self.left:
            raise ProposerError("the recording is at its end")
        return [self.left.pop(0)]


def events(journal: Path) -> list[Event]:
    """Return the events of a journal."""
    found = (decode(line) for line in journal.read_bytes().splitlines(keepends=True))
    return [event for event in found if event is not None]


def replay(scratch: Path) -> Path:
    """Run the recorded night again below a folder, and return its journal."""
    data = write_toy_data(scratch / "data")
    root = make_repository(scratch / "repository")
    shutil.copy(NIGHT / EDITABLE, root / EDITABLE)
    git(root, "commit", "-q", "-am", "a slow learner")
    layout = Layout(root, "recorded")
    _run(layout, data, events(NIGHT / JOURNAL))
    return layout.journal


def _run(layout: Layout, data: Path, night: Sequence[Event]) -> None:
    opened = night[0]
    assert isinstance(opened, Opened)
    facts = Facts.from_dict(opened.machine)
    runs = [e.measurement for e in night if isinstance(e, Measured | Abandoned) and e.measurement is not None]
    meta = prepared.load_meta(data)
    task = RecordedTask(layout, toy_bench(data), meta, facts, opened.versions, iter(runs), _broken(night))
    ideas = [e.proposal for e in night if isinstance(e, Proposed) and e.role == "candidate"]
    options, view = Options(**opened.options), PlainView(io.StringIO())
    proposer = RecordedIdeas(ideas)
    with open_research(
        Repository.at(layout.root), layout, task, facts, options, view, lambda facts: proposer, DEFAULT_RULES
    ) as research:
        states = iter([state for m in runs for state in (m.machine_before, m.machine_after) if state is not None])
        research.experimenter.runner.sample = lambda: next(states)
        research.run()
        validate(research, PLAN)


def _broken(night: Sequence[Event]) -> dict[str, Failure]:
    """Return what failed on small arrays, by the sha256 of the source."""
    sources = {e.n: e.source_sha256 for e in night if isinstance(e, Proposed)}
    ends = [e for e in night if isinstance(e, Decided) and e.reason.startswith(PREFLIGHT)]
    return {sources[e.n]: Failure("warmup", e.reason.removeprefix(PREFLIGHT)) for e in ends}


# --- comparing --------------------------------------------------------------------------------------------------------


def told(journal: Path) -> list[dict[str, Any]]:
    """Return what a journal says, without what depends on the time: times, checksums, and the ids of commits.

    A commit is named by the order in which the journal first names it.
    """
    commits: dict[str, str] = {}
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return [{key: _plain(key, value, commits) for key, value in line.items() if key not in UNEQUAL} for line in lines]


def _plain(key: str, value: Any, commits: dict[str, str]) -> Any:
    if key in COMMITS and value is not None:
        return commits.setdefault(value, f"commit {len(commits)}")
    if key == "text":
        return None  # the words of a note
    if key == "proposal":
        return {**value, "usage": {kind: n for kind, n in value.get("usage", {}).items() if kind != "preflight_s"}}
    return value


def differences(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where the second journal does not say what the first says; it may say more of an event."""
    found = []
    for i, (before, after) in enumerate(zip_longest(first, second, fillvalue={})):
        found += [f"event {i}: {was!r} is {now!r} now" for was, now in _changes(before or None, after or None)]
    return found


def _changes(before: Any, after: Any) -> list[tuple[Any, Any]]:
    """Return what is not the same in two values, of objects what the first one holds."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [change for key in before for change in _changes(before[key], after.get(key))]
    return [] if before == after else [(before, after)]
