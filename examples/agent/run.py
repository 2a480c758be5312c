"""Let the agent answer questions: out/answers.json holds its answers and how often it asked the model."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import model

MOST_CHARS = 200  # of an answer


def load(path: str) -> dict:
    """Return what an agent's file defines. It is compiled from its text: a cached version could be another one's."""
    defined = {"__name__": "agent", "__file__": path}
    exec(compile(Path(path).read_text(), path, "exec"), defined)
    return defined


def main() -> int:
    parser = argparse.ArgumentParser(description="Let the agent answer questions.")
    parser.add_argument("--questions", default="data/questions.jsonl")
    questions = [json.loads(line) for line in Path(parser.parse_args().questions).read_text().splitlines()]
    answer = load("agent.py")["answer"]
    chosen = json.loads(Path("data/model.json").read_text())
    print(f"model: {chosen.get('name', 'scripted')}")
    asked = model.connect(chosen, int(os.environ.get("AUTORESEARCH_SEED", "0")))
    calls = 0

    def ask(messages: model.Messages, temperature: float) -> str:
        nonlocal calls
        calls += 1
        return asked(messages, temperature)

    answers = [str(answer(question, ask))[:MOST_CHARS] for question in questions]
    Path("out").mkdir(exist_ok=True)
    Path("out/answers.json").write_text(json.dumps({"answers": answers, "calls": calls / len(questions)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
