"""Read and set the module-level constants of the editable file, and hash sources for comparison. No I/O.

A constant is an UPPER_CASE name to which the module assigns a literal, or arithmetic of literals such as `2**16`. Its
value is replaced at its place in the text, which the syntax tree tells, so everything around it stays as it is.
Functions that take a source raise SourceError when it is not valid Python.
"""

from __future__ import annotations

import ast
import hashlib
import math
import operator
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from autoresearch.candidate.syntax import parse
from autoresearch.errors import EditError, SourceError

NAME = re.compile(r"[A-Z][A-Z0-9_]*")
CACHED = 64  # hashes of sources; the incumbent is compared with every reply
MAX_BITS = 128  # of a whole number: `9**9**9` would take a minute, and every value has to fit a float

_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef  # nodes that can have a docstring


def read(source: str) -> dict[str, Any]:
    """Return the constants and their values, in order.

    read("DEPTH = 8\\nBATCH = 2**16  # tokens\\nHEADS = DEPTH // 2\\n") -> {"DEPTH": 8, "BATCH": 65536}
    """
    return {name: _value(node) for name, node in _constants(parse(source))}


def literals(source: str) -> dict[str, str]:
    """Return the constants and the source text of their values, in order.

    literals("DEPTH = 8\\nBATCH = 2**16  # tokens\\n") -> {"DEPTH": "8", "BATCH": "2**16"}
    """
    tree = parse(source)
    lines = _byte_lines(source)
    return {name: _cut(lines, node)[1].decode() for name, node in _constants(tree)}


