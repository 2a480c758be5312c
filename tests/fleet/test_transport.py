from __future__ import annotations

import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import pytest

from autoresearch.errors import UsageError
from autoresearch.fleet import transport


@pytest.mark.slow
def test_both_roles_ask_for_the_same_certificate_which_lies_in_no_file() -> None:
    found = transport.security("k" * 24)
    assert found.require_encryption and found.tls_scheduler_cert == found.tls_worker_cert == found.tls_ca_file
    assert found.tls_worker_key.startswith("-----BEGIN PRIVATE KEY-----\n")


def test_a_silent_member_is_given_up_after_a_while() -> None:
    transport.configure(7)
    assert dask.config.get("distributed.scheduler.worker-ttl") == "7 s"
    assert dask.config.get("distributed.scheduler.allowed-failures") == transport.LOSSES


def test_where_dask_is_missing_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    transport.check_installed()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(transport, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="uv sync --extra fleet"):
        transport.check_installed()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_dask_logs_stays_out_of_a_terminal() -> None:
    import distributed  # noqa: F401 - it makes loggers, some with a level of their own

    transport.configure()
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    assert [name for name in names if logging.getLogger(name).isEnabledFor(logging.ERROR)] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_wait_that_ends_too_early_keeps_no_other_from_its_result() -> None:
    import distributed

    made: Any = distributed
    with (
        made.LocalCluster(n_workers=3, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        made.Client(cluster) as client,
    ):
        urls = list(cluster.scheduler.workers)

        def ask_ten(number: int) -> list[int]:
            found = []
            for i in range(10):
                job = client.submit(lambda i=i: time.sleep(0.01) or i, workers=[urls[number]], pure=False)
                answer = transport.answer(job)
                while not answer.done():
                    with contextlib.suppress(TimeoutError):
                        answer.result(timeout=0.003)
                found.append(answer.result())
            return found

        with ThreadPoolExecutor(3) as threads:
            assert list(threads.map(ask_ten, range(3))) == [list(range(10))] * 3
