"""Set Dask up for machines that sleep, wake and change networks, with mutual TLS by the fleet's key."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

from autoresearch.errors import UsageError
from autoresearch.fleet.address import certificate

TTL_S = 90.0  # after which a silent member's job runs elsewhere
TCP_S = 11.0  # without an answer on a connection, at least: Dask takes no less
JOIN_S = 30.0  # that a member waits for the scheduler before it is started again
LOSSES = 100  # of members during one run, before Dask would blame the run
WHERE = "uv sync --extra fleet   (without uv: .venv/bin/pip install 'distributed>=2026.3' 'cryptography>=42')"


def check_installed() -> None:
    """Raise UsageError where the packages of the extra `fleet` are missing."""
    if find_spec("distributed") is None or find_spec("cryptography") is None:
        raise UsageError(f"a fleet needs Dask's scheduler, which is not installed here. Run: {WHERE}")


def configure(ttl_s: float = TTL_S) -> None:
    """Set Dask's own settings for this process."""
    import dask

    dask.config.set(
        {
            "distributed.scheduler.worker-ttl": f"{ttl_s} s",
            "distributed.scheduler.allowed-failures": LOSSES,
            "distributed.scheduler.http.routes": [],
            "distributed.scheduler.work-stealing": False,
            "distributed.comm.timeouts.connect": f"{JOIN_S} s",
            "distributed.comm.timeouts.tcp": f"{max(ttl_s, TCP_S)} s",
            "distributed.comm.retry.count": 2,
            "distributed.admin.tick.limit": "60 s",
        }
    )
    for name in ("distributed", "distributed.client", "distributed.gc", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is raised, or told by us


def security(key: str) -> Any:
    """Return Dask's TLS settings for a fleet's key, which they hold in memory."""
    import distributed

    dask: Any = distributed  # it has few types
    public, private = certificate(key)
    roles = {
        f"tls_{role}_{what}": text
        for role in ("client", "scheduler", "worker")
        for what, text in (("cert", public), ("key", private))
    }
    return dask.Security(tls_ca_file=public, require_encryption=True, **roles)


def answer(future: Any) -> Future[Any]:
    """Return a future of the standard library that brings what one of Dask's brings or raises.

    Its result may be waited for with a timeout. Dask's own timeout cancels the fetch that all threads of a client
    share; where that has not begun, no result of any member arrives ever after.
    """
    told: Future[Any] = Future()

    def fetch() -> None:
        try:
            told.set_result(future.result())
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits
            told.set_exception(error)

    threading.Thread(target=fetch, daemon=True).start()
    return told
