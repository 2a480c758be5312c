"""Check reads and stores of attributes in a candidate's source, in every form that Python has. No I/O.

Dots, class patterns, fields of format strings and names in texts read attributes. A module stands only before a dot, so
that what is done with it is seen.
"""

from __future__ import annotations

import ast
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

from autoresearch.tasks.gpt import allowlist
from autoresearch.tasks.gpt.foreign import Foreign
from autoresearch.tasks.gpt.scopes import Scopes, bound_names, class_attributes, dotted

GUARD = 'if __name__ == "__main__":'
HARNESS_OBJECTS = ("task", "run")  # parameters of build_model and train: a candidate may read them, not change them
HARNESS_TYPES = frozenset({"prepare.Task", "prepare.Run"})
ONLY_IN_PLACES = frozenset({"prepare.main", "dataclasses.dataclass", "functools.wraps"}) | HARNESS_TYPES
INTERNALS = "the file has no need of the interpreter's internals"
# Class patterns of these take their one position as the value itself, and read no attribute.
_VALUES = frozenset({"bool", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"})


class AttributeChecker(ast.NodeVisitor):
    """The problems `found` in the nodes visited (line, message), and the modules and dotted paths `refused` in them.

    `granted` are modules and dotted paths that are allowed beside the allowlist.
    """

    def __init__(self, tree: ast.Module, granted: Set[str]) -> None:
        self.found: list[tuple[int, str]] = []
        self.refused: set[str] = set()
        self.granted = granted
        self.scopes = Scopes(tree)
        self.foreign = Foreign(tree, self.scopes)
        self.own = set(class_attributes(tree))
        self.in_guard, self.of_types = False, False
        self.texts = _texts(tree)

    def add(self, node: ast.AST, message: str) -> None:
        self.found.append((getattr(node, "lineno", 0), message))

    def visit_all(self, nodes: Sequence[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    @contextmanager
    def types(self, named: bool = True) -> Iterator[None]:
        """Enter a place where classes are `named` and not used: an annotation, or the second argument of isinstance."""
        self.of_types, before = named, self.of_types
        yield
        self.of_types = before

    # --- names and texts ---

    def check_free_name(self, node: ast.Name) -> None:
        if self.scopes.bound(node.id):
            return
        if node.id in allowlist.REFUSED_BUILTINS:
            self.add(node, f"`{node.id}` is not allowed: {allowlist.REFUSED_BUILTINS[node.id]}")
        elif node.id.startswith("__") and node.id not in allowlist.NAMES:
            self.add(node, f"`{node.id}` is not allowed: {INTERNALS}")

    def check_module_value(self, node: ast.Name | ast.Attribute, path: str | None) -> None:
        if path == "prepare":
            self.add(node, "use `prepare.cross_entropy(...)` directly; the module itself is not to be handed on")
        elif path in allowlist.MODULES:
            shown = ast.unparse(node)
            self.add(node, f"`{shown}` is a module and stands only before a dot: write `{shown}.name` where you use it")

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and (name := node.value) != "__main__":
            known = allowlist.DEFINED_DUNDERS | allowlist.MODULE_NAMES | allowlist.NAMES
            if name in allowlist.FRAMES or (is_dunder(name) and name not in known):
                self.add(node, f"`{name!r}` names an attribute of the interpreter's: {INTERNALS}")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add) and (text := _joined(node)) is not None:
            self.visit_Constant(ast.Constant(text, lineno=node.lineno))
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.visit_Constant(ast.Constant(node.arg, lineno=node.lineno))
        self.visit(node.value)

    # --- attributes ---

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.check_module_value(node, self.scopes.resolve(node))
        self.check_chain(node)

    def check_chain(self, node: ast.Attribute) -> None:
        """Check a.b.c from the right to the left: `a` and `a.b` stand before a dot."""
        self.check_attribute(node)
        if isinstance(node.value, ast.Attribute):
            self.check_chain(node.value)
        elif not isinstance(node.value, ast.Name):
            self.visit(node.value)
        else:
            self.check_free_name(node.value)
            if (path := self.scopes.resolve(node.value)) in ONLY_IN_PLACES:
                self.check_path(node.value, path)

    def check_attribute(self, node: ast.Attribute) -> None:
        path, shown = self.scopes.resolve(node), ast.unparse(node)
        if not isinstance(node.ctx, ast.Load):
            self.check_store(node, path, shown)
        if node.attr.startswith("_"):
            self.check_private(node, path, shown)
        elif node.attr in allowlist.REFUSED_ATTRIBUTES:
            self.add(node, f"`{shown}` is not allowed: {allowlist.REFUSED_ATTRIBUTES[node.attr]}")
        elif node.attr in ("format", "format_map") and not path:
            self.add(node, f"`{shown}`: write an f-string, or call `.format` on the text itself")
        elif path and isinstance(node.ctx, ast.Load):
            self.check_path(node, path)

    def check_store(self, node: ast.Attribute, path: str | None, shown: str) -> None:
        if (path and path.startswith("<")) or dotted(node.value).partition(".")[0] in HARNESS_OBJECTS:
            self.add(node, f"`{shown}` belongs to the harness and cannot be set: use a variable of your own")
        elif path:
            self.add(node, f"`{shown}` belongs to a library: do not change it, write a function or class of your own")
        elif is_dunder(node.attr) and node.attr not in allowlist.SETTABLE_DUNDERS:
            self.add(node, f"`{shown}` changes a class at run time: define {node.attr} in the class's body")
        elif self.foreign.holds(node.value):
            self.add(node, f"`{shown}` changes a class at run time: set it on the object, or in the class's body")

    def check_private(self, node: ast.Attribute, path: str | None, shown: str) -> None:
        of_harness = allowlist.HARNESS_PRIVATE | allowlist.LIBRARY_PRIVATE
        if node.attr in of_harness & self.own and not (path and path.startswith("<")):
            self.add(node, f"`{shown}`: the harness or a library has a private `{node.attr}`; take another name")
        elif is_dunder(node.attr):
            if node.attr not in allowlist.DUNDERS:
                self.add(node, f"`{shown}` is not allowed: {INTERNALS}")
        elif path or node.attr not in self.own | allowlist.PRIVATE:
            self.add(node, f"`{shown}` is private: only `_names` that a class of this file sets on self may be used")

    def check_path(self, node: ast.AST, path: str) -> None:
        """Check that a dotted path such as mlx.core.fast.rms_norm, or <run>.batches, is allowed."""
        if path == "prepare.main":
            if not self.in_guard:
                self.add(node, f"prepare.main may stand only under `{GUARD}`")
        elif path in HARNESS_TYPES:
            if not self.of_types:
                self.add(node, f"{path} stands only in annotations: the harness makes it, and hands it to you")
        elif path == "functools.wraps":
            self.add(node, "`wraps` copies attributes: write it with one function, as in `@functools.wraps(function)`")
        elif path == "dataclasses.dataclass":
            self.add(node, "`dataclass` stands only above a class of this file, as `@dataclass`")
        elif path not in self.granted | allowlist.MODULES and (reason := allowlist.refusal(path)):
            self.refused.add(path)
            shown = path if isinstance(node, ast.ImportFrom) else ast.unparse(node)
            self.add(node, f"`{shown}` is not allowed: {reason}")

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for name in node.kwd_attrs:
            if name.startswith("_"):
                self.add(node, f"`{name}=` in a pattern is private: match public names")
            elif name in allowlist.REFUSED_ATTRIBUTES:
                self.add(node, f"`{name}=` is not allowed: {allowlist.REFUSED_ATTRIBUTES[name]}")
        if node.patterns and dotted(node.cls) not in _VALUES:
            self.add(node, "name the attributes in the pattern, as in `case Point(x=x)`")
        with self.types():
            self.visit(node.cls)
        for pattern in [*node.patterns, *node.kwd_patterns]:
            self.visit(pattern)

    def templates(self, function: ast.expr) -> list[str]:
        """Return the text of `"...".format`, or the texts that `name.format` can stand for; none for anything else."""
        match function:
            case ast.Attribute(attr="format", value=ast.Constant(value=str(text))):
                return [text]
            case ast.Attribute(attr="format", value=ast.Name(id=name)):
                return self.texts.get(name, [])
        return []

    def check_fields(self, node: ast.Call, texts: Sequence[str]) -> None:
        for name in (name for text in texts for name in _field_attributes(text)):
            if name.startswith("_") or name in allowlist.REFUSED_ATTRIBUTES:
                self.add(node, f"`{name}` in a format field is not allowed: write an f-string of the values you print")


def _texts(tree: ast.Module) -> Mapping[str, list[str]]:
    """Return the names that stand for texts wherever the file binds them, with all of their texts."""
    texts: dict[str, list[str]] = {}
    count = Counter(name for node in ast.walk(tree) for name in bound_names(node))
    count.update(node.arg for node in ast.walk(tree) if isinstance(node, ast.arg))
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                texts.setdefault(name, []).append(text)
    return {name: found for name, found in texts.items() if len(found) == count[name]}


def _joined(node: ast.expr) -> str | None:
    """Return the text of a sum of texts, `"a" + "b"` -> "ab"; None for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            one, other = _joined(left), _joined(right)
            return None if one is None or other is None else one + other
    return None


def is_dunder(name: str) -> bool:
    return len(name) > 4 and name.startswith("__") and name.endswith("__")


def _field_attributes(text: str) -> Iterator[str]:
    """Yield the attributes and keys in the fields of a format string: "{0.a} {b[c]:{d.e}}" -> a, c, e."""
    try:
        fields = [(name or "", spec or "") for _, name, spec, _ in string.Formatter().parse(text)]
    except ValueError:  # the call fails with the same error
        return
    for name, spec in fields:
        yield from re.findall(r"[.\[]([^.\[\]]+)", name)
        yield from _field_attributes(spec)
