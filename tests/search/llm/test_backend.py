"""The cost of an answer that was asked for twice."""

from __future__ import annotations

from autoresearch.search.llm.backend import Answer, added


def test_a_second_answer_carries_the_cost_of_both() -> None:
    first, second = Answer("", "hm", "length", 100, 600, 2.0), Answer("SET DEPTH = 6", "", "stop", 100, 40, 1.5)
    assert added(first, second) == Answer("SET DEPTH = 6", "", "stop", 100, 640, 3.5)
    assert added(Answer("", "", "stop", None, None, 1.0), second).answer_tokens == 40
