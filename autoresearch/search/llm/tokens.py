"""Estimate the tokens of a prompt before it is sent, and learn from the server's count of it."""

from __future__ import annotations

import math
import statistics
import sys
from collections import deque
from collections.abc import Sequence

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import Answer, Message
from autoresearch.search.scorecard import Card

BYTES_PER_TOKEN = 3.0  # of code, on the safe side, until the server has counted a prompt
MESSAGE_TOKENS = 8  # what a chat template adds to a message
LEAST_RATIO, MOST_RATIO = 2.5, 5.0  # bytes a token: a measurement outside of this range needs another that agrees
AGREEMENT = 0.1  # between two such measurements, relative
MEASUREMENTS = 5  # the median of so many is used
SAFETY = 0.95  # of the measured bytes a token
TRUNCATED = 0.6  # of the estimate: a prompt that counts fewer tokens was cut
LEAST_WINDOW = 4096  # tokens: no server has a smaller context by default
SQUEEZE = 0.8  # factor on the bytes a token after the server has refused a prompt as too long


def estimate(text: str, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """Estimate the tokens of `text`, rounded up: estimate("x" * 10) -> 4."""
    return math.ceil(len(text.encode("utf-8", "replace")) / bytes_per_token)


def conversation_tokens(messages: Sequence[Message], bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """Estimate the tokens of all messages with what the chat template adds to them."""
    return sum(estimate(message["content"], bytes_per_token) + MESSAGE_TOKENS for message in messages)


class TokenScale:
    """Bytes per token of one model, kept on its card, and the context that its server turned out to have."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.largest_window = sys.maxsize  # tokens; less for a server that cuts longer prompts
        self._measurements: deque[float] = deque(maxlen=MEASUREMENTS)
        self._odd: float | None = None  # a measurement that waits for another one that agrees
        self._squeeze = 1.0
        self._suspect = False  # the server has cut a prompt: its counts are checked until one is right
        self._counts_whole = False  # the server counts tokens that its prompt cache holds as well
        self._last: tuple[Message, ...] = ()  # the last prompt that was counted
        self._last_count = 0

    @property
    def planned(self) -> float:
        """The bytes per token to plan the next prompt with: fewer after the server has refused one as too long."""
        return self._squeeze * self._measured

    @property
    def _measured(self) -> float:
        return self.card.bytes_per_token or BYTES_PER_TOKEN

    def refuse(self, messages: Sequence[Message], tokens: int | None) -> None:
        """Take in that the server found a prompt too long; `tokens` is its exact count where it tells it."""
        if tokens is None:
            self._squeeze *= SQUEEZE
        else:
            self._measurements.clear()  # they have led to a prompt that was too long
            self._add(_ratio(messages, tokens))

    def learn(self, messages: Sequence[Message], answer: Answer) -> None:
        """Update the scale from the server's count of the prompt `messages`.

        A single count that is far from what text has is not believed. Raises ProposerError (`truncated`) when the count
        is so low that the server must have cut the prompt.
        """
        counted = answer.prompt_tokens
        if counted is None:
            return
        grown = bool(self._last) and tuple(messages[: len(self._last)]) == self._last
        self._counts_whole = self._counts_whole or (grown and not answer.fresh and counted >= self._last_count)
        self._last, self._last_count = tuple(messages), counted
        if not (answer.fresh or self._suspect or self._counts_whole):
            return
        expected = conversation_tokens(messages, self._measured)
        self._suspect = counted < TRUNCATED * expected
        if self._suspect:
            self.largest_window = max(counted, LEAST_WINDOW)
            raise ProposerError(
                f"the server read {counted} tokens of a prompt of about {expected}: it cut the prompt",
                reason="truncated",
            )
        self._squeeze = 1.0
        measured = _ratio(messages, counted)
        if LEAST_RATIO <= measured <= MOST_RATIO or self._agrees(measured):
            self._add(measured)
        else:
            self._odd = measured

    def _agrees(self, measured: float) -> bool:
        return self._odd is not None and abs(measured / self._odd - 1) <= AGREEMENT

    def _add(self, measured: float) -> None:
        self._measurements.append(measured)
        self._squeeze, self._odd = 1.0, None
        self.card.bytes_per_token = SAFETY * statistics.median_low(self._measurements)


def _ratio(messages: Sequence[Message], tokens: int) -> float:
    """Return the bytes per token of a prompt that has so many tokens."""
    size = sum(len(message["content"].encode("utf-8", "replace")) for message in messages)
    return max(1.0, size / max(1, tokens - len(messages) * MESSAGE_TOKENS))
