"""Resolve names in a syntax tree through scopes and import aliases to dotted paths. No I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPE = FUNCTION | ast.ClassDef


class Scopes:
    """The names bound at module level, and in the functions entered by `inside`; class bodies hold no names for others.

    A name that stands for something imported has a dotted path:
    after `import mlx.core as mx` and `fast = mx.fast`, resolve(`fast.rope`) -> "mlx.core.fast.rope".
    """

    def __init__(self, tree: ast.Module) -> None:
        self._stack: list[dict[str, str | None]] = []
        self._enter(tree.body, {})

    @contextmanager
    def inside(self, function: FUNCTION | ast.Module, fixed: Mapping[str, str] | None = None) -> Iterator[None]:
        """Enter a function; `fixed` gives paths of their own to some of its names."""
        names = {} if isinstance(function, ast.Module) else {a.arg: None for a in arguments(function.args)}
        self._enter(_body(function), {**names, **(fixed or {})})
        yield
        self._stack.pop()

    def bound(self, name: str) -> bool:
        return any(name in names for names in self._stack)

    def resolve(self, node: ast.AST) -> str | None:
        """Return the dotted path of a Name or Attribute that leads to something imported or fixed, else None."""
        if isinstance(node, ast.Name):
            return next((names[node.id] for names in reversed(self._stack) if node.id in names), None)
        if isinstance(node, ast.Attribute) and (base := self.resolve(node.value)):
            return f"{base}.{node.attr}"
        return None

    def _enter(self, body: list[ast.AST] | list[ast.stmt], names: dict[str, str | None]) -> None:
        nodes = list(own_nodes(*body))
        for node in nodes:
            for name in bound_names(node):
                names[name] = names.get(name) or _import_path(node, name)
        for node in nodes:
            if isinstance(node, ast.Global | ast.Nonlocal):
                names = {k: v for k, v in names.items() if k not in node.names}
        self._stack.append(names)
        for node in nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                target = node.targets[0].id
                if target in names:
                    names[target] = names[target] or self.resolve(node.value)


def own_nodes(*roots: ast.AST) -> Iterator[ast.AST]:
    """Yield the roots and the nodes below them, in order, without the insides of functions and classes."""
    for root in roots:
        yield root
        if not isinstance(root, _SCOPE):
            yield from own_nodes(*ast.iter_child_nodes(root))


def bound_names(node: ast.AST) -> list[str]:
    """List the names that this one node binds: `import mlx.core as mx` -> ["mx"], a `def` -> its name."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Name(ctx=ast.Store()):
            return [node.id]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
        case ast.MatchMapping(rest=str(name)):
            return [name]
    return []


def class_attributes(tree: ast.Module) -> Iterator[str]:
    """Yield the attributes that the file's classes define: in their bodies, and on the first parameter of a method."""
    for cls in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        for node in cls.body:
            yield from (name for inner in own_nodes(node) for name in bound_names(inner))
            if isinstance(node, FUNCTION) and (arguments := [*node.args.posonlyargs, *node.args.args]):
                yield from _stores_on(node, arguments[0].arg)


def _stores_on(function: ast.AST, name: str) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and dotted(node.value) == name:
            yield node.attr


def dotted(node: ast.AST) -> str:
    """Return the source text of a chain of names, `a.b.c` -> "a.b.c"; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def defaults(function: FUNCTION) -> list[ast.expr]:
    """List the default values of a function's parameters."""
    return [*function.args.defaults, *(value for value in function.args.kw_defaults if value)]


def _body(function: FUNCTION | ast.Module) -> list[ast.AST]:
    return [function.body] if isinstance(function, ast.Lambda) else list(function.body)


def arguments(args: ast.arguments) -> list[ast.arg]:
    """List all parameters, of every kind."""
    found = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [a for a in found if a is not None]


def _import_path(node: ast.AST, name: str) -> str | None:
    if isinstance(node, ast.Import):
        # `import mlx.nn` binds `mlx`; `import mlx.nn as nn` binds the submodule
        return next(a.name if a.asname else name for a in node.names if (a.asname or a.name.partition(".")[0]) == name)
    if isinstance(node, ast.ImportFrom):
        return next(f"{node.module}.{a.name}" for a in node.names if (a.asname or a.name) == name)
    return None
