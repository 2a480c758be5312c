"""Read and set the module-level constants of a Python source, and hash sources for comparison. No I/O.

A constant is an UPPER_CASE name to which the module assigns a literal, or arithmetic of literals such as `2**16`. Its
value is replaced at its place in the text, which the syntax tree tells, so everything around it stays as it is.
Functions that take a source raise SourceError when it is not valid Python.
"""

from __future__ import annotations

import ast
import hashlib
import re
import textwrap
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import lru_cache, partial
from typing import Any

from autoresearch.candidate import literals as lit
from autoresearch.candidate.syntax import parse, parse_anew
from autoresearch.errors import EditError, SourceError

NAME = re.compile(r"[A-Z][A-Z0-9_]*")
CACHED = 64  # hashes of sources; the incumbent is compared with every reply

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef  # nodes that can have a docstring


def read(source: str) -> dict[str, Any]:
    """Return the constants and their values, in order.

    read("DEPTH = 8\\nBATCH = 2**16  # tokens\\nHEADS = DEPTH // 2\\n") -> {"DEPTH": 8, "BATCH": 65536}
    """
    return {name: lit.value(node) for name, node in _constants(parse(source))}


def literals(source: str) -> dict[str, str]:
    """Return the constants and the source text of their values, in order.

    literals("DEPTH = 8\\nBATCH = 2**16  # tokens\\n") -> {"DEPTH": "8", "BATCH": "2**16"}
    """
    tree = parse(source)
    lines = _byte_lines(source)
    return {name: _cut(lines, node)[1].decode() for name, node in _constants(tree)}


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
    text, value = _literal(name, literal, lit.value(nodes[0]), source)
    before, _, after = _cut(_byte_lines(source), nodes[0])
    changed = (before + text.encode() + after).decode()
    if _read_or_none(changed, name) != value:
        raise EditError(f"SET {name} = {literal}: the value cannot stand in that place. Use a SEARCH/REPLACE block.")
    return changed


def spelled(value: Any, like: str) -> str:
    """Write a value as a literal in the style of another: 32768 like "2**16" -> "2**15"."""
    if "**" in like and type(value) is int and value > 1 and value & (value - 1) == 0:
        return f"2**{value.bit_length() - 1}"
    return repr(value)


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
        if NAME.fullmatch(name) and lit.is_literal(value):
            yield name, value


def _read_or_none(source: str, name: str) -> Any:
    try:
        return read(source).get(name)
    except SourceError:
        return None


def _literal(name: str, literal: str, old: Any, source: str) -> tuple[str, Any]:
    """Return the source text and the value of `literal` as a new value for the constant `name`, which is `old` now."""
    plain = lit.unquoted(literal.strip(), old)
    text = lit.without_names(_spelled_as_python(plain, old), partial(read, source))
    literal = textwrap.shorten(literal, 60)
    try:
        value = lit.evaluate(text)
    except ValueError as error:
        raise EditError(
            f"SET {name} = {literal}: the value has to be a literal such as {old!r}, without names, units or calls."
        ) from error
    if not lit.finite(value):
        raise EditError(f"SET {name} = {literal}: the value has to be finite.")
    if type(old) is int and isinstance(value, float) and value.is_integer():  # DEPTH / 2, or 6.0
        value = int(value)
        text = str(value)
    if isinstance(old, tuple) and isinstance(value, list):  # [0.8, 0.95], as JSON has it
        value = tuple(value)
        text = repr(value)
    if not lit.same_kind(old, value):
        raise EditError(
            f"SET {name} = {literal}: {name} is {lit.kind(old)} ({old!r}) and the new value is {lit.kind(value)}. "
            "Give a value of the same type, or change the code that uses it with a SEARCH/REPLACE block."
        )
    node = lit.expression(text)
    segment = ast.get_source_segment(text, node) or text  # without a comment
    return (segment if "\n" not in segment else ast.unparse(node)), value


def _spelled_as_python(text: str, old: Any) -> str:
    """Write JSON's true and false for a bool, and a bare word for a string, as Python does."""
    if isinstance(old, bool) and text.lower() in ("true", "false"):
        return text.capitalize()
    if isinstance(old, str) and text.isidentifier():
        return f'"{text}"'
    return text


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
    tree = parse_anew(source)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for _, value in _constants(ast.Module([statement], [])):
                statement.value = blank(lit.value(value))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _hash(tree: ast.Module) -> str:
    try:
        return hashlib.sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    except RecursionError as error:
        raise SourceError("not valid Python: nested too deeply") from error
