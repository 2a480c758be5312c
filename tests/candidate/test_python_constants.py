"""The module-level constants of Python: read, set by their place, hashed."""

from __future__ import annotations

import ast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoresearch.candidate import python_constants as constants
from autoresearch.errors import EditError, SourceError

SOURCE = '''"""A docstring with DEPTH = 99."""
import math

DEPTH = 8  # layers, not channels
BATCH: int = 2**16  # tokens a step
LR = 0.04
BETAS = (0.8, 0.95)  # é: columns are bytes
PATTERN = "SSSL"
COMPILE = True
LIMIT = None
NEGATIVE = -1.5
SHIFTED = 1 << 10
HEADS = DEPTH // 2
lower = 3
TWICE = 1
TWICE = 2


def train():
    """Its docstring."""
    INNER = 5  # no module-level constant
    return INNER
'''


def test_reads_literals_and_their_arithmetic_in_order() -> None:
    assert constants.read(SOURCE) == {
        "DEPTH": 8,
        "BATCH": 65536,
        "LR": 0.04,
        "BETAS": (0.8, 0.95),
        "PATTERN": "SSSL",
        "COMPILE": True,
        "LIMIT": None,
        "NEGATIVE": -1.5,
        "SHIFTED": 1024,
        "TWICE": 2,
    }
    assert list(constants.read(SOURCE))[:3] == ["DEPTH", "BATCH", "LR"]
    assert constants.literals(SOURCE)["BATCH"] == "2**16"
    assert constants.literals(SOURCE)["BETAS"] == "(0.8, 0.95)"


@pytest.mark.parametrize(
    ("name", "literal", "line"),
    [
        ("DEPTH", "6", "DEPTH = 6  # layers, not channels"),
        ("BATCH", "2**15", "BATCH: int = 2**15  # tokens a step"),
        ("BETAS", "(0.9, 0.99)", "BETAS = (0.9, 0.99)  # é: columns are bytes"),
        ("BETAS", "(\n0.9,\n0.99)", "BETAS = (0.9, 0.99)  # é: columns are bytes"),
        ("PATTERN", "'L'", "PATTERN = 'L'"),
        ("PATTERN", "SL", 'PATTERN = "SL"'),
        ("COMPILE", "false", "COMPILE = False"),
        ("LR", "1", "LR = 1"),
        ("LR", "4e-2 * 2  # doubled", "LR = 4e-2 * 2"),
        ("LIMIT", "0.5", "LIMIT = 0.5"),
        ("NEGATIVE", "-3.0", "NEGATIVE = -3.0"),
        ("DEPTH", "DEPTH / 2", "DEPTH = 4  # layers, not channels"),
        ("DEPTH", "6.0", "DEPTH = 6  # layers, not channels"),
        ("DEPTH", '"6"', "DEPTH = 6  # layers, not channels"),
        ("BETAS", "[0.9, 0.99]", "BETAS = (0.9, 0.99)  # é: columns are bytes"),
    ],
)
def test_assign_replaces_only_the_value(name: str, literal: str, line: str) -> None:
    changed = constants.assign(SOURCE, name, literal)
    before, after = SOURCE.split("\n"), changed.split("\n")
    assert [b for a, b in zip(before, after, strict=True) if a != b] == [line]


@pytest.mark.parametrize(
    ("name", "literal", "message"),
    [
        ("DEPHT", "6", "no such constant. Did you mean DEPTH = 8"),
        ("depth", "6", "Did you mean DEPTH = 8"),
        ("INNER", "6", "no such constant"),
        ("HEADS", "6", "it is computed (line 13: HEADS = DEPTH // 2)"),
        ("TWICE", "6", "it is assigned on lines 15 and 16"),
        ("DEPTH", "6.5", "DEPTH is a whole number (8) and the new value is a number"),
        ("DEPTH", '"six"', "the new value is a string"),
        ("COMPILE", '"1"', "the new value is a string"),
        ("DEPTH", "True", "the new value is True or False"),
        ("DEPTH", "RATE * 2", "has to be a literal such as 8"),
        ("DEPTH", "LR * 2", "the new value is a number"),
        ("DEPTH", "int(6)", "has to be a literal"),
        ("DEPTH", "", "has to be a literal"),
        ("DEPTH", "6; import os", "has to be a literal"),
        ("DEPTH", "6\nimport os", "has to be a literal"),
        ("DEPTH", "9**9**9", "has to be a literal"),
        ("DEPTH", "1 << 10**9", "has to be a literal"),
        ("LR", "1e999", "has to be finite"),
        ("LR", "1 / 0", "has to be a literal"),
        ("LR", "(-8) ** 0.5", "has to be a literal"),
        ("BETAS", "0.9", "BETAS is a tuple of 2"),
        ("BETAS", "(0.9, 0.99, 0.999)", "the new value is a tuple of 3"),
        ("BETAS", "[0.9]", "the new value is a tuple of 1"),
        ("COMPILE", "0", "COMPILE is True or False"),
    ],
)
def test_assign_refuses(name: str, literal: str, message: str) -> None:
    with pytest.raises(EditError) as caught:
        constants.assign(SOURCE, name, literal)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600


