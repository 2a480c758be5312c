"""Send requests to one Ollama server, and make it free its memory. own_server.py finds it or starts one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import Answer, Question, TooLongError
from autoresearch.search.llm.official import ollama
from autoresearch.search.llm.tokens import conversation_tokens
from autoresearch.search.llm.transport import Http, Timeouts, named_failures, positive, streamed_object

POLL_S = 0.2  # between looks at whether a model is unloaded

PullProgress = Callable[[str, int | None, int | None], None]  # status, bytes done, total bytes


class Restartable(Protocol):
    """Server that this process has started."""

    def start(self) -> str:
        """Start it, or start it again, and return its URL."""
        ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """Model in a server's memory. A size of 0 and a context of None are not known."""

    name: str
    size: int  # bytes
    context_length: int | None  # tokens


class OllamaServer:
    """Client of one Ollama server. All failures are ProposerErrors with a `reason` listed in transport.py."""

    def __init__(
        self,
        url: str,
        timeouts: Timeouts | None = None,
        own: Restartable | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.own = own
        self.http = Http(url, self.timeouts, headers)

    @property
    def url(self) -> str:
        return self.http.base_url

    def version(self) -> str:
        """Return the server's version. Raises ProposerError when nothing answers, or something else does."""
        # The official client has no call for it.
        found = self.http.json("GET", "/api/version")
        if not isinstance(found, dict) or "version" not in found:
            raise ProposerError(f"{self.url} is not an Ollama server", reason="server_gone")
        return str(found["version"])

    def ensure(self) -> None:
        """Return when the server answers; start our own again if it has ended. Raises ProposerError."""
        try:
            self.version()
        except ProposerError:
            if self.own is None:
                raise
            self.http = Http(self.own.start(), self.timeouts)
            self.version()

    def models(self) -> list[dict[str, Any]]:
        """Return the installed models as /api/tags lists them."""
        # The official client's list() drops capabilities, remote_host and remote_model.
        return _entries(self.http.json("GET", "/api/tags"))

    def loaded(self) -> list[Loaded]:
        """Return the models in memory as /api/ps lists them; none where a server has no such call.

        A model whose process has died is listed as well.
        """
        # The official client refuses answers without fields that some servers leave out.
        try:
            found = self.http.json("GET", "/api/ps")
        except ProposerError as error:
            if error.reason in ("no_model", "bad_request"):
                return []
            raise
        return [
            Loaded(name, positive(entry, "size") or 0, positive(entry, "context_length"))
            for entry in _entries(found)
            if (name := str(entry.get("name") or entry.get("model") or ""))
        ]

    def show(self, model: str) -> dict[str, Any]:
        """Return the description of an installed model: `details`, `model_info`, `capabilities`, any of which may lack.

        Fields of other types than they should have are left out.
        """
        with _pullable(model):
            found = self.http.json("POST", "/api/show", {"model": model})
        types = {"details": dict, "model_info": dict, "capabilities": list}
        found = found if isinstance(found, dict) else {}
        return {name: found[name] for name, kind in types.items() if isinstance(found.get(name), kind)}

    def load(self, model: str, *, num_ctx: int, keep_alive: str) -> None:
        """Load a model for the chats to come."""
        # The official client has no time limit for the whole call.
        with _pullable(model):
            self._stream("/api/generate", _residence(model, num_ctx, keep_alive))

    def chat(self, model: str, question: Question, *, num_ctx: int, think: bool | str, keep_alive: str) -> Answer:
        """Return one answer. `truncate` and `shift` are off, so a prompt that does not fit is an error and not cut.

        Raises TooLongError also for an answer that the context's end cut.
        """
        # The official client cannot pass `truncate` and `shift`.
        body = _residence(model, num_ctx, keep_alive)
        limits = {"num_predict": question.max_tokens, "temperature": question.temperature, "seed": question.seed}
        body |= {"messages": list(question.messages), "think": think, "truncate": False}
        body["options"] |= limits
        if question.schema is not None:
            body["format"] = dict(question.schema)
        began = time.monotonic()
        with _pullable(model):
            text, thinking, last = self._stream("/api/chat", body, conversation_tokens(question.messages))
        read, written = positive(last, "prompt_eval_count"), positive(last, "eval_count")
        reason = str(last.get("done_reason") or "stop")
        if reason == "length" and read and written and written < question.max_tokens and read + written >= num_ctx:
            raise TooLongError(f"the answer reached the end of the context of {num_ctx} tokens", read)
        return Answer(text, thinking, reason, read, written, time.monotonic() - began)

    def unload(self, model: str) -> None:
        """Return when `model` is out of memory.

        Raises ProposerError (`not_unloaded`) when it stays, since it would slow down the training beside it.
        """
        # Errors are ignored here: /api/ps shows whether the model is gone.
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

    def pull(self, model: str, progress: PullProgress) -> None:
        """Download a model and call `progress` for every line. Raises ProposerError with the server's message."""
        with contextlib.closing(self._pulled(model)) as parts:
            for part in parts:
                progress(part.status or "", part.completed or None, part.total or None)
                if part.status == "success":
                    return
        raise ProposerError(f"the download of {model} is incomplete; run it again to resume", reason="cut_off")

    def cancel(self) -> None:
        self.http.cancel()

    def close(self) -> None:
        """Stop the server if `connect` started it."""
        if self.own is not None:
            self.own.stop()

    def _in_memory(self, model: str) -> bool:
        try:
            return any(full_name(m.name) == full_name(model) for m in self.loaded())
        except ProposerError as error:
            if error.reason == "server_gone":  # its models have ended with it
                return False
            raise

    @contextlib.contextmanager
    def _client(self, options: Mapping[str, Any]) -> Iterator[ollama.Client]:
        """Yield the official client with our timeouts; turn its exceptions into ProposerErrors."""
        with named_failures(self.url), ollama.Client(self.url, **options) as client:
            yield client

    def _pulled(self, model: str) -> Generator[ollama.ProgressResponse, None, None]:
        with self.http.long_call(self.timeouts.chunk_s) as options, self._client(options) as client:
            yield from client.pull(model, stream=True)

    def _stream(self, path: str, body: Mapping[str, Any], prompt_tokens: int = 0) -> tuple[str, str, dict[str, Any]]:
        """Return text, thinking and last chunk of a streamed answer."""
        text: list[str] = []
        thinking: list[str] = []
        with contextlib.closing(self.http.lines(path, body, prompt_tokens)) as lines:
            for line in lines:
                chunk = streamed_object(line)
                message = chunk.get("message")
                if isinstance(message, dict):
                    text.append(str(message.get("content") or ""))
                    thinking.append(str(message.get("thinking") or ""))
                if chunk.get("done") is True or chunk.get("done_reason"):
                    return "".join(text), "".join(thinking), chunk
        raise ProposerError(f"{self.url} ended the answer without `done`", reason="cut_off")


@contextlib.contextmanager
def _pullable(model: str) -> Iterator[None]:
    """Add the command that installs a model to an error that says that there is none."""
    try:
        yield
    except ProposerError as error:
        if error.reason == "no_model":
            raise ProposerError(f"{error}. Run: ollama pull {model}", reason=error.reason) from error
        raise


def _residence(model: str, num_ctx: int, keep_alive: str) -> dict[str, Any]:
    """Return the fields of a request that say how the model is held in memory.

    `num_ctx` and `shift` are arguments of the model's process: a request with other values loads the model again.
    """
    return {
        "model": model,
        "stream": True,
        "shift": False,
        "keep_alive": keep_alive,
        "options": {"num_ctx": num_ctx},
    }


def _entries(listing: Any) -> list[dict[str, Any]]:
    """Return the entries of a listing's `models`."""
    entries = listing.get("models") if isinstance(listing, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def full_name(model: str) -> str:
    """Return a model's name with its tag: full_name("qwen2.5-coder") -> "qwen2.5-coder:latest"."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
