"""Send HTTP requests to a model server, with timeouts for every phase, streamed lines and calls that can be cancelled.

Every failure is a ProposerError whose `reason` is one of these:

server_gone    nothing answers there; it may come back
server_busy    503: too many requests wait
no_model       404: the server has no such model
too_long       the prompt does not fit the model's context
no_thinking    the model was asked to think and cannot
bad_request    another 4xx, or a 500 for an option or a format of the request
bad_proxy      the environment names a proxy, or certificates, that cannot be used
unauthorized   401 or 403: the server, or a proxy on the way, wants a key or a password, or refuses the one given
out_of_memory  the model does not fit this machine's memory
runner         another 5xx, or an error after the answer has begun: the model's process died
timeout        no byte came for longer than the phase allows, or the whole answer took too long
cut_off        the answer stopped before it was complete
cancelled      `cancel` was called
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from autoresearch.errors import ProposerError, UsageError
from autoresearch.search.llm.backend import TooLongError
from autoresearch.search.llm.official import ollama
from autoresearch.system import addresses

MAX_LINE_BYTES = 4 * 2**20
MAX_ERROR_BYTES = 64 * 2**10
REASONS = {401: "unauthorized", 403: "unauthorized", 404: "no_model", 407: "unauthorized", 503: "server_busy"}

_REQUEST = re.compile(
    r"^option .* must be of type|^invalid (?:format|option)|required for format|\b(?:grammar|response_format)\b", re.I
)
_TOKENS = re.compile(r"request \((\d+) tokens\)|\"n_prompt_tokens\": ?(\d+)")
_TOO_LONG = re.compile(
    r"context (?:length|size|window)|exceeds? .{0,40}context|prompt .{0,20}too long|input length", re.I
)
_MEMORY = re.compile(r"out of memory|system memory|insufficient memory|failed to allocate|unable to allocate", re.I)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 300.0  # until the first chunk: to load the model; reading the prompt comes on top
    token_s: float = 0.15  # to read a token of the prompt: two slow cores take 0.06 in a long one
    chunk_s: float = 180.0  # between chunks
    answer_s: float = 900.0  # from the first token of an answer to its last
    short_s: float = 10.0  # for calls that only look something up
    start_s: float = 30.0  # until a server that the loop started answers
    unload_s: float = 60.0  # until an unloaded model's memory is free
    retry_s: float = 5.0  # before a second attempt


class Http:
    """Client of one server. Proxy variables are ignored for a loopback address.

    A proxy that cannot be used is a ProposerError (`bad_proxy`) at the first call.
    """

    def __init__(self, base_url: str, timeouts: Timeouts, headers: Mapping[str, str] | None = None) -> None:
        self.base_url, self.timeouts, self.headers = base_url.rstrip("/"), timeouts, dict(headers or {})
        self._socket: socket.socket | None = None
        self._cancelled = self._stalled = False

    def options(self) -> dict[str, Any]:
        """Return the arguments of an httpx.Client for a short call."""
        t = self.timeouts
        return {
            "timeout": httpx.Timeout(t.short_s, connect=t.connect_s),
            "headers": self.headers,
            **_client_options(self.base_url),
        }

    @contextlib.contextmanager
    def long_call(self, silence_s: float) -> Iterator[dict[str, Any]]:
        """Yield the arguments of an httpx.Client for one long call, which `cancel` can end.

        It fails where no byte comes for `silence_s`.
        """
        hooks = {"request": [lambda request: request.extensions.update(trace=self._keep_socket)]}
        timeout = httpx.Timeout(self.timeouts.connect_s, read=silence_s)
        self._cancelled = self._stalled = False
        try:
            yield {**self.options(), "timeout": timeout, "event_hooks": hooks}
        except ProposerError as error:
            if self._cancelled:
                raise ProposerError("the call was cancelled", reason="cancelled") from error
            if self._stalled:
                why = f"{self.base_url} sent nothing more for {self.timeouts.chunk_s:g} s"
                raise ProposerError(why, reason="timeout") from error
            raise
        finally:
            self._socket = None

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON answer of a short call."""
        with httpx.Client(**self.options()) as client, named_failures(self.base_url):
            response = client.request(method, self.base_url + path, json=body)
            if response.status_code >= 300:
                raise _http_error(self.base_url, response.status_code, response.content)
            return response.json()

    def lines(self, path: str, body: Any, prompt_tokens: int = 0) -> Generator[str, None, None]:
        """POST `body` and yield the answer's non-empty lines as they come. Closing the iterator cancels the call.

        Until the first chunk a server loads the model and reads `prompt_tokens`. Ollama sends its headers with that
        chunk, others at once.
        """
        t = self.timeouts
        with (
            self.long_call(t.first_byte_s + prompt_tokens * t.token_s) as options,
            named_failures(self.base_url),
            httpx.Client(**options) as client,
            client.stream("POST", self.base_url + path, json=body) as response,
        ):
            if response.status_code >= 300:
                raise _http_error(self.base_url, response.status_code, _beginning(response))
            with _watched(t.chunk_s, self._stall) as heard:
                yield from _split(response.iter_bytes(), t.answer_s, heard)

    def cancel(self) -> None:
        """End the long call that is under way, from any thread or a signal handler."""
        self._cancelled = True
        self._hang_up()

    def _stall(self) -> None:
        self._stalled = True
        self._hang_up()

    def _hang_up(self) -> None:
        if (connected := self._socket) is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _keep_socket(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the connection's socket for `cancel`; httpcore calls this with its trace events."""
        if event.startswith("connection.") and event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")


@contextlib.contextmanager
def _watched(limit_s: float, stall: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Yield a function to call with every chunk; call `stall` once the next one takes longer than `limit_s`.

    httpx has one limit for all of a body, and the first chunk may take much longer than the others.
    """
    heard = queue.SimpleQueue[bool]()

    def wait() -> None:
        if heard.get():
            with contextlib.suppress(queue.Empty):
                while heard.get(timeout=limit_s):
                    pass
                return
            stall()

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield lambda: heard.put(True)
    finally:
        heard.put(False)


@contextlib.contextmanager
def named_failures(url: str) -> Iterator[None]:
    """Turn exceptions of httpx and of the official Ollama client into ProposerErrors."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ConnectionError, ValueError) as error:
        raise _transport_error(url, error) from error
    except ollama.ResponseError as error:  # its status is -1 for an error inside of a streamed answer
        raise error_of(str(error.error), error.status_code if error.status_code > 0 else 500) from error
    except (TypeError, AttributeError) as error:  # the client raises these for JSON that is not an object
        raise _transport_error(url, error) from error


def error_of(message: str, status: int = 500) -> ProposerError:
    """Classify a server's error text: error_of("model 'x' not found", 404).reason -> "no_model"."""
    told = f"the model server says: {_plain(message)[:500]} (HTTP {status})"
    if _TOO_LONG.search(message):
        counted = _TOKENS.search(message)
        return TooLongError(told, int(counted[1] or counted[2]) if counted else None)
    if "does not support thinking" in message or "think value" in message:
        reason = "no_thinking"
    elif _MEMORY.search(message):
        reason = "out_of_memory"
    elif _REQUEST.search(message):
        reason = "bad_request"
    else:
        reason = REASONS.get(status, "bad_request" if status < 500 else "runner")
    return ProposerError(told, reason=reason)


def streamed_object(line: str) -> dict[str, Any]:
    """Parse one JSON object of a streamed answer.

    Raises ProposerError when the line is not an object (`cut_off`), or reports an error, which a server can send
    after the status 200.
    """
    try:
        streamed = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProposerError(f"the answer holds a line that is not JSON: {line[:80]}", reason="cut_off") from error
    if not isinstance(streamed, dict):
        raise ProposerError(f"the answer holds a line that is not an object: {line[:80]}", reason="cut_off")
    if text := _error_text(streamed):
        raise error_of(text)
    return streamed


def positive(body: Mapping[str, Any], key: str) -> int | None:
    """Return a field of a server's JSON if it is a positive integer, else None."""
    value = body.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _client_options(url: str) -> dict[str, Any]:
    """Return addresses.client_options(url). Raises ProposerError where the environment names no usable way there."""
    try:
        return addresses.client_options(url)
    except UsageError as error:
        raise ProposerError(str(error), reason="bad_proxy") from error


def _error_text(body: Mapping[str, Any]) -> str:
    """Return the text of a body's `error` field: {"error": "x"} and {"error": {"message": "x"}} -> "x"."""
    error = body.get("error")
    return str(error.get("message", error) if isinstance(error, dict) else error or "")


def _plain(text: str) -> str:
    """Return the message of an error that is JSON itself, as a model's process tells it, else the text."""
    if not text.startswith("{"):
        return text
    try:
        # A busy server sends the object twice, so what follows the first one is left out.
        inner, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return text
    return _error_text(inner) or text


def _http_error(url: str, status: int, content: bytes) -> ProposerError:
    """Classify an answer with an error status, in JSON or not."""
    if REASONS.get(status) == "unauthorized":
        asks = "wants a key or a password, or refuses the one given"
        return ProposerError(f"{url} {asks} (HTTP {status}). See: docs/agents.md", reason="unauthorized")
    text = content.decode("utf-8", "replace").strip()
    return error_of(_plain(text) or "nothing", status)


def _beginning(response: httpx.Response) -> bytes:
    """Read the answer up to a little over MAX_ERROR_BYTES."""
    content = b""
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > MAX_ERROR_BYTES:
            break
    return content


def _split(chunks: Iterator[bytes], answer_s: float, heard: Callable[[], None]) -> Iterator[str]:
    """Yield the non-empty lines of a stream, and call `heard` with every chunk.

    Raises ProposerError for an endless stream, and for one that lasts longer than `answer_s` from its first chunk on.
    """
    waiting, began = b"", math.inf
    for chunk in chunks:
        heard()
        began = min(began, time.monotonic())
        if time.monotonic() - began > answer_s:
            raise ProposerError(f"the answer was not complete after {answer_s:g} s", reason="timeout")
        *complete, waiting = (waiting + chunk).split(b"\n")
        if len(waiting) > MAX_LINE_BYTES:
            raise ProposerError(f"a line of the answer is over {MAX_LINE_BYTES} bytes", reason="cut_off")
        yield from (line.decode("utf-8", "replace") for line in complete if line.strip())
    if waiting.strip():
        yield waiting.decode("utf-8", "replace")


def _transport_error(url: str, error: Exception) -> ProposerError:
    """Classify an exception of the HTTP client."""
    kind = type(error).__name__
    if isinstance(error, httpx.ReadTimeout):
        return ProposerError(f"{url} sent nothing for too long", reason="timeout")
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.DecodingError | httpx.StreamError):
        return ProposerError(f"the connection to {url} broke: {error or kind}", reason="cut_off")
    if isinstance(error, httpx.HTTPError | ConnectionError):
        return ProposerError(f"{url} does not answer: {error or kind}", reason="server_gone")
    return ProposerError(
        f"{url} answers with what is not expected: {' '.join(str(error).split())[:300]}", reason="bad_request"
    )
