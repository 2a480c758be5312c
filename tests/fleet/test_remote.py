from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from autoresearch.fleet.job import Done
from autoresearch.fleet.remote import RemoteTask
from autoresearch.records import Measurement, TaskFacts
from autoresearch.tasks.task import RunOrder, Task
from testbed.local_pool import LocalPool


def order(folder: Path) -> RunOrder:
    source = folder / "source"
    source.write_text("LR = 1\n")
    return RunOrder(source=source, folder=folder / "a" / "0001" / "run-1", seed=5, purpose="search", role="candidate")


def remote(pool: LocalPool, turns: threading.Lock) -> RemoteTask:
    local: Any = type("Local", (), {"facts": TaskFacts(fingerprint="toy0"), "run_s": 0.0})
    return RemoteTask(local, pool, "small", turns, lambda branch, say: None)


def test_the_line_s_lock_is_free_while_a_member_works(tmp_path: Path) -> None:
    turns, seen = threading.Lock(), list[bool]()
    pool = LocalPool({"small": 1}, lambda key, job: float(seen.append(turns.locked()) or 1.5))
    task: Task = remote(pool, turns)
    task.limit_candidates([Measurement(1, 1.6)])
    pool.assign("small 0", "small")
    with turns:
        made = task.measure(order(tmp_path), lambda event: None)
        assert turns.locked()
    assert seen == [False] and made.score == 1.5 and made.member == "small 0"
    assert [(name, job.id) for name, job in pool.made] == [("small 0", "a/0001/run-1")]


def test_the_second_score_of_an_implausible_run_is_the_member_s(tmp_path: Path) -> None:
    turns, wanted = threading.Lock(), order(tmp_path)
    done = Done(Measurement(5, 0.5, member="mini"), Measurement(5, 0.9))
    pool: Any = type("Pool", (), {"measure": lambda self, key, job, on: done})
    task = remote(pool(), turns)
    with turns:
        assert task.score_again(wanted, 1) is None
        task.measure(wanted, lambda event: None)
    again = task.score_again(wanted, 1)
    assert again is not None and again.score == 0.9


def test_a_stopped_fleet_stops_as_by_ctrl_c(tmp_path: Path) -> None:
    turns, pool = threading.Lock(), LocalPool({"small": 1}, lambda key, job: 1.5)
    pool.stop()
    with turns, pytest.raises(KeyboardInterrupt, match="the fleet was stopped"):
        remote(pool, turns).measure(order(tmp_path), lambda event: None)
    assert not turns.locked()
