"""What does a turn with a language model cost, and how many turns do repairs save?

    uv run benchmarks/dialogue.py [--turns 60] [--seed 0]

A scripted model, good a third of the time, wrong a third and malformed a third, answers over real HTTP for the real
train_mlx.py and program.md, while the history grows by a discard a turn. It takes no time, so the seconds are the
harness's: building the prompt, HTTP, reading and applying edits. Tokens are counted as 4 bytes each, which is what
tokenizers take of this mixture of code and prose, within a tenth or two.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch.candidate import constants, edits
from autoresearch.errors import ProposerError
from autoresearch.records import Context, Proposal, TaskFacts, Trial
from autoresearch.search.llm.ollama import OllamaProposer
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.transport import Timeouts
from autoresearch.search.scorecard import Scorecard
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.reply_cases import REFUSED

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "train_mlx.py").read_text()
TASK = TaskFacts(seq_len=2048, vocab_size=8192, budget_s=300)
FACTS = "Apple M4, 10 cores, 16 GB, 48,000 tokens a second, 440 steps in the budget, peak 6.1 GB, MFU 24%"
SIGMA = 0.004


class Model:
    """Draws its replies: a third good, a third that do not apply, a third from the table of broken replies."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rates = [name for name, value in constants.read(SOURCE).items() if isinstance(value, float) and value]
        self.malformed = [case.reply for case in REFUSED if case.error and "reply" in case.error.lower()]

    def __call__(self, _: dict[str, Any]) -> dict[str, Any]:
        kind = self.rng.choice(("good", "wrong", "malformed"))
        if kind == "malformed":
            return {"reply": self.rng.choice(self.malformed)}
        name, factor = self.rng.choice(self.rates), round(self.rng.uniform(0.3, 3.0), 3)
        value = f"{factor * constants.read(SOURCE)[name]:.4g}"
        name = name if kind == "good" else name.replace("_", "", 1) + "X"
        fields = f"HYPOTHESIS: {name} is off by a factor, and the run is short.\nCATEGORY: other\nTITLE: Move {name}\n"
        return {"reply": f"{fields}SET {name} = {value}\n"}


def trial(n: int, proposal: Proposal) -> Trial:
    return Trial(
        n, proposal.proposer, proposal.title, proposal.hypothesis, proposal.category, proposal.edits,
        edits.apply(SOURCE, proposal.edits), SOURCE, "discard", "within noise", -SIGMA, SIGMA, 1.3,
    )  # fmt: skip


def night(turns: int, seed: int, form: str, folder: Path) -> dict[str, Any]:
    """A night of turns in one format; figures by name."""
    history: list[Trial] = []
    prompts, answers, harness, tries = [], [], [], []
    with FakeOllama(Model(seed), models=[MODEL]) as fake:
        server = OllamaServer(fake.url, Timeouts(retry_s=0.0))
        proposer = OllamaProposer(server, MODEL["name"], Scorecard(folder / f"{form}.json", "here"), formats=(form,))
        for turn in range(1, turns + 1):
            context = Context(
                SOURCE, 1.29, SIGMA, (ROOT / "program.md").read_text(), TASK, FACTS, tuple(history), None, seed, turn
            )
            began = time.perf_counter()
            try:
                (proposal,) = proposer.propose(context)
                usage = dict(proposal.usage)
                tries.append(int(usage["answers"]))
                history.append(trial(turn, proposal))
            except ProposerError as error:
                usage = error.usage
                tries.append(0)
            harness.append(time.perf_counter() - began)
            prompts.append(usage["prompt_tokens"])
            answers.append(usage["answer_tokens"])
        proposer.close()
        first = fake.chats()[0]["messages"]
    return {
        "first prompt, tokens": sum(len(m["content"].encode()) for m in first) // 4,
        "prompt tokens a turn": round(statistics.mean(prompts)),
        "answer tokens a turn": round(statistics.mean(answers)),
        "harness s a turn, median": round(statistics.median(harness), 2),
        "harness s a turn, most": round(max(harness), 2),
        "answers a turn": round(proposer.card.replies(form).asked / turns, 2),
        "turns with a proposal at once": tries.count(1),
        "turns saved by a repair": tries.count(2) + tries.count(3),
        "turns saved by a fresh sample": tries.count(4),
        "turns given up": tries.count(0),
        "loads": len(fake.loads),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        columns = {form: night(arguments.turns, arguments.seed, form, Path(folder)) for form in ("blocks", "set")}
    print(f"| {arguments.turns} turns | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in columns["blocks"]:
        print(f"| {name} | " + " | ".join(str(column[name]) for column in columns.values()) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
