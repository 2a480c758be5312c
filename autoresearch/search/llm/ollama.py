"""Propose with a model of an Ollama server, which stays loaded while the script trains if both fit in memory.

Elsewhere it is loaded once for several drafts and unloaded before training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil

from autoresearch.errors import ProposerError
from autoresearch.formats import GIB
from autoresearch.search.llm.backend import THINKING_TOKENS, Answer, Question, added, thinks_aloud, whole_text
from autoresearch.search.llm.dialogue import Dialogue
from autoresearch.search.llm.ollama_server import Loaded, OllamaServer, full_name
from autoresearch.search.llm.transport import positive
from autoresearch.search.scorecard import FORMATS, Scorecard

KEEP_ALIVE = "60m"  # longer than the time between turns; `release` unloads at once
CONTEXT_STEPS = (8192, 12288, 16384, 24576, 32768, 49152, 65536)  # few, since each change loads the model again
USUAL_CONTEXT = 16384  # tokens
HISTORY_GROWTH = 1500  # tokens of room for the history of the turns to come
MEMORY_WAIT_S = 15.0  # for the memory of an unloaded model to become available
MEMORY_BACK = 0.5  # share of the model's size to wait for; other programs may take the rest
HEADROOM = 1.5  # factor on the incumbent's memory: a candidate may take more
SPARE_BYTES = 2 * GIB  # beside the model and a training with its headroom
MOST_IDLE_COST = 0.01  # share of training's speed that an idle loaded model may cost
SLOW_LOAD = 0.2  # share of a turn: a load that takes longer is used for several drafts
MOST_DRAFTS = 4

Think = bool | str | None


class OllamaBackend:
    """backend.Backend for one model of one Ollama server."""

    def __init__(
        self,
        server: OllamaServer,
        model: str,
        *,
        memory_limit: int | None = None,
        usual_context: int = USUAL_CONTEXT,
        most_context: int | None = None,
        shared_bytes: int = 0,
        think: Think = None,
        available: Callable[[], int] = lambda: int(psutil.virtual_memory().available),
    ) -> None:
        """Limit the loaded model to `memory_limit` bytes and to a context of `most_context` tokens.

        `usual_context` is what most nights need, and what `measure` loads; `most_context` is `usual_context` if None.
        With `shared_bytes`, the memory that model and training may take together, the model stays loaded beside a
        training that fits; 0 always unloads it.

        `think` None turns thinking off, or to low for a model that always thinks (gpt-oss).
        """
        self.server, self.model = server, model
        self.memory_limit, self.usual_context = memory_limit, usual_context
        self.most_context = most_context or usual_context
        self.shared_bytes = shared_bytes
        self._think, self._available = think, available
        self._facts: dict[str, Any] | None = None
        self._num_ctx = 0
        self._loaded = False
        self._resident = True  # may be in memory, loaded here or by a loop that was killed
        self._fresh = False  # whether its prompt cache is empty
        self._thinks = False  # an answer has contained thinking, whatever the server says of the model
        self.size = 0  # bytes of memory once loaded
        self._free_before = 0  # bytes of memory available before the load
        self.load_s = 0.0  # duration of the last load

    @property
    def name(self) -> str:
        return f"ollama:{self.model}"

    @property
    def parameters_b(self) -> float | None:
        return parameters_b(self._show())

    @property
    def thinking_tokens(self) -> int:
        return THINKING_TOKENS if self._thinking() or self._thinks else 0

    def think(self) -> None:
        if self._think is None or self._think is False:
            self._think = True

    def prepare(self) -> None:
        self.server.ensure()

    def largest_window(self) -> int:
        """Return the smaller of the context that the machine allows and the one that the model was trained for."""
        return min(self.most_context, context_length(self._show()) or self.most_context)

    def window(self, wanted: int, least: int) -> int:
        limit = self.largest_window()
        if self._num_ctx < least:
            steps = [step for step in CONTEXT_STEPS if step >= wanted + HISTORY_GROWTH and step <= limit]
            self._num_ctx = steps[0] if steps else limit
        return self._num_ctx

    def ask(self, question: Question) -> Answer:
        """Load the model if necessary and return one answer."""
        try:
            self._load()
            answer = self._answer(question)
            return replace(answer, text=whole_text(question.messages, answer.text))
        except ProposerError as error:
            if error.reason in ("runner", "out_of_memory", "server_gone", "cut_off"):
                self._loaded = False  # its process may have died: the next attempt loads and checks it again
            raise

    def measure(self) -> int:
        """Load the model with its usual context, unload it, and return the bytes of memory that it took."""
        self._num_ctx = min(self.usual_context, self.largest_window())
        try:
            self._load()
        finally:
            self._num_ctx = 0
            self.release()
        return self.size

    @property
    def loaded(self) -> bool:
        return self._loaded

    def release(self, training_mb: float | None = None) -> bool:
        """Unload the model and return when its memory is available, unless a training of `training_mb` fits beside it.

        Return whether it stays. Raises ProposerError when it should go and stays loaded.
        """
        if training_mb and self._loaded and self._fits_beside(int(training_mb * 2**20)):
            return True
        if not self._resident:
            return False
        self._loaded = False
        self.server.unload(self.model)
        self._resident = False
        deadline = time.monotonic() + MEMORY_WAIT_S
        wanted = self._free_before - (1 - MEMORY_BACK) * self.size
        while self._available() < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        return False

    def _fits_beside(self, training: int) -> bool:
        """Return whether a training of so many bytes, and a larger one, has room beside the loaded model."""
        needed = int(HEADROOM * training) + SPARE_BYTES
        known = bool(self.size)  # some servers do not tell it
        return known and self.size + needed <= self.shared_bytes and needed <= self._available()

    def close(self) -> None:
        try:
            self.release()
        finally:
            self.server.close()

    def cancel(self) -> None:
        self.server.cancel()

    def _answer(self, question: Question) -> Answer:
        """Ask; ask again without what the model cannot do, or without thinking if that used up the answer."""
        think = self._thinking()
        try:
            answer = self._chat(question, think)
        except ProposerError as error:
            if error.reason == "no_thinking":
                self._think = think = False
            elif error.reason == "bad_request" and question.schema is not None:
                question = replace(question, schema=None)
            else:
                raise
            answer = self._chat(question, think)
        if answer.text.strip():
            return answer
        less = think if isinstance(think, str) else False
        return added(answer, self._chat(replace(question, seed=question.seed + 1), less))

    def _chat(self, question: Question, think: bool | str) -> Answer:
        """Send one request; mark the first one after a load as `fresh`."""
        answer = self.server.chat(self.model, question, num_ctx=self._num_ctx, think=think, keep_alive=KEEP_ALIVE)
        fresh, self._fresh = self._fresh, False
        self._thinks = self._thinks or thinks_aloud(answer)
        return replace(answer, fresh=fresh)

    def _load(self) -> None:
        """Load the model unless it is loaded, and check its memory and context."""
        if self._loaded:
            return
        self._free_before = self._available()
        self._resident = True
        self._fresh = self._in_memory() is None
        began = time.monotonic()
        self.server.load(self.model, num_ctx=self._num_ctx, keep_alive=KEEP_ALIVE)
        self.load_s = time.monotonic() - began
        self._loaded = True
        if (loaded := self._in_memory()) is not None:
            self._check(loaded)

    def _in_memory(self) -> Loaded | None:
        """Return the server's entry for the model if it is loaded."""
        name = full_name(self.model)
        return next((m for m in self.server.loaded() if full_name(m.name) == name), None)

    def _check(self, loaded: Loaded) -> None:
        """Raise ProposerError if the loaded model takes too much memory (`too_large`) or got too little context."""
        self.size = size = loaded.size
        if self.memory_limit is not None and size > self.memory_limit:
            self.release()
            if self._num_ctx > self.usual_context:
                self.most_context, self._num_ctx = self.usual_context, 0
                taken = f"{size / GIB:.1f} GB with a larger context"
                raise ProposerError(f"{self.model} takes {taken}, more than this machine has", reason="too_long")
            room = self.memory_limit / GIB
            raise ProposerError(
                f"{self.model} takes {size / GIB:.1f} GB once loaded; this machine has {room:.1f} GB for it. "
                "Choose a smaller one with --model; `loop.py models` shows which fit.",
                reason="too_large",
            )
        context = loaded.context_length or self._num_ctx  # some versions of the server do not report it
        if 0 < context < self._num_ctx:
            asked, self._num_ctx = self._num_ctx, context
            self.most_context = context
            raise ProposerError(f"{self.model} got {context} of {asked} tokens of context", reason="too_long")

    def _thinking(self) -> bool | str:
        """Return the value of the request field `think`."""
        capable = "thinking" in (self._show().get("capabilities") or ())
        if not capable:
            return False
        if model_family(self._show()).startswith("gptoss"):  # its thinking has levels and cannot be turned off
            return self._think if isinstance(self._think, str) else "low"
        return self._think if self._think is not None else False

    def _show(self) -> dict[str, Any]:
        """Return the server's description of the model, asked for once."""
        if self._facts is None:
            self._facts = self.server.show(self.model)
        return self._facts


