"""The forms of an answer: what they show is read as the form that they ask for."""

from __future__ import annotations

from autoresearch.search.llm import forms, replies
from autoresearch.search.scorecard import FORMATS


def test_every_format_is_described() -> None:
    assert {*forms.FORMS, "menu"} == set(FORMATS)
    assert '{"because": ' in forms.MENU.format(menu="1. DEPTH = 2")


def test_the_fields_that_they_ask_for_are_read() -> None:
    reply = replies.parse(forms.HEAD.format(categories="depth") + "SET DEPTH = 2")
    assert (reply.category, reply.title) == ("depth", "the change in under 80 characters")
    assert reply.hypothesis.startswith("one or two sentences")
