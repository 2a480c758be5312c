"""Run the coordinator's pool of machines: a Dask scheduler in this process, which members join over TLS."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import replace
from itertools import count
from typing import Any

from autoresearch import jsonable
from autoresearch.errors import AutoresearchError
from autoresearch.failures import KINDS
from autoresearch.fleet import admission, member, transport
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Hello, Welcome
from autoresearch.fleet.job import Done, Job
from autoresearch.fleet.pool import Known, StoppedError
from autoresearch.fleet.sending import AskMember, send
from autoresearch.formats import span
from autoresearch.records import Failure, Measurement, Say
from autoresearch.system.machine import Facts
from autoresearch.tasks.gpt.data.delivery import Parcel, megabytes

LOOK_S = 0.5  # between two looks at the scheduler
HELLO_S = 3600.0  # that a member may take to prepare the data
PIECE_S = 600.0  # that a piece of the data may take to arrive, and all of it to be checked
SLOW_HELLO_S = 60.0  # after which the coordinator says whom it waits for
GREET_AGAIN_S, MOST_GREET_AGAIN_S = 2.0, 60.0  # before a member is asked again that could not answer, doubled each time
ALONE_S = 120.0  # that a job waits for a member of its class before the coordinator says so
STRIKES = 2  # runs in a row that a member cannot make, after which it is sent away
GOODBYE_S = 5.0  # for the members' answers when the night has ended
CLOSE_S = 20.0  # for the end of the scheduler


class _GoneError(Exception):
    """The member has left the scheduler."""


class DaskPool:
    """Pool of the machines that have joined the scheduler at `address`. `welcome` says what they are to measure.

    `parcel` is the data of which `welcome` has the manifest, for those that lack it.
    """

    def __init__(
        self,
        address: FleetAddress,
        welcome: Welcome,
        say: Say,
        *,
        parcel: Parcel | None = None,
        ttl_s: float = transport.TTL_S,
    ) -> None:
        import distributed

        dask: Any = distributed  # it has few types
        transport.configure(ttl_s)
        security = transport.security(address.key)
        try:
            self._cluster = dask.LocalCluster(
                n_workers=0,
                host="0.0.0.0" if address.host != "127.0.0.1" else address.host,
                scheduler_port=address.port,
                protocol="tls://",
                security=security,
                dashboard_address="127.0.0.1:0",  # nothing is served there
                processes=False,
                silence_logs=False,
            )
        except (OSError, RuntimeError) as error:
            raise AutoresearchError(f"the scheduler cannot listen on {address.name}: {error}") from error
        self._client = dask.Client(self._cluster, security=security)
        self._welcome, self._parcel, self._say = welcome, parcel, say
        self._members: dict[str, Known] = {}  # by Dask's address
        self._ids: dict[str, str] = {}  # whose a name is
        self._busy: set[str] = set()  # those that make a run
        self._latest: dict[str, int] = {}  # by Dask's address: the number of the latest run
        self._freed = threading.Condition()
        self._own = threading.local()  # `url`: of the member that made a thread's latest run
        self._strikes: Counter[str] = Counter()  # by the name of a member
        self._facts: dict[str, Facts] = {}
        self._stopped, self._given_up, self._numbers = threading.Event(), set[str](), count()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    # --- the pool ---

    def classes(self) -> Mapping[str, int]:
        return Counter(known.key for known in self._here().values() if known.key is not None)

    def facts(self, key: str) -> Facts:
        return self._facts[key]

    def members(self) -> list[Known]:
        return list(self._here().values())

    def assign(self, name: str, key: str | None) -> None:
        with self._freed:
            for url, known in list(self._members.items()):
                if known.name == name:
                    self._members[url] = replace(known, key=key)
                    self._facts.setdefault(key or known.kind, self._facts[known.kind])
                    what = f"makes runs for {key}" if key else f"is compared with {known.kind} first"
                    self._in_thread(self._tell, url, member.tell, f"{name} {what}")
            self._freed.notify_all()

    def measure(self, key: str, job: Job, on: str | None = None) -> Done:
        """Let a free member of the class make the run; where that one is lost, another one makes it again."""
        while (taken := self._take(key, job, on)) is not None:
            try:
                done = self._measure_on(*taken, key, job)
            finally:
                with self._freed:
                    self._busy.discard(taken[0])
                    self._freed.notify_all()
            if done is not None:
                self._judge(done)
                return done
        return _cannot(job, on or "", "it has gone")

    def _take(self, key: str, job: Job, on: str | None) -> tuple[str, Known] | None:
        """Wait for a member that makes no run, and return it; None where a newcomer has gone that is to make it.

        Without a name it is the one that made this thread's latest run, where that is free, or else the one that has
        been idle for longest. So a thread and its member stay together, and no other waits for either.
        """
        alone_since, told = time.monotonic(), False
        within = None if job.purpose == "newcomer" else key
        with self._freed:
            while not (free := {url: known for url, known in self._able(within, on).items() if url not in self._busy}):
                if within is None and not self._able(within, on):
                    return None
                self._freed.wait(LOOK_S)
                self._raise_if_stopped(key)
                if self._able(within, on):
                    alone_since, told = time.monotonic(), False
                elif time.monotonic() - alone_since > ALONE_S and not told:
                    told = True
                    self._say(f"{job.id} waits: no machine of the class {key} is there")
            own = getattr(self._own, "url", None)
            url = own if own in free else min(free, key=lambda url: self._latest.get(url, -1))
            self._own.url, self._latest[url] = url, next(self._numbers)
            self._busy.add(url)
            return url, free[url]

    def _able(self, key: str | None, on: str | None) -> dict[str, Known]:
        """Return the members that may make a run, by their addresses: `on`, where it is there, else all of a class."""
        here = self._here()
        named = {url: known for url, known in here.items() if known.name == on}
        return named or {url: known for url, known in here.items() if key is not None and known.key == key}

    def _measure_on(self, url: str, known: Known, key: str, job: Job) -> Done | None:
        """Return what a member measured, or that it could not; None where it is lost."""
        try:
            told = self._ask(url, member.measure, [job.to_json()], job.id, job.patience_s, key)
            done = jsonable.from_json(Done, told)
            return replace(done, measurement=replace(done.measurement, member=known.name))
        except StoppedError:
            raise
        except _GoneError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever one member does, the others go on
            self._raise_if_stopped(key)
            if self._gone(url):
                return None
            problem = str(error) or type(error).__name__
            if isinstance(error, TimeoutError):
                self._members.pop(url, None)
                self._in_thread(self._tell, url, member.restart, f"{job.id}: {problem}; it starts again")
        return _cannot(job, known.name, problem)

    def _ask(
        self, url: str, what: AskMember, given: Sequence[object], name: str, limit_s: float, key: str | None = None
    ) -> str:
        """Return what a member's function answers. Raises what it raises, TimeoutError, _GoneError and StoppedError."""
        numbered = f"{name} {next(self._numbers)}"
        future = self._client.submit(what, *given, workers=[url], key=numbered, pure=False)
        answer, end = transport.answer(future), time.monotonic() + limit_s
        try:
            while time.monotonic() < end:
                self._raise_if_stopped(key)
                if self._gone(url):
                    raise _GoneError
                if not wait([answer], LOOK_S).done:
                    continue
                if answer.exception() is None or future.status == "error":  # the member's own
                    return str(answer.result())
                if future.status not in ("pending", "finished"):
                    raise _GoneError
                self._stopped.wait(LOOK_S)
                answer = transport.answer(future)  # the network failed, not the member
            raise TimeoutError(f"no answer in {span(limit_s)}")
        finally:
            future.cancel()

    def _raise_if_stopped(self, key: str | None) -> None:
        if self._stopped.is_set() or key in self._given_up:
            raise StoppedError

    def _here(self) -> dict[str, Known]:
        """Return the members that are there, by their addresses."""
        there = self._scheduled()
        return {url: known for url, known in list(self._members.items()) if url in there}

    def stop(self, key: str | None = None) -> None:
        if key is None:
            self._stopped.set()
        else:
            self._given_up.add(key)

    def close(self, why: str) -> None:
        """Send the members away and end the scheduler."""
        self.stop()
        self._watcher.join()
        goodbyes = [self._in_thread(self._tell, url, member.dismiss, why) for url in self._scheduled()]
        end = time.monotonic() + GOODBYE_S
        for goodbye in goodbyes:
            goodbye.join(max(0.0, end - time.monotonic()))
        self._in_thread(self._end).join(CLOSE_S)  # Dask may wait for a member that answers no more

    def _end(self) -> None:
        self._client.close()
        self._cluster.close()

    def _judge(self, done: Done) -> None:
        """Send a member away that cannot make runs, where another one of its class can."""
        name, failure = done.measurement.member or "", done.measurement.failure
        if failure is None or failure.kind not in KINDS or KINDS[failure.kind].fault != "machine":
            self._strikes.pop(name, None)
            return
        self._strikes[name] += 1
        own = {url: known for url, known in list(self._members.items()) if known.name == name}
        keys = {known.key or known.kind for known in own.values()}
        others = [known for known in self.members() if known.key in keys and known.name != name]
        if self._strikes[name] < STRIKES or not others:
            return
        del self._strikes[name]
        self._say(f"{name} is sent away, since it cannot make runs: {failure.message}")
        for url in own:
            self._members.pop(url, None)
            self._in_thread(self._tell, url, member.dismiss, f"it cannot make runs: {failure.message}")

    # --- who joins ---

    def _watch(self) -> None:
        """Greet who is new and forget who has gone, until the pool is stopped."""
        greeted = frozenset[str]()
        while not self._stopped.wait(LOOK_S):
            before, greeted = greeted, self._scheduled()
            for url in greeted - before:
                self._in_thread(self._greet, url)
            for url in before - greeted:
                if known := self._members.pop(url, None):
                    self._say(f"{known.name} is out of reach; its run, if any, goes on elsewhere")

    def _scheduled(self) -> frozenset[str]:
        """Return the addresses of the members that the scheduler counts on."""
        return frozenset(list(self._cluster.scheduler.workers))

    def _greet(self, url: str) -> None:
        """Ask a machine what it is, again where it cannot answer, and admit it or send it away."""
        wait_s, told = GREET_AGAIN_S, False
        while not self._gone(url):
            try:
                self._admit(url)
                return
            except (_GoneError, StoppedError):
                return
            except Exception as error:  # noqa: BLE001 - whatever one member does, the others go on
                if not told and not self._gone(url):
                    told = True
                    self._say(f"{_place(url)} has come, but does not answer: {error or type(error).__name__}")
            self._stopped.wait(wait_s)
            wait_s = min(2 * wait_s, MOST_GREET_AGAIN_S)

    def _admit(self, url: str) -> None:
        hello = self._hello(url)
        if hello.lacks_data and self._parcel is not None:
            refused = self._send(url, hello.name, self._parcel)
            hello = replace(hello, problem=refused) if refused else self._hello(url)
        facts = Facts.from_dict(hello.facts)
        kind, what = admission.class_of(facts), admission.what(facts, hello.versions)
        name = hello.name if self._ids.setdefault(hello.name, hello.id) == hello.id else f"{hello.name}-{hello.id[:4]}"
        if (why := admission.refusal(self._welcome, hello)) is not None:
            self._say(f"{name} ({_place(url)}) {why}")
            self._tell(url, member.dismiss, why)
            return
        self._client.run(member.tell, f"admitted as {name}", workers=[url])
        with self._freed:
            self._facts.setdefault(kind, facts)
            self._members[url] = Known(name, hello.id, what, kind)
            self._freed.notify_all()
        self._say(f"{name} ({_place(url)}) joined: {facts.describe()}")

    def _hello(self, url: str) -> Hello:
        """Ask a machine what it is and what the task is there."""
        waited = f"{_place(url)} has come, and prepares its data, it seems: no answer in {SLOW_HELLO_S:.0f} s"
        slow = threading.Timer(SLOW_HELLO_S, self._say, [waited])
        slow.daemon = True
        slow.start()
        try:
            text = jsonable.to_json(self._welcome).decode()
            return jsonable.from_json(Hello, self._ask(url, member.hello, [text], f"hello {url}", HELLO_S))
        finally:
            slow.cancel()

    def _send(self, url: str, name: str, parcel: Parcel) -> str:
        """Send a member the data that it lacks; return why it does not take it, or ""."""
        who = f"{name} ({_place(url)})"
        self._say(f"{who} does not have {parcel.title} and is sent it: {megabytes(parcel.size)}")
        refused = send(parcel, lambda what, *given: self._ask(url, what, given, f"data {url}", PIECE_S))
        if not refused:
            self._say(f"{who} has {parcel.title} now, and keeps it")
        return refused

    def _gone(self, url: str) -> bool:
        return self._stopped.is_set() or url not in self._scheduled()

    def _tell(self, url: str, what: Callable[[str], None], why: str) -> None:
        """Let a member leave, for good or to come back."""
        with contextlib.suppress(Exception):  # a member that is out of reach finds the scheduler gone
            self._client.run(what, why, workers=[url])

    def _in_thread(self, work: Callable[..., None], *given: Any) -> threading.Thread:
        """Start work that may wait for a member, also for one that never answers."""
        thread = threading.Thread(target=work, args=given, daemon=True)
        thread.start()
        return thread


def _cannot(job: Job, name: str, why: str) -> Done:
    """Return that a member cannot make a run."""
    return Done(Measurement(job.seed, failure=Failure(member.CANNOT, f"{name}: {why}"), member=name))


def _place(url: str) -> str:
    """Return where a member is, for people: _place("tls://10.0.0.6:40123") -> "10.0.0.6:40123"."""
    return url.rpartition("/")[2]
