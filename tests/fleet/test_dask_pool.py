"""A real scheduler and real members on this machine, which are killed, stopped and come back."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from autoresearch.fleet import address
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Welcome
from autoresearch.fleet.dask_pool import DaskPool
from autoresearch.fleet.job import Job
from autoresearch.fleet.pool import StoppedError
from testbed.fleet_evidence import overlaps, read_trainings
from testbed.fleet_member import FACTS, LOG, VERSIONS, keep_joining
from testbed.toy import this_machine

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CLASS = this_machine().slug()
Printed = pytest.CaptureFixture[str]


def job(seed: int) -> Job:
    return Job(id=f"night/{seed:04}/run-1", fingerprint="w0", source="", seed=seed, purpose="search", role="candidate")


def until(condition: Callable[[], object], limit_s: float = 90.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def at_work(pool: DaskPool) -> int:
    """Let all that have joined work for the class of their kind, as a coordinator does, and count them."""
    for known in pool.members():
        if known.key is None:
            pool.assign(known.name, known.kind)
    return pool.classes().get(CLASS, 0)


@pytest.fixture
def where() -> FleetAddress:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return FleetAddress("127.0.0.1", probe.getsockname()[1], address.new_key())


@pytest.fixture
def pool(where: FleetAddress) -> Iterator[DaskPool]:
    made = DaskPool(where, Welcome(FACTS, VERSIONS), print, ttl_s=4.0)
    try:
        yield made
    finally:
        made.close("the test is over")


def begun(folder: Path, seed: int) -> bool:
    return any(training.seed == seed for training in read_trainings([folder], LOG))


def test_a_killed_and_a_sleeping_member_lose_no_run_and_none_counts_twice(
    pool: DaskPool, where: FleetAddress, tmp_path: Path
) -> None:
    over, folders = threading.Event(), [tmp_path / "one", tmp_path / "two"]
    pids = [keep_joining(where, folder, 1.5, over) for folder in folders]
    try:
        until(lambda: at_work(pool) == 2)
        with ThreadPoolExecutor(4) as threads:
            runs = [threads.submit(pool.measure, CLASS, job(seed)) for seed in range(1, 7)]
            until(lambda: begun(folders[0], 1) or begun(folders[0], 2))
            os.kill(pids[0][0], signal.SIGKILL)
            until(lambda: any(begun(folders[1], seed) for seed in range(1, 7)))
            asleep = pids[1][0]
            os.kill(asleep, signal.SIGSTOP)
            time.sleep(6.0)
            os.kill(asleep, signal.SIGCONT)
            until(lambda: at_work(pool) and all(run.done() for run in runs), 120.0)
            done = [run.result() for run in runs]
        assert [d.measurement.score or d.measurement.failure for d in done] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert {d.measurement.member for d in done} <= {"one", "two"}
        until(lambda: at_work(pool) == 2)
        assert not overlaps(read_trainings(folders, LOG)), "the orphan of a killed member ends before the next training"
    finally:
        over.set()


def test_members_come_back_to_a_scheduler_that_was_started_again(
    pool: DaskPool, where: FleetAddress, tmp_path: Path
) -> None:
    over = threading.Event()
    try:
        keep_joining(where, tmp_path / "one", 0.1, over)
        until(lambda: at_work(pool) == 1)
        pool.stop()
        pool._end()  # as a kill ends it: no member is told
        again = DaskPool(where, Welcome(FACTS, VERSIONS), print, ttl_s=4.0)
        try:
            until(lambda: at_work(again) == 1)
            assert again.measure(CLASS, job(1)).measurement.score == 1.0
        finally:
            again.close("the test is over")
    finally:
        over.set()


def test_a_run_is_made_by_the_member_that_it_names_as_long_as_that_is_there(
    pool: DaskPool, where: FleetAddress, tmp_path: Path
) -> None:
    over, away, two = threading.Event(), threading.Event(), tmp_path / "two"
    try:
        keep_joining(where, tmp_path / "one", 0.1, over)
        pids = keep_joining(where, two, 0.1, over, away=away)
        until(lambda: at_work(pool) == 2)
        assert {pool.measure(CLASS, job(seed), "two").measurement.member for seed in (1, 2, 3)} == {"two"}
        assert pool.measure(CLASS, job(4)).measurement.member == "two", "a thread stays with its member"
        assert not [file for file in two.rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]
        (left := two / "runs" / "dask" / "left").write_text("by a kill")
        away.set()
        os.kill(pids[0], signal.SIGKILL)
        assert pool.measure(CLASS, job(5), "two").measurement.member == "one"
        failure = pool.measure(CLASS, replace(job(6), purpose="newcomer"), "two").measurement.failure
        assert failure is not None and failure.message == "two: it has gone"
        away.clear()
        until(lambda: at_work(pool) == 2)
        assert not left.exists()
    finally:
        over.set()


def test_who_has_another_key_stays_outside_and_a_run_that_nobody_can_make_is_told(
    pool: DaskPool, where: FleetAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    over, threads, said = threading.Event(), ThreadPoolExecutor(1), list[str]()
    try:
        monkeypatch.setattr("autoresearch.fleet.dask_pool.ALONE_S", 0.5)
        waiting = threads.submit(pool.measure, CLASS, job(9))
        stranger = FleetAddress(where.host, where.port, address.new_key())
        keep_joining(stranger, tmp_path / "stranger", 0.1, over)
        until(lambda: said.append(capsys.readouterr().out) or f"no machine of the class {CLASS} is" in "".join(said))
        keep_joining(where, tmp_path / "friend", 0.1, over)
        until(lambda: at_work(pool) == 1)
        assert waiting.result(timeout=90).measurement.member == "friend"
        assert pool.measure(CLASS, job(7)).measurement.member == "friend"
        assert [known.key for known in pool.members()] == [CLASS]
        pool.stop()
        with pytest.raises(StoppedError):
            pool.measure(CLASS, job(8))
    finally:
        over.set()


def test_a_member_that_cannot_make_runs_is_sent_away(pool: DaskPool, where: FleetAddress, tmp_path: Path) -> None:
    over, ill = threading.Event(), tmp_path / "ill"
    try:
        keep_joining(where, ill, 0.1, over)
        until(lambda: at_work(pool) == 1)
        (ill / "runs").rename(ill / "moved")
        (ill / "runs").write_text("no folder")
        failure = pool.measure(CLASS, job(1)).measurement.failure
        assert failure is not None and failure.kind == "machine" and "ill: " in failure.message
        keep_joining(where, tmp_path / "well", 0.1, over)
        until(lambda: at_work(pool) == 2)
        for seed in (2, 3):
            pool.measure(CLASS, job(seed))
        until(lambda: at_work(pool) == 1)
        assert pool.measure(CLASS, job(4)).measurement.score == 4.0
    finally:
        over.set()


def test_a_member_that_hangs_is_started_again(pool: DaskPool, where: FleetAddress, tmp_path: Path) -> None:
    over = threading.Event()
    pids = keep_joining(where, tmp_path / "hanging", 600.0, over)
    try:
        until(lambda: at_work(pool) == 1)
        first = pids[0]
        failure = pool.measure(CLASS, replace(job(1), patience_s=1.0)).measurement.failure
        assert failure is not None and failure.kind == "machine" and "no answer in 1 s" in failure.message
        until(lambda: pids[0] != first and at_work(pool) == 1)
    finally:
        over.set()


def test_members_end_with_the_night(pool: DaskPool, where: FleetAddress, tmp_path: Path) -> None:
    over = threading.Event()
    pids = [keep_joining(where, tmp_path / name, run_s, over) for name, run_s in (("one", 0.1), ("busy", 600.0))]
    try:
        until(lambda: at_work(pool) == 2)
        pool.measure(CLASS, job(1), "one")
        with ThreadPoolExecutor(1) as threads:
            run = threads.submit(pool.measure, CLASS, job(2), "busy")
            until(lambda: begun(tmp_path / "busy", 2))
            (training,) = read_trainings([tmp_path / "busy"], LOG)
            pool.close("the night has ended")
        assert isinstance(run.exception(), StoppedError)
        until(lambda: not any(pids) and not psutil.pid_exists(training.pid))  # dismissed, with what they ran
    finally:
        over.set()
