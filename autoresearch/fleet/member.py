"""Be a member of a fleet: a Dask worker that measures one job at a time, in a process that is started again and again.

`serve` is that process. It ends when the scheduler has gone, or has given it up because this Mac slept; whoever started
it (loop/commands/fleet.py) ends what it left running and starts it again, so that it joins anew. The coordinator calls
the functions at the end of this file by their names; what they take and return is JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoresearch import jsonable
from autoresearch.errors import AutoresearchError
from autoresearch.fleet import transport
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Hello, Welcome
from autoresearch.fleet.job import Job, perform
from autoresearch.records import Failure, Measurement, Say
from autoresearch.system import awake, machine, process
from autoresearch.tasks.task import Task

OpenTask = Callable[[Welcome], Task]
DISMISSED, LOST = 0, 75  # exit codes of `serve`: the coordinator sent it away; start it again
CANNOT = "machine"  # kind of the failure of a run that this machine cannot make, e.g. because its disk is full


@dataclass
class Member:
    """State of this process as a member."""

    folder: Path  # where its runs are made
    open_task: OpenTask
    say: Say
    name: str = field(default_factory=platform.node)
    facts: machine.Facts = field(default_factory=machine.facts)
    ttl_s: float = transport.TTL_S  # after which the coordinator, where it is silent, is looked for anew
    task: Task | None = None
    over: threading.Event = field(default_factory=threading.Event)  # it was dismissed


_members: list[Member] = []  # the one of this process


def serve(address: FleetAddress, member: Member) -> int:
    """Work for the fleet until it is over or out of reach; return DISMISSED or LOST. The machine's lock is held."""
    _members[:] = [member]
    try:
        with _scratch() as folder:
            asyncio.run(_work(address, member, folder))
    except OSError as error:
        member.say(f"the coordinator at {address.name} does not answer: {error}")
    finally:
        process.end_orphans(own_too=True)  # a run that is still under way: nobody wants its result
    code = DISMISSED if member.over.is_set() else LOST
    os._exit(code)  # the thread of that run ends with this process


async def _work(address: FleetAddress, member: Member, folder: Path) -> None:
    import distributed

    transport.configure(member.ttl_s)
    dask: Any = distributed  # it has few types
    worker = dask.Worker(
        address.url,
        name=f"{member.name}:{os.getpid()}",
        nthreads=1,
        memory_limit=0,
        security=transport.security(address.key, folder),
        local_directory=str(folder),
        dashboard=False,
        death_timeout=transport.JOIN_S,
    )
    await worker
    member.say(f"joined {address.name}")
    lost = asyncio.create_task(worker.finished())
    parent = os.getppid()
    while not lost.done() and not member.over.is_set() and os.getppid() == parent:
        await asyncio.wait([lost], timeout=0.2)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="autoresearch-member-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- what the coordinator calls ---------------------------------------------------------------------------------------


def hello(welcome: str) -> str:
    """Open the task that the coordinator names and answer what it is here, and on which machine."""
    me = _members[0]
    asked = jsonable.from_json(Welcome, welcome)
    try:
        me.task = me.open_task(asked)
        answer = Hello(me.name, me.facts.to_dict(), me.task.facts, me.task.versions)
    except (AutoresearchError, OSError) as error:
        answer = Hello(me.name, me.facts.to_dict(), problem=str(error))
    return jsonable.to_json(answer).decode()


def admit(key: str) -> None:
    """Learn that jobs of the class `key` may come from now on."""
    _members[0].say(f"admitted as {key}")


def dismiss(why: str) -> None:
    """Leave the fleet for good."""
    _members[0].say(why)
    _members[0].over.set()


def measure(text: str) -> str:
    """Make the run of a job and return the Measurement: a failure of the kind "machine" where this one cannot.

    The machine stays awake meanwhile.
    """
    me, job = _members[0], Job.from_json(text)
    assert me.task is not None, "a member is admitted first"
    folder = me.folder / job.id.replace("/", "-")
    me.say(f"{job.id}: {job.purpose}, seed {job.seed}")
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that a kill cut off
        folder.mkdir(parents=True)
        with awake.Awake(_quiet, folder / "awake.log"):
            done = perform(me.task, job, folder, lambda event: None)
    except (AutoresearchError, OSError) as error:
        me.say(f"{job.id}: {error}")
        done = Measurement(job.seed, failure=Failure(CANNOT, f"{me.name}: {error}"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return jsonable.to_json(replace(done, member=me.name)).decode()


def _quiet(text: str) -> None:
    """Say nothing: the coordinator's person cannot mend it."""