def evaluate(text: str) -> Any:
    """Return the value of a literal or of arithmetic of literals. Raises ValueError for any other expression.

    evaluate("2**16") -> 65536
    """
    try:
        return _value(_expression(text))
    except (SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a literal: {textwrap.shorten(text, 60)}") from error


def assign(source: str, name: str, literal: str) -> str:
    """Return `source` with the constant `name` set to `literal`, and all else as it is.

    assign("DEPTH = 8  # layers\\n", "DEPTH", "6") -> "DEPTH = 6  # layers\\n"

    A formula over the source's constants is replaced by its value: assign("LR = 0.04\\n", "LR", "LR * 1.5") ->
    "LR = 0.06\\n". Raises EditError when the name is unknown (the message names the closest ones), when `literal` is
    neither, and when its type differs from that of the present value.
    """
    nodes = [node for found, node in _constants(parse(source)) if found == name]
    if not nodes:
        raise EditError(_unknown(source, name))
    if len(nodes) > 1:
        lines = " and ".join(str(node.lineno) for node in nodes)
        raise EditError(f"SET {name}: it is assigned on lines {lines}. Change it with a SEARCH/REPLACE block.")
    text, value = _literal(name, literal, _value(nodes[0]), source)
    before, _, after = _cut(_byte_lines(source), nodes[0])
    changed = (before + text.encode() + after).decode()
    if _read_or_none(changed, name) != value:
        raise EditError(f"SET {name} = {literal}: the value cannot stand in that place. Use a SEARCH/REPLACE block.")
    return changed


def changed(old: str, new: str) -> dict[str, tuple[Any, Any]]:
    """Return the constants whose values differ, as name -> (old, new); None stands for a constant that is not there.

    changed("A = 1\\nB = 2\\n", "A = 3\\nB = 2\\n") -> {"A": (1, 3)}
    """
    before, after = read(old), read(new)
    names = list(dict.fromkeys([*before, *after]))
    return {n: (before.get(n), after.get(n)) for n in names if repr(before.get(n)) != repr(after.get(n))}


@lru_cache(CACHED)
def normalised(source: str) -> str:
    """Hash what `source` does; comments, docstrings, layout and the spelling of constants do not count."""
    return _hash(_tidied(source, lambda value: ast.Constant(repr(value))))


@lru_cache(CACHED)
def structure(source: str) -> str:
    """Hash the code alone: as `normalised`, with the values of the constants blanked."""
    return _hash(_tidied(source, lambda _: ast.Constant(None)))


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        if NAME.fullmatch(name) and _is_literal(value):
            yield name, value


def _read_or_none(source: str, name: str) -> Any:
    try:
        return read(source).get(name)
    except SourceError:
        return None


def _is_literal(node: ast.expr) -> bool:
    try:
        _value(node)
    except (ValueError, ArithmeticError, RecursionError):
        return False
    return True


def _expression(text: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.strip(), mode="eval").body


def _value(node: ast.expr) -> Any:
    """Return the value of a literal or of arithmetic of literals. Raises ValueError for anything else."""
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            if isinstance(value, int) and value.bit_length() > MAX_BITS:
                raise ValueError("too large")
            return value
        case ast.Tuple(elts=elements):
            return tuple(_value(element) for element in elements)
        case ast.List(elts=elements):
            return [_value(element) for element in elements]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _number(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _calculate(op, _number(left), _number(right))
    raise ValueError("not a literal")


def _number(node: ast.expr) -> int | float:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    return value


def _calculate(op: ast.operator, left: float, right: float) -> int | float:
    if isinstance(op, ast.LShift) and not (isinstance(left, int) and isinstance(right, int) and right <= MAX_BITS):
        raise ValueError("not a shift of whole numbers")
    if isinstance(op, ast.Pow) and isinstance(left, int) and left.bit_length() * abs(right) > MAX_BITS:
        raise ValueError("too large")
    result = _ARITHMETIC[type(op)](left, right)
    if not isinstance(result, int | float):  # (-8) ** 0.5 is complex
        raise ValueError("not a real number")
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
        raise ValueError("too large")
    return result


def _literal(name: str, literal: str, old: Any, source: str) -> tuple[str, Any]:
    """Return the source text and the value of `literal` as a new value for the constant `name`, which is `old` now."""
    text = _without_names(_spelled_as_python(literal.strip(), old), source)
    literal = textwrap.shorten(literal, 60)
    try:
        value = evaluate(text)
    except ValueError as error:
        raise EditError(
            f"SET {name} = {literal}: the value has to be a literal such as {old!r}, without names or calls."
        ) from error
    if not _finite(value):
        raise EditError(f"SET {name} = {literal}: the value has to be finite.")
    if not _same_kind(old, value):
        raise EditError(
            f"SET {name} = {literal}: {name} is {_kind(old)} ({old!r}) and the new value is {_kind(value)}. "
            "Give a value of the same type, or change the code that uses it with a SEARCH/REPLACE block."
        )
    node = _expression(text)
    segment = ast.get_source_segment(text, node) or text  # without a comment
    return (segment if "\n" not in segment else ast.unparse(node)), value


def _without_names(text: str, source: str) -> str:
    """Return the value of arithmetic that names the source's constants, to six digits; any other text as it is."""
    try:
        node = _expression(text)
        if isinstance(node, ast.BinOp) and any(isinstance(part, ast.Name) for part in ast.walk(node)):
            value = _number(_Known(read(source)).visit(node))
            return repr(float(f"{value:.6g}") if isinstance(value, float) else value)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        pass
    return text


class _Known(ast.NodeTransformer):
    """Replacement of the names of numeric constants by their values."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.values[node.id]) if node.id in self.values else node


def _spelled_as_python(text: str, old: Any) -> str:
    """Write JSON's true and false for a bool, and a bare word for a string, as Python does."""
    if isinstance(old, bool) and text.lower() in ("true", "false"):
        return text.capitalize()
    if isinstance(old, str) and text.isidentifier():
        return f'"{text}"'
    return text


def _finite(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_finite(element) for element in value)
    return not isinstance(value, float) or math.isfinite(value)


def _same_kind(old: Any, new: Any) -> bool:
    """Return whether `new` may replace `old`: a whole number may replace a float, otherwise the types must agree."""
    if old is None:
        return True
    if isinstance(old, tuple | list):
        return type(old) is type(new) and len(old) == len(new) and all(map(_same_kind, old, new))
    if isinstance(old, float):
        return isinstance(new, int | float) and not isinstance(new, bool)
    return type(old) is type(new)


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}
    return names.get(type(value), "None")


def _unknown(source: str, name: str) -> str:
    """Explain why `source` has no constant `name`: it is computed, or it is not there; suggest others."""
    known = literals(source)
    for statement in parse(source).body:
        if isinstance(statement, ast.Assign) and any(ast.unparse(target) == name for target in statement.targets):
            return (
                f"SET {name}: it is computed (line {statement.lineno}: {ast.unparse(statement)}). "
                "Set what it is computed from, or change the line with a SEARCH/REPLACE block."
            )
    closest = get_close_matches(name.upper()[:80], known, n=3, cutoff=0.5) or list(known)
    suggestions = ", ".join(f"{other} = {known[other]}" for other in closest)
    return f"SET {name}: there is no such constant. Did you mean {suggestions}"


def _byte_lines(source: str) -> list[bytes]:
    """Split `source` as the syntax tree counts it: columns are UTF-8 bytes, and only newlines end a line."""
    return source.encode().splitlines(keepends=True)


def _cut(lines: list[bytes], node: ast.expr) -> tuple[bytes, bytes, bytes]:
    """Return the source before, of and after `node`."""
    assert node.end_lineno is not None and node.end_col_offset is not None  # always set by ast.parse
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    whole = b"".join(lines)
    return whole[:start], whole[start:end], whole[end:]


def _tidied(source: str, blank: Callable[[Any], ast.expr]) -> ast.Module:
    """Parse `source`, drop its docstrings, and replace the value of each constant by what `blank` returns for it."""
    tree = parse(source)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for _, value in _constants(ast.Module([statement], [])):
                statement.value = blank(_value(value))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _hash(tree: ast.Module) -> str:
    try:
        return hashlib.sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    except RecursionError as error:
        raise SourceError("not valid Python: nested too deeply") from error
