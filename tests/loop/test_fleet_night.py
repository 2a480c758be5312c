"""Nights of several classes with several threads each, on members that measure in milliseconds."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from autoresearch.candidate import constants, edits
from autoresearch.errors import AutoresearchError
from autoresearch.findings import hints
from autoresearch.fleet.job import Job
from autoresearch.loop.fleet_night import MOST_RUNS
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.git import Repository
from autoresearch.record.night import Night
from autoresearch.records import Candidate, Proposal, Set
from testbed.fleet_coordinator import fleet
from testbed.local_pool import PATIENCE_S, LocalPool, ids
from testbed.night_builder import A
from testbed.toy import this_machine

pytestmark = pytest.mark.slow
OWN = "small-small-2"  # the class of a member that measures otherwise


def bowl(key: str, job: Job) -> float:
    """Score by the distance of WIDTH from the best one: 60 on class "big", 40 elsewhere; sigma is 0.01."""
    width, best = constants.read(job.source)["WIDTH"], 60 if key == "big" else 40
    return 2.0 + 0.02 * abs(width - best) + random.Random(f"{key} {job.id}").gauss(0, 0.01)


@dataclass
class Made:
    """A fleet that has been run."""

    root: Path
    pool: Any
    why: str = ""
    said: list[str] = field(default_factory=list)

    def night(self, key: str) -> Night:
        return journal.read(Layout(self.root, f"fleet-{key}"))


@pytest.fixture
def run(repository: Path, toy_cache: Path) -> Callable[..., Made]:
    def made(pool: LocalPool, **options: Any) -> Made:
        result = Made(repository, pool)
        result.why = fleet(repository, pool, result.said, **options).run()
        return result

    return made


def test_three_members_decide_what_one_does_and_nothing_is_made_twice(run: Callable[..., Made]) -> None:
    pool = LocalPool({"small": 3}, bowl, together=3)
    made = run(pool, experiments=12)
    night = made.night("small")
    assert made.why.endswith("experiments done")
    assert pool.most_at_once == 3
    assert len(set(ids(pool.made))) == len(pool.made)
    runs = [r for x in night.experiments.values() for r in x.runs.values() if r.searched]
    assert all(r.ended == "measured" for r in runs)
    assert len(runs) == sum(job.purpose != "newcomer" for _, job in pool.made)
    assert not night.unfinished() and night.incumbent is not None
    assert night.incumbent.role == "candidate"
    assert {m.member for x in night.experiments.values() for m in x.measurements} == {f"small {i}" for i in range(3)}


def test_a_newcomer_runs_beside_the_baseline_and_the_members_of_a_class_validate_at_once(
    repository: Path, toy_cache: Path
) -> None:
    both, together = threading.Barrier(2), {"final": 4, "repeat": 2, "newcomer": 2}
    numbers = {purpose: count() for purpose in together}
    (toy_cache / "machines" / this_machine().slug() / "noise.json").unlink()  # so that the baseline takes three runs

    def score(key: str, job: Job) -> float:
        meets = job.purpose in together and (job.role == "baseline" or job.purpose == "final")
        if meets and next(numbers[job.purpose]) < together[job.purpose]:
            both.wait(PATIENCE_S)
        return bowl(key, job)

    pool = LocalPool({"small": 2}, score, together=2)
    night = fleet(repository, pool, [], experiments=12, deadline=time.time() + 3600)
    night.hints = hints.choose([A])
    assert night.run().endswith("experiments done")
    found = journal.read(Layout(repository, "fleet-small"))
    first = [run.purpose for run in found.experiments[0].runs.values()][:5]
    assert first[0] == "search" and sorted(first[1:]) == ["newcomer", "newcomer", "repeat", "repeat"]
    made = [run for x in found.experiments.values() for run in x.runs.values() if run.purpose == "final"]
    assert len(made) >= 6 and all(run.ended == "measured" for run in made)
    rounds = [
        {r.measurement.member for r in made if r.seed == seed and r.measurement} for seed in {r.seed for r in made}
    ]
    assert all(len(members) == 1 for members in rounds) and len(set.union(*rounds)) == 2, "each round on one machine"
    assert night.hints and list(found.hinted) == hints.for_journal(night.hints)


def test_a_wait_for_a_machine_leaves_the_line_to_its_other_desks(repository: Path, toy_cache: Path) -> None:
    turns, night = threading.Lock(), fleet(repository, LocalPool({"small": 1}, bowl), [])
    other = threading.Thread(target=turns.acquire)
    with turns:
        threading.Thread(target=lambda: (other.start(), other.join(), turns.release(), night.over.set())).start()
        with pytest.raises(KeyboardInterrupt, match="the night has ended"):
            night._rest(turns, 60.0)
        assert turns.locked()


def test_a_member_that_measures_otherwise_has_a_night_of_its_own_and_a_stopped_fleet_resumes(
    repository: Path, toy_cache: Path
) -> None:
    pool, said = LocalPool({"small": 3}, bowl, run_s=0.01, shifts={"small 2": 0.5}), list[str]()
    first = fleet(repository, pool, said, deadline=time.time() + 3600)

    def stop() -> None:
        while not ((own := first.nights.get(OWN)) and own.state.decided and len(placed(repository)) == 3):
            time.sleep(0.01)
        pool.stop()
        first.over.set()

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        first.run()
    before, own = (journal.read(Layout(repository, f"fleet-{key}")) for key in ("small", OWN))
    assert placed(repository) == {"small 0": "small", "small 1": "small", "small 2": OWN}
    assert before.resuming == own.resuming == "loop.py --fleet --tag fleet"
    assert before.placed[0].why == "it measured the baseline"
    assert {m.member for x in before.experiments.values() for m in x.measurements} <= {"small 0", "small 1"}
    assert {m.member for x in own.experiments.values() for m in x.measurements} == {"small 2"}
    assert Repository.at(repository).resolve(f"refs/heads/autoresearch/fleet-{OWN}")
    again = LocalPool({"small": 3}, bowl, shifts=pool.shifts)
    fleet(repository, again, said, experiments=3).run()
    assert again.made and not any(job.purpose == "newcomer" for _, job in again.made), "each is compared once"
    assert {known.name: known.key for known in again.members()} == placed(repository)
    after = journal.read(Layout(repository, "fleet-small"))
    assert [x.verdict for x in after.experiments.values() if x.n in before.experiments].count(None) == 0
    assert all(after.experiments[x.n].verdict == x.verdict for x in before.decided)


def placed(root: Path) -> dict[str, str]:
    return {p.member: p.key for p in journal.read(Layout(root, "fleet-small")).placed}


def test_an_idea_whose_incumbent_was_replaced_is_tried_on_the_new_one(run: Callable[..., Made]) -> None:
    night = run(LocalPool({"small": 4}, bowl, run_s=0.2, together=4), experiments=16).night("small")
    overtaken = [x for x in night.decided if "was replaced by" in x.reason]
    assert overtaken and all(x.verdict == "discard" for x in overtaken)
    keeps = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    assert all(x.parent_n in {0, *(k.n for k in keeps)} for x in keeps)
    line = night.ancestry(keeps[-1])
    assert [x.n for x in line] == [0, *(x.n for x in keeps)], "each keep was measured on the one before"


def test_what_one_class_keeps_is_tried_by_the_other_under_its_own_rule_also_by_one_that_comes_late(
    run: Callable[..., Made],
) -> None:
    first = run(LocalPool({"small": 1}, bowl), experiments=6).night("small")
    kept = [x for x in first.decided if x.verdict == "keep"][1:]
    made = run(LocalPool({"small": 1, "big": 1}, bowl, together=2), experiments=12)
    small, big = made.night("small"), made.night("big")
    travelled = [x for n in (small, big) for x in n.decided if x.proposal.origin is not None]
    assert travelled and {x.proposal.proposer for x in travelled} <= {"fleet:small", "fleet:big"}
    assert kept and [x.proposal.origin for x in big.experiments.values()][1] == kept[0].n
    assert any("kept #" in line and "tried next on 1 other class" in line for line in made.said)
    repo = Repository.at(made.root)
    assert repo.resolve("refs/heads/autoresearch/fleet-small") and repo.resolve("refs/heads/autoresearch/fleet-big")
    assert small.incumbent is not None and small.incumbent.reason.endswith("runs")


def test_a_class_without_ideas_runs_its_incumbent_again_and_one_with_more_members_drafts_ahead(
    repository: Path, toy_cache: Path
) -> None:
    pool = LocalPool({"small": 1}, bowl)
    pool.assign("small 0", "small")
    coordinator = fleet(repository, pool, [])
    with coordinator._night("small") as night, night.turns:
        night.research.experimenter.prepare()
        night.exhausted = "no ideas are left"
        turns = [coordinator._turn(night) for _ in range(MOST_RUNS)]
        runs = [run.purpose for run in night.research.notebook.incumbent.runs.values()]
        assert turns == [True] * (MOST_RUNS - 2) + [False] * 2 and runs[2:] == ["incumbent"] * (MOST_RUNS - 2)
        night.waiting = 2
        assert night.research.draft_count() == 3


def test_what_a_restart_cut_off_is_resumed_at_once(repository: Path, toy_cache: Path) -> None:
    both = threading.Barrier(2)

    def score(key: str, job: Job) -> float:
        if job.role == "candidate":
            both.wait(PATIENCE_S)
        return bowl(key, job) + 0.5 * (job.role == "candidate")

    pool = LocalPool({"small": 2}, score)
    for known in pool.members():
        pool.assign(known.name, "small")
    with fleet(repository, pool, [])._night("small") as night, night.turns:
        e, book = night.research.experimenter, night.research.notebook
        e.prepare()
        for width in (50, 51):
            idea = Proposal((Set("WIDTH", str(width)),), f"WIDTH {width}", "", "width", "tuner")
            source = edits.apply(book.source_of(0), idea.edits)
            x = e._propose("candidate", Candidate(source, idea, 0))
            book.journal.append("started", n=x.n, run=0, seed=1, purpose="search", machine="small")
        opened = {"tag": "fleet-small", "task": book.night.task, "versions": book.night.versions, "base_commit": "c"}
        book.journal.append("opened", **opened)
        e.prepare()
        assert [x.verdict for x in book.night.experiments.values()] == ["keep", "discard", "discard"]


def test_what_a_thread_meets_ends_the_night_and_is_told(repository: Path, toy_cache: Path) -> None:
    def broken(key: str, job: Job) -> float:
        raise AutoresearchError("the disk is full")

    with pytest.raises(AutoresearchError, match="the disk is full"):
        fleet(repository, LocalPool({"small": 2}, broken), [], experiments=3).run()


def test_a_run_that_no_machine_can_make_any_more_does_not_hold_the_night(repository: Path, toy_cache: Path) -> None:
    pool, said = LocalPool({"small": 1}, bowl, run_s=0.05), list[str]()
    night = fleet(repository, pool, said, deadline=time.time() + 1.5)

    def leave() -> None:
        while not pool.made and not night.over.is_set():
            time.sleep(0.01)
        pool.kinds["small"] = 0

    threading.Thread(target=leave).start()
    assert night.run() == "the time is up"
    line = journal.read(Layout(repository, "fleet-small"))
    assert all(run.ended for x in line.experiments.values() for run in x.runs.values())
