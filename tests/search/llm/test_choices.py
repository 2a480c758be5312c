"""A choice from a menu: the forms in which models write it, and what is no choice."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoresearch.errors import EditError
from autoresearch.records import Set
from autoresearch.search.llm import choices
from autoresearch.search.menu import MenuEntry

MENU = [
    MenuEntry("DEPTH = 2", "depth", (Set("DEPTH", "2"),)),
    MenuEntry("DEPTH = 3, ASPECT_RATIO = 85", "depth", (Set("DEPTH", "3"), Set("ASPECT_RATIO", "85"))),
    MenuEntry("WINDOW_PATTERN = 'SL'", "attention", (Set("WINDOW_PATTERN", "'SL'"),)),
    MenuEntry("Cube the ReLU", "mlp", (Set("POWER", "3"),), "It is sparser."),
]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"because": "More steps.", "choice": "DEPTH = 2"}', 1),
        ('{"choice": "DEPTH = 2", "because": "More steps."}', 1),
        ('{"choice": 2}', 2),
        ("2", 2),  # what format "json" admits
        ('"2"', 2),
        ("[3]", 3),
        ('```json\n{"because": "a", "choice": "4. Cube the ReLU"}\n```', 4),
        ("2. DEPTH = 3, ASPECT_RATIO = 85", 2),
        ("I choose\n\n**DEPTH = 2**\n", 1),
        ("CHOICE: depth=2", 1),
        ('{"choice": "WINDOW_PATTERN = \\"SL\\""}', 3),
        ('<think>{"choice": 1}</think>{"choice": 2}', 2),
        ('Sure!\n{"hypothesis": "a", "change": "SET DEPTH = 2"}', 1),
    ],
)
def test_choices_that_are_understood(text: str, number: int) -> None:
    reply, entry = choices.read(text, MENU), MENU[number - 1]
    assert (reply.title, reply.edits, reply.category) == (entry.title, entry.edits, entry.category)


def test_the_reason_is_the_hypothesis_and_a_recipe_adds_its_own() -> None:
    assert choices.read('{"because": "More steps.", "choice": 1}', MENU).hypothesis == "More steps."
    assert choices.read('{"because": "It may pay.", "choice": 4}', MENU).hypothesis == "It may pay. It is sparser."


@pytest.mark.parametrize(
    "text", ['{"because": "x", "choice": "DEPTH = 7"}', "SET DEPTH = 7", '{"choice": "SET DEPTH = 7"}']
)
def test_a_value_that_is_not_listed_is_read_as_a_setting(text: str) -> None:
    assert choices.read(text, MENU).edits == (Set("DEPTH", "7"),)


@pytest.mark.parametrize(
    "text",
    ["", "0.02", "true", '{"choice": true}', '{"choice": 99}', '{"choice": [1]}', '{"because": "x"}', "[[1, 2]]",
     "1. DEPTH = 2\n2. DEPTH = 3, ASPECT_RATIO = 85", '{"because": "x", "choice": "DEP', "[" * 99_999, '{"a":' * 9999],
)  # fmt: skip
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(EditError, match="Choose one of the 4 changes"):
        choices.read(text, MENU)


@given(st.text(max_size=60) | st.recursive(st.integers() | st.text(max_size=9), st.lists, max_leaves=9).map(json.dumps))
@example('{"choice": "' + "9" * 5000 + '"}')
@example("9" * 5000)
def test_no_answer_raises_anything_but_an_edit_error(text: str) -> None:
    try:
        assert choices.read(text, MENU).edits
    except EditError as error:
        assert str(error)


def test_the_schema_names_the_reason_before_the_choice() -> None:
    """Some servers order keys by the alphabet."""
    schema = choices.schema(MENU)
    assert sorted(schema["properties"]) == ["because", "choice"] == schema["required"]
    assert schema["properties"]["choice"]["enum"] == [entry.title for entry in MENU]
    assert choices.listed(MENU[:2]) == "1. DEPTH = 2\n2. DEPTH = 3, ASPECT_RATIO = 85"
