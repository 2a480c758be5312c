from __future__ import annotations

from pathlib import Path

import dask
import pytest

from autoresearch.errors import UsageError
from autoresearch.fleet import transport


def test_both_roles_ask_for_the_same_certificate(tmp_path: Path) -> None:
    found = transport.security("k" * 24, tmp_path)
    assert found.require_encryption and found.tls_scheduler_cert == found.tls_worker_cert == found.tls_ca_file


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
