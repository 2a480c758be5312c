"""Be the coordinator's pool of machines: a Dask scheduler in this process, which members join over TLS."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from autoresearch import jsonable
from autoresearch.errors import AutoresearchError
from autoresearch.fleet import admission, member, transport
from autoresearch.fleet.address import Address
from autoresearch.fleet.admission import Hello, Welcome
from autoresearch.fleet.job import Job
from autoresearch.fleet.pool import Done, StoppedError
from autoresearch.records import Measurement, Say
from autoresearch.system.machine import Facts

LOOK_S = 0.5  # between two looks at the scheduler
HELLO_S = 3600.0  # that a member may take to prepare the data
ALONE_S = 120.0  # that a job waits for a member of its class before the coordinator says so
GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class Known:
    """A member that was admitted."""

    name: str
    key: str


class DaskPool:
    """Pool of the machines that have joined the scheduler at `address`. `welcome` says what they are to measure."""

    def __init__(
        self, address: Address, welcome: Welcome, folder: Path, say: Say, *, ttl_s: float = transport.TTL_S
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
                dashboard_address=None,
                processes=False,
                silence_logs=False,
            )
        except (OSError, RuntimeError) as error:
            raise AutoresearchError(f"the scheduler cannot listen on {address.name}: {error}") from error
        self._client = dask.Client(self._cluster, security=security)
        self._welcome, self._say = welcome, say
        self._members: dict[str, Known] = {}  # by Dask's address
        self._greeted: dict[str, ThreadFuture[None]] = {}
        self._refused: set[str] = set()
        self._facts: dict[str, Facts] = {}
        self._present: frozenset[str] = frozenset()
        self._stopped, self._numbers = threading.Event(), count()
        self._threads = ThreadPoolExecutor(16, "greeter")
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    # --- the pool ---

    def classes(self) -> Mapping[str, int]:
        return Counter(known.key for url, known in list(self._members.items()) if url in self._present)

    def facts(self, key: str) -> Facts:
        return self._facts[key]

    def names(self) -> list[Known]:
        """Return the members that are there at this moment."""
        return [known for url, known in list(self._members.items()) if url in self._present]

    def measure(self, key: str, job: Job) -> Done:
        """Let Dask choose a free member of the class; a run whose member is lost is made again by another one."""
        name = f"{job.id} {next(self._numbers)}"
        future = self._client.submit(member.measure, job.to_json(), key=name, resources={key: 1}, pure=False)
        alone_since, told = time.monotonic(), False
        while True:
            if self._stopped.is_set():
                future.cancel()
                raise StoppedError
            with contextlib.suppress(TimeoutError):
                measured = jsonable.from_json(Measurement, future.result(timeout=LOOK_S))
                future.release()  # else Dask would make the run again once the member that holds its result leaves
                return Done(measured, measured.member or "")
            if self.classes().get(key):
                alone_since, told = time.monotonic(), False
            elif time.monotonic() - alone_since > ALONE_S and not told:
                told = True
                self._say(f"{job.id} waits: no machine of the class {key} is there")

    def stop(self) -> None:
        self._stopped.set()

    def close(self, why: str) -> None:
        """Send the members away and end the scheduler."""
        self.stop()
        self._watcher.join()
        for url in self._present:
            with contextlib.suppress(Exception):  # a member that is out of reach finds the scheduler gone
                self._ask(url, member.dismiss, why, GOODBYE_S)
        self._threads.shutdown(wait=False)
        self._client.close()
        self._cluster.close()

    # --- who joins ---

    def _watch(self) -> None:
        """Greet who is new and forget who has gone, until the pool is stopped."""
        while not self._stopped.wait(LOOK_S):
            present = frozenset(self._client.scheduler_info(n_workers=-1)["workers"])
            for url in present - self._greeted.keys():
                self._greeted[url] = self._threads.submit(self._greet, url)
            for url in self._present - present:
                if known := self._members.get(url):
                    self._say(f"{known.name} is out of reach; its run, if any, goes on elsewhere")
            for url in self._greeted.keys() - present:
                del self._greeted[url]
                self._members.pop(url, None)
            for url, greeting in self._greeted.items():
                if greeting.done() and (error := greeting.exception()) is not None and url not in self._refused:
                    self._refused.add(url)
                    self._say(f"{url.rpartition('/')[2]} cannot join: {error}")
            self._present = present

    def _greet(self, url: str) -> None:
        """Ask a machine what it is, and admit it or send it away."""
        text = jsonable.to_json(self._welcome).decode()
        hello = jsonable.from_json(Hello, self._ask(url, member.hello, text, HELLO_S))
        facts = admission.facts_of(hello)
        name, key = url.rpartition("/")[2], admission.class_of(facts)
        if (why := admission.refusal(self._welcome, hello)) is not None:
            self._say(f"{name} {why}")
            self._ask(url, member.dismiss, why, GOODBYE_S)
            return
        self._facts.setdefault(key, facts)
        self._ask(url, member.admit, key, GOODBYE_S)
        self._members[url] = Known(name, key)
        self._say(f"{name} joined: {facts.describe()}")

    def _ask(self, url: str, function: Any, text: str, limit_s: float) -> Any:
        key = f"{function.__name__} {url} {next(self._numbers)}"
        return self._client.submit(function, text, workers=[url], key=key, pure=False).result(timeout=limit_s)
