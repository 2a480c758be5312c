"""The agent: asks the model, runs the tools that it calls, and returns its answer. This file may change."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from pathlib import Path

MAX_STEPS = 2  # calls of the model for one answer
VOTES = 1  # answers of which the most frequent one counts
TEMPERATURE = 0.9  # of the model

CALL = re.compile(r"^CALL (\w+): (.+)$", re.MULTILINE)
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def calculator(text: str) -> str:
    """Return the value of an arithmetic expression: calculator("17 * 24 - 39") -> "369"."""

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        return ast.literal_eval(node)

    return f"{value(ast.parse(text, mode='eval').body):.10g}"


TOOLS: dict[str, Callable[[str], str]] = {"calculator": calculator}


def final(reply: str) -> str:
    """Return the answer in a reply: its last number, or all of it."""
    numbers = re.findall(r"-?\d[\d.-]*\d|\d", reply)
    return numbers[-1] if numbers else reply.strip()


def attempt(question: str, ask: Callable[..., str]) -> str:
    """Return one answer. `ask(messages, temperature)` returns the model's reply."""
    messages = [{"role": "system", "content": Path("prompt.md").read_text()}, {"role": "user", "content": question}]
    reply = ""
    for _ in range(MAX_STEPS):
        reply = ask(messages, TEMPERATURE)
        call = CALL.search(reply)
        if call is None:
            break
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": result(call[1], call[2])}]
    return final(reply)


def result(name: str, text: str) -> str:
    """Return what a tool says, for the model to read."""
    if name not in TOOLS:
        return f"ERROR there is no tool {name}"
    try:
        return f"RESULT {TOOLS[name](text)}"
    except (ArithmeticError, KeyError, SyntaxError, TypeError, ValueError) as error:
        return f"ERROR {error}"


def answer(question: str, ask: Callable[..., str]) -> str:
    """Return the answer to a question: the most frequent one of VOTES attempts."""
    answers = [attempt(question, ask) for _ in range(VOTES)]
    return max(answers, key=answers.count)
