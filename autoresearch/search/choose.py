"""Who has the ideas tonight: what was asked for, else the best there is; said in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoresearch.errors import ProposerError, UsageError
from autoresearch.records import Proposer
from autoresearch.search.llm import prompt
from autoresearch.search.scorecard import Scorecard
from autoresearch.search.tuner.tuner import Tuner
from autoresearch.system.machine import Facts
from autoresearch.tasks.gpt.data import corpus

if TYPE_CHECKING:
    from autoresearch.search.llm.dialogue import Dialogue
    from autoresearch.search.llm.model_choice import Offer

OPENAI = "openai:"


@dataclass(frozen=True)
class Wanted:
    """What a person asks for: `kind` is auto, hybrid, ollama, tuner or command."""

    kind: str = "auto"
    model: str | None = None  # of the Ollama server, or openai:NAME with base_url
    base_url: str | None = None
    command: str | None = None
    seed: int = 0
    program: str = ""  # program.md, which has to fit a model's context


def choose(wanted: Wanted, facts: Facts, say: Callable[[str], None], offer: Offer | None = None) -> Proposer:
    """The proposer of the night. Raises UsageError where what was asked for cannot be had.

    `offer` asks the person who is there whether to pull a model where none is installed that fits.
    """
    tuner = Tuner(wanted.seed)
    if wanted.kind == "tuner":
        say("ideas: the built-in tuner")
        return tuner
    from autoresearch.search.command import Command
    from autoresearch.search.hybrid import Hybrid

    if wanted.kind == "command":
        if not wanted.command:
            raise UsageError("--proposer command needs --command 'PROGRAM ARGUMENTS', e.g. --command 'claude -p'")
        say(f"ideas: `{wanted.command}`; the tuner where it has none")
        return Hybrid([Command(wanted.command)], fallback=tuner, say=say)
    scorecard = Scorecard(corpus.cache_folder() / "scorecard.json", facts.slug())
    model, line = _model(wanted, facts, scorecard, offer)
    if model is None:
        if wanted.kind != "auto":
            raise UsageError(f"--proposer {wanted.kind}: {line}")
        say(f"ideas: the built-in tuner ({line})")
        return tuner
    alone = wanted.kind == "ollama"
    say(f"ideas: {line}; {'the tuner where it has none' if alone else 'shared with the tuner by what each achieves'}")
    _warn(model, wanted.program, say)
    return Hybrid([model] if alone else [tuner, model], fallback=tuner, scorecard=scorecard, say=say)


def _warn(model: Dialogue, program: str, say: Callable[[str], None]) -> None:
    """Says what a person had better know now, not in the morning: a silent server, a brief that does not fit."""
    try:
        model.backend.prepare()
        window = model.backend.largest_window()
    except ProposerError as error:
        say(f"{model.name} cannot be asked now, and the tuner stands in until it can: {error}")
        return
    if warning := prompt.program_warning(program, window):
        say(f"warning: {warning}")


def _model(wanted: Wanted, facts: Facts, scorecard: Scorecard, offer: Offer | None) -> tuple[Dialogue | None, str]:
    if wanted.model and wanted.model.startswith(OPENAI):
        from autoresearch.search.llm.openai import OpenAIProposer

        if not wanted.base_url:
            raise UsageError(f"--model {wanted.model} needs --base-url, e.g. --base-url http://127.0.0.1:8080/v1")
        name = wanted.model.removeprefix(OPENAI)
        line = f"{name} at {wanted.base_url} (it stays in that server's memory)"
        return OpenAIProposer(wanted.base_url, name, scorecard), line
    from autoresearch.search.llm.model_choice import open_ollama

    return open_ollama(
        memory_bytes=facts.memory_mb * 2**20,
        log_path=corpus.cache_folder() / "ollama.log",
        scorecard=scorecard,
        wanted=wanted.model,
        offer=offer,
        measure=True,
    )
