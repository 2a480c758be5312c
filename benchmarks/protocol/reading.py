"""Count the prompt tokens that a language model reads anew each turn, and the seconds that they take on a Mac mini.

A night is scripted: each turn changes a constant of train_mlx.py, and every fourth change is kept. The model answers
over real HTTP; the fake server counts, as a real one does, what its prompt cache does not hold: all of the prompt after
a load, else what follows the beginning that it shares with the last prompt and answer.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch.candidate import constants, edits
from autoresearch.records import Set, Trial
from autoresearch.search.llm.ollama import OllamaProposer
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.scorecard import Scorecard
from benchmarks.cli import Row, parser, report
from benchmarks.protocol.turns import SIGMA, SOURCE, context
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.fake_ollama_wire import BYTES_PER_TOKEN

MAC_MINI_TOK_S = 300  # prompt tokens that a Mac mini reads a second with a model of 7 to 9 billion parameters
KEPT = 4  # every so many changes one is kept
ROOMY_BYTES = 2**40  # model and training fit together


def changes(seed: int) -> Iterator[Set]:
    """Yield changes of a constant, none of them twice."""
    rng = random.Random(seed)
    rates = [name for name, value in constants.read(SOURCE).items() if isinstance(value, float) and value]
    while True:
        name = rng.choice(rates)
        yield Set(name, repr(round(rng.uniform(0.3, 3.0) * float(constants.read(SOURCE)[name]), 6)))


def played(turns: int, seed: int, form: str, stays: bool) -> tuple[list[int], list[str], int]:
    """Play a night in one reply format; return the tokens read anew by chat, the prompts, and the loads."""
    made, source, history = changes(seed), SOURCE, list[Trial]()
    with tempfile.TemporaryDirectory() as folder, FakeOllama(lambda _: {"reply": reply}, models=[MODEL]) as fake:
        scorecard = Scorecard(Path(folder) / "scorecard.json", "here")
        own = OllamaProposer(
            OllamaServer(fake.url), MODEL["name"], scorecard, formats=(form,), shared_bytes=ROOMY_BYTES if stays else 0
        )
        for turn in range(1, turns + 1):
            edit = next(made)
            head = f"HYPOTHESIS: {edit.name} is off.\nCATEGORY: other\nTITLE: Move {edit.name}\n"
            reply = f"{head}SET {edit.name} = {edit.literal}\n"
            (proposal,) = own.propose(replace(context(history, seed, turn), source=source))
            new, kept = edits.apply(source, proposal.edits), turn % KEPT == 0
            verdict, delta = ("keep", 3 * SIGMA) if kept else ("discard", -SIGMA)
            history.append(
                Trial(
                    turn, proposal.proposer, proposal.title, proposal.hypothesis, proposal.category, proposal.edits,
                    new, source, verdict, "", delta, SIGMA, 1.3,
                )
            )  # fmt: skip
            source = new if kept else source
            own.release(1.0)
        own.close()
    prompts = ["".join(message["content"] for message in chat["messages"]) for chat in fake.chats()]
    return fake.read, prompts, len(fake.loads)


def row(what: str, form: str, read: Sequence[int], prompts: Sequence[str], loads: int) -> Row:
    """Describe a night; its first turn, which reads everything, is left out."""
    a_turn = statistics.mean(read[1:])
    return {
        "form": form,
        "the model": what,
        "loads a turn": round(loads / len(prompts), 2),
        "prompt, tokens": round(statistics.mean(map(len, prompts)) / BYTES_PER_TOKEN),
        "read anew, tokens": round(a_turn),
        "s on a Mac mini": round(a_turn / MAC_MINI_TOK_S, 1),
    }


def main(argv: Sequence[str]) -> int:
    options = parser("protocol reading", __doc__)
    options.add_argument("--turns", type=int, default=40)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    args = options.parse_args(argv)
    rows = []
    for form in ("set",) if args.quick else ("set", "blocks"):
        turns = 5 if args.quick else args.turns
        for stays in False, True:
            read, prompts, loads = played(turns, args.seed, form, stays)
            rows.append(row("stays loaded" if stays else "is unloaded each turn", form, read, prompts, loads))
    return report(rows, args)
