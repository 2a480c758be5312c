"""Resolve names in a syntax tree through scopes and import aliases to dotted paths. No I/O."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
COMPREHENSION = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_SCOPE = FUNCTION | ast.ClassDef


@dataclass
class _Scope:
    names: dict[str, str | None] = field(default_factory=dict)  # bound name -> dotted path of what it stands for
    of_module: frozenset[str] = frozenset()  # names that a `global` statement hands to the module
    is_class: bool = False


class Scopes:
    """The names bound at module level, and in the functions, classes and comprehensions entered.

    A name that stands for something imported has a dotted path:
    after `import mlx.core as mx` and `fast = mx.fast`, resolve(`fast.rope`) -> "mlx.core.fast.rope".
    An assignment makes such an alias only where it is the one binding of its name.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._stack: list[_Scope] = []
        declarations = (n for n in ast.walk(tree) if isinstance(n, ast.Global | ast.Nonlocal))
        self._rebound = {name for node in declarations for name in node.names}
        self._enter(tree.body, {})

    @contextmanager
    def inside(self, function: FUNCTION, fixed: Mapping[str, str] | None = None) -> Iterator[None]:
        """Enter a function; `fixed` gives paths of their own to some of its names."""
        names: dict[str, str | None] = {a.arg: None for a in arguments(function.args)}
        self._enter(body(function), {**names, **(fixed or {})})
        yield
        self._stack.pop()

    @contextmanager
    def inside_class(self, node: ast.ClassDef) -> Iterator[None]:
        """Enter a class body, whose names are hidden from the functions in it."""
        names = {name: None for inner in own_nodes(*node.body) for name in bound_names(inner)}
        self._stack.append(_Scope(dict(names), is_class=True))
        yield
        self._stack.pop()

    @contextmanager
    def inside_comprehension(self, node: COMPREHENSION) -> Iterator[None]:
        """Enter a comprehension; its first iterable is outside."""
        targets = (n for g in node.generators for n in own_nodes(g.target))
        self._stack.append(_Scope({name: None for n in targets for name in bound_names(n)}))
        yield
        self._stack.pop()

    def bound(self, name: str) -> bool:
        return self._find(name) is not None

    def resolve(self, node: ast.AST) -> str | None:
        """Return the dotted path of a Name or Attribute that leads to something imported or fixed, else None."""
        if isinstance(node, ast.Name):
            scope = self._find(node.id)
            return scope.names[node.id] if scope else None
        if isinstance(node, ast.Attribute) and (base := self.resolve(node.value)):
            return f"{base}.{node.attr}"
        return None

    def _find(self, name: str) -> _Scope | None:
        """Return the scope whose binding a read of the name finds."""
        module = self._stack[0]
        for scope in reversed(self._stack):
            if scope.is_class and scope is not self._stack[-1]:
                continue
            # What a class body binds is the module's, or a builtin, until the statement that binds it has run.
            if name in scope.of_module or (scope.is_class and name in scope.names):
                return module if name in module.names else None
            if name in scope.names:
                return scope
        return None

    def _enter(self, statements: Sequence[ast.AST], names: dict[str, str | None]) -> None:
        nodes = list(own_nodes(*statements))
        count = Counter(name for node in nodes for name in bound_names(node))
        for node in nodes:
            for name in bound_names(node):
                names[name] = names.get(name) or import_path(node, name)
        of_module = frozenset(name for node in nodes if isinstance(node, ast.Global) for name in node.names)
        elsewhere = {name for node in nodes if isinstance(node, ast.Nonlocal) for name in node.names} | of_module
        names = {k: v for k, v in names.items() if k not in elsewhere}
        self._stack.append(_Scope(names, of_module))
        for node in nodes:
            target = alias_target(node)
            if target in names and count[target] == 1 and target not in self._rebound:
                assert isinstance(node, ast.Assign)
                names[target] = names[target] or self.resolve(node.value)


def alias_target(node: ast.AST) -> str:
    """Return the name that a plain assignment of one name binds, else ""."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def own_nodes(*roots: ast.AST) -> Iterator[ast.AST]:
    """Yield the roots and the nodes below them, in order, without the insides of functions and classes.

    Of a comprehension come only the assignment expressions in it, which bind names outside of it.
    """
    for root in roots:
        yield root
        if isinstance(root, COMPREHENSION):
            yield from _assignment_expressions(root)
        elif not isinstance(root, _SCOPE):
            yield from own_nodes(*ast.iter_child_nodes(root))


def _assignment_expressions(node: ast.AST) -> Iterator[ast.NamedExpr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.NamedExpr):
            yield child
        if not isinstance(child, _SCOPE):
            yield from _assignment_expressions(child)


def bound_names(node: ast.AST) -> list[str]:
    """List the names that this one node binds: `import mlx.core as mx` -> ["mx"], a `def` -> its name."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Name(ctx=ast.Store()):
            return [node.id]
        case ast.NamedExpr(target=ast.Name(id=name)):
            return [name]
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


def body(function: FUNCTION) -> Sequence[ast.AST]:
    """Return the statements of a function, or the one expression of a lambda."""
    return [function.body] if isinstance(function, ast.Lambda) else function.body


def arguments(args: ast.arguments) -> list[ast.arg]:
    """List all parameters, of every kind."""
    found = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [a for a in found if a is not None]


def import_path(node: ast.AST, name: str) -> str | None:
    """Return the dotted path of a name that an import binds: `import mlx.core as mx`, "mx" -> "mlx.core"."""
    if isinstance(node, ast.Import):
        # `import mlx.nn` binds `mlx`; `import mlx.nn as nn` binds the submodule
        return next(a.name if a.asname else name for a in node.names if (a.asname or a.name.partition(".")[0]) == name)
    if isinstance(node, ast.ImportFrom):
        return next(f"{node.module}.{a.name}" for a in node.names if (a.asname or a.name) == name)
    return None