def test_line_ends_and_parentheses_stay() -> None:
    assert constants.assign("A = 1\r\nB = (2)  # two\r\n", "B", "3") == "A = 1\r\nB = (3)  # two\r\n"


def test_only_newlines_end_a_line() -> None:
    """str.splitlines would also cut at form feeds and at U+2028."""
    source = 'A = "\u2028"\n\x0c\nB = 2  # \x1c\nC = 3\n'
    assert constants.assign(source, "C", "4") == source.replace("C = 3", "C = 4")


def test_normalised_ignores_what_does_nothing() -> None:
    same = SOURCE.replace("# layers, not channels", "").replace('"""Its docstring."""', "'Another.'")
    same = same.replace("2**16", "65_536").replace("return INNER", "return (INNER)").replace("\n\n\n", "\n")
    assert constants.normalised(same) == constants.normalised(SOURCE)
    for old, new in [("DEPTH = 8", "DEPTH = 9"), ("INNER = 5", "INNER = 6"), ("LR = 0.04", "LR = 1")]:
        assert constants.normalised(SOURCE.replace(old, new)) != constants.normalised(SOURCE)


def test_structure_ignores_the_values_of_constants_only() -> None:
    assert constants.structure(SOURCE.replace("= 8", "= 3").replace('"SSSL"', '"L"')) == constants.structure(SOURCE)
    assert constants.structure(SOURCE.replace("INNER = 5", "INNER = 6")) != constants.structure(SOURCE)
    assert constants.structure(SOURCE.replace("LR = 0.04", "RATE = 0.04")) != constants.structure(SOURCE)


@pytest.mark.parametrize("source", ["def (", "a = '\0'", "x = '\ud800'", "(" * 5000, "x = " + "-" * 100_000 + "1"])
def test_invalid_python_is_a_source_error(source: str) -> None:
    for function in (constants.read, constants.literals, constants.normalised, constants.structure):
        with pytest.raises(SourceError, match="not valid Python"):
            function(source)


@settings(deadline=None)
@given(st.floats(1e-12, 1e12), st.integers(1, 10**9))
def test_assign_then_read(rate: float, depth: int) -> None:
    changed = constants.assign(constants.assign(SOURCE, "LR", repr(rate)), "DEPTH", str(depth))
    values = constants.read(changed)
    assert (values["LR"], values["DEPTH"]) == (rate, depth)
    assert constants.structure(changed) == constants.structure(SOURCE)
    ast.parse(changed)


@pytest.mark.slow
@settings(deadline=None)
@given(st.sampled_from(["DEPTH", "LR", "PATTERN", "BETAS", "LIMIT"]), st.text(max_size=40))
@example("LIMIT", "'\\d'")
@example("PATTERN", "\ud800")
def test_assign_sets_or_raises_edit_error(name: str, literal: str) -> None:
    try:
        changed = constants.assign(SOURCE, name, literal)
    except EditError:
        return
    assert constants.structure(changed) == constants.structure(SOURCE)


@pytest.mark.parametrize(
    ("name", "formula", "value"),
    [("DEPTH", "DEPTH // 2", 4), ("LR", "LR * 1.5", 0.06), ("LR", "0.5 * LR", 0.02), ("DEPTH", "2 ** (DEPTH - 4)", 16)],
)
def test_a_formula_over_the_constants_is_replaced_by_its_value(name: str, formula: str, value: float) -> None:
    source = "DEPTH = 8\nLR = 0.04  # of Muon\n"
    assert constants.literals(constants.assign(source, name, formula))[name] == repr(value)
