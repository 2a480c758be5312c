from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.fleet.job import Job, perform
from autoresearch.records import Measurement
from autoresearch.tasks.task import RunOrder


class Recording:
    """Task that records what it is asked for."""

    def __init__(self) -> None:
        self.limited: list[Any] = []
        self.orders: list[RunOrder] = []

    def limit_candidates(self, baseline: Any) -> None:
        self.limited.append(baseline)

    def measure(self, order: RunOrder, listen: Any) -> Measurement:
        self.orders.append(order)
        assert order.source.read_bytes() == b"LR = 2\r\n" and order.incumbent is not None
        assert order.incumbent.read_text() == "LR = 1\n"
        return Measurement(order.seed, 1.5)


def test_a_run_is_made_elsewhere_as_it_would_be_here(tmp_path: Path) -> None:
    source, incumbent = tmp_path / "7.py", tmp_path / "3.py"
    source.write_bytes(b"LR = 2\r\n")
    incumbent.write_bytes(b"LR = 1\n")
    order = RunOrder(
        source=source,
        folder=tmp_path / "runs" / "nov23" / "0007" / "run-1",
        seed=7000,
        purpose="search",
        role="candidate",
        incumbent=incumbent,
        incumbent_score=1.6,
        early_stop=EarlyStopCheck(((0.1, 4.0), (0.5, 3.0)), 0.2),
        ceiling_score=1.7,
    )
    baseline = [Measurement(1, 1.6, num_steps=700, loss_curve=((0.5, 3.0),))]
    job = Job.from_json(Job.of("nov23/0007/run-1", "toy0", order, baseline).to_json())
    task: Any = Recording()
    done = perform(task, job, tmp_path / "member", "mini", lambda event: None)
    made = done.measurement
    assert made.score == 1.5 and made.seed == 7000 and made.machine_before is not None
    assert made.member == "mini" and done.again is None
    there = task.orders[0]
    assert (there.purpose, there.role, there.incumbent_score, there.ceiling_score) == ("search", "candidate", 1.6, 1.7)
    assert there.early_stop is not None and there.early_stop.limit_nats == 0.2
    assert there.folder.is_relative_to(tmp_path / "member")
    assert [m.num_steps for m in task.limited[0]] == [700] and task.limited[0][0].loss_curve == ()


@pytest.mark.parametrize(("floor", "again"), [(1.4, None), (1.5, None), (1.51, 1.52), (None, None)])
def test_what_is_implausible_is_scored_again_where_it_was_trained(
    tmp_path: Path, floor: float | None, again: float | None
) -> None:
    class Twice(Recording):
        def measure(self, order: RunOrder, listen: Any) -> Measurement:
            return Measurement(order.seed, 1.5)

        def score_again(self, order: RunOrder, run: int) -> Measurement:
            return Measurement(order.seed, 1.52)

    task: Any = Twice()
    job = Job(
        id="n/0001/run-1", fingerprint="f", source="", seed=1, purpose="search", role="candidate", floor_score=floor
    )
    done = perform(task, Job.from_json(job.to_json()), tmp_path, "mini", lambda event: None)
    assert (done.again.score if done.again else None) == again