class OllamaProposer(Dialogue):
    """Dialogue with a model of an Ollama server."""

    backend: OllamaBackend

    def __init__(
        self,
        server: OllamaServer,
        model: str,
        scorecard: Scorecard,
        *,
        formats: Sequence[str] = FORMATS,
        memory_limit: int | None = None,
        usual_context: int = USUAL_CONTEXT,
        most_context: int | None = None,
        shared_bytes: int = 0,
        think: Think = None,
    ) -> None:
        backend = OllamaBackend(
            server,
            model,
            memory_limit=memory_limit,
            usual_context=usual_context,
            most_context=most_context,
            shared_bytes=shared_bytes,
            think=think,
        )
        super().__init__(backend, scorecard, formats=formats, retry_s=server.timeouts.retry_s)

    def fits(self, file_bytes: int) -> bool:
        """Load the model once to see whether it stays within its memory limit, and note its size on the card.

        The note is valid for a model file of `file_bytes`. Return True also when the model cannot be loaded now.
        """
        try:
            self.card.loaded_bytes = self.backend.measure()
        except ProposerError as error:
            if error.reason != "too_large":
                return True
            self.card.loaded_bytes = self.backend.size
        self.card.file_bytes = file_bytes
        self.scorecard.save(self.name)
        limit = self.backend.memory_limit
        return limit is None or self.card.loaded_bytes <= limit

    def drafts_per_load(self) -> int:
        """Return how many drafts, 1 to 4, to ask for at once, so that loading takes at most SLOW_LOAD of a turn.

        A model that has stayed loaded is asked for one.
        """
        turns = self.card.turns
        if not turns or not self.backend.load_s or self.backend.loaded:
            return 1
        turn_s = max(0.1, self.card.seconds / turns)
        return max(1, min(MOST_DRAFTS, round(self.backend.load_s / (SLOW_LOAD * turn_s))))


def parameters_b(show: Mapping[str, Any]) -> float | None:
    """Return billions of parameters: {"details": {"parameter_size": "7.6B"}} -> 7.6, "134.52M" -> 0.13452."""
    if exact := positive(show.get("model_info") or {}, "general.parameter_count"):
        return exact / 1e9
    text = str((show.get("details") or {}).get("parameter_size") or "").strip().upper()
    scale = {"B": 1.0, "M": 1e-3, "K": 1e-6, "T": 1e3}.get(text[-1:])
    try:
        return float(text[:-1]) * scale if scale else None
    except ValueError:
        return None


def context_length(show: Mapping[str, Any]) -> int | None:
    """Return the context in tokens that the model was trained for: model_info's "<architecture>.context_length"."""
    info = show.get("model_info") or {}
    return positive(info, f"{info.get('general.architecture')}.context_length")


def model_family(show: Mapping[str, Any]) -> str:
    """Return the architecture without separators: "gpt-oss" -> "gptoss"."""
    info, details = show.get("model_info") or {}, show.get("details") or {}
    return str(info.get("general.architecture") or details.get("family") or "").replace("-", "").replace("_", "")
