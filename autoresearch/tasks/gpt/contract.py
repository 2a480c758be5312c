"""Check a candidate's source against the contract of the editable file, before it runs. No I/O.

The contract is an allowlist. It guards against accidents and against a lazy model's shortcuts (reward hacking): each
violation says what to write instead. It does not guard against malice, since a program that shares an interpreter with
its judge can always cheat on purpose; the sandbox bounds the harm, and the final validation measures again. A false
alarm on honest research is a defect.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Set
from dataclasses import dataclass

from autoresearch.paths import EDITABLE
from autoresearch.tasks.gpt import allowlist
from autoresearch.tasks.gpt.scopes import Scopes, arguments, bound_names, class_attributes, defaults, dotted, own_nodes

MAX_BYTES = 28_000  # of source; a small model has to read the file whole
SIGNATURES = {"build_model": ("task",), "train": ("model", "run")}
GUARD = 'if __name__ == "__main__":'


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
    given = _parse(baseline) if baseline else None
    try:
        found += _check(tree, given if isinstance(given, ast.Module) else ast.Module([], []))
    except RecursionError:
        found.append(Violation(0, "an expression is nested too deeply to be read: split it"))
    return sorted(set(found), key=lambda v: (v.line, v.message))


def _check(tree: ast.Module, baseline: ast.Module) -> Iterator[Violation]:
    yield from _check_names(tree, granted=_check_names(baseline).refused).found
    for name, args in SIGNATURES.items():
        yield from _signature(tree, name, args)
    yield from _import_time(tree)
    if _guard(baseline) and not _guard(tree):
        yield Violation(0, f"keep the end of the file: `{GUARD} raise SystemExit(prepare.main(...))`")


def _parse(source: str) -> ast.Module | Violation:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is no breach
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


# --- names, attributes, imports ---------------------------------------------------------------------------------------


def _check_names(tree: ast.Module, granted: Set[str] = frozenset()) -> _NameChecker:
    """Visit the whole tree; `granted` are modules and dotted paths that are allowed beside the allowlist."""
    checker = _NameChecker(tree, granted)
    checker.visit(tree)
    return checker


class _NameChecker(ast.NodeVisitor):
    """The violations `found` in the nodes visited, and the modules and dotted paths `refused` in them."""

    def __init__(self, tree: ast.Module, granted: Set[str]) -> None:
        self.found: list[Violation] = []
        self.refused: set[str] = set()
        self.granted = granted
        self.scopes = Scopes(tree)
        self.own = set(class_attributes(tree))
        self.guard = _guard(tree)
        self.in_guard = False

    def add(self, node: ast.AST, message: str) -> None:
        self.found.append(Violation(_line(node), message))

    def visit_If(self, node: ast.If) -> None:
        self.in_guard, before = self.in_guard or node is self.guard, self.in_guard
        self.generic_visit(node)
        self.in_guard = before

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.check_module(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            self.add(node, "relative imports are not allowed: the file stands alone")
        elif self.check_module(node, module):
            for alias in node.names:
                self.check_imported_name(node, module, alias.name)

    def check_module(self, node: ast.AST, module: str) -> bool:
        if module in allowlist.MODULES | self.granted:
            return True
        if module.startswith(allowlist.PACKAGES) and not allowlist.refusal(module):
            return True
        self.refused.add(module)
        self.add(node, f"`{ast.unparse(node)}` is not allowed: {allowlist.import_hint(module)}")
        return False

    def check_imported_name(self, node: ast.ImportFrom, module: str, name: str) -> None:
        if name == "*":
            self.add(node, f"`{ast.unparse(node)}`: import the names that you use, one by one")
        elif name.startswith("_"):
            self.add(node, f"`{name}` is private to {module}: use only public names")
        elif name in allowlist.REFUSED_ATTRIBUTES:
            self.add(node, f"`{name}` is not allowed: {allowlist.REFUSED_ATTRIBUTES[name]}")
        elif f"{module}.{name}" != "prepare.main":
            self.check_path(node, f"{module}.{name}")

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        annotations = [node.returns, *(argument.annotation for argument in arguments(node.args))]
        for part in [*node.decorator_list, *defaults(node), *(a for a in annotations if a)]:
            self.visit(part)
        # The harness's own objects: a candidate may read them but not change them.
        fixed = [n for n in SIGNATURES.get(node.name, ()) if n != "model"]
        with self.scopes.inside(node, {n: f"<{n}>" for n in fixed}):
            for statement in node.body:
                self.visit(statement)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in defaults(node):
            self.visit(default)
        with self.scopes.inside(node):
            self.visit(node.body)

    def visit_Name(self, node: ast.Name) -> None:
        name, path = node.id, self.scopes.resolve(node)
        if path == "prepare":
            self.add(node, "use `prepare.cross_entropy(...)` directly; the module itself is not to be handed on")
        elif path == "prepare.main":
            self.check_path(node, path)
        elif isinstance(node.ctx, ast.Load) and not self.scopes.bound(name):
            self.check_free_name(node, name)

    def check_free_name(self, node: ast.Name, name: str) -> None:
        if name in allowlist.REFUSED_BUILTINS:
            self.add(node, f"`{name}` is not allowed: {allowlist.REFUSED_BUILTINS[name]}")
        elif name.startswith("__") and name not in allowlist.NAMES:
            self.add(node, f"`{name}` is not allowed: the file has no need of the interpreter's internals")

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for name in node.kwd_attrs:
            if name.startswith("_"):
                self.add(node, f"`{name}=` in a pattern is private: match public names")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        copies = self.scopes.resolve(node.func) in ("copy.copy", "copy.deepcopy")
        if copies and any(self.scopes.resolve(argument) == "<run>" for argument in node.args):
            self.add(node, f"`{ast.unparse(node)}`: there is one run, and one clock; use `run` itself")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path, shown = self.scopes.resolve(node), ast.unparse(node)
        if not isinstance(node.ctx, ast.Load):
            self.check_store(node, path, shown)
        if node.attr.startswith("_"):
            self.check_private(node, path, shown)
        elif node.attr in allowlist.REFUSED_ATTRIBUTES and node.attr not in self.own:
            self.add(node, f"`{shown}` is not allowed: {allowlist.REFUSED_ATTRIBUTES[node.attr]}")
        elif path and isinstance(node.ctx, ast.Load):
            self.check_path(node, path)
        if not isinstance(node.value, ast.Name):  # a lone name is either fine or already part of the path
            self.visit(node.value)
        elif not self.scopes.bound(node.value.id):
            self.check_free_name(node.value, node.value.id)

    def check_store(self, node: ast.Attribute, path: str | None, shown: str) -> None:
        if path and path.startswith("<"):
            self.add(node, f"`{shown}` belongs to the harness and cannot be set: use a variable of your own")
        elif path:
            self.add(node, f"`{shown}` belongs to a library: do not change it, write a function or class of your own")
        elif _is_class_of(node.value):
            self.add(node, f"`{shown}` changes a class at run time: set it on the object, or in the class's body")

    def check_private(self, node: ast.Attribute, path: str | None, shown: str) -> None:
        dunder = node.attr.endswith("__")
        if node.attr in allowlist.HARNESS_PRIVATE & self.own and not (path and path.startswith("<")):
            self.add(node, f"`{shown}`: the harness has a private `{node.attr}`; take another name")
        elif dunder and node.attr not in self.own | allowlist.DUNDERS:
            self.add(node, f"`{shown}` is not allowed: the file has no need of the interpreter's internals")
        elif not dunder and (path or node.attr not in self.own | allowlist.PRIVATE):
            self.add(node, f"`{shown}` is private: only `_names` that a class of this file sets on self may be used")

    def check_path(self, node: ast.AST, path: str) -> None:
        """Check that a dotted path such as mlx.core.fast.rms_norm, or <run>.batches, is allowed."""
        if path == "prepare.main":
            if not self.in_guard:
                self.add(node, f"prepare.main may stand only under `{GUARD}`")
        elif path not in self.granted | allowlist.MODULES and (reason := allowlist.refusal(path)):
            self.refused.add(path)
            shown = path if isinstance(node, ast.ImportFrom) else ast.unparse(node)
            self.add(node, f"`{shown}` is not allowed: {reason}")


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _is_class_of(node: ast.AST) -> bool:
    """Return whether a node is `type(x)` or `x.__class__`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "type"
    return isinstance(node, ast.Attribute) and node.attr == "__class__"
