"""Evaluate the literals that constants and keys have, and say which may replace which. No I/O."""

from __future__ import annotations

import ast
import math
import operator
import textwrap
import warnings
from collections.abc import Callable
from typing import Any

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


def evaluate(text: str) -> Any:
    """Return the value of a literal or of arithmetic of literals. Raises ValueError for any other expression.

    evaluate("2**16") -> 65536
    """
    try:
        return value(expression(text))
    except (SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a literal: {textwrap.shorten(text, 60)}") from error


def expression(text: str) -> ast.expr:
    """Return the syntax tree of an expression."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.strip(), mode="eval").body


def value(node: ast.expr) -> Any:
    """Return the value of a literal or of arithmetic of literals. Raises ValueError for anything else."""
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as constant):
            if isinstance(constant, int) and constant.bit_length() > MAX_BITS:
                raise ValueError("too large")
            return constant
        case ast.Tuple(elts=elements):
            return tuple(value(element) for element in elements)
        case ast.List(elts=elements):
            return [value(element) for element in elements]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -number(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return number(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _calculate(op, number(left), number(right))
    raise ValueError("not a literal")


def number(node: ast.expr) -> int | float:
    """Return the value of a number or of arithmetic of numbers. Raises ValueError for anything else."""
    found = value(node)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError("not a number")
    return found


def is_literal(node: ast.expr) -> bool:
    """Return whether an expression is a literal, or arithmetic of literals."""
    try:
        value(node)
    except (ValueError, ArithmeticError, RecursionError):
        return False
    return True


def without_names(text: str, values: Callable[[], dict[str, Any]]) -> str:
    """Return the value of arithmetic that names one of `values()`, to six digits; any other text as it is.

    >>> without_names("LR * 1.5", lambda: {"LR": 0.04})
    '0.06'
    """
    try:
        node = expression(text)
        if isinstance(node, ast.BinOp) and any(isinstance(part, ast.Name) for part in ast.walk(node)):
            found = number(_Known(values()).visit(node))
            return repr(float(f"{found:.6g}") if isinstance(found, float) else found)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        pass
    return text


def unquoted(text: str, old: Any) -> str:
    """Return a number without the quotes around it where it replaces a number; any other text as it is.

    >>> unquoted('"0.05"', 0.04), unquoted('"8"', "L")
    ('0.05', '"8"')
    """
    inner = text[1:-1].strip()
    if isinstance(old, bool) or not isinstance(old, int | float) or f"{text[:1]}{text[-1:]}" not in ('""', "''"):
        return text
    try:
        number(expression(inner))
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return text
    return inner


def finite(literal: Any) -> bool:
    """Return whether a value holds neither NaN nor infinity."""
    if isinstance(literal, tuple | list):
        return all(finite(element) for element in literal)
    return not isinstance(literal, float) or math.isfinite(literal)


def same_kind(old: Any, new: Any) -> bool:
    """Return whether `new` may replace `old`: a whole number may replace a float, otherwise the types must agree."""
    if old is None:
        return True
    if isinstance(old, tuple | list):
        return type(old) is type(new) and len(old) == len(new) and all(map(same_kind, old, new))
    if isinstance(old, float):
        return isinstance(new, int | float) and not isinstance(new, bool)
    return type(old) is type(new)


def kind(literal: Any) -> str:
    """Name the type of a value in a message."""
    if isinstance(literal, tuple | list):
        return f"a {type(literal).__name__} of {len(literal)}"
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}
    return names.get(type(literal), "None")


class _Known(ast.NodeTransformer):
    """Replacement of the names of numeric constants by their values."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.values[node.id]) if node.id in self.values else node


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
