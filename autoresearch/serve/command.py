"""Run the server: `loop.py serve`."""

from __future__ import annotations

import socket
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch.errors import AutoresearchError, UsageError
from autoresearch.paths import serve_token
from autoresearch.system import invocation

if TYPE_CHECKING:
    from uvicorn import Config

    from autoresearch.serve.access import Guard

NEEDS = "serve needs FastAPI and uvicorn. Run: uv sync --extra serve   (without uv: pip install fastapi uvicorn)"
HEAD_BYTES = 1 << 18  # of a request that are read before the connection ends; access.py refuses shorter ones in words
OPEN = (
    "warning: other machines can reach this server. Whoever has the token can have code tried here, in the sandbox, "
    "and nothing on the way is encrypted: use it in a network that you trust, or behind a tunnel (ssh -L)"
)


def serve(root: Path, args: Namespace) -> int:
    """Serve the nights of the checkout until Ctrl-C. Raises AutoresearchError where the extra is not installed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ModuleNotFoundError:
        raise AutoresearchError(NEEDS) from None
    from autoresearch.report import status
    from autoresearch.serve import access
    from autoresearch.serve.app import create
    from autoresearch.serve.nights import NightReader

    if args.tag is not None:
        status.find_tag(root, args.tag)  # raises UsageError where there is no such night
    path = serve_token(root)
    token, new = access.token(path)
    with listening(args.host, args.port) as listener:
        port = listener.getsockname()[1]
        app = create(NightReader(root, args.tag), stopping=lambda: server.should_exit)
        guard = access.Guard(app, token, args.host, f"autoresearch-{port}")
        server = uvicorn.Server(settings(guard))
        if not access.is_loopback(args.host):
            print(OPEN, flush=True)
        print(greeting(args.host, port, token if new else None, path), flush=True)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return 0
    return 0


def settings(guard: Guard) -> Config:
    """Return how uvicorn runs: quietly, in one process, and done within two seconds when it is asked to end."""
    from uvicorn import Config

    from autoresearch.serve.connection import Connection

    return Config(
        guard, log_level="error", access_log=False, server_header=False, lifespan="off", loop="asyncio",
        http=Connection, h11_max_incomplete_event_size=HEAD_BYTES, ws="none",
        proxy_headers=False, limit_concurrency=200, timeout_graceful_shutdown=2,
    )  # fmt: skip


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address; port 0 takes a free one. Raises UsageError where it cannot."""
    if not 0 <= port <= 65535:  # getaddrinfo would take its lower 16 bits
        raise UsageError(f"--port {port}: ports are numbers from 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)  # without the protocol asyncio leaves Nagle's algorithm on
    except OSError as error:
        raise UsageError(f"--host {host}: {error.strerror or error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        again = invocation.command(f"loop.py serve --port {port + 1 if port < 65535 else 8765}")
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}. Another port: {again}") from None
    return listener


def greeting(host: str, port: int, new_token: str | None, path: Path) -> str:
    """Return the lines with the address to open; a token is shown once, when it is made."""
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, f"[{host}]" if ":" in host else host)
    address = f"http://{name}:{port}"
    if new_token is not None:
        first = f"open {address}/?token={new_token}\nThe token is shown this once; it stays in {path}"
    else:
        first = f"serving {address}   (in a new browser: {address}/?token=..., with the token in {path})"
    return f"{first}\nThe interface for agents is described at {address}/docs. Ctrl-C ends the server, not the loop."
