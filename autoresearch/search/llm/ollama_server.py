"""An Ollama server: found or started, asked, and made to give its memory back.

A server that answers is used and left as it was found. Where none does and `ollama` is installed, one is started as our
own child, offline, on a free port, and stopped at the end.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ollama

from autoresearch.errors import CommandError, ProposerError
from autoresearch.search.llm.backend import Answer, Message
from autoresearch.search.llm.transport import Http, Timeouts, is_loopback, named_failures, streamed_object
from autoresearch.system.process import Child

DEFAULT_PORT = 11434
POLL_S = 0.2
LOG_BYTES = 256 * 1024

# The environment of a server of our own: no network, one model, one request, half the memory for keys and values.
OFFLINE = {
    "OLLAMA_NO_CLOUD": "1",
    "OLLAMA_NOPRUNE": "1",
    "OLLAMA_MAX_LOADED_MODELS": "1",
    "OLLAMA_NUM_PARALLEL": "1",
    "OLLAMA_FLASH_ATTENTION": "1",
    "OLLAMA_KV_CACHE_TYPE": "q8_0",
}

Progress = Callable[[str, int | None, int | None], None]  # status, bytes done, bytes in all


def base_url(host: str | None) -> str:
    """OLLAMA_HOST in any of its forms as a URL to connect to.

    base_url(None) -> "http://127.0.0.1:11434"; base_url("0.0.0.0:8000") -> "http://127.0.0.1:8000";
    base_url("mac.local") -> "http://mac.local:11434"; base_url("https://host/ollama") -> "https://host:443/ollama"
    """
    scheme, separator, rest = (host or "").strip().strip("\"'").partition("://")
    if not separator:
        scheme, rest = "http", scheme
    default = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT) if separator else DEFAULT_PORT
    address, _, path = rest.partition("/")
    name, port = _name_and_port(address, default)
    return f"{scheme}://{name}:{port}" + (f"/{path.strip('/')}" if path.strip("/") else "")


class OllamaServer:
    """One Ollama server over HTTP. All failures are ProposerErrors whose `reason` transport.py lists."""

    def __init__(self, url: str, timeouts: Timeouts | None = None, own: OwnServer | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        self.own = own
        self.http = Http(url, self.timeouts)

    @property
    def url(self) -> str:
        return self.http.base_url

    def version(self) -> str:  # not in the official client
        found = self.http.json("GET", "/api/version")
        if not isinstance(found, dict) or "version" not in found:
            raise ProposerError(f"{self.url} is not an Ollama server", reason="server_gone")
        return str(found["version"])

    def ensure(self) -> None:
        """Returns when the server answers; a server of our own that has ended is started again. Else raises."""
        try:
            self.version()
        except ProposerError:
            if self.own is None:
                raise
            self.http = Http(self.own.start(), self.timeouts)
            self.version()

    def models(self) -> list[dict[str, Any]]:
        """The installed models, as /api/tags tells them."""
        # The official client's list() drops capabilities, remote_host and remote_model.
        found = self.http.json("GET", "/api/tags")
        entries = found.get("models") if isinstance(found, dict) else None
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def loaded(self) -> Sequence[ollama.ProcessResponse.Model]:
        """The models in memory, as /api/ps tells them: size and size_vram in bytes, context_length in tokens."""
        with self._client(self.http.options()) as client:
            return client.ps().models

    def show(self, model: str) -> dict[str, Any]:
        """`details`, `model_info` and `capabilities` of an installed model."""
        with self._client(self.http.options()) as client:
            return client.show(model).model_dump(by_alias=True, exclude_none=True)

    def load(self, model: str, *, num_ctx: int, keep_alive: str) -> None:
        """Loads a model with the very options that the chats will use: another num_ctx would load it again."""
        # Not the official client: it has no limit for the whole call.
        body = {"model": model, "stream": True, "keep_alive": keep_alive, "options": {"num_ctx": num_ctx}}
        self._stream("/api/generate", body)

    def chat(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        num_ctx: int,
        num_predict: int,
        think: bool | str,
        temperature: float,
        seed: int,
        keep_alive: str,
    ) -> Answer:
        """One answer. `truncate` and `shift` are off: what does not fit is an error, not a silently cut prompt."""
        # Not the official client: it cannot pass `truncate` and `shift`.
        options = {"num_ctx": num_ctx, "num_predict": num_predict, "temperature": temperature, "seed": seed}
        body = {"model": model, "messages": list(messages), "stream": True, "think": think, "truncate": False}
        began = time.monotonic()
        text, thinking, last = self._stream(
            "/api/chat", {**body, "shift": False, "keep_alive": keep_alive, "options": options}
        )
        return Answer(
            text,
            thinking,
            str(last.get("done_reason", "stop")),
            _count(last, "prompt_eval_count"),
            _count(last, "eval_count"),
            time.monotonic() - began,
        )

    def unload(self, model: str) -> None:
        """Returns when `model` is out of memory. Raises where it stays: training beside it would be measured wrong."""
        # Whether it worked, /api/ps tells.
        with contextlib.suppress(ProposerError), self._client(self.http.options()) as client:
            client.generate(model, keep_alive=0)
        deadline = time.monotonic() + self.timeouts.unload_s
        while self._in_memory(model):
            if time.monotonic() > deadline:
                raise ProposerError(
                    f"{model} is still in memory {self.timeouts.unload_s:g} s after it was unloaded. "
                    f"Run: ollama stop {model}",
                    reason="not_unloaded",
                )
            time.sleep(POLL_S)

    def pull(self, model: str, progress: Progress) -> None:
        """Downloads a model; `progress` hears every line. Raises with the server's words where it fails."""
        with contextlib.closing(self._pulled(model)) as parts:
            for part in parts:
                progress(part.status or "", part.completed or None, part.total or None)
                if part.status == "success":
                    return
        raise ProposerError(f"pulling {model} ended before its end; run it again to resume", reason="cut_off")

    def cancel(self) -> None:
        self.http.cancel()

    def close(self) -> None:
        """Stops a server of our own."""
        if self.own is not None:
            self.own.stop()

    def _in_memory(self, model: str) -> bool:
        try:
            return any(full_name(m.name or "") == full_name(model) for m in self.loaded())
        except ProposerError as error:
            if error.reason == "server_gone":  # with the server its models have gone
                return False
            raise

    @contextlib.contextmanager
    def _client(self, options: Mapping[str, Any]) -> Iterator[ollama.Client]:
        """The official client with our timeouts; what it raises is a ProposerError."""
        with named_failures(self.url), ollama.Client(self.url, **options) as client:
            yield client

    def _pulled(self, model: str) -> Generator[ollama.ProgressResponse, None, None]:
        with self.http.long_call() as options, self._client(options) as client:
            yield from client.pull(model, stream=True)

    def _stream(self, path: str, body: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
        """(text, thinking, last chunk) of a streamed answer."""
        text: list[str] = []
        thinking: list[str] = []
        with contextlib.closing(self.http.lines(path, body)) as lines:
            for line in lines:
                chunk = streamed_object(line)
                message = chunk.get("message")
                if isinstance(message, dict):
                    text.append(str(message.get("content") or ""))
                    thinking.append(str(message.get("thinking") or ""))
                if chunk.get("done") is True:
                    return "".join(text), "".join(thinking), chunk
        raise ProposerError(f"{self.url} ended the answer without `done`", reason="cut_off")


class OwnServer:
    """`ollama serve` as our child, on a free loopback port, with the offline environment."""

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
        """Starts the server, afresh where one has run, and returns its URL once it answers."""
        self.stop()
        host = f"127.0.0.1:{_free_port()}"
        env = {**self.environ, **OFFLINE, "OLLAMA_HOST": host}
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.child = Child(
                [self.executable, "serve"],
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
            time.sleep(POLL_S / 2)


def connect(
    log_path: Path, environ: Mapping[str, str] | None = None, timeouts: Timeouts | None = None
) -> OllamaServer | None:
    """The server that OLLAMA_HOST names, or else one of our own; None where neither can be had.

    Raises ProposerError where OLLAMA_HOST names another machine that does not answer, or our own does not start.
    """
    environ = os.environ if environ is None else environ
    server = OllamaServer(base_url(environ.get("OLLAMA_HOST")), timeouts)
    try:
        server.version()
        return server
    except ProposerError as error:
        if not is_loopback(server.url):
            raise ProposerError(f"OLLAMA_HOST: {error}", reason="server_gone") from error
    executable = shutil.which("ollama", path=environ.get("PATH"))
    if executable is None:
        return None
    own = OwnServer(executable, log_path, environ, timeouts)
    return OllamaServer(own.start(), timeouts, own)


def full_name(model: str) -> str:
    """A model's name with its tag: full_name("qwen2.5-coder") -> "qwen2.5-coder:latest"."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _name_and_port(address: str, default: int) -> tuple[str, int]:
    """Host and port; an address that listens everywhere is reached on loopback."""
    name, separator, port = address.rpartition(":")
    if not separator or "]" in port or (":" in name and not name.endswith("]")):  # no port, [v6], bare v6
        name, port = address, ""
    name = name.strip("[]") or "127.0.0.1"
    try:
        ip = ipaddress.ip_address(name)
        if ip.is_unspecified:
            name = "127.0.0.1" if ip.version == 4 else "::1"
    except ValueError:
        pass
    number = int(port) if port.isascii() and port.isdigit() and int(port) < 65536 else default
    return (f"[{name}]" if ":" in name else name), number


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _count(chunk: Mapping[str, Any], key: str) -> int | None:
    """A positive count; zeros are left out by the server."""
    value = chunk.get(key)
    return value if isinstance(value, int) and value > 0 else None
