"""Names and the dotted paths that they stand for: imports, aliases, functions, and names that hide them."""

from __future__ import annotations

import ast

import pytest

from autoresearch.tasks.gpt.scopes import Scopes, bound_names, dotted, own_nodes


def resolved(source: str, expression: str) -> str | None:
    return Scopes(ast.parse(source)).resolve(ast.parse(expression, mode="eval").body)


@pytest.mark.parametrize(
    ("source", "expression", "path"),
    [
        ("import mlx.core as mx", "mx.fast.rope", "mlx.core.fast.rope"),
        ("import mlx.nn", "mlx.nn.Linear", "mlx.nn.Linear"),
        ("from mlx import nn as layers", "layers.Linear", "mlx.nn.Linear"),
        ("import mlx.core as mx\nfast = mx.fast", "fast.rope", "mlx.core.fast.rope"),
        ("import prepare", "prepare", "prepare"),
        ("import prepare", "other.name", None),
        ("def prepare(): ...", "prepare.Task", None),
        ("import prepare", "f().x", None),
    ],
)
def test_what_a_name_stands_for(source: str, expression: str, path: str | None) -> None:
    assert resolved(source, expression) == path


def test_an_argument_hides_an_import_inside_of_its_function() -> None:
    tree = ast.parse("import prepare\ndef f(prepare, *rest, key=1): return prepare.x, rest, key")
    scopes, use = Scopes(tree), ast.parse("prepare.x", mode="eval").body
    with scopes.inside(tree.body[1]):  # type: ignore[arg-type]
        assert scopes.resolve(use) is None
        assert all(scopes.bound(name) for name in ("prepare", "rest", "key", "f"))
    assert scopes.resolve(use) == "prepare.x" and not scopes.bound("rest")


def test_a_fixed_name_has_the_path_that_it_is_given() -> None:
    tree = ast.parse("def train(model, run): ...")
    scopes = Scopes(tree)
    with scopes.inside(tree.body[0], {"run": "prepare.Run"}):  # type: ignore[arg-type]
        assert scopes.resolve(ast.parse("run.batches", mode="eval").body) == "prepare.Run.batches"


def test_an_alias_is_the_one_binding_of_its_name() -> None:
    assert resolved("import numpy as np\nr = np.random\nr = 1", "r.x") is None
    assert resolved("import numpy as np\nr = np.random\ndef f():\n    global r", "r.x") is None


def test_a_comprehension_binds_its_own_names_and_a_walrus_those_around_it() -> None:
    tree = ast.parse("import prepare\nx = [(y := prepare) for prepare in z if (lambda: (w := 1))]")
    scopes, use = Scopes(tree), ast.parse("prepare", mode="eval").body
    assert scopes.resolve(use) == "prepare" and scopes.bound("y") and not scopes.bound("w")
    with scopes.inside_comprehension(tree.body[1].value):  # type: ignore[attr-defined]
        assert scopes.resolve(use) is None


def test_a_class_hides_its_names_from_its_methods_and_reads_the_modules() -> None:
    tree = ast.parse("import prepare\nclass C:\n    prepare = own = 1\n    def f(self): ...")
    scopes, use = Scopes(tree), ast.parse("prepare", mode="eval").body
    with scopes.inside_class(tree.body[1]):  # type: ignore[arg-type]
        assert scopes.resolve(use) == "prepare" and not scopes.bound("own")
        with scopes.inside(tree.body[1].body[1]):  # type: ignore[attr-defined]
            assert scopes.resolve(use) == "prepare"


def test_global_names_are_the_modules() -> None:
    tree = ast.parse("import prepare\ndef f(prepare):\n    def g():\n        global prepare")
    scopes, use = Scopes(tree), ast.parse("prepare", mode="eval").body
    with scopes.inside(tree.body[1]):  # type: ignore[arg-type]
        assert scopes.resolve(use) is None
        with scopes.inside(tree.body[1].body[0]):  # type: ignore[attr-defined]
            assert scopes.resolve(use) == "prepare"


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("import mlx.core as mx, os.path", ["mx", "os"]),
        ("from a import b as c, d", ["c", "d"]),
        ("def f(): x = 1", ["f"]),
        ("class C:\n    x = 1", ["C"]),
        ("x = y", ["x"]),
        ("try: ...\nexcept E as error: ...", ["error"]),
        ("match v:\n    case {'a': p, **rest}: ...\n    case [*q]: ...", ["rest", "p", "q"]),
    ],
)
def test_names_that_are_bound(statement: str, names: list[str]) -> None:
    assert sorted(n for node in own_nodes(*ast.parse(statement).body) for n in bound_names(node)) == sorted(names)


def test_chains_of_names() -> None:
    chains = {"a": "a", "a.b.c": "a.b.c", "f().b": "", "a[0].b": ""}
    assert {text: dotted(ast.parse(text, mode="eval").body) for text in chains} == chains
