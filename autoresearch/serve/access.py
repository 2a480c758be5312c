"""Decide who may call the server: the token, the Host header, the form of a request. No FastAPI here, plain ASGI.

A caller sends the token as `Authorization: Bearer TOKEN`; a browser opens /?token=TOKEN once and gets it as a cookie.
A page of another site can use neither: its requests carry another Origin, and a name that it rebinds to this machine is
another Host. There is no CORS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from autoresearch import jsonable
from autoresearch.errors import UsageError
from autoresearch.files import write_atomic

MOST_BYTES = 400_000  # of a request's body; train_mlx.py has 22,000
MOST_HEAD_BYTES = 16_000  # of its path and its headers
DRAINED_BYTES = 8_000_000  # of a longer one that are read before it is refused
TOO_LONG = f"the body is longer than the {MOST_BYTES:,} bytes that are allowed"
BODY_S = 10.0  # a body that takes longer is given up
WHERE = "it is in runs/serve.token, in a task's folder in .autoresearch/runs/serve.token"
COOKIE_S = 30 * 86400
LOOPBACK = ("127.0.0.1", "localhost", "::1")
READS = ("GET", "HEAD")
STREAM = "/events"
HEADERS = {  # of every response
    "content-security-policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}
PAGE = (
    '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>autoresearch</title>'
    "<style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui;max-width:34rem;margin:4rem auto;"
    "padding:0 1rem}}</style><h1>autoresearch</h1><p>{why}</p></html>\n"
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class DeniedError(Exception):
    """Refusal of a request, with its status and a sentence for the caller."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def token(path: Path) -> tuple[str, bool]:
    """Return the token in the file `path`, and whether it was made just now; only its owner can read the file.

    Of several servers that start at one moment, the first makes it. Raises UsageError where others can read the file,
    where it holds no token, and where it cannot be read or written.
    """
    again = f"Remove it, and the next start makes another: rm {path}"
    try:
        if not path.exists() and (made := _make_token(path)) is not None:
            return made, True
        mode, text = stat.S_IMODE(path.stat().st_mode), path.read_text("ascii", "replace").strip()
    except OSError as error:
        raise UsageError(f"the token cannot be kept in {path}: {error.strerror}. {again}") from None
    if mode & 0o077:
        raise UsageError(f"{path} can be read by others (mode {mode:o}), so its token may be known. {again}")
    if not re.fullmatch(r"[\w-]{20,200}", text, re.ASCII):
        raise UsageError(f"{path} holds no token. {again}")
    return text, False


def _make_token(path: Path) -> str | None:
    """Make a token; return None where another server has just made one. Raises OSError."""
    made = secrets.token_urlsafe(24)
    own = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_atomic(own, made.encode() + b"\n", mode=0o600)
    try:
        os.link(own, path)  # unlike a rename it replaces nothing
    except FileExistsError:
        return None
    finally:
        own.unlink()
    return made


def is_loopback(host: str) -> bool:
    """Return whether a server bound to `host` is reached from this machine alone."""
    return host in LOOPBACK


