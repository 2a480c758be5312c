"""A model behind an OpenAI-compatible endpoint (mlx_lm.server, LM Studio, llama-server) as a proposer.

Such a server keeps its model in memory: it cannot be unloaded from here, so the memory has to hold it beside training.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from autoresearch.errors import ProposerError, UsageError
from autoresearch.search.llm.backend import THINKING_TOKENS, Answer, Message, added
from autoresearch.search.llm.dialogue import Dialogue
from autoresearch.search.llm.transport import Http, Timeouts, streamed_object
from autoresearch.search.scorecard import FORMATS, Scorecard

CONTEXT_TOKENS = 16384  # where the server does not tell its own
DONE = "[DONE]"


class OpenAIBackend:
    """One model of one endpoint, as backend.Backend asks for it."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        context_tokens: int = CONTEXT_TOKENS,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.model, self.context_tokens = model, context_tokens
        self._fresh = True  # nothing of ours is in the server's prompt cache
        self._thinks = False  # an answer has shown thinking
        self._told: dict[str, Any] = {}  # what the server tells of the model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.http = Http(endpoint(base_url), timeouts or Timeouts(), headers)

    @property
    def name(self) -> str:
        return f"openai:{self.model}"

    @property
    def parameters_b(self) -> float | None:
        """As the server tells it, else the name: `qwen2.5-coder-7b-instruct` -> 7.0, `smollm2-135m` -> 0.135"""
        if told := _whole(self._told, "n_params"):
            return told / 1e9
        found = re.search(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", self.model.lower())
        return float(found[1]) * (1.0 if found[2] == "b" else 1e-3) if found else None

    @property
    def thinking_tokens(self) -> int:
        return THINKING_TOKENS if self._thinks else 0

    def prepare(self) -> None:
        try:
            self._told = _facts(self.http.json("GET", "/models"), self.model)
        except ProposerError as error:
            if error.reason in ("server_gone", "timeout", "cut_off"):  # any answer shows that it is there
                raise

    def largest_window(self) -> int:
        told = [_whole(self._told, key) for key in ("n_ctx", "max_model_len")]  # llama-server's; vLLM's
        return min([self.context_tokens, *filter(None, told)])

    def window(self, wanted: int, least: int) -> int:
        return self.largest_window()

    def ask(self, messages: Sequence[Message], *, max_tokens: int, temperature: float, seed: int) -> Answer:
        """One answer. Where thinking has used it up it is asked for again without; later ones get room for it."""
        answer = self._ask(messages, max_tokens, temperature, seed, {})
        thought = answer.thinking or answer.text.lstrip().startswith("<think")
        self._thinks = self._thinks or bool(thought)
        if answer.text.strip() or not answer.thinking:
            return answer
        # Servers with chat templates know this field, and most others pass over it.
        calm = {"chat_template_kwargs": {"enable_thinking": False}}
        return added(answer, self._ask(messages, max_tokens, temperature, seed + 1, calm))

    def _ask(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        temperature: float,
        seed: int,
        more: Mapping[str, Any],
    ) -> Answer:
        body = {
            **more,
            "model": self.model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        began = time.monotonic()
        text: list[str] = []
        thinking: list[str] = []
        finished: str | None = None
        usage: dict[str, Any] = {}
        with contextlib.closing(self.http.lines("/chat/completions", body)) as lines:
            for event in map(_event, lines):
                if event is None:
                    continue
                if event == DONE:
                    break
                usage = event.get("usage") or usage
                choice = _choice(event)
                delta = choice.get("delta") or {}
                text.append(str(delta.get("content") or ""))
                thinking.append(str(delta.get("reasoning_content") or delta.get("reasoning") or ""))
                finished = choice.get("finish_reason") or finished
        if finished is None:
            raise ProposerError(f"{self.http.base_url} ended the answer without a finish_reason", reason="cut_off")
        # Who tells what its cache held counts the whole prompt.
        fresh, self._fresh = self._fresh or "prompt_tokens_details" in usage, False
        return Answer(
            "".join(text),
            "".join(thinking),
            str(finished),
            usage.get("prompt_tokens") or None,
            usage.get("completion_tokens") or None,
            time.monotonic() - began,
            fresh,
        )

    def release(self) -> None:
        """Nothing: the endpoint has no call for it."""

    def close(self) -> None:
        """Nothing is held between calls."""

    def cancel(self) -> None:
        self.http.cancel()


class OpenAIProposer(Dialogue):
    """records.Proposer with a model behind an OpenAI-compatible endpoint."""

    def __init__(
        self,
        base_url: str,
        model: str,
        scorecard: Scorecard,
        *,
        formats: Sequence[str] = FORMATS,
        context_tokens: int = CONTEXT_TOKENS,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        timeouts = timeouts or Timeouts()
        backend = OpenAIBackend(base_url, model, context_tokens=context_tokens, api_key=api_key, timeouts=timeouts)
        super().__init__(backend, scorecard, formats=formats, retry_s=timeouts.retry_s)


def endpoint(base_url: str) -> str:
    """The URL that `/chat/completions` is added to: endpoint("localhost:8080") -> "http://localhost:8080/v1"."""
    text = base_url.strip()
    text = text if "://" in text else f"http://{text}"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise UsageError(f"--base-url {base_url}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"--base-url {base_url}: write it like http://127.0.0.1:8080/v1")
    text = text.rstrip("/")
    return text.removesuffix("/chat/completions") if url.path.strip("/") else f"{text}/v1"


def _facts(listing: Any, model: str) -> dict[str, Any]:
    """What /models tells of `model`, or of the only one that there is: servers of one model ignore the name."""
    entries = listing.get("data") if isinstance(listing, dict) else None
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    own = [entry for entry in known if entry.get("id") == model] or (known if len(known) == 1 else [])
    meta = own[0].get("meta") if own else None
    return {**own[0], **(meta if isinstance(meta, dict) else {})} if own else {}


def _whole(facts: Mapping[str, Any], key: str) -> int | None:
    value = facts.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _event(line: str) -> Any:
    """The object of a server-sent event, DONE, or None for a comment. Raises what an error event says."""
    if not line.startswith("data:"):
        if line.startswith("{"):  # an error that is not wrapped as an event
            streamed_object(line)
        return None
    data = line.removeprefix("data:").strip()
    if data == DONE:
        return DONE
    return streamed_object(data)


def _choice(event: Mapping[str, Any]) -> dict[str, Any]:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}
