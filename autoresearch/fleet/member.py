"""Run a member of a fleet: a Dask worker that measures one job at a time, in a process that is restarted when it ends.

`serve` is that process. It ends when the scheduler has gone, or has given it up because this Mac slept; whoever started
it (loop/commands/fleet.py) starts it again, so that it joins anew. The coordinator calls the functions at the end of
this file by their names; what they take and return is JSON.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from autoresearch import jsonable
from autoresearch.errors import AutoresearchError
from autoresearch.fleet import transport
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Hello, Welcome
from autoresearch.fleet.job import Done, Job, perform
from autoresearch.records import Failure, Measurement, Say
from autoresearch.system import awake, machine, process
from autoresearch.system.exits import INTERRUPTED
from autoresearch.tasks.gpt.data import delivery
from autoresearch.tasks.gpt.data.delivery import Delivery
from autoresearch.tasks.task import Task

OpenTask = Callable[[Welcome], Task]
BeginDelivery = Callable[[Welcome], Delivery | None]
DISMISSED, LOST = 0, 75  # exit codes of `serve`: the coordinator sent it away; start it again
LOOK_S = 0.2  # between two looks at the process that started this one
ANSWER_S = 0.2  # for the answer to `dismiss`, before the process ends
CANNOT = "machine"  # kind of the failure of a run that this machine cannot make, e.g. because its disk is full


@dataclass
class Member:
    """State of this process as a member."""

    folder: Path  # where its runs are made; no other process uses it
    open_task: OpenTask
    say: Say
    id: str  # of this machine, by which the coordinator knows it again
    name: str = field(default_factory=platform.node)
    facts: machine.Facts = field(default_factory=machine.facts)
    receive: BeginDelivery = lambda welcome: None  # what takes the coordinator's own text; None where that is here
    ttl_s: float = transport.TTL_S  # after which the coordinator, where it is silent, is looked for anew
    task: Task | None = None
    delivery: Delivery | None = None  # of the data that the coordinator sends
    kept_awake: ExitStack = field(default_factory=ExitStack)  # while data arrives
    over: threading.Event = field(default_factory=threading.Event)  # it was told to end
    code: int = LOST  # with which it ends


_members: list[Member] = []  # the one of this process


def own_text(welcome: Welcome) -> str | None:
    """Return the name by which this machine has the own text that a coordinator describes; None where it lacks it."""
    return delivery.find(welcome.task.fingerprint, welcome.task.profile) if welcome.manifest else None


def lacking(welcome: Welcome, say: Say) -> Delivery | None:
    """Begin to take the own text that a coordinator describes; return None where there is none or it is here."""
    if not welcome.manifest or own_text(welcome):
        return None
    return Delivery.begin(welcome.manifest, welcome.task.fingerprint, say)


def serve(address: FleetAddress, member: Member) -> NoReturn:
    """Work for the fleet until it is over or out of reach, then end this process: with DISMISSED, LOST or INTERRUPTED.

    The caller holds the machine's lock. Dask's own folder has one name, so that what a kill leaves in it, e.g. the key
    in a file that is handed to OpenSSL for a moment, is removed by the next start.
    """
    _members[:] = [member]
    folder = member.folder / "dask"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    threading.Thread(target=_follow, args=(member, folder, os.getppid()), daemon=True).start()
    try:
        asyncio.new_event_loop().run_until_complete(_work(address, member, folder))
    except KeyboardInterrupt:
        member.code = INTERRUPTED
    except (OSError, RuntimeError) as error:  # the second is Dask's, for any reason that it cannot start
        member.say(f"the coordinator at {address.name} does not answer: {error.__cause__ or error}")
    _end(member, folder)


def _follow(member: Member, folder: Path, parent: int) -> NoReturn:
    """End this process once it is told to, or the process that started it has gone."""
    while os.getppid() == parent and not member.over.wait(LOOK_S):
        pass
    time.sleep(ANSWER_S)
    _end(member, folder)


def _end(member: Member, folder: Path) -> NoReturn:
    """End this process and its run. Dask's own end is not waited for, since a task of it may outlive a cancellation."""
    try:
        member.over.set()  # before its run is killed, whose end would look like the candidate's failure
        process.end_orphans(own_too=True)
        if member.delivery is not None:
            member.delivery.abandon()
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(member.code)


