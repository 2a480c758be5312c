"""The tables of what a candidate may use, and what the libraries that are installed offer beside that."""

from __future__ import annotations

import ast
import builtins
import importlib
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prepare
from autoresearch.tasks.gpt import allowlist

DANGEROUS = {id(getattr(builtins, name)): name for name in allowlist.REFUSED_BUILTINS if hasattr(builtins, name)}


def test_the_tables_name_what_the_harness_offers() -> None:
    run = prepare.Run.__new__(prepare.Run)
    offered = {n for n in dir(run) if not n.startswith("_")} | {"task", "seed"}
    assert offered == allowlist.RUN
    assert all(hasattr(prepare, name) for name in allowlist.PREPARE)


def test_no_class_of_a_candidate_may_name_what_run_calls_its_own() -> None:
    classes = [n for n in ast.parse(Path(prepare.__file__).read_text("utf-8")).body if isinstance(n, ast.ClassDef)]
    [run] = [c for c in classes if c.name == "Run"]
    stored = {n.attr for n in ast.walk(run) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    own = stored | {n.name for n in run.body if isinstance(n, ast.FunctionDef) and not n.name.endswith("__")}
    common = {"_model", "_steps", "_batches"}  # candidates use these too, and a run's tell them nothing new
    assert {n for n in own if n.startswith("_")} - common == allowlist.HARNESS_PRIVATE


def public(path: str, owner: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the public names, with values, that the contract lets through below a module or class, to this depth."""
    for name in dir(owner):
        path_of_name = f"{path}.{name}"
        if name.startswith("_") or name in allowlist.REFUSED_ATTRIBUTES or allowlist.refusal(path_of_name):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = getattr(owner, name, None)
        yield path_of_name, value
        if depth > 1 and isinstance(value, types.ModuleType | type):
            yield from public(path_of_name, value, depth - 1)


def module_at(path: str) -> types.ModuleType:
    parent, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:  # mlx.nn.linear is a name of mlx.nn only
        found = getattr(importlib.import_module(parent), name)
        assert isinstance(found, types.ModuleType)
        return found


@pytest.mark.parametrize("module", sorted(allowlist.MODULES - {"prepare"}))
def test_no_path_of_three_names_leads_out_of_the_allowlist(module: str) -> None:
    for path, value in public(module, module_at(module), 3):
        assert path in allowlist.MODULES or not isinstance(value, types.ModuleType), path
        assert id(value) not in DANGEROUS, path
