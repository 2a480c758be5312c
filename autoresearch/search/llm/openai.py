"""Propose with a model behind an OpenAI-compatible endpoint (mlx_lm.server, LM Studio, llama-server).

The API has no call to unload a model, so the machine's memory has to hold the model beside training.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoresearch.errors import ProposerError, UsageError
from autoresearch.search.llm.backend import THINKING_TOKENS, Answer, Question, Schema, added, thinks_aloud, whole_text
from autoresearch.search.llm.dialogue import Dialogue
from autoresearch.search.llm.tokens import conversation_tokens
from autoresearch.search.llm.transport import Http, Timeouts, positive, streamed_object
from autoresearch.search.scorecard import FORMATS, Scorecard
from autoresearch.system import addresses

CONTEXT_TOKENS = 16384  # the assumed context of a server that reports none
DONE = "[DONE]"


class OpenAIBackend:
    """backend.Backend for one model of one endpoint."""

    def __init__(
        self,
        base_url: str | None,
        model: str,
        *,
        context_tokens: int = CONTEXT_TOKENS,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.model, self.context_tokens = model, context_tokens
        self._fresh = True  # no request has been sent, so the server's prompt cache holds none of ours
        self._thinks = False  # an answer has contained thinking
        self._constrains = True  # the server has not refused a JSON schema
        self._facts: dict[str, Any] = {}  # the server's description of the model
        self.http = _client(addresses.openai(base_url), api_key, timeouts or Timeouts())

    @property
    def name(self) -> str:
        return f"openai:{self.model}"

    @property
    def parameters_b(self) -> float | None:
        """Take it from the server, else from the name: "qwen2.5-coder-7b-instruct" -> 7.0, "smollm2-135m" -> 0.135."""
        if parameters := positive(self._facts, "n_params"):
            return parameters / 1e9
        found = re.search(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", self.model.lower())
        return float(found[1]) * (1.0 if found[2] == "b" else 1e-3) if found else None

    @property
    def thinking_tokens(self) -> int:
        return THINKING_TOKENS if self._thinks else 0

    def think(self) -> None:
        """Do nothing: the API has no field for it."""

    def prepare(self) -> None:
        try:
            self._facts = _facts(self.http.json("GET", "/models"), self.model)
        except ProposerError as error:
            if error.reason in ("server_gone", "timeout", "cut_off"):  # with any other the server has answered
                raise

    def largest_window(self) -> int:
        limits = [positive(self._facts, key) for key in ("n_ctx", "max_model_len")]  # llama-server's; vLLM's
        return min(filter(None, limits), default=self.context_tokens)

    def window(self, wanted: int, least: int) -> int:
        return self.largest_window()

    def ask(self, question: Question) -> Answer:
        """Return one answer. If thinking used it up, ask again without thinking; later answers get room to think."""
        answer = self._answer(question)
        return replace(answer, text=whole_text(question.messages, answer.text))

    def _answer(self, question: Question) -> Answer:
        """Ask; ask again without a schema if the server refuses it, or without thinking if that used up the answer."""
        form = _response_format(question.schema) if self._constrains else {}
        try:
            answer = self._ask(question, form)
        except ProposerError as error:
            if not form or error.reason != "bad_request":
                raise
            self._constrains, form = False, {}
            answer = self._ask(question, form)
        self._thinks = self._thinks or thinks_aloud(answer)
        if answer.text.strip() or not answer.thinking:
            return answer
        # Servers with chat templates know this field; most others ignore it.
        without_thinking = {"chat_template_kwargs": {"enable_thinking": False}}
        return added(answer, self._ask(replace(question, seed=question.seed + 1), form | without_thinking))

    def _ask(self, question: Question, more: Mapping[str, Any]) -> Answer:
        """Send one request, with the fields `more` beside the usual ones."""
        body = {
            **more,
            "model": self.model,
            "messages": list(question.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "seed": question.seed,
        }
        began = time.monotonic()
        text: list[str] = []
        thinking: list[str] = []
        finished: str | None = None
        usage: dict[str, Any] = {}
        with contextlib.closing(
            self.http.lines("/chat/completions", body, conversation_tokens(question.messages))
        ) as lines:
            for event in _events(lines):
                usage = event.get("usage") or usage
                choice = _choice(event)
                delta = choice.get("delta") or {}
                text.append(str(delta.get("content") or ""))
                thinking.append(str(delta.get("reasoning_content") or delta.get("reasoning") or ""))
                finished = choice.get("finish_reason") or finished
        if finished is None:
            raise ProposerError(f"{self.http.base_url} ended the answer without a finish_reason", reason="cut_off")
        # A server that reports prompt_tokens_details counts the whole prompt, cached or not.
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

    def release(self, training_mb: float | None = None) -> bool:
        """Do nothing: the API has no call to unload a model, which stays where its server runs."""
        return addresses.is_loopback(self.http.base_url)

    def close(self) -> None:
        """Do nothing: no connection is kept between calls."""

    def cancel(self) -> None:
        self.http.cancel()


class OpenAIProposer(Dialogue):
    """Dialogue with a model behind an OpenAI-compatible endpoint."""

    def __init__(
        self,
        base_url: str | None,
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


def open_openai(
    base_url: str | None,
    wanted: str | None,
    scorecard: Scorecard,
    api_key: str | None = None,
    timeouts: Timeouts | None = None,
) -> tuple[OpenAIProposer, str]:
    """Return a proposer with the model `wanted`, and the line that says which model and where.

    Servers of one model answer with it whatever the name, so the only model that a server lists is taken under its own
    name. A server that does not answer now may do so later: then the name stays. Raises UsageError for a bad address,
    and where `wanted` is None and the server does not list exactly one model.
    """
    address = addresses.openai(base_url)
    names: list[str] = []
    with contextlib.suppress(ProposerError):  # `prepare` reports it
        listing = _client(address, api_key, timeouts or Timeouts()).json("GET", "/models")
        names = [str(entry["id"]) for entry in _entries(listing) if entry.get("id")]
    if wanted is None and len(names) != 1:
        listed = f"lists {', '.join(names[:8])}" if names else "names no model now"
        raise UsageError(f"which model of {address.url}? It {listed}. Add --model openai:NAME")
    name, said = wanted or names[0], ""
    if len(names) == 1 and names[0] != name:
        name, said = names[0], f", the only model there, and not {wanted}"
    elif names and name not in names:
        said = f", which the server does not list; it lists {', '.join(names[:8])}"
    line = f"{name} at {address.url}{said} (it stays in that server's memory)"
    return OpenAIProposer(base_url, name, scorecard, api_key=api_key, timeouts=timeouts), line


def _client(address: addresses.Address, api_key: str | None, timeouts: Timeouts) -> Http:
    """Return the client of a server, with the key, else with the user and password of its address."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else address.headers
    return Http(address.url, timeouts, headers)


def _response_format(schema: Schema | None) -> dict[str, Any]:
    """Return the field that constrains an answer to a schema, or no field."""
    if schema is None:
        return {}
    named = {"name": "answer", "schema": dict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _facts(listing: Any, model: str) -> dict[str, Any]:
    """Return the entry of `model` in a listing of /models, or the only one, since servers of one model ignore names."""
    known = _entries(listing)
    own = [entry for entry in known if entry.get("id") == model] or (known if len(known) == 1 else [])
    meta = own[0].get("meta") if own else None
    return {**own[0], **(meta if isinstance(meta, dict) else {})} if own else {}


def _entries(listing: Any) -> list[dict[str, Any]]:
    """Return the entries of a listing of /models; none where it is of another form."""
    entries = listing.get("data") if isinstance(listing, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of server-sent events up to DONE. Raises ProposerError for an error event."""
    for line in lines:
        if line.startswith("{"):  # some servers send errors without the `data:` of an event
            streamed_object(line)
        if line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            if data == DONE:
                return
            yield streamed_object(data)


def _choice(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first choice of an event, or an empty one."""
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}