def knows_host(header: str, bound: str) -> bool:
    """Return whether a Host header names a server that is bound to `bound`.

    Any port will do, since a tunnel may change it. A server that other machines reach may also be named by an
    IP address, which no one can rebind, and by this machine's name.

    >>> knows_host("127.0.0.1:8765", "127.0.0.1"), knows_host("evil.example", "127.0.0.1")
    (True, False)
    """
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::[0-9]{1,5})?", header)
    if found is None:
        return False
    name = found[1].strip("[]").lower()
    if name in LOOPBACK:
        return True
    if is_loopback(bound):
        return False
    own = socket.gethostname().lower()
    return name in (bound.lower(), own, f"{own.partition('.')[0]}.local") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Guard:
    """ASGI application around another one, which gets only requests of callers who know the token."""

    app: App
    token: str
    bound: str = "127.0.0.1"  # the host that the server is bound to
    cookie: str = "autoresearch"  # its name; cookies of one host are shared by all its ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            _check_head(scope)
            if (answer := self._login(scope)) is not None:
                await respond(send, *answer)
                return
            self._admit(scope)
            body = await _body(scope, receive)
        except DeniedError as refused:
            asked = "text/html" in (_header(scope, "accept") or "")
            await respond(send, refused.status, str(refused), _challenge(refused.status), as_page=asked)
            return
        await self.app(_as_get(scope), _replay(body, receive), _with_headers(send))

    def _login(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        """Return the answer to /?token=TOKEN: the cookie, and the way to the page without the token in its address."""
        self._check_host(scope)
        if scope["path"] != "/" or "token" not in (query := parse_qs(scope["query_string"].decode("latin-1"))):
            return None
        if not self._is_token(query["token"][-1]):
            raise DeniedError(401, f"the token in this address is not this server's; {WHERE}")
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_S}"
        return 303, "see /", {"location": "/", "set-cookie": cookie}

    def _admit(self, scope: Scope) -> None:
        """Raise DeniedError for a request without the token, or one that a page of another site makes."""
        bearer = _header(scope, "authorization")
        if bearer is not None:
            scheme, _, given = bearer.partition(" ")
            if scheme.lower() == "bearer" and self._is_token(given.strip()):
                return
            raise DeniedError(401, f"this token is not this server's; {WHERE}")
        if not self._is_token(_cookie(_header(scope, "cookie") or "", self.cookie)):
            why = f"send the token, Authorization: Bearer TOKEN; a browser opens /?token=TOKEN. {WHERE.capitalize()}"
            raise DeniedError(401, why)
        origin = f"{scope.get('scheme', 'http')}://{_header(scope, 'host')}"
        if scope["method"] not in READS and _header(scope, "origin") != origin:
            raise DeniedError(403, "a page of another site may not do this")

    def _check_host(self, scope: Scope) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        if not knows_host(host, self.bound):
            who = f"this server is not {host[:80]}" if host else "the request names no host"
            raise DeniedError(403, f"{who}: open the server by the address that it printed")

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def _as_get(scope: Scope) -> Scope:
    """Let HEAD be answered as GET is; uvicorn leaves the body out. A stream of events would not end."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" and scope["path"] != STREAM else scope


async def respond(
    send: Send, status: int, why: str, headers: dict[str, str] | None = None, *, as_page: bool = False
) -> None:
    """Send a whole response whose body is {"error": why}, or a page with that sentence."""
    body = (PAGE.format(why=escape(why[:1].upper() + why[1:])) if as_page else json.dumps({"error": why})).encode()
    kind = "text/html; charset=utf-8" if as_page else "application/json"
    told = {**HEADERS, "content-type": kind, "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _challenge(status: int) -> dict[str, str]:
    close = {"connection": "close"} if status in (400, 408, 413, 431) else {}  # what follows of the body is not read
    return {"www-authenticate": "Bearer", **close} if status == 401 else close


def _header(scope: Scope, name: str) -> str | None:
    found = [value for key, value in scope["headers"] if key == name.encode()]
    return found[-1].decode("latin-1") if found else None


def _cookie(header: str, name: str) -> str:
    """Return the value of a cookie; those of other programs on this host may be anything, so only its own is read.

    >>> _cookie('theirs={"a":1}; ours=x', "ours")
    'x'
    """
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _check_head(scope: Scope) -> None:
    """Raise DeniedError for a head that is too long, and for a request to switch to another protocol."""
    size = len(scope["path"]) + len(scope["query_string"]) + sum(len(k) + len(v) + 4 for k, v in scope["headers"])
    if size > MOST_HEAD_BYTES:
        raise DeniedError(431, f"the address and headers have {size:,} bytes; {MOST_HEAD_BYTES:,} are allowed")
    if _header(scope, "upgrade") is not None:
        raise DeniedError(400, "there are no WebSockets here: GET /events is a stream of server-sent events")


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body. Raises DeniedError for one that is too long, takes too long or is not JSON."""
    declared = _header(scope, "content-length") or "0"
    if declared.isdecimal() and int(declared[:12]) > DRAINED_BYTES:
        raise DeniedError(413, TOO_LONG)
    try:
        body = await asyncio.wait_for(_read(receive), BODY_S)
    except TimeoutError:
        raise DeniedError(408, f"the body did not come within {BODY_S:g} s") from None
    kind = (_header(scope, "content-type") or "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise DeniedError(415, f"the body is {kind[:80] or 'of no type'}: send JSON, Content-Type: application/json")
    if body and (coding := _header(scope, "content-encoding") or "identity") != "identity":
        raise DeniedError(415, f"the body is packed by {coding[:80]}: send it as it is")
    try:
        if body:
            jsonable.exact(body)
    except jsonable.MalformedError as error:
        raise DeniedError(400, f"the body is not JSON: {error}") from None
    return body


async def _read(receive: Receive) -> bytes:
    """Return the body. One that is somewhat too long is read to its end, so that its sender hears the answer."""
    parts, size, more = [], 0, True
    while more and size <= DRAINED_BYTES:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        more = message["type"] == "http.request" and bool(message.get("more_body"))
        if size <= MOST_BYTES:
            parts.append(part)
    if size > MOST_BYTES:
        raise DeniedError(413, TOO_LONG)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return an ASGI `receive` that gives the body once, and then passes on what the connection receives."""
    waiting = [body]

    async def replayed() -> MutableMapping[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replayed


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in present]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return sending
