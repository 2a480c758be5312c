"""Define the interface of a model server that `Dialogue` asks, and the answers that it gives.

`OllamaBackend` and `OpenAIBackend` implement it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from autoresearch.errors import ProposerError

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}
Schema = Mapping[str, Any]  # a JSON schema

THINKING_TOKENS = 4096  # room in an answer for a model's thinking


@dataclass(frozen=True, slots=True)
class Question:
    """Messages for a model and the limits of its answer."""

    messages: Sequence[Message]
    max_tokens: int
    temperature: float
    seed: int
    schema: Schema | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer. Token counts are None when the server does not report them.

    Some servers count only the prompt tokens that their cache does not hold. With `fresh` the cache held none of them,
    so `prompt_tokens` counts the whole prompt.
    """

    text: str
    thinking: str
    done_reason: str  # "stop", "length", ...
    prompt_tokens: int | None
    answer_tokens: int | None
    seconds: float
    fresh: bool = False


class TooLongError(ProposerError):
    """A prompt, or a prompt with its answer, does not fit the context (`too_long`). `prompt_tokens` is exact."""

    def __init__(self, message: str, prompt_tokens: int | None) -> None:
        super().__init__(message, reason="too_long")
        self.prompt_tokens = prompt_tokens


def added(first: Answer, second: Answer) -> Answer:
    """Return the second answer with the cost of both."""
    tokens = (first.answer_tokens or 0) + (second.answer_tokens or 0)
    return replace(second, answer_tokens=tokens, seconds=first.seconds + second.seconds)


def thinks_aloud(answer: Answer) -> bool:
    """Return whether an answer contains thinking, in its own field or in the text."""
    return bool(answer.thinking) or answer.text.lstrip().startswith("<think")


def whole_text(messages: Sequence[Message], text: str) -> str:
    """Return an answer with the beginning that was given for it, once, since some servers repeat it and some do not.

    >>> given = [{"role": "assistant", "content": "TITLE:"}]
    >>> whole_text(given, "TITLE: a") == whole_text(given, " a") == "TITLE: a"
    True
    """
    if not messages or messages[-1]["role"] != "assistant":
        return text
    given = messages[-1]["content"]
    return text if text.startswith(given.rstrip()) else given + text


class Backend(Protocol):
    """A model behind a server. Its methods raise ProposerError with one of the reasons listed in transport.py."""

    @property
    def name(self) -> str: ...

    @property
    def parameters_b(self) -> float | None:
        """Billions of parameters, or None when unknown."""
        ...

    @property
    def thinking_tokens(self) -> int:
        """Tokens that thinking may add to an answer; 0 for a model that does not think."""
        ...

    def think(self) -> None:
        """Ask for thinking from now on, if the model can think and was not asked to: it has only given filler."""
        ...

    def prepare(self) -> None:
        """Return when the server can be asked."""
        ...

    def largest_window(self) -> int:
        """Return the largest context, in tokens, that the model can have on this machine."""
        ...

    def window(self, wanted: int, least: int) -> int:
        """Return the context, in tokens, to plan a prompt for: `wanted` where possible.

        It changes only when fewer than `least` tokens fit, since another context loads the model again.
        """
        ...

    def ask(self, question: Question) -> Answer:
        """Return one answer of at most `max_tokens` tokens.

        A last message of the assistant is the answer's beginning: the model continues it, and `text` contains it once.
        Its `schema` constrains the answer to JSON where the server can; the keys come in alphabetical order. Some
        servers ignore it, so the prompt has to state it as well and the answer has to be checked.
        """
        ...

    def release(self, training_mb: float | None = None) -> bool:
        """Free the model's memory, and return when it is free; where a training of `training_mb` fits beside the model,
        it may stay. Return whether it stays.
        """
        ...

    def close(self) -> None:
        """Release the model and stop what was started for it."""
        ...

    def cancel(self) -> None:
        """End a running `ask`, from any thread or a signal handler; it raises `cancelled`."""
        ...
