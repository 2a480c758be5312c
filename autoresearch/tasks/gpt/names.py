"""Check imports, and where names are bound and used, in a candidate's source against the allowlist. No I/O."""

from __future__ import annotations

import ast
from collections.abc import Sequence, Set

from autoresearch.tasks.gpt import allowlist
from autoresearch.tasks.gpt.attributes import (
    HARNESS_OBJECTS,
    INTERNALS,
    ONLY_IN_PLACES,
    AttributeChecker,
    is_dunder,
)
from autoresearch.tasks.gpt.scopes import (
    COMPREHENSION,
    alias_target,
    arguments,
    body,
    bound_names,
    defaults,
    dotted,
    import_path,
    own_nodes,
)


class NameChecker(AttributeChecker):
    """The problems `found` in a whole file and what is `refused` in it; `guard` is its `if __name__ == ...`."""

    def __init__(self, tree: ast.Module, guard: ast.If | None, granted: Set[str] = frozenset()) -> None:
        super().__init__(tree, granted)
        self.guard = guard
        self.check_module_level(tree)
        self.visit(tree)

    # --- statements ---

    def check_module_level(self, tree: ast.Module) -> None:
        """Refuse module-level names that hide a builtin: until they are bound, and again after `del`, they do not."""
        handed_on = {name for n in ast.walk(tree) if isinstance(n, ast.Global) for name in n.names}
        nodes = [(n, name) for n in own_nodes(*tree.body) for name in bound_names(n)]
        nodes += [(n, name) for n in ast.walk(tree) for name in bound_names(n) if name in handed_on]
        for node, name in nodes:
            if name in allowlist.REFUSED_BUILTINS or (is_dunder(name) and name not in allowlist.MODULE_NAMES):
                self.add(node, f"`{name}` is the interpreter's own name: take another one at module level")

    def visit_If(self, node: ast.If) -> None:
        self.in_guard, before = self.in_guard or node is self.guard, self.in_guard
        self.generic_visit(node)
        self.in_guard = before

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if self.check_module(node, alias.name):
                self.check_import_name(node, alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            self.add(node, "relative imports are not allowed: the file stands alone")
        elif self.check_module(node, module):
            for alias in node.names:
                self.check_imported_name(node, module, alias.name)
                self.check_import_name(node, alias.asname or alias.name)

    def check_module(self, node: ast.AST, module: str) -> bool:
        if module in allowlist.MODULES | self.granted:
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
        elif f"{module}.{name}" not in ONLY_IN_PLACES:
            self.check_path(node, f"{module}.{name}")

    def check_import_name(self, node: ast.Import | ast.ImportFrom, name: str) -> None:
        """Refuse an import whose name does not stand for it alone: two under one name, or one handed to `global`."""
        stands_for = self.scopes.resolve(ast.Name(name, ast.Load()))
        if stands_for != import_path(node, name):
            self.add(node, f"`{name}` also stands for something else: import at the top, each under a name of its own")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for keyword in node.keywords:
            if keyword.arg in ("metaclass", None):
                self.add(node, f"class {node.name} has a metaclass: subclass abc.ABC or enum.Enum instead")
        for part in [*node.decorator_list, *node.bases, *node.keywords, *getattr(node, "type_params", [])]:
            function = part.func if isinstance(part, ast.Call) and part in node.decorator_list else part
            if part not in node.decorator_list or self.scopes.resolve(function) != "dataclasses.dataclass":
                self.visit(part)
            elif isinstance(part, ast.Call):
                self.visit_all([*part.args, *part.keywords])
        for inner in own_nodes(*node.body):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                self.add(inner, f"`{ast.unparse(inner)}` stands in a class: import at the top of the file")
            for name in bound_names(inner):
                self.check_definition(inner, name)
        with self.scopes.inside_class(node):
            for statement in node.body:
                self.visit(statement)

    def check_definition(self, node: ast.AST, name: str) -> None:
        """Check a name that a class body binds: it becomes an attribute without a dot."""
        if name == "__match_args__":
            self.add(node, "`__match_args__`: name the attributes in the pattern, as in `case Point(x=x)`")
        elif is_dunder(name) and name not in allowlist.DEFINED_DUNDERS:
            self.add(node, f"`{name}` is not for a class of this file to define: {INTERNALS}")
        elif name in allowlist.HARNESS_PRIVATE | allowlist.LIBRARY_PRIVATE:
            self.add(node, f"`{name}` is a private name of the harness or a library; take another name")
        elif name in allowlist.REFUSED_ATTRIBUTES:
            self.add(node, f"`{name}` in a class: take another name; {allowlist.REFUSED_ATTRIBUTES[name]}")

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in [*node.decorator_list, *defaults(node), *getattr(node, "type_params", [])]:
            self.visit(part)
        with self.types():
            for annotation in [node.returns, *(argument.annotation for argument in arguments(node.args))]:
                if annotation:
                    self.visit(annotation)
        fixed = {n: f"<{n}>" for n in HARNESS_OBJECTS if node.name == ("build_model" if n == "task" else "train")}
        with self.scopes.inside(node, fixed), self.foreign.inside(node):
            for statement in node.body:
                self.visit(statement)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        with self.types():
            self.visit(node.annotation)
        self.visit(node.target)
        if node.value:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        path = self.scopes.resolve(node.value)
        alias = alias_target(node) and path is not None and self.scopes.resolve(node.targets[0]) == path
        for target in node.targets:
            self.visit(target)
        if alias and isinstance(node.value, ast.Attribute):  # `fast = mx.fast` keeps its path
            self.check_chain(node.value)
        elif not (alias and path in allowlist.MODULES - {"prepare"}):
            self.visit(node.value)

    # --- expressions ---

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in defaults(node):
            self.visit(default)
        with self.scopes.inside(node), self.foreign.inside(node):
            for part in body(node):
                self.visit(part)

    def visit_ListComp(self, node: COMPREHENSION) -> None:
        self.visit(node.generators[0].iter)
        with self.scopes.inside_comprehension(node):
            for i, generator in enumerate(node.generators):
                for part in [generator.target, *generator.ifs, *([generator.iter] if i else [])]:
                    self.visit(part)
            for result in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
                self.visit(result)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_Compare(self, node: ast.Compare) -> None:
        missing = all(isinstance(c, ast.Constant) and c.value is None for c in node.comparators)
        if not (missing and isinstance(node.left, ast.Name)):  # `np is None`, after an optional import
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        path = self.scopes.resolve(node)
        if not isinstance(node.ctx, ast.Load):
            return
        self.check_module_value(node, path)
        if path in ONLY_IN_PLACES:
            self.check_path(node, path)
        elif node.id == "type" and not self.scopes.bound("type") and not self.of_types:
            self.add(node, "`type` makes classes: call it with one object, as in `type(layer).__name__`")
        self.check_free_name(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        path = self.scopes.resolve(node.value)
        if path and not isinstance(node.ctx, ast.Load):
            self.add(node, f"`{ast.unparse(node)}` belongs to a library: do not change it, use a variable of your own")
        with self.types(self.of_types or dotted(node.value) == "type"):
            self.visit(node.value)
        self.visit(node.slice)

    def visit_Call(self, node: ast.Call) -> None:
        path, values = self.scopes.resolve(node.func), [*node.args, *node.keywords]
        name = node.func.id if isinstance(node.func, ast.Name) and not self.scopes.bound(node.func.id) else ""
        if path in ("copy.copy", "copy.deepcopy") and any(self.scopes.resolve(a) == "<run>" for a in node.args):
            self.add(node, f"`{ast.unparse(node)}`: there is one run, and one clock; use `run` itself")
        if _makes_a_class(node):
            self.add(node, f"`{ast.unparse(node)}` makes a class: write it with a class statement")
        if texts := self.templates(node.func):
            self.check_fields(node, texts)
        elif not (_is_one(values) and (name == "type" or path == "functools.wraps")):
            with self.types(False):
                self.visit(node.func)
        with self.types(name in ("isinstance", "issubclass")):
            self.visit_all(values)


def _is_one(values: Sequence[ast.AST]) -> bool:
    return len(values) == 1 and not isinstance(values[0], ast.Starred | ast.keyword)


def _makes_a_class(node: ast.Call) -> bool:
    """Return whether a call has the arguments of type(): f("Name", (Base,), {...})."""
    match node.args:
        case [_, ast.Tuple(), ast.Dict() | ast.DictComp() | ast.Call(func=ast.Name(id="dict"))]:
            return True
    return False
