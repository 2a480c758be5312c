"""Estimate the tokens of a prompt before it is sent, and learn from the server's count of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import Answer, Message
from autoresearch.search.scorecard import Card

BYTES_PER_TOKEN = 3.0  # of code, on the safe side, until the server has counted a prompt
MESSAGE_TOKENS = 8  # what a chat template adds to a message
LEAST_RATIO, MOST_RATIO = 2.0, 5.0  # bytes a token: a measurement outside of this range is clipped
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
        self._squeeze = 1.0
        self._suspect = False  # the server has cut a prompt: its counts are checked until one is right

    @property
    def planned(self) -> float:
        """The bytes per token to plan the next prompt with: fewer after the server has refused one as too long."""
        return self._squeeze * self._measured

    @property
    def _measured(self) -> float:
        return self.card.bytes_per_token or BYTES_PER_TOKEN

    def squeeze(self) -> None:
        """Plan shorter prompts from now on, since the server found one too long."""
        self._squeeze *= SQUEEZE

    def learn(self, messages: Sequence[Message], answer: Answer) -> None:
        """Update the scale from the server's count of the prompt `messages`.

        Raises ProposerError (`truncated`) when the count is so low that the server must have cut the prompt.
        """
        counted = answer.prompt_tokens
        if counted is None or not (answer.fresh or self._suspect):
            return
        expected = conversation_tokens(messages, self._measured)
        self._suspect = counted < TRUNCATED * expected
        if self._suspect:
            self.largest_window = max(counted, LEAST_WINDOW)
            raise ProposerError(
                f"the server read {counted} tokens of a prompt of about {expected}: it cut the prompt",
                reason="truncated",
            )
        size = sum(len(message["content"].encode("utf-8", "replace")) for message in messages)
        measured = size / max(1, counted - len(messages) * MESSAGE_TOKENS)
        self.card.bytes_per_token = min(MOST_RATIO, max(LEAST_RATIO, SAFETY * measured))
        self._squeeze = 1.0
