"""Whose fault a failed run is: the machine's failures are made again, waited out, and never blamed on an idea alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import AutoresearchError
from autoresearch.loop.experimenter import Experimenter
from autoresearch.record import journal
from autoresearch.record.night import Experiment, Purpose
from autoresearch.records import Failure, Measurement, Proposal, Set
from autoresearch.report.console import PlainView
from autoresearch.system import machine
from testbed.made_nights import Made

GPU = Failure("machine", "Command buffer execution failed: Caused GPU Timeout Error")
DRY = Failure("memory", "held 9.1 GB of memory (limit 8.0 GB)")
WRONG = Failure("build", "NameError: name 'DEPHT' is not defined")
FINE = None


@dataclass(kw_only=True)
class Rehearsed(Experimenter):
    """A laboratory whose runs end as they are told to, by experiment; then all of them are fine."""

    ends: dict[int, list[Failure | None]]
    ran: list[int] = field(default_factory=list)

    def _run_once(self, x: Experiment, run: int, purpose: Purpose, seed: int | None) -> Measurement:
        self.journal.append("started", n=x.n, run=run, seed=run, machine="m4", purpose=purpose)
        self.ran.append(x.n)
        failure = self.ends[x.n].pop(0) if self.ends.get(x.n) else FINE
        return Measurement(run, None if failure else 1.5, failure, tok_s=None)


@pytest.fixture
def laboratory(tmp_path: Path) -> Callable[..., Rehearsed]:
    """Over a made night of three experiments, and a fourth that is proposed."""
    folder = Made().try_all(3).write(tmp_path / "runs" / "nov23")
    unused: Any = None

    class Nobody:
        name = "nobody"

        def release(self) -> None: ...

    def make(**ends: list[Failure | None]) -> Rehearsed:
        lab = Rehearsed(
            root=tmp_path, tag="nov23", folder=folder, repo=unused, journal=journal.Journal(folder), bench=unused,
            proposer=Nobody(), view=PlainView(io.StringIO()), facts=machine.facts(), patience_s=(0.0, 0.0),
            ends={{"idea": 4, "best": best}[name]: list(found) for name, found in ends.items()},
        )  # fmt: skip
        sha = journal.store_source(folder, 4, "DEPTH = 3\n")
        idea = Proposal((Set("DEPTH", "3"),), "Deeper", "", "depth", "tuner")
        lab.journal.append(
            "proposed", n=4, role="candidate", proposal=idea, source_sha256=sha, parent_n=best, parent_commit="b" * 40
        )
        return lab

    best = journal.read(folder).incumbent_n
    assert best is not None
    return make


def test_one_failure_of_the_machine_is_a_run_made_again(laboratory: Callable[..., Rehearsed]) -> None:
    lab = laboratory(idea=[GPU])
    x = lab.measure(4, "search")
    assert lab.ran == [4, 4] and x.failure is None
    assert [r.ended for r in x.runs.values()] == ["abandoned", "measured"]


def test_after_two_the_incumbent_shows_whose_fault_it_is(laboratory: Callable[..., Rehearsed]) -> None:
    lab = laboratory(idea=[GPU, GPU, GPU])
    best = lab.incumbent().n
    x = lab.measure(4, "search")
    assert lab.ran == [4, 4, best, 4]
    assert x.failure == GPU  # the incumbent runs: it is the idea's own


def test_an_idea_is_not_blamed_while_the_incumbent_fails_too(laboratory: Callable[..., Rehearsed]) -> None:
    lab = laboratory(idea=[GPU, GPU], best=[GPU, DRY, GPU])
    best = lab.incumbent().n
    x = lab.measure(4, "search")
    assert lab.ran == [4, 4, best, best, best, best, 4]
    assert x.failure is None and x.measurements[-1].ok


def test_a_machine_that_does_not_recover_ends_the_night_and_blames_nobody(
    laboratory: Callable[..., Rehearsed],
) -> None:
    lab = laboratory(idea=[GPU, GPU], best=[GPU] * 9)
    with pytest.raises(AutoresearchError, match=r"GPU Timeout Error, 4 times in a row, with a file that ran before"):
        lab.measure(4, "search")
    night = lab.night
    assert night.experiments[4].status == "abandoned" and night.experiments[4].verdict is None
    assert night.abandoned() == [night.experiments[4]]  # the next session goes on with it


@pytest.mark.parametrize("failure", [WRONG, DRY])
def test_an_idea_s_own_failure_is_its_own_at_once(laboratory: Callable[..., Rehearsed], failure: Failure) -> None:
    lab = laboratory(idea=[failure])
    assert lab.measure(4, "search").failure == failure
    assert lab.ran == [4]


@pytest.mark.slow
def test_a_machine_that_swaps_under_a_run_is_the_machine_s_failure(toy_data: Path, tmp_path: Path) -> None:
    """With a recorded swap instead of one of this machine's."""
    from autoresearch.measure import experiment
    from testbed.toy import HONEST, toy_bench

    used = iter([512, *range(1000, 100_000, 1000)])
    bench = toy_bench(toy_data, 20.0, swap_mb=lambda: next(used))
    m = experiment.rehearse(bench, HONEST, tmp_path / "run", seed=1)
    assert m.failure == Failure("machine", "the machine swapped 2.4 GB out during the run")
