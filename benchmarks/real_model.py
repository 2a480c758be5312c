"""What does a real model make of the protocol? A hundred replies of one behind an OpenAI-compatible server.

    uv run benchmarks/real_model.py --base-url http://127.0.0.1:8080/v1 --model NAME [--replies 100] [--minutes 60]

Turns as in a night on train_mlx.py and program.md, each proposal entering the history as a discard, until so many
replies are there or the time is up. Nothing trains: the question is what the replies are, whether one of them meets a
case that nothing is prepared for (which ends this script), and what the scorecard makes of the model: the format that
it is asked for and the share of turns that it gets. llama-server, mlx_lm.server or LM Studio will do.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dialogue import FACTS, SIGMA, SOURCE, TASK, trial

from autoresearch.errors import ProposerError
from autoresearch.records import Context, Trial
from autoresearch.search import policy
from autoresearch.search.llm import model_choice
from autoresearch.search.llm.backend import Answer, Message
from autoresearch.search.llm.dialogue import Dialogue
from autoresearch.search.llm.openai import OpenAIBackend
from autoresearch.search.scorecard import Card, Scorecard
from autoresearch.system import machine


class Recorded(OpenAIBackend):
    """Keeps every answer as it came."""

    def __init__(self, base_url: str, model: str) -> None:
        super().__init__(base_url, model)
        self.answers: list[Answer] = []

    def ask(self, messages: Sequence[Message], *, max_tokens: int, temperature: float, seed: int) -> Answer:
        answer = super().ask(messages, max_tokens=max_tokens, temperature=temperature, seed=seed)
        self.answers.append(answer)
        return answer


def talk(backend: Recorded, folder: Path, replies: int, deadline: float, seed: int) -> tuple[Card, Counter, Counter]:
    """The card, how turns ended, and the errors of those that were given up."""
    proposer = Dialogue(backend, Scorecard(folder / "scorecard.json", "here"))
    history, ends, errors = list[Trial](), Counter[str](), Counter[str]()
    program = (ROOT / "program.md").read_text()
    while len(backend.answers) < replies and time.monotonic() < deadline:
        turn = ends.total() + 1
        directive = policy.next_directive(history, turn)
        context = Context(SOURCE, 1.29, SIGMA, program, TASK, FACTS, tuple(history), directive, seed, turn)
        try:
            (proposal,) = proposer.propose(context)
            history.append(trial(turn, proposal))
            ends["a proposal at once" if proposal.usage["answers"] == 1 else "a proposal after a repair"] += 1
        except ProposerError as error:
            ends["given up"] += 1
            what = str(error).partition(": ")[2] or str(error)
            errors[re.sub(r"`[^`]*`|\d+|(?<=SET )\S+.*?(?=:)", "...", what)[:80]] += 1
    return proposer.card, ends, errors


def table(head: str, counts: Counter) -> str:
    return "\n".join([f"| {head} | |", "|---|---|", *(f"| {name} | {count} |" for name, count in counts.most_common())])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the replies to this file")
    args = parser.parse_args()
    backend, began = Recorded(args.base_url, args.model), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        card, ends, errors = talk(backend, Path(folder), args.replies, began + 60 * args.minutes, args.seed)
    answers, minutes = backend.answers, (time.monotonic() - began) / 60
    limit = sum(answer.done_reason == "length" for answer in answers)
    rates = {"tuner": policy.TurnCounts(), "model": policy.TurnCounts(prior=card.turn_counts().rate)}
    size = f"{backend.parameters_b:.3g} billion parameters" if backend.parameters_b else "of unknown size"
    print(f"{args.model}, {size}; {machine.facts().describe()}, {date.today()}\n")
    print(f"{len(answers)} replies in {ends.total()} turns and {minutes:.1f} minutes; each was used or sent back.")
    tokens = [round(total / max(1, len(answers))) for total in (card.prompt_tokens, card.answer_tokens)]
    print(f"{tokens[0]} tokens of prompt and {tokens[1]} of answer a reply; {limit} replies ran into their limit.\n")
    print(table("how turns ended", ends), end="\n\n")
    asked = {form: f"{t.asked} asked, {t.parsed} parsed, {t.applied} applied" for form, t in card.formats.items()}
    print("\n".join(["| format | replies |", "|---|---|", *(f"| {form} | {text} |" for form, text in asked.items())]))
    print(f"\nits share of the next hybrid night begins at {policy.shares(rates)['model']:.0%} (a new model's: 50%);")
    print(f"among installed models it is chosen {'last' if model_choice.useless(card) else 'by its size'}\n")
    print(table("the last error of the turns given up", errors))
    if args.json:
        rows = [{"text": a.text, "end": a.done_reason, "tokens": a.answer_tokens, "s": a.seconds} for a in answers]
        args.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
