"""Parse the editable file and find its functions and classes. No I/O."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from functools import lru_cache

from autoresearch.errors import SourceError

MOST_NESTED = 100  # levels of a syntax tree; train_mlx.py has 15, and Python's own recursion ends at a few hundred

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@lru_cache(maxsize=4)  # one edit reads the versions before and after it a dozen times
def parse(source: str) -> ast.Module:
    """Return the syntax tree of `source`, which all callers share: it is not to be changed. Raises as parse_anew."""
    return parse_anew(source)


def parse_anew(source: str) -> ast.Module:
    """Return a syntax tree of `source` of the caller's own.

    Raises SourceError for invalid Python, with the line and its number, and for expressions or blocks that are nested
    in more than MOST_NESTED levels, so that code which walks the tree may recurse.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model's "\d" would print a SyntaxWarning
            tree = ast.parse(source)
    except SyntaxError as error:
        line = f"\n{error.lineno}: {error.text.rstrip()}" if error.text else ""
        raise SourceError(f"not valid Python: {error.msg} (line {error.lineno}){line}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, lone surrogates, thousands of brackets
        raise SourceError(f"not valid Python: {error or type(error).__name__}") from error
    if _is_deep(tree):
        raise SourceError(f"not valid Python here: nested in more than {MOST_NESTED} levels")
    return tree


def _is_deep(tree: ast.AST) -> bool:
    """Return whether the tree has more than MOST_NESTED levels, without recursion."""
    level: list[ast.AST] = [tree]
    for _ in range(MOST_NESTED):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True


def definitions(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Yield each module-level function and class with its name, and after a class its methods as `Class.method`."""
    for node in tree.body:
        if isinstance(node, Definition):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, Definition))
