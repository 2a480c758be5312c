"""A choice from a menu: the forms in which models write it, and what is not a choice."""

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
        ('{"choice": 2.0}', 2),
        ('{"choice": [1]}', 1),
        ('{"choice": "Option 3"}', 3),
        ('{"choice": "5. Cube the ReLU"}', 4),  # the number of an older menu
        ('{"choice": "2 - DEPTH = 3, ASPECT_RATIO = 85"}', 2),
        ('{"choice": "DEPTH = 2 (fewer layers)"}', 1),
        ('{"choice": "Set DEPTH to 3, ASPECT_RATIO to 85"}', 2),
        ('{"choice": "depth -> 2"}', 1),
        ('{"answer": {"because": "a", "choice": "4"}}', 4),
        ('{"choice": "2"}\nOr in other words:\n{"choice": 2}', 2),
        ('{"because": "the "best" one", "choice": "DEPTH = 2"}', 1),
        ('{"because": "a\nb", "choice": "DEPTH = 2",}', 1),
        ("{'because': 'a', 'choice': 'DEPTH = 2'}", 1),
        ('{because: "a", choice: 4', 4),
        ("I would choose number 3, because it is cheap.", 3),
        ("4 because it is sparser", 4),
        ("Since the run is short, the best one is **DEPTH = 2**: more steps.", 1),
    ],
)
def test_choices_that_are_understood(text: str, number: int) -> None:
    reply, entry = choices.read(text, MENU), MENU[number - 1]
    assert (reply.title, reply.edits, reply.category) == (entry.title, entry.edits, entry.category)


def test_the_reason_is_the_hypothesis_and_a_recipe_adds_its_own() -> None:
    assert choices.read('{"because": "More steps.", "choice": 1}', MENU).hypothesis == "More steps."
    assert choices.read('{"because": "It may pay.", "choice": 4}', MENU).hypothesis == "It may pay. It is sparser."


@pytest.mark.parametrize("because", ["the line that you choose, without its number", "One sentence: what it changes, "])
def test_a_reason_that_repeats_the_question_is_none(because: str) -> None:
    assert choices.read(json.dumps({"because": because, "choice": 4}), MENU).hypothesis == "It is sparser."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"because": "x", "choice": "DEPTH = 7"}', "x"),
        ("SET DEPTH = 7", ""),
        ('{"choice": "SET DEPTH = 7"}', ""),
        ("HYPOTHESIS: x\nSET DEPTH = 7", "x"),
    ],
)
def test_a_value_that_is_not_listed_is_read_as_a_setting(text: str, why: str) -> None:
    reply = choices.read(text, MENU)
    assert (reply.edits, reply.hypothesis) == ((Set("DEPTH", "7"),), why)


def test_settings_of_which_one_is_listed_stay_together() -> None:
    assert choices.read("SET DEPTH = 2\nSET POWER = 4", MENU).edits == (Set("DEPTH", "2"), Set("POWER", "4"))


@pytest.mark.parametrize(
    "text",
    ["", "0.02", "true", '{"choice": true}', '{"choice": 99}', '{"choice": 0}', '{"choice": "-1"}', '{"choice": 2.5}',
     '{"choice": [1, 2]}', '{"because": "x"}', "[[1, 2]]", '{"choice": "1 and 2"}', '{"choice": "DEPTH"}', "5",
     '{"because": "x", "choice": "DEP', '{"because": "x", "choice": "DEPTH = 2', '{\n"choice": "DEPTH = 2',
     "[" * 99_999, '{"a":' * 9999, '"choice": "' * 9999],
)  # fmt: skip
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(EditError, match=r"names none of the 4 changes that are listed\. Choose one"):
        choices.read(text, MENU)


@pytest.mark.parametrize(
    "text",
    [
        "1. DEPTH = 2\n2. DEPTH = 3, ASPECT_RATIO = 85",
        '{"choice": 1}\n{"choice": 2}',
        "Cube the ReLU or DEPTH = 2? Both may help.",
    ],
)
def test_two_choices_are_named(text: str) -> None:
    with pytest.raises(EditError, match=r"chooses .* and .* Choose one change"):
        choices.read(text, MENU)


@pytest.mark.slow
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
