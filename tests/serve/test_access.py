"""Only callers who know the token get in, by a name that is this server's, and only their owner can read the token."""

from __future__ import annotations

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import UsageError
from autoresearch.serve import access
from autoresearch.serve.access import DRAINED_BYTES, MOST_BYTES, Guard, knows_host

TOKEN = "a-token-of-the-tests-alone"
BEARER = {"authorization": f"Bearer {TOKEN}"}
COOKIE = {"cookie": f"other=1; autoresearch={TOKEN}"}
ORIGIN = {"origin": "http://127.0.0.1:8765"}
JSON = {"content-type": "application/json"}


async def inside(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what came through the guard."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def call(
    headers: dict[str, str], method: str = "GET", path: str = "/best", query: str = "", body: tuple[bytes, ...] = ()
) -> tuple[int, dict[str, str], bytes]:
    """Send a request through the guard; return status, headers and body."""
    sent: list[Any] = []
    parts = list(body) or [b""]

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(k.encode(), v.encode()) for k, v in {"host": "127.0.0.1:8765", **headers}.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}
    asyncio.run(Guard(inside, TOKEN)(scope, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, sent[1]["body"]


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({}, "GET", 401),
        (BEARER, "GET", 200),
        ({"authorization": f"bearer  {TOKEN}"}, "GET", 200),
        ({"authorization": f"Basic {TOKEN}"}, "GET", 401),
        ({"authorization": f"Bearer {TOKEN}x"}, "GET", 401),
        ({"authorization": "Bearer é"}, "GET", 401),
        ({**COOKIE, "authorization": "Bearer wrong"}, "GET", 401),
        (COOKIE, "GET", 200),
        ({"cookie": "autoresearch=wrong"}, "GET", 401),
        ({"cookie": f'theirs={{"a": 1}}; b c; =; d[e]="; {COOKIE["cookie"]}; f="'}, "GET", 200),
        ({"cookie": f"xautoresearch={TOKEN}"}, "GET", 401),
        ({"cookie": ";;=\x00;"}, "GET", 401),
        ({**COOKIE, **ORIGIN}, "POST", 200),
        (COOKIE, "POST", 403),
        ({**COOKIE, "origin": "https://evil.example"}, "POST", 403),
        ({**COOKIE, "origin": "null"}, "POST", 403),
        ({**BEARER, "host": "evil.example"}, "GET", 403),
        ({**BEARER, "host": "127.0.0.1.evil.example:8765"}, "GET", 403),
        ({**BEARER, "host": ""}, "GET", 403),
        ({**BEARER, "host": "localhost"}, "GET", 200),
        ({**BEARER, "host": "[::1]:80"}, "GET", 200),
    ],
)
def test_who_gets_in(headers: dict[str, str], method: str, status: int) -> None:
    assert call(headers, method)[0] == status


def test_an_address_with_the_token_gives_a_cookie_that_no_script_and_no_other_site_can_use() -> None:
    status, headers, _ = call({}, path="/", query=f"token={TOKEN}")
    assert status == 303 and headers["location"] == "/"
    assert {"HttpOnly", "SameSite=Strict"} <= set(headers["set-cookie"].split("; "))
    assert call({"cookie": headers["set-cookie"].partition(";")[0]})[0] == 200


@pytest.mark.parametrize(("path", "query"), [("/", "token=wrong"), ("/", "token="), ("/best", f"token={TOKEN}")])
def test_no_other_address_gives_one(path: str, query: str) -> None:
    status, headers, _ = call({}, path=path, query=query)
    assert status == 401 and "set-cookie" not in headers and headers["www-authenticate"] == "Bearer"


def test_a_browser_without_the_token_is_told_in_words() -> None:
    status, headers, body = call({"accept": "text/html,*/*"}, path="/")
    assert status == 401 and headers["content-type"].startswith("text/html") and b"runs/serve.token" in body


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ((b"{}",), JSON, 200),
        ((b"{", b"}"), {"content-type": "application/json; charset=utf-8"}, 200),
        ((b"{}",), {}, 415),
        ((b"a=1",), {"content-type": "application/x-www-form-urlencoded"}, 415),
        ((b"{}",), {**JSON, "content-length": str(DRAINED_BYTES + 1)}, 413),
        ((b"x" * 10**6,) * 20, JSON, 413),
        ((b"x" * MOST_BYTES, b"x"), JSON, 413),
        ((b'"' + b"x" * (MOST_BYTES - 2) + b'"',), JSON, 200),
        ((b"{}",), {**JSON, "content-length": "9" * 400}, 413),
    ],
)
def test_a_body_is_json_and_not_too_long(body: tuple[bytes, ...], headers: dict[str, str], status: int) -> None:
    answered, _, got = call({**BEARER, **headers}, "POST", body=body)
    assert answered == status
    assert got == b"".join(body) if status == 200 else json.loads(got)["error"]


def test_every_response_forbids_what_the_page_does_not_need() -> None:
    for headers in ({}, BEARER):
        told = call(headers)[1]
        assert "default-src 'none'" in told["content-security-policy"] and told["cache-control"] == "no-store"
        assert not [name for name in told if name.startswith("access-control")]


def test_other_machines_may_use_this_ones_name_and_numbers_where_the_person_lets_them() -> None:
    for name in ("10.0.0.5:8765", "[fe80::1]", socket.gethostname(), "localhost", "mac.lan"):
        assert knows_host(name, "mac.lan")
    assert not knows_host("10.0.0.5", "127.0.0.1") and not knows_host("evil.example", "0.0.0.0")


@given(st.text(max_size=60))
def test_no_text_is_a_name_of_a_private_server_but_its_own(text: str) -> None:
    assert not knows_host(text, "127.0.0.1") or text.lower().startswith(("127.0.0.1", "localhost", "[::1]"))


# --- the token ---


def test_the_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "serve.token"
    made, new = access.token(path)
    assert new and len(made) >= 32 and path.stat().st_mode & 0o777 == 0o600
    assert access.token(path) == (made, False)
    assert [file.name for file in path.parent.iterdir()] == ["serve.token"]


def test_servers_that_start_at_one_moment_share_the_token_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "serve.token"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: access.token(path), range(8)))
    assert {token for token, _ in found} == {path.read_text().strip()} and [new for _, new in found].count(True) == 1


def test_a_token_that_cannot_be_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, why in {"folder": "Is a directory", "link": "No such file"}.items():
        with pytest.raises(UsageError, match=rf"cannot be kept in .*: {why}.* rm "):
            access.token(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "content", "why"),
    [(0o644, "x" * 32, "can be read by others"), (0o600, "", "holds no token"), (0o600, "two words" * 9, "no token")],
)
def test_a_token_that_is_none_or_known_is_refused_with_the_remedy(
    tmp_path: Path, mode: int, content: str, why: str
) -> None:
    path = tmp_path / "serve.token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"{why}.* rm {path}"):
        access.token(path)
