"""Research on several Macs: `run --fleet` on one, `join` on every other, and `machines`, which lists them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from autoresearch import jsonable
from autoresearch.errors import UsageError
from autoresearch.files import write_atomic
from autoresearch.findings.hints import Hint
from autoresearch.fleet import address as addresses
from autoresearch.fleet import member, transport
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Welcome
from autoresearch.fleet.pool import Known
from autoresearch.formats import counted, span
from autoresearch.loop import session, start
from autoresearch.loop.fleet_night import Fleet
from autoresearch.loop.session import Options
from autoresearch.paths import Cache, Layout, checkout_lock, fleet_key, fleet_state, member_key, tree
from autoresearch.record.git import Repository
from autoresearch.record.journal import read as read_night
from autoresearch.records import GPT, Proposer
from autoresearch.report import status
from autoresearch.report.console import PlainView
from autoresearch.system import machine, process
from autoresearch.system.attended import attend
from autoresearch.system.exits import INTERRUPTED
from autoresearch.system.invocation import CHECKOUT, command
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt.data import delivery
from autoresearch.tasks.gpt.data.delivery import Delivery, Parcel
from autoresearch.tasks.gpt.task import GptTask
from autoresearch.tasks.task import Task

if TYPE_CHECKING:
    from autoresearch.fleet.dask_pool import DaskPool

ADDRESS = "AUTORESEARCH_FLEET"  # in the environment of a member's own process: the key is in no list of processes
AGAIN_S, MOST_AGAIN_S = 2.0, 60.0  # before a member joins anew, doubled each time it is lost at once
GONE_S = 60.0  # after which a coordinator that says nothing has been killed
OWN_END_S = 10.0  # for the end of the coordinator's own member, whose process is dismissed as any other
GIVE_UP_S = 12 * 3600.0  # without the fleet, after which a member ends: a night is over by then
TERMINATED = "terminated"  # the KeyboardInterrupt of SIGTERM, as at a shutdown
STEADY_S = 60.0  # after which a member that was lost had worked


@dataclass(frozen=True, slots=True)
class NightKey:
    """Tag and key of a fleet's night, kept until it ends."""

    tag: str
    key: str


@dataclass(frozen=True, slots=True)
class Attendance:
    """The members of a running fleet, for `loop.py machines`."""

    members: tuple[tuple[str, str], ...]  # name and class of each, or what a newcomer does
    t: float  # by time.time()


def coordinate(
    root: Path,
    args: Namespace,
    options: Options,
    propose_with: Callable[[machine.Facts], Proposer],
    given: Sequence[Hint] = (),
) -> int:
    """Research with the machines that join, this one among them unless --coordinator-only is given."""
    transport.check_installed()
    from autoresearch.fleet.dask_pool import DaskPool

    say, before = PlainView().put, unfinished(root)
    if args.resume and not before:
        say("nothing to resume: the last night of a fleet ended by itself")
        return 0
    with hold(checkout_lock(root), "this checkout"):
        repo = Repository.at(tree(root))
        tag = options.tag or (before.tag if before else None) or start.which_night(root, repo, None, say)
        layout, facts = Layout(root, tag), machine.facts()
        task = session.open_task(layout, read_night(layout), facts, options, say)
        host = args.fleet_host or addresses.own_host()
        where = FleetAddress(host, args.fleet_port, before.key if before and tag == before.tag else addresses.new_key())
        parcel = delivery.parcel(task.bench.data.folder) if isinstance(task, GptTask) else None
        if parcel is not None:
            size = delivery.megabytes(parcel.size)
            say(f"fleet: members that do not have {parcel.title} get it from here, once: {size}")
        pool = DaskPool(where, _welcome(task, parcel), say, parcel=parcel)
        fleet = Fleet(
            root=root,
            tag=tag,
            task=task,
            pool=pool,
            options=replace(options, tag=tag),
            view=lambda key: PlainView(),
            propose_with=propose_with,
            say=say,
            hints=given,
        )
        about = f" --task {args.task}" if getattr(args, "task", None) else ""
        remember(root, tag, where.key)
        say(f"fleet: on every other Mac run: {command(f'loop.py join {str(where)!r}{about}')}")
        own = threading.Thread(target=_attend, args=(where, args, say), daemon=True)
        if not args.coordinator_only:
            own.start()
        ended = "the night has ended on the coordinator"
        try:
            publisher = threading.Thread(target=_publish, args=(root, pool, fleet.over), daemon=True)
            publisher.start()
            say(f"stopped: {fleet.run()}")
            fleet_key(root).unlink(missing_ok=True)
        finally:
            pool.close(ended)
            if own.ident is not None:
                own.join(OWN_END_S)  # it ends with this process in any case
            publisher.join()
            fleet_state(root).unlink(missing_ok=True)
            for key in fleet.nights:
                say(status.text(read_night(Layout(root, f"{tag}-{key}"))))
    return 0


def _welcome(task: Task, parcel: Parcel | None) -> Welcome:
    """Return what members are asked to measure; where the text lies here stays here."""
    return Welcome(replace(task.facts, source=None), task.versions, parcel.manifest if parcel else "")


def unfinished(root: Path) -> NightKey | None:
    """Return tag and key of the night that a fleet has not ended; None where there is none."""
    try:
        return jsonable.from_json(NightKey, fleet_key(root).read_bytes())
    except (OSError, jsonable.MalformedError):
        return None


def remember(root: Path, tag: str, key: str) -> None:
    """Keep the key until the night ends: members come back by themselves to a coordinator that is started again."""
    write_atomic(fleet_key(root), jsonable.to_json(NightKey(tag, key)), mode=0o600)


