"""Find the Ollama server to use, or start one.

A server that answers is used and left running. If none answers and `ollama` is installed, `connect` starts one as a
child process, offline and on a free port, and `close` stops it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from autoresearch.errors import CommandError, ProposerError, UsageError
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.transport import Timeouts
from autoresearch.system import addresses, guard
from autoresearch.system.process import Child

POLL_S = 0.1  # between looks at whether the server answers
LOG_BYTES = 256 * 1024
GUARD = (sys.executable, "-I", "-S", guard.__file__)

# The environment of a server that `connect` starts: no network, one model, one request, 8-bit keys and values.
OFFLINE = {
    "OLLAMA_NO_CLOUD": "1",
    "OLLAMA_NOPRUNE": "1",
    "OLLAMA_MAX_LOADED_MODELS": "1",
    "OLLAMA_NUM_PARALLEL": "1",
    "OLLAMA_FLASH_ATTENTION": "1",
    "OLLAMA_KV_CACHE_TYPE": "q8_0",
}


class OwnServer:
    """`ollama serve` as a child process, on a free loopback port, with the OFFLINE environment.

    A guard ends it, and the processes of its models, whatever ends this process.
    """

    def __init__(
        self,
        executable: str,
        log_path: Path,
        environ: Mapping[str, str],
        timeouts: Timeouts | None = None,
    ) -> None:
        self.executable, self.log_path, self.environ = executable, log_path, dict(environ)
        self.timeouts = timeouts or Timeouts()
        self.child: Child | None = None

    def start(self) -> str:
        """Start the server, or start it again, and return its URL once it answers."""
        self.stop()
        host = f"127.0.0.1:{_free_port()}"
        env = {**self.environ, **OFFLINE, "OLLAMA_HOST": host}
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.child = Child(
                [*GUARD, str(os.getpid()), self.executable, "serve"],
                cwd=self.log_path.parent,
                env=env,
                log_path=self.log_path,
                log_limit_bytes=LOG_BYTES,
            )
        except CommandError as error:
            raise ProposerError(f"`ollama serve` does not start: {error}", reason="server_gone") from error
        self._wait(f"http://{host}")
        return f"http://{host}"

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill("the loop is done with it")
            self.child = None

    def _wait(self, url: str) -> None:
        assert self.child is not None  # start has set it
        server = OllamaServer(url, self.timeouts)
        deadline = time.monotonic() + self.timeouts.start_s
        while True:
            try:
                server.version()
                return
            except ProposerError as error:
                if not self.child.running or time.monotonic() > deadline:
                    self.stop()
                    log = self.log_path.read_text("utf-8", "replace")[-1000:]
                    raise ProposerError(
                        f"`ollama serve` does not answer; its log is {self.log_path}", reason="server_gone", detail=log
                    ) from error
            time.sleep(POLL_S)


def connect(
    log_path: Path, environ: Mapping[str, str] | None = None, timeouts: Timeouts | None = None
) -> OllamaServer | None:
    """Return the server that OLLAMA_HOST names, else a started one, else None when `ollama` is not installed.

    Raises ProposerError when OLLAMA_HOST makes no sense or names another machine that does not answer, when a server
    answers and refuses, and when ours does not start.
    """
    environ = os.environ if environ is None else environ
    try:
        address = addresses.ollama(environ)
    except UsageError as error:
        raise ProposerError(str(error), reason="bad_request") from error
    server = OllamaServer(address.url, timeouts, headers=address.headers)
    try:
        server.version()
        return server
    except ProposerError as error:
        if not addresses.is_loopback(server.url):
            raise ProposerError(f"OLLAMA_HOST: {error}", reason="server_gone") from error
        if error.reason == "unauthorized":
            raise
    executable = shutil.which("ollama", path=environ.get("PATH"))
    if executable is None:
        return None
    own = OwnServer(executable, log_path, environ, timeouts)
    return OllamaServer(own.start(), timeouts, own)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
