"""Titles, hypotheses and categories of moves, and the category of any change of constants."""

from __future__ import annotations

from typing import Any

import pytest

from autoresearch.candidate import constants
from autoresearch.records import CATEGORIES, TITLE_CHARS, Set
from autoresearch.search.tuner.space import infer
from autoresearch.search.tuner.wording import HYPOTHESES, Move, Why, category_of_change, describe, title_of_change
from testbed.tuning import SEQ_LEN, SMALL

SPACE = infer(SMALL, SEQ_LEN)


def move(why: Why = "lever", category: str | None = None, **values: Any) -> Move:
    return Move({**SPACE.current, **values}, why, category)


def test_a_move_becomes_a_proposal() -> None:
    proposal = describe(SPACE, move(MATRIX_LR=0.08), "tuner", {"seconds": 0.5})
    assert proposal.edits == (Set("MATRIX_LR", "0.08"),)
    assert (proposal.title, proposal.category) == ("MATRIX_LR 0.04 -> 0.08", "learning_rate")
    assert proposal.hypothesis == HYPOTHESES["learning_rate", True]
    assert (proposal.proposer, proposal.usage) == ("tuner", {"seconds": 0.5})


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("without", "MATRIX_LR may not be worth having"),
        ("hint", "gained on other machines"),
        ("combine", "Two changes that each came close"),
        ("tpe", "higher MATRIX_LR, lower WEIGHT_DECAY"),
    ],
)
def test_the_hypothesis_says_how_the_move_was_found(why: Why, said: str) -> None:
    assert said in describe(SPACE, move(why, MATRIX_LR=0.16, WEIGHT_DECAY=0.1), "tuner", {}).hypothesis


def test_the_furthest_constant_gives_the_category_unless_one_is_asked_for() -> None:
    both = {"MATRIX_LR": 0.041, "WEIGHT_DECAY": 0.8}
    assert describe(SPACE, move(**both), "tuner", {}).category == "regularisation"
    assert describe(SPACE, move(category="simplification", **both), "tuner", {}).category == "simplification"


def test_powers_of_two_are_shown_as_such() -> None:
    assert describe(SPACE, move(TOTAL_BATCH_SIZE=2**16), "tuner", {}).title == "TOTAL_BATCH_SIZE 2**15 -> 2**16"


def test_a_title_names_what_fits_and_counts_the_rest() -> None:
    many = move(MATRIX_LR=0.05, WEIGHT_DECAY=0.3, WARMDOWN_RATIO=0.6, TOTAL_BATCH_SIZE=2**14, HEAD_DIM=128)
    title = describe(SPACE, many, "tuner", {}).title
    assert len(title) <= TITLE_CHARS and title.endswith(" more")


def test_the_category_of_anybodys_change_of_constants() -> None:
    assert category_of_change(SMALL, SMALL.replace("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = 0.1")) == "regularisation"
    assert category_of_change(SMALL, SMALL.replace("return DEPTH", "return 2 * DEPTH")) is None  # the code differs, too
    assert category_of_change(SMALL, SMALL) is None


def test_every_hypothesis_is_of_a_category() -> None:
    assert {name for name, _ in HYPOTHESES} <= set(CATEGORIES)


@pytest.mark.parametrize(
    ("change", "category"),
    [
        ({"DEPTH": "2", "ASPECT_RATIO": "128"}, "depth"),  # the width stays
        ({"DEPTH": "2"}, "depth"),
        ({"ASPECT_RATIO": "128"}, "width"),
        ({"DEPTH": "3", "ASPECT_RATIO": "170"}, "width"),
    ],
)
def test_depth_at_the_same_width_is_depth(change: dict[str, str], category: str) -> None:
    source = "DEPTH = 4\nASPECT_RATIO = 64\nHEAD_DIM = 64\nWIDTHS = [DEPTH, ASPECT_RATIO, HEAD_DIM]\n"
    changed = source
    for name, literal in change.items():
        changed = constants.assign(changed, name, literal)
    assert category_of_change(source, changed) == category


def test_the_title_of_a_change_says_what_it_sets() -> None:
    assert title_of_change("A = 2**4\nB = 1\n", "A = 2**6\nB = 1\n") == "A 2**4 -> 2**6"
    assert title_of_change("A = 1\nf()\n", "A = 2\ng()\n") is None
    long = "".join(f"LONG_NAME_{c} = 1\n" for c in "ABCDEFGH")
    title = title_of_change(long, long.replace("= 1", "= 2"))
    assert title is not None and len(title) < 80 and title.endswith("more")
