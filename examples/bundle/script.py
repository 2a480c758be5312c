"""Bring a script into a form in which layout, comments, names of its own, and functions that nothing calls are gone.

Two scripts with the same form do the same. It knows what the teahouse's script uses, and refuses what it does not know.
"""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"(?P<space>\s+|/\*.*?\*/|//[^\n]*)"
    r"|(?P<string>\"[^\"\\\n]*\"|'[^'\\\n]*')"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w$]))"
    r"|(?P<name>[A-Za-z_$][\w$]*)"
    r"|(?P<sign>===|!==|=>|==|!=|<=|>=|&&|\|\||\+\+|--|\+=|-=|\*=|[-+*%<>=!?:;,.(){}\[\]])",
    re.DOTALL,
)
WORDS = (
    "async await break case catch class const continue debugger default delete do else enum export extends false "
    "finally for function if import in instanceof let new null of return static super switch this throw true try "
    "typeof var void while with yield"
)
KEYWORDS = frozenset(WORDS.split())
OPEN, CLOSE = "({[", ")}]"


class Unknown(Exception):
    """Something in a script that this program does not understand."""


def tokens(text: str) -> list[str]:
    """Split a script into tokens; names are as they stand, strings in double quotes, numbers in one spelling."""
    found: list[str] = []
    at, line_ended = 0, False
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Unknown(f"{text[at : at + 20]!r}")
        at = match.end()
        token, kind = match[0], match.lastgroup
        if kind == "space":
            line_ended = line_ended or "\n" in token
            continue
        if line_ended and found and (found[-1] in ("return", "break", "continue", "throw") or token in ("++", "--")):
            raise Unknown(f"a line's end before {token}")
        if kind == "string":
            token = f'"{token[1:-1]}"' if '"' not in token[1:-1] else token
        elif kind == "number":
            token = repr(float(token))
        elif token == "const":
            token = "let"  # what is never assigned again
        if token == "}" and found and found[-1] == ";":
            found.pop()
        found.append(token)
        line_ended = False
    return found[:-1] if found and found[-1] == ";" else found


def is_name(token: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_$][\w$]*", token)) and token not in KEYWORDS


def split(found: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the statements of a script, and its functions by their names."""
    main: list[str] = []
    functions: dict[str, list[str]] = {}
    at, depth = 0, 0
    while at < len(found):
        begins = not main or main[-1] in (";", "}")
        if found[at] == "function" and depth == 0 and begins:
            end = closing(found, found.index("{", at))
            name = found[at + 1]
            if name in functions or not is_name(name):
                raise Unknown(f"function {name}")
            functions[name] = found[at : end + 1]
            at = end + 1
            continue
        depth += (found[at] in OPEN) - (found[at] in CLOSE)
        main.append(found[at])
        at += 1
    return main, functions


def closing(found: list[str], at: int) -> int:
    """Return the place of the bracket that closes the one at a place."""
    depth = 0
    for place in range(at, len(found)):
        depth += (found[place] in OPEN) - (found[place] in CLOSE)
        if depth == 0:
            return place
    raise Unknown("a bracket that is not closed")


def declared(unit: list[str]) -> set[str]:
    """Return the names that a piece of a script declares: variables, and parameters of functions."""
    names = {unit[i + 1] for i, token in enumerate(unit[:-1]) if token in ("let", "var")}
    for i, token in enumerate(unit):
        if token == "function":
            start = unit.index("(", i)
            names |= {name for name in unit[start : closing(unit, start)] if is_name(name)}
    return names


def form(text: str) -> list[str]:
    """Return a script's form. Raises Unknown."""
    main, functions = split(tokens(text))
    shared = [*declared_outside(main), *functions]
    if len(set(shared)) != len(shared):
        raise Unknown("a name that is declared twice")
    numbers: dict[str, int] = {}
    waiting, written, done = [main], [], set()
    while waiting:
        unit = waiting.pop(0)
        own = declared(unit) - (set(declared_outside(main)) if unit is main else set())
        local: dict[str, int] = {}
        for i, token in enumerate(unit):
            is_key = i > 0 and unit[i - 1] == "."
            if not is_name(token) or is_key or (i + 1 < len(unit) and unit[i + 1] == ":"):
                written.append(token)
            elif token in own:
                written.append(f"local {local.setdefault(token, len(local))}")
            elif token in shared:
                written.append(f"shared {numbers.setdefault(token, len(numbers))}")
                if token in functions and token not in done:
                    done.add(token)
                    waiting.append(functions[token])
            else:
                written.append(token)
        written.append("end")
    return written


def declared_outside(main: list[str]) -> list[str]:
    """Return the variables that all functions see: those that are declared outside of every bracket."""
    depth, names = 0, []
    for i, token in enumerate(main[:-1]):
        depth += (token in OPEN) - (token in CLOSE)
        if depth == 0 and token in ("let", "var"):
            names.append(main[i + 1])
    return names


def new_names(text: str, before: str) -> set[str]:
    """Return the names that a script has and that it did not have before."""
    return {token for token in tokens(text) if is_name(token)} - {token for token in tokens(before) if is_name(token)}
