"""Token estimates, and what is learnt from the server's count of a prompt."""

from __future__ import annotations

import sys

import pytest

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import Answer
from autoresearch.search.llm.tokens import BYTES_PER_TOKEN, TokenScale, conversation_tokens, estimate
from autoresearch.search.scorecard import Card
from testbed.reply_cases import SOURCE

MESSAGES = [{"role": "system", "content": "a" * 6000}, {"role": "user", "content": "b" * 6000}]


def counted(tokens: int | None, fresh: bool = True) -> Answer:
    return Answer("text", "", "stop", tokens, 10, 1.0, fresh)


def test_estimates_are_on_the_safe_side_for_code() -> None:
    """Real tokenizers take 3.3 to 4.5 bytes of this code for a token."""
    assert estimate(SOURCE) == -(-len(SOURCE.encode()) // 3)
    assert estimate("é" * 30) == 20


def test_a_conversation_has_what_the_template_adds_to_each_message() -> None:
    assert conversation_tokens(MESSAGES) == 2 * (2000 + 8)


def test_the_scale_follows_the_count_with_some_in_reserve() -> None:
    scale = TokenScale(card := Card())
    assert scale.planned == BYTES_PER_TOKEN
    scale.learn(MESSAGES, counted(3016))
    assert scale.planned == card.bytes_per_token == pytest.approx(0.95 * 12000 / 3000)
    scale.learn(MESSAGES, counted(None))
    scale.learn(MESSAGES, counted(17, fresh=False))  # what the cache held is not counted
    assert scale.planned == pytest.approx(3.8)


def test_a_refused_prompt_makes_the_next_ones_shorter_until_one_is_counted() -> None:
    scale = TokenScale(Card(bytes_per_token=4.0))
    scale.refuse(MESSAGES, None)
    assert scale.planned == pytest.approx(3.2)
    scale.learn(MESSAGES, counted(3016))
    assert scale.planned == pytest.approx(3.8)


def test_a_refusal_with_the_exact_count_teaches_the_scale() -> None:
    scale = TokenScale(Card(bytes_per_token=4.9))
    scale.refuse(MESSAGES, 5016)
    assert scale.planned == pytest.approx(0.95 * 12000 / 5000)


@pytest.mark.parametrize("inflated", [30_000, 6_000, 1_950])
def test_one_odd_count_teaches_nothing(inflated: int) -> None:
    scale = TokenScale(Card())
    for tokens in (3016, 3016, inflated, 3016):
        scale.learn(MESSAGES, counted(tokens))
    assert scale.planned == pytest.approx(3.8)


def test_an_odd_first_count_is_believed_when_another_agrees() -> None:
    scale = TokenScale(Card())
    scale.learn(MESSAGES, counted(6_016))
    assert scale.planned == BYTES_PER_TOKEN
    scale.learn(MESSAGES, counted(6_116))
    assert scale.planned == pytest.approx(0.95 * 12000 / 6100)


def test_later_counts_teach_where_the_server_counts_what_its_cache_holds() -> None:
    """A conversation that grows and is counted in full shows it, since the cache holds its beginning."""
    longer = [*MESSAGES, {"role": "assistant", "content": "c" * 100}]
    scale = TokenScale(Card())
    scale.learn(MESSAGES, counted(4016))
    scale.learn(longer, counted(4049, fresh=False))
    for _ in range(3):
        scale.learn(MESSAGES, counted(3016, fresh=False))
    assert scale.planned == pytest.approx(3.8)


def test_a_low_count_means_that_the_server_cut_the_prompt() -> None:
    scale = TokenScale(Card())
    assert scale.largest_window == sys.maxsize
    with pytest.raises(ProposerError, match="it cut the prompt") as caught:
        scale.learn(MESSAGES, counted(1000))
    assert caught.value.reason == "truncated" and scale.largest_window == 4096
