"""Choose a function of training's script for a model to rewrite, and show it with what it uses, no more. No I/O."""

from __future__ import annotations

import ast
import re

from autoresearch.candidate import constants, syntax
from autoresearch.candidate.edits import REQUIRED_FUNCTIONS
from autoresearch.candidate.syntax import Definition
from autoresearch.records import Context

MOST_CHARS = 9000  # of what a function uses; the rest is named only
FEWEST_LINES = 2  # of a function that is worth rewriting
# Kinds of turns that ask for code, and category -> words in the names of the functions that decide it.
KINDS = ("new category", "bold", "simplify", "combine")
WORDS = {
    "attention": "attn attention rope rotary window query key",
    "mlp": "mlp",
    "embedding": "embed bigram token table",
    "normalisation": "norm",
    "initialisation": "init",
    "optimizer": "muon adam update polar orthogonal momentum",
    "schedule": "scale schedule lr warm",
    "regularisation": "decay update",
    "precision": "cast head muon",
    "speed": "attention head muon step",
}


# The heading of a replaced function up to its name, a fence that begins with a function, and a SEARCH/REPLACE block.
_HEADING = r"^([ \t>*+#_`\-\d.)]{0,20}REPLACE\s{1,4}(?:def|function|method)\s{1,4}`?)"
_FENCED = r"^[ \t]{0,20}(?:`{3,}|~{3,})[^\n`]*\n(?=(?:[ \t]*@[^\n]*\n)*[ \t]*def[ \t]+(\w+))"
_BLOCK = r"^[ \t]{0,20}<{5,9}"


def target(context: Context) -> str | None:
    """Return the name of a function for a turn that asks for code, or None; turns rotate through those that fit."""
    directive = context.directive
    if directive is None or directive.kind not in KINDS or context.brief is not None:
        return None
    names = [name for name, node in syntax.definitions(syntax.parse(context.source)) if _is_worth_it(name, node)]
    words = WORDS.get(directive.category or "", "").split()
    fitting = [name for name in names if any(word in name.lower() for word in words)]
    if directive.category and not fitting:
        return None
    chosen = fitting or names
    return chosen[(context.seed + context.turn) % len(chosen)] if chosen else None


def head(source: str, name: str) -> str:
    """Return the lines of a function up to its body: "@property\\ndef windows(self) -> list[int]:"."""
    node = dict(syntax.definitions(syntax.parse(source)))[name]
    first, start = node.body[0].lineno, min(n.lineno for n in [node, *node.decorator_list])
    lines = _text(source, node).split("\n")[: max(1, first - start)]
    while lines[-1].lstrip().startswith("#") or not lines[-1].strip():
        lines.pop()
    return "\n".join(lines)


def addressed(text: str, name: str) -> str:
    """Return the answer to a question for the function `name` with the line `REPLACE def NAME` that it may lack.

    Small models leave the line out, or the name of a method's class in it. The one fence that begins with that function
    gets the line; an answer with edits in other forms stays as it is.
    """
    flags, short = re.MULTILINE | re.IGNORECASE, re.escape(name.rpartition(".")[2])
    if re.search(_HEADING, text, flags):
        return re.sub(rf"{_HEADING}{short}\b(?!\.)", lambda match: f"{match[1]}{name}", text, flags=flags)
    fences = [match.start() for match in re.finditer(_FENCED, text, re.MULTILINE) if re.fullmatch(short, match[1])]
    if len(fences) != 1 or re.search(_BLOCK, text, flags):
        return text
    return f"{text[: fences[0]]}REPLACE def {name}\n{text[fences[0] :]}"


def _is_worth_it(name: str, node: Definition) -> bool:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    return not isinstance(node, ast.ClassDef) and name not in REQUIRED_FUNCTIONS and lines >= FEWEST_LINES


def shown(source: str, name: str) -> str:
    """Return the source of the function `name`, under the constants and definitions that it uses."""
    tree = syntax.parse(source)
    known = dict(syntax.definitions(tree))
    used = {node.id for node in ast.walk(known[name]) if isinstance(node, ast.Name)}
    owner, _, _ = name.rpartition(".")
    methods = {node.attr for node in ast.walk(known[name]) if isinstance(node, ast.Attribute)}
    wanted = [n for n in known if n != name and (n in used or (owner and n in {f"{owner}.{m}" for m in methods}))]
    if owner and f"{owner}.__init__" != name and f"{owner}.__init__" in known:
        wanted.append(f"{owner}.__init__")
    literals = constants.literals(source)
    lines = [f"{constant} = {literal}" for constant, literal in literals.items() if constant in used]
    parts, left = ["\n".join(lines)] if lines else [], MOST_CHARS
    for other in dict.fromkeys(wanted):
        text = _text(source, known[other])
        text = text if len(text) <= left else f"{text.splitlines()[0]}  ... (not shown)"
        left -= len(text)
        parts.append(f"# {other}\n{text}")
    uses = "\n\n".join(parts)
    head = f"The constants and definitions that it uses:\n\n```python\n{uses}\n```\n\n" if parts else ""
    return f"{head}The function to rewrite, {name}:\n\n```python\n{_text(source, known[name])}\n```\n"


def _text(source: str, node: Definition) -> str:
    """Return the lines of a definition with its decorators, without common indentation."""
    start = min(n.lineno for n in [node, *node.decorator_list]) - 1
    lines = source.split("\n")[start : node.end_lineno]
    indent = " " * node.col_offset
    return "\n".join(re.sub(f"^{indent}", "", line) for line in lines)
