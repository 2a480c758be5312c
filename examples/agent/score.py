"""Judge out/answers.json by the right answers, which the run cannot read.

python score.py --labels data/labels/questions.json -> {"accuracy": 0.31, "calls": 1.2, "cases": [1, 0, ...], ...}
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

MOST_BYTES = 1_000_000  # of the answers


def read(path: Path) -> tuple[list[str], float]:
    """Return what the run wrote: the answers, and the calls of the model for each."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES} bytes")
    found = json.loads(path.read_bytes())
    answers, calls = found["answers"], found["calls"]
    if type(answers) is not list or not all(type(answer) is str for answer in answers):
        raise ValueError(f"{path} holds no list of answers")
    if type(calls) not in (int, float) or not math.isfinite(calls) or calls < 0:
        raise ValueError(f"{path} says that the model was asked {calls!r} times")
    return answers, calls


def right(answer: str, label: str) -> bool:
    """Return whether an answer is the right one, as a number where it is one: right("369.0", "369")."""
    try:
        return abs(float(answer) - float(label)) < 1e-6
    except ValueError:
        return answer.strip() == label


def judge(labels: list[str], answers: list[str]) -> dict[str, object]:
    if len(labels) != len(answers):
        raise ValueError(f"{len(answers)} answers to {len(labels)} questions")
    cases = [int(right(answer, label)) for answer, label in zip(answers, labels, strict=True)]
    return {"accuracy": sum(cases) / len(cases), "cases": cases}


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge out/answers.json.")
    parser.add_argument("--labels", default="data/labels/questions.json")
    labels = json.loads(Path(parser.parse_args().labels).read_text())
    model = json.loads(Path("data/model.json").read_text())
    try:
        answers, calls = read(Path("out/answers.json"))
        print(json.dumps({**judge(labels, answers), "calls": calls, "model": model.get("name", "scripted")}))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
