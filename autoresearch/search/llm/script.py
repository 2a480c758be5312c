"""Show a script to a language model so that a change of its constants leaves the beginning of the prompt as it was.

The constants stand at the head of the script, and most changes that are kept are theirs. Shown first, they would make
the server read nearly the whole script again after each keep; shown last, they are all that it reads.
"""

from __future__ import annotations

import ast


def split(source: str) -> tuple[str, str]:
    """Return the head of a script, up to its first function or class, and the code from there on.

    >>> split("A = 1  # layers\\n\\n\\n@f\\ndef g():\\n    pass\\n")
    ('A = 1  # layers\\n\\n\\n', '@f\\ndef g():\\n    pass\\n')
    """
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = source.splitlines(keepends=True)
            return "".join(lines[: first - 1]), "".join(lines[first - 1 :])
    return source, ""


def shown(source: str, *, in_order: bool = False) -> str:
    """Return the section of a prompt that shows the whole script: code, then head, unless it has to be `in_order`."""
    head, code = (source, "") if in_order else split(source)
    if not code:
        return f"## The script, train_mlx.py\n\n{_block(head)}"
    return (
        f"## The script, train_mlx.py, from its first function on\n\n{_block(code)}\n"
        f"## The beginning of the script, which precedes this code: imports and constants\n\n{_block(head)}"
    )


def _block(text: str) -> str:
    return f"```python\n{text.strip()}\n```\n"