def _publish(root: Path, pool: DaskPool, over: threading.Event) -> None:
    """Write who is there for `machines`, until the night ends."""
    while not over.wait(1.0):
        here = Attendance(tuple((known.name, _work_of(known)) for known in pool.members()), time.time())
        with contextlib.suppress(OSError):  # a full disk: `machines` shows nothing new, and the night continues
            write_atomic(fleet_state(root), jsonable.to_json(here), lasting=False)


def _work_of(known: Known) -> str:
    return known.key or f"newcomer: runs the baseline to be compared with {known.kind}"


def machines(root: Path, args: Namespace) -> int:
    """List the members of the fleet that runs from this checkout."""
    try:
        state = jsonable.from_json(Attendance, fleet_state(root).read_bytes())
        if time.time() - state.t > GONE_S:
            raise ValueError
    except (OSError, ValueError):
        raise UsageError(f"no fleet runs from here. To begin one: {command('loop.py --fleet')}") from None
    for name, key in sorted(state.members):
        print(f"{name}  {key}")
    print(f"{counted(len(state.members), 'member')}, {time.time() - state.t:.0f} s ago")
    return 0


def join(root: Path, args: Namespace) -> int:
    """Be a member until the fleet is over: start the member's process again whenever it ends."""
    transport.check_installed()
    if (inherited := os.environ.pop(ADDRESS, None)) is not None:
        _member(root, addresses.parse(inherited), args)
    if not args.address:
        raise UsageError("which fleet? Copy the line that the coordinator prints: loop.py join 'autoresearch://...'")
    where = addresses.parse(args.address)
    with membership(root, where):
        if _attend(where, args, PlainView().put) == INTERRUPTED:
            raise KeyboardInterrupt(TERMINATED)
    return 0


@contextlib.contextmanager
def membership(root: Path, where: FleetAddress) -> Iterator[None]:
    """Keep a fleet's address as long as this machine is its member, which a reboot does not end."""
    write_atomic(member_key(root), str(where).encode(), mode=0o600)
    try:
        yield
    except KeyboardInterrupt as stop:
        if str(stop) != TERMINATED:
            member_key(root).unlink(missing_ok=True)
        raise
    member_key(root).unlink(missing_ok=True)


def rejoin(root: Path, args: Namespace) -> bool:
    """Be a member again where a reboot has ended that, and return whether it was one."""
    try:
        where = addresses.parse(member_key(root).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, UsageError):
        return False
    join(root, Namespace(**{**vars(args), "address": str(where)}))
    return True


def _attend(where: FleetAddress, args: Namespace, say: Callable[[str], object]) -> int:
    """Keep a member's process running until it is dismissed, or has not reached the fleet for GIVE_UP_S.

    Return the exit code that it ended with.
    """
    argv = [sys.executable, str(CHECKOUT / "loop.py"), "join", *(["--task", str(args.task)] if args.task else [])]
    argv += ["--no-sandbox"] if args.no_sandbox else []
    wait_s, worked = AGAIN_S, time.monotonic()
    while True:
        began = time.monotonic()
        code = attend(argv, {**os.environ, ADDRESS: str(where)})
        if code == member.DISMISSED or (code > 0 and code != member.LOST):  # an error has been told
            return code
        if time.monotonic() - began > STEADY_S:
            worked, wait_s = time.monotonic(), AGAIN_S
        elif time.monotonic() - worked > GIVE_UP_S:
            say(f"the fleet at {where.name} did not answer for {span(GIVE_UP_S)}; this member gives up")
            return code
        else:
            wait_s = min(2 * wait_s, MOST_AGAIN_S)
        say(f"lost the fleet at {where.name}; joining again in {wait_s:.0f} s (Ctrl-C ends this member)")
        time.sleep(wait_s)


def _member(root: Path, where: FleetAddress, args: Namespace) -> NoReturn:
    """Be the member's process."""
    with hold(Cache.default().machine_lock, "this machine"):
        process.end_orphans()
        layout, facts, say = Layout(root, "member"), machine.facts(), PlainView().put
        id = own_id(Cache.default().member_id)
        delivery.discard_leftovers()

        def open_task(welcome: Welcome) -> Task:
            asked = welcome.task
            options = Options(
                dataset=member.own_text(welcome) or asked.dataset,
                profile=asked.profile,
                time_budget_s=asked.budget_s,
                no_sandbox=args.no_sandbox,
            )
            return agreeing(
                welcome, layout.harness, lambda: session.open_task(layout, read_night(layout), facts, options, say)
            )

        def take_data(welcome: Welcome) -> Delivery | None:
            if (welcome.task.name != GPT) != layout.declared:
                named = f"the fleet's task is {welcome.task.name}"
                raise UsageError(f"{named}; name its folder here: loop.py join --task FOLDER")
            return member.lacking(welcome, say)

        me = member.Member(layout.folder, open_task, say, id, facts=facts, receive=take_data)
        member.serve(where, me)


def agreeing(welcome: Welcome, harness: Path, open_it: Callable[[], Task]) -> Task:
    """Open a task, with a new copy of the harness where an earlier fleet's is another than the coordinator's."""
    task = open_it()
    if task.versions.get("harness") == welcome.versions.get("harness"):
        return task
    shutil.rmtree(harness, ignore_errors=True)
    return open_it()


def own_id(path: Path) -> str:
    """Return the number by which a fleet knows this machine again; a random one is made at the first call."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if re.fullmatch("[0-9a-f]{16}", id := path.read_text("utf-8").strip()):
            return id
    id = secrets.token_hex(8)
    write_atomic(path, id.encode())
    return id
