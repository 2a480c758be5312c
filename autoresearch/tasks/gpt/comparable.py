"""Decide whether the training losses of two versions can be compared at half the budget: for the early stop. No I/O.

They cannot where the schedule differs, or the loss that is reported, or the context that it is computed on. These are
found in the syntax tree: the statements that read the progress, the cross-entropy or the log, and the length of the
training rows, with every constant and function of the module that they use. Two versions compare when all of this is
equal. A change that the tree does not show goes unnoticed; the early stop lets one in eight losers run on to find out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache

from autoresearch.candidate import constants, syntax
from autoresearch.errors import SourceError

MARKS = frozenset({"progress", "cross_entropy", "chunked_cross_entropy", "log"})
ROW_LENGTH = ("seq_len", 1)  # of run.batches(rows, seq_len): by its name, by its place
REMEMBERED = 64

Function = ast.FunctionDef | ast.AsyncFunctionDef


def comparable(one: str, other: str) -> bool:
    """Return whether two sources train by the same schedule towards the same loss on rows of the same length.

    Another learning rate, depth or batch is comparable; another warm-down or a smoothed loss is not.
    """
    try:
        return _parts(one) == _parts(other)
    except SourceError:
        return False


@lru_cache(REMEMBERED)
def _parts(source: str) -> frozenset[str]:
    """Collect the code that decides comparability, as text that layout and comments do not change."""
    tree = syntax.parse(source)
    module = {name: node for node in tree.body for name in _bound(node)}
    found: dict[int, ast.AST] = {}
    waiting = [node for function in _functions(tree) for node in _deciding(function)]
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & module.keys()
            waiting += [module[name] for name in names if not isinstance(module[name], ast.ClassDef)]
    values = constants.read(source)
    return frozenset(_text(node, values) for node in found.values())


def _deciding(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function that read the progress, the loss or the log, or set the length of a row."""
    if any(arg.arg in MARKS for arg in function.args.args):
        yield function
    yield from (node for node in _simple(function) if _marked(node))
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.While) and _marked(node.test):
            yield node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "batches":
            keyword, place = ROW_LENGTH
            lengths = [k.value for k in node.keywords if k.arg == keyword] + node.args[place : place + 1]
            wanted = {n.id for length in lengths for n in ast.walk(length) if isinstance(n, ast.Name)}
            yield from lengths
            yield from (s for s in _simple(function) if wanted.intersection(_bound(s)))


def _simple(function: Function) -> list[ast.stmt]:
    """List the statements without a body of their own, at any depth, except those of functions inside the function."""
    found, waiting = [], list[ast.AST](function.body)
    while waiting:
        node = waiting.pop()
        inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.excepthandler)]
        if isinstance(node, ast.stmt) and not inner and not isinstance(node, Function | ast.ClassDef):
            found.append(node)
        if not isinstance(node, Function | ast.ClassDef):
            waiting += inner
    return found


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _bound(node: ast.AST) -> set[str]:
    """Collect the names that a statement binds."""
    if isinstance(node, Function | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _marked(node: ast.AST) -> bool:
    return any(_name(n) in MARKS for n in ast.walk(node))


def _name(node: ast.AST) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _text(node: ast.AST, values: Mapping[str, object]) -> str:
    """Describe a constant by its value, however it is spelt, and any other node by its tree."""
    names = _bound(node) & values.keys() if isinstance(node, ast.Assign | ast.AnnAssign) else set()
    return ", ".join(f"{name} = {values[name]!r}" for name in sorted(names)) or ast.dump(node)
