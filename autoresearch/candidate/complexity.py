"""Compare the size of two sources, for the keep rule's allowance for simplifications. No I/O."""

from __future__ import annotations

import ast

from autoresearch.candidate import syntax


def simplifies(old_source: str, new_source: str) -> bool:
    """Return whether the new source has fewer syntax nodes, or fewer module-level names at no more nodes.

    Docstrings do not count, and a value made of literals counts as one node: `LR = 2**-4` -> `LR = 0.06` is no
    simplification. Raises SourceError when either source is not valid Python.
    """
    old, new = syntax.parse(old_source), syntax.parse(new_source)
    old_nodes, new_nodes = _nodes(old), _nodes(new)
    return new_nodes < old_nodes or (new_nodes <= old_nodes and _names(new) < _names(old))


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
