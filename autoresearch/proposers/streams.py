"""HTTP to a model server: finite timeouts in every phase, streamed lines, a call that another thread can cancel.

Every failure is a ProposerError whose `reason` says what can be done about it:

server_gone    nothing answers there; it may come back
server_busy    503: too many requests wait
no_model       404: the server has no such model
too_long       the prompt does not fit the model's context
no_thinking    the model cannot think, and was asked to
bad_request    another 4xx
out_of_memory  the model does not fit this machine's memory
runner         a 5xx, or an error after the answer has begun: the model's process died
timeout        no byte for longer than the phase allows, or an answer without end
cut_off        the answer ended before its end
cancelled      `cancel` was called
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import math
import re
import socket
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from autoresearch.errors import ProposerError

MAX_LINE_BYTES = 4 * 2**20
MAX_ERROR_BYTES = 64 * 2**10

_TOO_LONG = re.compile(
    r"context (?:length|size|window)|exceeds? .{0,40}context|prompt .{0,20}too long|input length", re.I
)
_MEMORY = re.compile(r"out of memory|system memory|insufficient memory|failed to allocate|unable to allocate", re.I)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. No byte comes while a model loads or reads the prompt, so the first one may take long."""

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    chunk_s: float = 180.0  # between chunks
    answer_s: float = 900.0  # the whole answer
    short_s: float = 10.0  # calls that only look something up
    start_s: float = 30.0  # until a server of our own answers
    unload_s: float = 60.0  # until an unloaded model's memory is free
    retry_s: float = 5.0  # before a second attempt


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model has said. Token counts are None where the server does not tell.

    Some servers count only the tokens of a prompt that their cache does not hold. `fresh` says that it held none, so
    that `prompt_tokens` counts the whole prompt.
    """

    text: str
    thinking: str
    done_reason: str  # "stop", "length", ...
    prompt_tokens: int | None
    answer_tokens: int | None
    seconds: float
    fresh: bool = False


class Http:
    """One server. A loopback address is reached directly, whatever the proxy variables say."""

    def __init__(self, base_url: str, timeouts: Timeouts, headers: Mapping[str, str] | None = None) -> None:
        self.base_url, self.timeouts, self.headers = base_url.rstrip("/"), timeouts, dict(headers or {})
        self._socket: socket.socket | None = None
        self._cancelled = False

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """A short call's JSON answer."""
        with self._client(self.timeouts.short_s) as client, named_failures(self.base_url):
            response = client.request(method, self.base_url + path, json=body)
            if response.status_code >= 300:
                raise _http_error(response.status_code, response.content)
            return response.json()

    def lines(self, path: str, body: Any, *, endless: bool = False) -> Generator[str, None, None]:
        """POSTs `body` and yields the answer's non-empty lines as they come. Closing the iterator cancels the call.

        An `endless` answer, a download, may take longer than `answer_s`.
        """
        t = self.timeouts
        answer_s = math.inf if endless else t.answer_s
        limits = {"connect": t.connect_s, "write": t.connect_s, "pool": t.connect_s}
        limits["read"] = min(t.first_byte_s, answer_s)
        deadline = time.monotonic() + answer_s
        extensions = {"timeout": limits, "trace": self._keep_socket}
        with self._client(t.short_s) as client, self._cancellable(), named_failures(self.base_url):
            request = client.build_request("POST", self.base_url + path, json=body, extensions=extensions)
            response = client.send(request, stream=True)
            try:
                if response.status_code >= 300:
                    raise _http_error(response.status_code, _beginning(response))
                limits["read"] = t.chunk_s  # httpx reads this dictionary again when the body begins
                yield from _split(response.iter_bytes(), deadline, answer_s)
            finally:
                response.close()

    def cancel(self) -> None:
        """Ends the call that `lines` is in, from any thread or a signal handler."""
        self._cancelled = True
        if (connected := self._socket) is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _client(self, timeout_s: float) -> httpx.Client:
        return httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=self.timeouts.connect_s),
            trust_env=not is_loopback(self.base_url),
            verify=self.base_url.startswith("https"),  # loading certificates costs 30 ms
            headers=self.headers,
        )

    def _keep_socket(self, event: str, info: Mapping[str, Any]) -> None:
        if event.startswith("connection.") and event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    @contextlib.contextmanager
    def _cancellable(self) -> Iterator[None]:
        self._cancelled = False
        try:
            yield
        except ProposerError as error:
            if self._cancelled:
                raise ProposerError("the call was cancelled", reason="cancelled") from error
            raise
        finally:
            self._socket = None


@contextlib.contextmanager
def named_failures(url: str) -> Iterator[None]:
    """What httpx raises, as a ProposerError."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
        raise _transport_error(url, error) from error


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def error_of(message: str, status: int = 500) -> ProposerError:
    """The ProposerError for a server's error text: error_of("model 'x' not found", 404).reason -> "no_model"."""
    if "does not support thinking" in message or "think value" in message:
        reason = "no_thinking"
    elif _TOO_LONG.search(message):
        reason = "too_long"
    elif _MEMORY.search(message):
        reason = "out_of_memory"
    else:
        reason = {404: "no_model", 503: "server_busy"}.get(status, "bad_request" if status < 500 else "runner")
    return ProposerError(f"the model server says: {message[:500]} (HTTP {status})", reason=reason)


def _http_error(status: int, content: bytes) -> ProposerError:
    text = content.decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError):
        error = json.loads(text).get("error") if text.startswith("{") else None
        text = str(error.get("message", error) if isinstance(error, dict) else error or text)
    return error_of(text or "nothing", status)


def _beginning(response: httpx.Response) -> bytes:
    content = b""
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > MAX_ERROR_BYTES:
            break
    return content


def _split(chunks: Iterator[bytes], deadline: float, answer_s: float) -> Iterator[str]:
    """The non-empty lines of a stream; the last one may lack its newline."""
    waiting = b""
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise ProposerError(f"the answer has no end after {answer_s:g} s", reason="timeout")
        *complete, waiting = (waiting + chunk).split(b"\n")
        if len(waiting) > MAX_LINE_BYTES:
            raise ProposerError(f"a line of the answer is over {MAX_LINE_BYTES} bytes", reason="cut_off")
        yield from (line.decode("utf-8", "replace") for line in complete if line.strip())
    if waiting.strip():
        yield waiting.decode("utf-8", "replace")


def _transport_error(url: str, error: Exception) -> ProposerError:
    kind = type(error).__name__
    if isinstance(error, httpx.ReadTimeout):
        return ProposerError(f"{url} sent nothing for too long", reason="timeout")
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.DecodingError | httpx.StreamError):
        return ProposerError(f"the connection to {url} broke: {error or kind}", reason="cut_off")
    if isinstance(error, httpx.HTTPError):
        return ProposerError(f"{url} does not answer: {error or kind}", reason="server_gone")
    return ProposerError(f"{url} answers with what is not expected: {error}", reason="bad_request")
