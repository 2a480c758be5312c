"""Literals: their values, and which may replace which."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import literals

finite = st.floats(allow_nan=False, allow_infinity=False)
simple_values = st.integers(-(2**60), 2**60) | finite | st.booleans() | st.text(max_size=20)
literal_values = st.recursive(simple_values, lambda values: st.lists(values, max_size=3).map(tuple), max_leaves=5)


@pytest.mark.slow
@settings(deadline=None)
@given(literal_values)
def test_evaluate_agrees_with_python(value: Any) -> None:
    assert literals.evaluate(repr(value)) == value


@pytest.mark.parametrize(
    ("text", "value"), [("2**16", 65536), ("-(1 + 2) / 4", -0.75), ("1 << 10", 1024), ("[1, (2, 'a')]", [1, (2, "a")])]
)
def test_arithmetic_of_literals_has_a_value(text: str, value: Any) -> None:
    assert literals.evaluate(text) == value


@pytest.mark.parametrize(
    "text", ["", "9**9**9", "(-8) ** 0.5", "1 / 0", "name", "f()", "1 << -1", "(" * 5000, "{1: 2}"]
)
def test_anything_else_has_none(text: str) -> None:
    with pytest.raises(ValueError):
        literals.evaluate(text)


def test_names_in_a_formula_are_replaced_by_their_values() -> None:
    assert literals.without_names("LR * 1.5", lambda: {"LR": 0.04}) == "0.06"
    assert literals.without_names("LR", lambda: {"LR": 0.04}) == "LR"
    assert literals.without_names("LR * OTHER", lambda: {"LR": 0.04}) == "LR * OTHER"


@pytest.mark.parametrize(
    ("old", "new", "may"),
    [
        (1.0, 2, True),
        (1, 2.0, False),
        (1, True, False),
        (0.5, False, False),
        ((1, 2), (3, 4), True),
        ((1,), [1], False),
    ],
)
def test_a_value_is_replaced_by_one_of_its_kind(old: Any, new: Any, may: bool) -> None:
    assert literals.same_kind(old, new) is may
