"""A model behind an OpenAI-compatible endpoint (mlx_lm.server, LM Studio, llama-server) as a proposer.

Such a server keeps its model in memory: it cannot be unloaded from here, so the memory has to hold it beside training.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from autoresearch.errors import ProposerError, UsageError
from autoresearch.prompt import Message
from autoresearch.proposers.dialogue import Dialogue
from autoresearch.proposers.streams import Answer, Http, Timeouts, error_of
from autoresearch.scorecard import FORMATS, Scorecard

CONTEXT_TOKENS = 16384
DONE = "[DONE]"


class OpenAIBackend:
    """One model of one endpoint, as dialogue.Backend asks for it."""

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
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.http = Http(endpoint(base_url), timeouts or Timeouts(), headers)

    @property
    def name(self) -> str:
        return f"openai:{self.model}"

    @property
    def parameters_b(self) -> float | None:
        """As the name tells it: `qwen2.5-coder-7b-instruct` -> 7.0"""
        found = re.search(r"(\d+(?:\.\d+)?)b(?![a-z])", self.model.lower())
        return float(found[1]) if found else None

    @property
    def thinking_tokens(self) -> int:
        return 0  # whether a model thinks is the server's setting

    def prepare(self) -> None:
        try:
            self.http.json("GET", "/models")
        except ProposerError as error:
            if error.reason in ("server_gone", "timeout", "cut_off"):  # any answer shows that it is there
                raise

    def window(self, wanted: int, least: int) -> int:
        return self.context_tokens

    def ask(self, messages: Sequence[Message], *, max_tokens: int, temperature: float, seed: int) -> Answer:
        body = {
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
        fresh, self._fresh = self._fresh, False
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


def _event(line: str) -> Any:
    """The object of a server-sent event, DONE, or None for a comment. Raises what an error event says."""
    if not line.startswith("data:"):
        if line.startswith("{"):  # an error that is not wrapped as an event
            _raise(_parsed(line))
        return None
    data = line.removeprefix("data:").strip()
    if data == DONE:
        return DONE
    event = _parsed(data)
    _raise(event)
    return event


def _parsed(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except ValueError as error:
        raise ProposerError(f"the answer holds an event that is not JSON: {text[:80]}", reason="cut_off") from error
    if not isinstance(event, dict):
        raise ProposerError(f"the answer holds an event that is not an object: {text[:80]}", reason="cut_off")
    return event


def _raise(event: Mapping[str, Any]) -> None:
    if error := event.get("error"):
        raise error_of(str(error.get("message", error) if isinstance(error, dict) else error))


def _choice(event: Mapping[str, Any]) -> dict[str, Any]:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}
