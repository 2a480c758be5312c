"""Check the form of the agent: agent.py compiles and defines `answer`, prompt.md says something. Runs neither."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MOST_BYTES = 16_000  # of both files


def wrong(code: str, prompt: str) -> list[str]:
    """Return what is wrong with the two files, an empty list where nothing is."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        return [f"agent.py does not compile: {error}"]
    found = []
    if not any(isinstance(node, ast.FunctionDef) and node.name == "answer" for node in tree.body):
        found.append("agent.py defines no function answer(question, ask)")
    if len(prompt.split()) < 3:
        found.append("prompt.md says nothing")
    if len(code.encode()) + len(prompt.encode()) > MOST_BYTES:
        found.append(f"agent.py and prompt.md have more than {MOST_BYTES} bytes")
    return found


def main() -> int:
    try:
        found = wrong(Path("agent.py").read_bytes().decode(), Path("prompt.md").read_bytes().decode())
    except UnicodeDecodeError as error:
        found = [f"no text: {error}"]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
