"""Compare the size of two sources, for the keep rule's allowance for simplifications. No I/O."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.candidate import constants, json_keys, keys, python_constants, syntax, toml_keys
from autoresearch.candidate.pack import is_packed, unpack


def simplifies(old_source: str, new_source: str) -> bool:
    """Return whether the new source has fewer syntax nodes, or fewer module-level names at no more nodes.

    Docstrings do not count, and a value made of literals counts as one node: `LR = 2**-4` -> `LR = 0.06` is no
    simplification. The keys and list elements of TOML and JSON files are nodes. Nothing is known of other languages: a
    source in which such a file differs is not simpler. Raises SourceError when training's file is not valid Python.
    """
    if not is_packed(old_source):
        return _is_smaller(_size(syntax.parse(old_source)), _size(syntax.parse(new_source)))
    before, after = unpack(old_source), unpack(new_source)
    differ = [path for path, text in before.items() if text != after[path]]
    old, new = [_file_size(path, before[path]) for path in differ], [_file_size(path, after[path]) for path in differ]
    if None in old or None in new:
        return False
    return _is_smaller(_total(old), _total(new))


@dataclass(frozen=True, slots=True)
class _Size:
    """Size of a file, or of several: syntax nodes, and the names of constants, functions and classes."""

    nodes: int
    names: frozenset[str] = frozenset()


def _is_smaller(old: _Size, new: _Size) -> bool:
    return new.nodes < old.nodes or (new.nodes <= old.nodes and new.names < old.names)


def _total(sizes: Sequence[_Size | None]) -> _Size:
    known = [size for size in sizes if size is not None]
    return _Size(sum(size.nodes for size in known), frozenset().union(*(size.names for size in known)))


def _size(tree: ast.Module, path: str = "") -> _Size:
    return _Size(_nodes(tree), frozenset(f"{path}:{name}" for name in _names(tree)))


def _file_size(path: str, text: str) -> _Size | None:
    """Return the size of a file; None where its language is not known."""
    of = constants.language(path, text)
    if of is python_constants:
        return _size(syntax.parse(text), path)
    if of is toml_keys:
        return _Size(keys.count(toml_keys.data(text)))
    return _Size(keys.count(json_keys.data(text))) if of is json_keys else None


def _names(tree: ast.Module) -> set[str]:
    """Return the names of the module's constants, functions and classes."""
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


def _nodes(node: ast.AST) -> int:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return 0  # a docstring
    if isinstance(node, ast.expr) and _is_value(node):
        return 1
    children = (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr_context | ast.operator))
    return 1 + sum(map(_nodes, children))


def _is_value(node: ast.AST) -> bool:
    """Return whether the node is a literal, or arithmetic on or a container of literals."""
    kinds = (ast.Constant, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.List, ast.Dict, ast.Set)
    marks = (ast.operator, ast.unaryop, ast.expr_context)
    return isinstance(node, kinds) and all(_is_value(n) for n in ast.iter_child_nodes(node) if not isinstance(n, marks))
