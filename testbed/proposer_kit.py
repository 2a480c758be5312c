"""Set up tests of the language-model proposer: a context, replies, and a proposer on a fake server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoresearch.candidate import edits
from autoresearch.records import Context, Proposal, Set, TaskFacts, Trial
from autoresearch.search.llm import replies
from autoresearch.search.llm.ollama import OllamaProposer
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.transport import Timeouts
from autoresearch.search.scorecard import Scorecard
from testbed.fake_ollama import FakeOllama
from testbed.reply_cases import RELU, SOURCE, SQUARED

NAME = "qwen2.5-coder:7b"
QUICK = Timeouts(connect_s=1, first_byte_s=2, token_s=0, chunk_s=1, answer_s=3, short_s=2, unload_s=1, retry_s=0.05)
CONTEXT = Context(
    SOURCE, 1.2945, 0.004, "# Brief", TaskFacts(seq_len=256, vocab_size=1024, budget_s=60), "M4", seed=3, turn=5
)
GOOD = {"reply": "HYPOTHESIS: More steps.\nCATEGORY: depth\nTITLE: Shallower\nSET DEPTH = 6\n"}
BAD = {"reply": "I would make the model shallower."}
BLOCK = {"reply": f"TITLE: Squared\n<<<<<<< SEARCH\n{RELU}\n=======\n{SQUARED}\n>>>>>>> REPLACE\n"}

Make = Callable[..., OllamaProposer]


def proposer(
    folder: Path, fake: FakeOllama, model: str = NAME, timeouts: Timeouts = QUICK, **options: Any
) -> OllamaProposer:
    scorecard = Scorecard(folder / "scorecard.json", "mac")
    return OllamaProposer(OllamaServer(fake.url, timeouts), model, scorecard, **options)


def seen(fake: FakeOllama, number: int) -> str:
    """Return the last message of a chat request."""
    return str(fake.chats()[number]["messages"][-1]["content"])


def proposal_of(reply: str) -> Proposal:
    parsed = replies.parse(reply)
    return Proposal(parsed.edits, parsed.title, parsed.hypothesis, parsed.category, "ollama:m")


def discarded(n: int, change: Set, **facts: Any) -> Trial:
    """Return a trial that set one constant and was a sigma worse."""
    made: dict[str, Any] = {
        "proposer": "tuner", "title": f"Idea {n}", "hypothesis": "", "category": "depth", "verdict": "discard",
        "reason": "1 sigma worse", "delta_score": -0.004, "sigma_score": 0.004, "score": 1.3,
    }  # fmt: skip
    source = edits.apply(SOURCE, [change])
    return Trial(n=n, edits=(change,), source=source, parent_source=SOURCE, **{**made, **facts})
