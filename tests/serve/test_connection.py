"""A caller that does not finish its request is let go, and one that finishes it late but in time is answered."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from autoresearch.serve import connection
from testbed.served import TOKEN, serving

HEAD = f"GET /best HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"


@pytest.mark.parametrize("sent", [[""], ["GET /"], [f"{HEAD}\r\n", "GET"]])
def test_half_a_request_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: list[str]) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.2)
    with serving(tmp_path) as served, socket.create_connection(("127.0.0.1", served.port), timeout=60) as caller:
        for part in sent:
            caller.sendall(part.encode())
            if part.endswith("\r\n\r\n"):
                assert b" 409 " in caller.recv(65536)
        rest = b"".join(iter(lambda: caller.recv(65536), b""))
    assert b" 400 " in rest and b"The request did not come within" in rest


def test_a_request_in_parts_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as served, socket.create_connection(("127.0.0.1", served.port), timeout=60) as caller:
        for part in (HEAD[:20], HEAD[20:], "\r\n"):
            caller.sendall(part.encode())
        assert b" 409 " in caller.recv(65536)
