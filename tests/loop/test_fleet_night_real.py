"""A night on real members: processes that join a real scheduler over TLS."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from autoresearch.fleet import address
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Welcome
from autoresearch.fleet.dask_pool import DaskPool
from testbed import fleet_coordinator
from testbed.fleet_evidence import read_trainings
from testbed.fleet_member import LOG, keep_joining

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
RUN_S = 0.3


def test_the_final_validation_is_made_by_two_members_at_once(repository: Path, toy_cache: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = FleetAddress("127.0.0.1", probe.getsockname()[1], address.new_key())
    task, over = fleet_coordinator.task(repository), threading.Event()
    pool, folders = DaskPool(where, Welcome(task.facts, task.versions), print), [tmp_path / "one", tmp_path / "two"]
    try:
        for folder in folders:
            keep_joining(where, folder, RUN_S, over)
        fleet = fleet_coordinator.fleet(repository, pool, [], deadline=time.time() + 3600)

        def end() -> None:
            while not any(
                len(n.threads) == 2 and n.research.notebook.counters.decided for n in [*fleet.nights.values()]
            ):
                time.sleep(0.05)
            fleet.options = replace(fleet.options, experiments=1)

        threading.Thread(target=end, daemon=True).start()
        assert " done" in fleet.run()
    finally:
        pool.close("the night has ended")
        over.set()
    one, two = ([t for t in read_trainings([folder], LOG) if t.purpose == "final"] for folder in folders)
    runs = [*one, *two]
    made_s, took_s = sum(t.last - t.start for t in runs), max(t.last for t in runs) - min(t.start for t in runs)
    print(f"{len(one)} + {len(two)} final runs of {made_s:.1f} s in all took {took_s:.1f} s")
    assert any(a.start < b.last and b.start < a.last for a, b in product(one, two))
