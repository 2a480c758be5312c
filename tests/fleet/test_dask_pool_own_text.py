"""A person's own text goes to members that lack it, over a real scheduler, once."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch import jsonable
from autoresearch.fleet import address
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Welcome
from autoresearch.fleet.dask_pool import DaskPool
from autoresearch.fleet.job import Job
from autoresearch.tasks.gpt.data import delivery
from autoresearch.tasks.gpt.data.delivery import Parcel
from autoresearch.tasks.gpt.data.prepared import Meta
from testbed.fleet_member import FACTS, VERSIONS, keep_joining
from testbed.toy import OWN_FILES, write_own_data

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
NAME = "notes-1f0c39ae"


def until(condition: Callable[[], object], limit_s: float = 90.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    made = delivery.parcel(write_own_data(tmp_path / "coordinator" / "data" / NAME / "tiny"))
    assert made is not None
    return made


def led(where: FleetAddress, parcel: Parcel, said: list[str]) -> DaskPool:
    """Begin a night on a parcel's data."""
    fingerprint = jsonable.from_json(Meta, parcel.manifest).fingerprint
    facts = replace(FACTS, dataset=NAME, profile="tiny", fingerprint=fingerprint)
    return DaskPool(where, Welcome(facts, VERSIONS, parcel.manifest), said.append, parcel=parcel, ttl_s=4.0)


def run_one(pool: DaskPool) -> float | None:
    until(pool.members)
    [known] = pool.members()
    pool.assign(known.name, known.kind)
    job = Job(id="n/0001/run-1", fingerprint="w0", source="", seed=7, purpose="search", role="candidate")
    return pool.measure(known.kind, job).measurement.score


def test_a_member_gets_the_text_once_also_where_a_kill_cuts_that_off(parcel: Parcel, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = FleetAddress("127.0.0.1", probe.getsockname()[1], address.new_key())
    data, last = tmp_path / "cache" / "data" / f"{NAME}@fleet", parcel.folder / "eval" / "test.u16"
    content, said, over = last.read_bytes(), list[str](), threading.Event()
    last.unlink()
    os.mkfifo(last)  # the coordinator waits for it once the other files are sent
    env = {"AUTORESEARCH_CACHE": str(tmp_path / "cache")}
    pool = led(where, parcel, said)
    try:
        pids = keep_joining(where, tmp_path / "one", 0.05, over, env=env, ttl_s=4.0)
        until((data / ".tiny.partial" / "eval" / "val.u16").exists)
        waiting = os.open(last, os.O_WRONLY)
        last.unlink()
        last.write_bytes(content)  # for the member that comes back
        os.kill(pids[0], signal.SIGKILL)
        assert not (data / "tiny").exists()
        os.close(waiting)
        assert run_one(pool) == 7.0
        assert sum(f" does not have {NAME} and is sent it: 0.3 MB" in line for line in said) == 2
        pool.stop()
        pool._end()
        said.clear()
        pool = led(where, parcel, said)
        assert run_one(pool) == 7.0
        assert not any(" is sent it" in line for line in said)
    finally:
        over.set()
        pool.close("the test is over")
    assert all((data / "tiny" / name).read_bytes() == (parcel.folder / name).read_bytes() for name in OWN_FILES)
    assert [path.name for path in data.iterdir()] == ["tiny"]
    assert (tmp_path / "one" / "said.txt").read_text().count("data: kept in ") == 1
