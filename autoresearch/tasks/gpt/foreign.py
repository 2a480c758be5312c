"""Tell which expressions may be a class or function of a library, which a candidate must not change. No I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autoresearch.tasks.gpt.scopes import FUNCTION, Scopes, arguments, body, bound_names, own_nodes

# Builtins that hand on what they are given.
_PASSING = frozenset(
    {"dict", "enumerate", "filter", "frozenset", "iter", "list", "map", "max", "min", "next", "reversed", "set"}
    | {"sorted", "tuple", "zip"}
)


class Foreign:
    """What names and containers of the file hold: `[mx.array][0]`, `for c in (nn.Linear,)`, `patch(nn.Module)`."""

    def __init__(self, tree: ast.Module, scopes: Scopes) -> None:
        self.scopes = scopes
        self._imported = {
            name for n in ast.walk(tree) for name in bound_names(n) if isinstance(n, ast.Import | ast.ImportFrom)
        }
        self._stack: list[dict[str, bool]] = []
        self._enter(tree.body, ())
        self._imported |= {name for name, held in self._stack[0].items() if held}
        self._fed = {given for n in ast.walk(tree) if isinstance(n, ast.Call) for given in self._given(n)}

    @contextmanager
    def inside(self, function: FUNCTION) -> Iterator[None]:
        """Enter a function, after `scopes` has."""
        name, args = getattr(function, "name", ""), function.args
        positional = [a.arg for a in [*args.posonlyargs, *args.args] if a.arg != "self"]
        fed = [p for i, p in enumerate(positional) if (name, i) in self._fed]
        fed += [a.arg for a in arguments(args) if {(name, a.arg), (name, None)} & self._fed]
        self._enter(body(function), fed)
        yield
        self._stack.pop()

    def holds(self, node: ast.AST | None) -> bool:
        """Return whether an expression may be something of a library; what a class makes when it is called is not."""
        match node:
            case ast.Name(id=name):
                known = next((names[name] for names in reversed(self._stack) if name in names), False)
                return known or self.scopes.resolve(node) is not None
            case ast.Attribute(value=value, attr=attr):
                return attr == "__class__" or self.scopes.resolve(node) is not None or self.holds(value)
            case ast.Subscript(value=value) | ast.Starred(value=value) | ast.NamedExpr(value=value):
                return self.holds(value)
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.BoolOp(values=parts):
                return any(map(self.holds, parts))
            case ast.Dict(values=parts):
                return any(map(self.holds, parts))
            case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
                return self.holds(one) or self.holds(other)
            case ast.ListComp(elt=part) | ast.SetComp(elt=part) | ast.GeneratorExp(elt=part):
                return self.holds(part) or any(self.holds(g.iter) for g in node.generators)
            case ast.Call():
                return self._call_holds(node)
        return False

    def _call_holds(self, node: ast.Call) -> bool:
        given = any(map(self.holds, [*node.args, *(k.value for k in node.keywords)]))
        match node.func:
            case ast.Name(id="type"):
                return True
            case ast.Lambda(body=result):
                return given or self.holds(result)
            case ast.Name(id=name) if name in _PASSING:
                return given
        path = self.scopes.resolve(node.func)
        if path is None:  # a method of a container, as in PLACES.pop()
            return isinstance(node.func, ast.Attribute) and self.holds(node.func.value)
        return given and not path.startswith(("mlx.", "numpy.", "prepare."))  # SimpleNamespace(c=mx.array)

    def _given(self, call: ast.Call) -> Iterator[tuple[str, int | str | None]]:
        """Yield which parameter of which function a call may hand something of a library; None stands for any.

        patch(nn.Module) -> ("patch", 0), patch(cls=nn.Module) -> ("patch", "cls"), map(patch, [...]) -> ("patch", None)
        """
        keys: list[int | str | None] = [*range(len(call.args)), *(k.arg for k in call.keywords)]
        values = [*call.args, *(k.value for k in call.keywords)]
        match call.func:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                pass
            case _:
                name = ""
        for key, value in zip(keys, values, strict=True):
            mentioned = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
            if mentioned & self._imported and self.holds(value):
                yield name, None if isinstance(value, ast.Starred) else key
                yield from ((other.id, None) for other in values if isinstance(other, ast.Name))

    def _enter(self, statements: Sequence[ast.AST], fed: Sequence[str]) -> None:
        names: dict[str, bool] = dict.fromkeys(fed, True)
        self._stack.append(names)
        sources: dict[str, list[ast.expr]] = {}
        for node in own_nodes(*statements):
            for name, source in _flows(node):
                sources.setdefault(name, []).append(source)
        for _ in range(2):  # a name may be assigned from one that is bound further down
            for name, found in sources.items():
                told = [s for s in found if not (isinstance(s, ast.Constant) and s.value is None)]
                names[name] = bool(told) and all(map(self.holds, told))


def _flows(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a node binds, each with the expression that it gets, or is taken from."""
    source: ast.expr | None = None
    targets: list[ast.AST] = []
    match node:
        case ast.Assign(targets=found, value=source):
            targets = [*found]
        case ast.AnnAssign(target=target, value=source) | ast.NamedExpr(target=target, value=source):
            targets = [target]
        case ast.For(target=target, iter=source) | ast.AsyncFor(target=target, iter=source):
            targets = [target]
        case ast.withitem(optional_vars=ast.expr() as target, context_expr=source):
            targets = [target]
        case ast.Match(subject=source):
            targets = [case.pattern for case in node.cases]
    if source is not None:
        yield from ((name, source) for t in targets for n in ast.walk(t) for name in bound_names(n))
