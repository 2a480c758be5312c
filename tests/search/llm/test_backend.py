"""Answers that were asked for twice, and answers whose beginning was given."""

from __future__ import annotations

import pytest

from autoresearch.search.llm.backend import Answer, added, whole_text


def test_a_second_answer_carries_the_cost_of_both() -> None:
    first, second = Answer("", "hm", "length", 100, 600, 2.0), Answer("SET DEPTH = 6", "", "stop", 100, 40, 1.5)
    assert added(first, second) == Answer("SET DEPTH = 6", "", "stop", 100, 640, 3.5)
    assert added(Answer("", "", "stop", None, None, 1.0), second).answer_tokens == 40


@pytest.mark.parametrize("answer", ["TITLE: Deeper", " Deeper"])
def test_a_given_beginning_comes_once_in_the_answer(answer: str) -> None:
    given = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "TITLE:"}]
    assert whole_text(given, answer) == "TITLE: Deeper"
    assert whole_text(given[:1], answer) == answer


def test_a_beginning_comes_once_where_the_template_drops_its_last_blank() -> None:
    assert whole_text([{"role": "assistant", "content": "TITLE: "}], "TITLE: Deeper") == "TITLE: Deeper"