async def _work(address: FleetAddress, member: Member, folder: Path) -> None:
    """Join and make runs until the scheduler has gone. Raises OSError or RuntimeError where it does not answer."""
    import distributed

    transport.configure(member.ttl_s)
    tempfile.tempdir = str(folder)
    dask: Any = distributed  # it has few types
    worker = dask.Worker(
        address.url,
        name=f"{member.name}:{os.getpid()}",
        nthreads=1,
        memory_limit=0,
        security=transport.security(address.key),
        local_directory=str(folder),
        dashboard=False,
        death_timeout=transport.JOIN_S,
    )
    joining = asyncio.ensure_future(worker.start())
    await asyncio.wait([joining], timeout=2 * transport.JOIN_S)  # Dask waits without a limit where it closes again
    if not joining.done():
        raise TimeoutError(f"no connection in {2 * transport.JOIN_S:.0f} s")
    await joining
    tempfile.tempdir = None
    member.say(f"joined {address.name}")
    await worker.finished()


# --- what the coordinator calls ---------------------------------------------------------------------------------------


def hello(welcome: str) -> str:
    """Open the task that the coordinator names and answer what it is here, and on which machine.

    Where its data is a person's own text that is not here, the answer says so, and the delivery begins.
    """
    me = _members[0]
    me.kept_awake.close()
    asked = jsonable.from_json(Welcome, welcome)
    try:
        me.delivery = me.receive(asked)
        if me.delivery is None:
            me.task = me.open_task(asked)
            answer = Hello(me.name, me.id, me.facts.to_dict(), me.task.facts, me.task.versions)
        else:
            me.folder.mkdir(parents=True, exist_ok=True)
            me.kept_awake.enter_context(awake.Awake(_quiet, me.folder / "awake.log"))
            answer = Hello(me.name, me.id, me.facts.to_dict(), lacks_data=True)
    except (AutoresearchError, OSError) as error:
        answer = Hello(me.name, me.id, me.facts.to_dict(), problem=str(error))
    return jsonable.to_json(answer).decode()


def take_piece(name: str, offset: int, piece: bytes) -> str:
    """Write a piece of a file of the data that was begun; return why that is impossible, or ""."""
    return _on_delivery(lambda arriving: arriving.take(name, offset, piece))


def keep_data() -> str:
    """Check and keep the data of which all pieces have come; return why that is impossible, or ""."""
    return _on_delivery(lambda arriving: arriving.finish())


def _on_delivery(work: Callable[[Delivery], object]) -> str:
    arriving = _members[0].delivery
    if arriving is None:
        return "it asked for no data"
    try:
        work(arriving)
    except (AutoresearchError, OSError) as error:
        return str(error)
    return ""


def tell(text: str) -> None:
    """Tell the person at this member what the coordinator has decided."""
    _members[0].say(text)


def dismiss(why: str) -> None:
    """Leave the fleet for good."""
    _leave(why, DISMISSED)


def restart(why: str) -> None:
    """Leave the fleet and come back in a new process."""
    _leave(why, LOST)


def _leave(why: str, code: int) -> None:
    me = _members[0]
    me.say(why)
    me.code = code
    me.over.set()


def measure(text: str) -> str:
    """Make the run of a job and return what is Done: a failure of the kind "machine" where this one cannot.

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
            done = perform(me.task, job, folder, me.name, lambda event: None)
    except (AutoresearchError, OSError) as error:
        me.say(f"{job.id}: {error}")
        failure = Failure(CANNOT, f"{me.name}: {error}")
        done = Done(Measurement(job.seed, failure=failure, member=me.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    while me.over.is_set():
        time.sleep(LOOK_S)  # until the process has ended: what was killed with it is not a result
    return jsonable.to_json(done).decode()


def _quiet(text: str) -> None:
    """Say nothing: the coordinator's person cannot mend it."""
