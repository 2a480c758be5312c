"""Replay what a real model of 1.5 billion parameters answered in two nights through the protocol of today.

The files NIGHTS of testbed/recordings hold the constants and trials before each turn, and the answers of Qwen2.5-Coder
1.5B. The scripted model gives the turn's recorded answers in their order, and the last one again when it
is asked once more, as the real one did in 7 of 8 repairs. Held to a menu by a JSON schema, it takes the entry that is
nearest to what it said: the same constant, else the first one.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from autoresearch.candidate import constants, edits
from autoresearch.errors import EditError, ProposerError
from autoresearch.records import Context, Directive, Set, TaskFacts, Trial
from autoresearch.search.llm import replies
from autoresearch.search.llm.ollama import OllamaProposer
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.scorecard import FORMATS, Scorecard
from benchmarks.cli import Row
from testbed.fake_ollama import SMALL, FakeOllama
from testbed.recorded import FOLDER
from testbed.toy import ROOT

TASK = TaskFacts(seq_len=256, vocab_size=1024, budget_s=20)
ROOMY_BYTES = 2**40  # the model stays loaded, as it did
NIGHTS = {"behind llama-server": "replies.json", "behind Ollama": "ollama_night.json"}
PLAYED: Mapping[str, tuple[str, ...]] = {"the same form, today": ("set",), "the form for its size, today": FORMATS}


@dataclass(frozen=True)
class Turn:
    """A recorded turn: what was known before it, and what the model answered."""

    context: Context
    texts: tuple[str, ...]
    read_tokens: int  # anew, in all answers
    used: bool  # it ended with a proposal


def recorded(file: str) -> list[Turn]:
    """Return the turns of a night that got an answer."""
    night, history = json.loads((FOLDER / file).read_text()), list[Trial]()
    sources = [constants_set((ROOT / "train_mlx.py").read_text(), night["constants"])]
    for trial in night["trials"]:
        new = constants_set(sources[-1], trial["set"])
        history.append(trial_of(trial, sources[-1], new, night["sigma_bpb"]))
        sources.append(new if trial["verdict"] == "keep" else sources[-1])
    return [turn_of(turn, sources, history, night["sigma_bpb"]) for turn in night["turns"]]


def constants_set(source: str, values: Mapping[str, str]) -> str:
    for name, literal in values.items():
        source = constants.assign(source, name, literal)
    return source


def trial_of(trial: Mapping[str, Any], before: str, new: str, sigma: float) -> Trial:
    change = tuple(Set(name, literal) for name, literal in trial["set"].items())
    gain = trial["sigmas"] * sigma
    return Trial(
        trial["n"], "a model", trial["title"], "", trial["category"], change, new, before, trial["verdict"], "",
        gain, sigma, 2.1 - gain,
    )  # fmt: skip


def turn_of(turn: Mapping[str, Any], sources: Sequence[str], history: Sequence[Trial], sigma: float) -> Turn:
    n = turn["after"]
    directive = Directive("big lever", turn["directive"], category=turn["category"])
    context = Context(
        sources[n], turn["val_bpb"], sigma, (ROOT / "program.md").read_text(), TASK, "Intel Xeon, 2 CPU cores, 24 GB",
        tuple(history[:n]), directive, 0, n + 1,
    )  # fmt: skip
    answers = turn["answers"]
    return Turn(context, tuple(a["text"] for a in answers), sum(a["read_tokens"] for a in answers), turn["used"])


class Stubborn:
    """Model that gives a turn's recorded answers in their order, and then the last one again."""

    def __init__(self) -> None:
        self.texts: Iterator[str] = iter(())

    def begin(self, turn: Turn) -> None:
        self.texts = chain(turn.texts, repeat(turn.texts[-1]))

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        text = next(self.texts)
        if isinstance(schema := body.get("format"), dict):
            offered = schema["properties"]["choice"]["enum"]
            text = json.dumps({"because": "As I said.", "choice": nearest(text, offered)})
        return {"reply": text}


def nearest(text: str, offered: Sequence[str]) -> str:
    """Return the offered change that is nearest to what a text sets: of the same constant, by the ratio of values."""
    try:
        said = {edit.name: edit.literal for edit in replies.parse(text).edits if isinstance(edit, Set)}
    except EditError:
        said = {}
    for name, literal in said.items():
        of_it = [line for line in offered if line.startswith(f"{name} = ")]
        if of_it:
            return min(of_it, key=lambda line: distance(line.partition(" = ")[2].partition(",")[0], literal))
    return offered[0]


def distance(a: str, b: str) -> float:
    try:
        x, y = (float(constants.evaluate(literal)) for literal in (a, b))
        return abs(math.log(x / y)) if x > 0 and y > 0 else abs(x - y)
    except (EditError, TypeError, ValueError):
        return 0.0 if a == b else math.inf


def played(turns: Sequence[Turn], forms: Sequence[str]) -> Row:
    """Play the turns in these forms; return the table's column."""
    model, used, saved = Stubborn(), 0, list[str]()
    with tempfile.TemporaryDirectory() as folder, FakeOllama(model, models=[SMALL]) as fake:
        scorecard = Scorecard(Path(folder) / "scorecard.json", "here")
        server = OllamaServer(fake.url)
        own = OllamaProposer(server, SMALL["name"], scorecard, formats=forms, shared_bytes=ROOMY_BYTES)
        for turn in turns:
            model.begin(turn)
            try:
                (proposal,) = own.propose(turn.context)
                edits.apply(turn.context.source, proposal.edits)
                used += 1
            except ProposerError as error:
                saved.append(str(error))
            own.release(1.0)
        own.close()
    return column(used, len(turns), len(fake.read), sum(fake.read))


def column(used: int, turns: int, answers: int, read: int) -> Row:
    return {
        "turns with a usable answer": f"{used} of {turns}",
        "answers a turn": round(answers / turns, 2),
        "tokens read anew a turn": round(read / turns),
    }


def columns(file: str) -> dict[str, Row]:
    """Return the table of a night: as recorded, and in each of PLAYED."""
    turns = recorded(file)
    before = column(
        sum(turn.used for turn in turns), len(turns), sum(len(turn.texts) for turn in turns),
        sum(turn.read_tokens for turn in turns),
    )  # fmt: skip
    return {"as recorded": before} | {name: played(turns, forms) for name, forms in PLAYED.items()}
