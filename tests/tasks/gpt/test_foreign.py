"""Which expressions may be a class or function of a library."""

from __future__ import annotations

import ast

import pytest

from autoresearch.tasks.gpt.foreign import Foreign
from autoresearch.tasks.gpt.scopes import Scopes

BEFORE = """\
import mlx.core as mx
from types import SimpleNamespace
PLACES = [mx.array]
TABLE = {"a": mx.array}
MADE = [mx.array(1)]
a, b = mx.array, 0
late = PLACES
both = mx.array
both = object()
maybe = None
maybe = mx.array
for each in PLACES:
    pass
with open_it(mx.array) as opened:
    pass
match mx.array:
    case captured:
        pass
def patch(cls, model):
    pass
def spread(cls):
    pass
patch(mx.array, 1)
map(spread, PLACES)
"""
HELD = (
    "mx.array", "PLACES[0]", "PLACES.pop()", "next(iter(TABLE.values()))", "list(PLACES)[0]", "(c := mx.array)", "a",
    "late", "maybe", "each", "captured", "type(x)", "x.__class__", "x or mx.array", "mx.array if x else 0", "[*PLACES]",
    "(lambda c: c)(mx.array)", "SimpleNamespace(c=mx.array).c", "[c for c in PLACES]", "{1: mx.array}[1]", "PLACES + x",
)  # fmt: skip
OWN = (
    "x", "mx.array(1)", "PLACES[0](1)", "TABLE['a'](1)", "MADE[0]", "both", "f(mx.array)", "self.layer", "None",
)  # fmt: skip


def foreign() -> Foreign:
    tree = ast.parse(BEFORE)
    return Foreign(tree, Scopes(tree))


@pytest.mark.parametrize("expression", HELD)
def test_what_may_be_a_librarys(expression: str) -> None:
    assert foreign().holds(ast.parse(expression, mode="eval").body)


@pytest.mark.parametrize("expression", OWN)
def test_what_a_class_makes_is_the_files_own(expression: str) -> None:
    assert not foreign().holds(ast.parse(expression, mode="eval").body)


def test_a_function_gets_what_its_callers_give() -> None:
    tree = ast.parse(BEFORE)
    scopes = Scopes(tree)
    found = Foreign(tree, scopes)
    patch, spread = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    cls, model = (ast.parse(name, mode="eval").body for name in ("cls", "model"))
    with scopes.inside(patch), found.inside(patch):
        assert found.holds(cls) and not found.holds(model)
    with scopes.inside(spread), found.inside(spread):
        assert found.holds(cls)
    assert not found.holds(cls)
