"""Check a candidate's source against the contract of the editable file, before it runs. No I/O.

The contract is an allowlist. It guards against accidents and against a lazy model's shortcuts (reward hacking): each
violation says what to write instead. No reading of a program can stop all malice; against that stand the judge, which
runs in a process of its own, and the sandbox, which bounds the harm. A false alarm on honest research is a defect.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from autoresearch.paths import EDITABLE
from autoresearch.tasks.gpt import allowlist
from autoresearch.tasks.gpt.attributes import GUARD
from autoresearch.tasks.gpt.names import NameChecker
from autoresearch.tasks.gpt.scopes import Scopes, bound_names, defaults, dotted, own_nodes

MAX_BYTES = 28_000  # of source; a small model has to read the file whole
SIGNATURES = {"build_model": ("task",), "train": ("model", "run")}


@dataclass(frozen=True, slots=True)
class Violation:
    """A breach of the contract: its line (1-based; 0: the whole file), and what to do, for people and small models."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


def check(source: str, baseline: str | None = None) -> list[Violation]:
    """Return the violations of `source` by line; none when it keeps the contract.

    Whatever the baseline imports is allowed, and whatever it uses of `prepare` and of `run`.

    check("import os\\n") -> [Violation(0, "build_model(task) is missing ..."), ..., Violation(1, "`import os` ...")]
    """
    size = len(source.encode(errors="replace"))
    too_long = f"the file has {size:,} bytes and may have {MAX_BYTES:,}: shorten it by {size - MAX_BYTES:,}"
    found = [Violation(0, too_long)] if size > MAX_BYTES else []
    tree = _parse(source)
    if isinstance(tree, Violation):
        return [*found, tree]
    try:
        found += _check(tree, baseline or "")
    except RecursionError:
        found.append(Violation(0, "an expression is nested too deeply to be read: split it"))
    return sorted(set(found), key=lambda v: (v.line, v.message))


def _check(tree: ast.Module, baseline: str) -> Iterator[Violation]:
    granted, has_guard = _granted(baseline)
    yield from (Violation(*problem) for problem in NameChecker(tree, _guard(tree), granted).found)
    for name, args in SIGNATURES.items():
        yield from _signature(tree, name, args)
    yield from _import_time(tree)
    if has_guard and not _guard(tree):
        yield Violation(0, f"keep the end of the file: `{GUARD} raise SystemExit(prepare.main(...))`")


@lru_cache(maxsize=8)
def _granted(baseline: str) -> tuple[frozenset[str], bool]:
    """Return what a baseline uses beside the allowlist, and whether it has the guard; none if broken."""
    tree = _parse(baseline)
    if isinstance(tree, Violation):
        return frozenset(), False
    return frozenset(NameChecker(tree, _guard(tree)).refused), _guard(tree) is not None


def _parse(source: str) -> ast.Module | Violation:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is not a breach
            tree = ast.parse(source)
            compile(tree, EDITABLE, "exec", dont_inherit=True)  # finds `return` outside a function and the like
    except SyntaxError as error:
        text = f": {error.text.strip()[:80]}" if error.text else ""
        return Violation(error.lineno or 0, f"not valid Python, {error.msg}{text}")
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, lone surrogates, thousands of brackets
        return Violation(0, f"not valid Python: {error or type(error).__name__}")
    return tree


# --- the two fixed functions ------------------------------------------------------------------------------------------


def _signature(tree: ast.Module, name: str, args: tuple[str, ...]) -> Iterator[Violation]:
    wanted = f"{name}({', '.join(args)})"
    bindings = [node for node in own_nodes(*tree.body) if name in bound_names(node)]
    if not bindings:
        yield Violation(0, f"{wanted} is missing: define it once, at module level")
    for extra in bindings[1:]:
        yield Violation(_line(extra), f"{name} is defined twice: keep one definition of {wanted}")
    for node in bindings[:1]:
        if not (isinstance(node, ast.FunctionDef) and node in tree.body):
            yield Violation(_line(node), f"{name} must be a plain function at module level: `def {wanted}:`")
            continue
        a = node.args
        positional = tuple(arg.arg for arg in [*a.posonlyargs, *a.args])
        if positional != args or a.vararg or a.kwarg or a.kwonlyargs or a.defaults:
            yield Violation(node.lineno, f"the signature is fixed: `def {wanted}:`, found ({ast.unparse(a)})")
        for inner in own_nodes(*node.body):
            if isinstance(inner, ast.Yield | ast.YieldFrom):
                yield Violation(inner.lineno, f"`yield` makes {name} a generator, which never runs: remove it")


# --- what happens at import -------------------------------------------------------------------------------------------


def _guard(tree: ast.Module) -> ast.If | None:
    """Find the `if __name__ == "__main__":` statement; its body does not run in the loop."""
    guards = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "__name__ == '__main__'")
    return next(guards, None)


def _import_time(tree: ast.Module) -> Iterator[Violation]:
    """Find statements that do work at import, and constants whose computation trains or draws random numbers."""
    scopes = Scopes(tree)
    uses = {name: _uses(s, scopes) for s in tree.body for node in own_nodes(s) for name in bound_names(node)}
    for statement in _module_statements(tree.body):
        if isinstance(statement, ast.If) and statement is _guard(tree):
            continue
        if not isinstance(statement, _ALLOWED_STATEMENTS) or _is_bare_call(statement):
            what = ast.unparse(statement).splitlines()[0]
            yield Violation(statement.lineno, f"`{what}` runs at import: move it into build_model or train")
            continue
        for call in _import_time_calls(statement):
            path = scopes.resolve(call.func) or ""
            reached = {path} if allowlist.trains(path, direct=True) else _reached(path or dotted(call.func), uses)
            if reached:
                what = f"`{ast.unparse(call.func)}(...)` runs at import and uses {min(reached)}"
                yield Violation(call.lineno, f"{what}: call it in build_model or train, after the harness has seeded")


_ALLOWED_STATEMENTS = (
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass, ast.Assert),
    *(ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Delete, ast.If, ast.Try, ast.Expr),
    *([ast.TypeAlias] if hasattr(ast, "TypeAlias") else []),  # Python 3.12
)


def _module_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and not _guard(ast.Module([statement], [])):
            yield from _module_statements([*statement.body, *statement.orelse])
        if isinstance(statement, ast.Try):
            handlers = [s for handler in statement.handlers for s in handler.body]
            yield from _module_statements([*statement.body, *handlers, *statement.orelse, *statement.finalbody])


def _is_bare_call(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Constant)


def _import_time_calls(statement: ast.stmt) -> Iterator[ast.Call]:
    """Yield the calls that the statement itself makes: in constants, decorators, default arguments, class bodies."""
    if isinstance(statement, ast.If | ast.Try):
        return  # their statements come one by one
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Call):
            yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            stack += [*node.decorator_list, *defaults(node)]
        elif isinstance(node, ast.Lambda):
            stack += defaults(node)
        else:
            stack += ast.iter_child_nodes(node)


def _uses(node: ast.AST, scopes: Scopes) -> set[str]:
    """Collect the dotted paths that a definition mentions; names of this file stand for themselves."""
    mentioned = (n for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute))
    return {path for n in mentioned if (path := scopes.resolve(n) or dotted(n))}


def _reached(name: str, uses: dict[str, set[str]]) -> set[str]:
    """Collect the paths that train or draw random numbers, among all that a name of this file leads to."""
    seen: set[str] = set()
    waiting = [name] if name in uses else []
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += uses.get(current, ())
    return {path for path in seen if allowlist.trains(path)}


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)
