"""Run the coordinator's pool of machines: a Dask scheduler in this process, which members join over TLS."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from autoresearch import jsonable
from autoresearch.errors import AutoresearchError
from autoresearch.failures import KINDS
from autoresearch.fleet import admission, member, transport
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Hello, Welcome
from autoresearch.fleet.job import Done, Job
from autoresearch.fleet.pool import StoppedError
from autoresearch.formats import span
from autoresearch.records import Failure, Measurement, Say
from autoresearch.system.machine import Facts

LOOK_S = 0.5  # between two looks at the scheduler
HELLO_S = 3600.0  # that a member may take to prepare the data
SLOW_HELLO_S = 60.0  # after which the coordinator says whom it waits for
GREET_AGAIN_S, MOST_GREET_AGAIN_S = 2.0, 60.0  # before a member is asked again that could not answer, doubled each time
ALONE_S = 120.0  # that a job waits for a member of its class before the coordinator says so
STRIKES = 2  # runs in a row that a member cannot make, after which it is sent away
GOODBYE_S = 5.0  # for the members' answers when the night has ended
CLOSE_S = 20.0  # for the end of the scheduler


class _GoneError(Exception):
    """The member has left the scheduler."""


@dataclass(frozen=True, slots=True)
class Known:
    """A member that was admitted."""

    name: str  # of the machine
    key: str  # of its class


class DaskPool:
    """Pool of the machines that have joined the scheduler at `address`. `welcome` says what they are to measure."""

    def __init__(
        self, address: FleetAddress, welcome: Welcome, folder: Path, say: Say, *, ttl_s: float = transport.TTL_S
    ) -> None:
        import distributed

        dask: Any = distributed  # it has few types
        transport.configure(ttl_s)
        security = transport.security(address.key, folder)
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
        self._welcome, self._say = welcome, say
        self._members: dict[str, Known] = {}  # by Dask's address
        self._busy: set[str] = set()  # those that make a run
        self._freed = threading.Condition()
        self._strikes: Counter[str] = Counter()  # by the name of a member
        self._facts: dict[str, Facts] = {}
        self._stopped, self._given_up, self._numbers = threading.Event(), set[str](), count()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    # --- the pool ---

    def classes(self) -> Mapping[str, int]:
        return Counter(known.key for known in self._here().values())

    def facts(self, key: str) -> Facts:
        return self._facts[key]

    def names(self) -> list[Known]:
        """Return the members that are there at this moment."""
        return list(self._here().values())

    def measure(self, key: str, job: Job) -> Done:
        """Let a free member of the class make the run; where that one is lost, another one makes it again."""
        while True:
            url = self._take(key, job)
            try:
                done = self._measure_on(url, key, job)
            finally:
                with self._freed:
                    self._busy.discard(url)
                    self._freed.notify_all()
            if done is not None:
                self._judge(key, done)
                return done

    def _take(self, key: str, job: Job) -> str:
        """Wait for a member that makes no run, and return its address."""
        alone_since, told = time.monotonic(), False
        with self._freed:
            while not (free := [url for url in self._of_class(key) if url not in self._busy]):
                self._freed.wait(LOOK_S)
                self._raise_if_stopped(key)
                if self._of_class(key):
                    alone_since, told = time.monotonic(), False
                elif time.monotonic() - alone_since > ALONE_S and not told:
                    told = True
                    self._say(f"{job.id} waits: no machine of the class {key} is there")
            self._busy.add(free[0])
            return free[0]

    def _measure_on(self, url: str, key: str, job: Job) -> Done | None:
        """Return what a member measured, or that it could not; None where it is lost."""
        known = self._members.get(url)
        try:
            told = self._ask(url, member.measure, job.to_json(), job.id, job.patience_s, key)
            return jsonable.from_json(Done, told)
        except StoppedError:
            raise
        except _GoneError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever one member does, the others go on
            self._raise_if_stopped(key)
            if known is None or self._gone(url):
                return None
            problem = str(error) or type(error).__name__
            if isinstance(error, TimeoutError):
                self._members.pop(url, None)
                self._in_thread(self._tell, url, member.restart, f"{job.id}: {problem}; it starts again")
        failure = Failure(member.CANNOT, f"{known.name}: {problem}")
        return Done(Measurement(job.seed, failure=failure, member=known.name), known.name)

    def _ask(
        self, url: str, what: Callable[[str], str], text: str, name: str, limit_s: float, key: str | None = None
    ) -> str:
        """Return what a member answers. Raises what it raises, TimeoutError, _GoneError and StoppedError."""
        numbered = f"{name} {next(self._numbers)}"
        future = self._client.submit(what, text, workers=[url], key=numbered, pure=False)
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

    def _of_class(self, key: str) -> list[str]:
        """Return the addresses of the members of a class that are there."""
        return [url for url, known in self._here().items() if known.key == key]

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

    def _judge(self, key: str, done: Done) -> None:
        """Send a member away that cannot make runs, where another one of its class can."""
        name, failure = done.member, done.measurement.failure
        if failure is None or failure.kind not in KINDS or KINDS[failure.kind].fault != "machine":
            self._strikes.pop(name, None)
            return
        self._strikes[name] += 1
        urls = [url for url, known in list(self._members.items()) if known.name == name]
        if self._strikes[name] < STRIKES or self.classes().get(key, 0) <= len(urls):
            return
        del self._strikes[name]
        self._say(f"{name} is sent away, since it cannot make runs: {failure.message}")
        for url in urls:
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
        waited = f"{_place(url)} has come, and prepares its data, it seems: no answer in {SLOW_HELLO_S:.0f} s"
        slow = threading.Timer(SLOW_HELLO_S, self._say, [waited])
        slow.daemon = True
        slow.start()
        try:
            text = jsonable.to_json(self._welcome).decode()
            hello = jsonable.from_json(Hello, self._ask(url, member.hello, text, f"hello {url}", HELLO_S))
        finally:
            slow.cancel()
        facts = Facts.from_dict(hello.facts)
        name, key = f"{hello.name} ({_place(url)})", admission.class_of(facts)
        if (why := admission.refusal(self._welcome, hello)) is not None:
            self._say(f"{name} {why}")
            self._tell(url, member.dismiss, why)
            return
        self._facts.setdefault(key, facts)
        self._client.run(member.admit, key, workers=[url])
        with self._freed:
            self._members[url] = Known(hello.name, key)
            self._freed.notify_all()
        self._say(f"{name} joined: {facts.describe()}")

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


def _place(url: str) -> str:
    """Return where a member is, for people: _place("tls://10.0.0.6:40123") -> "10.0.0.6:40123"."""
    return url.rpartition("/")[2]
