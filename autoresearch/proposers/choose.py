"""Who has the ideas tonight: what was asked for, else the best there is; said in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoresearch import corpus
from autoresearch.errors import UsageError
from autoresearch.machine import Facts
from autoresearch.proposers.tuner import Tuner
from autoresearch.records import Proposer
from autoresearch.scorecard import Scorecard

OPENAI = "openai:"


@dataclass(frozen=True)
class Wanted:
    """What a person asks for: `kind` is auto, hybrid, ollama, tuner or command."""

    kind: str = "auto"
    model: str | None = None  # of the Ollama server, or openai:NAME with base_url
    base_url: str | None = None
    command: str | None = None
    seed: int = 0


def choose(wanted: Wanted, facts: Facts, say: Callable[[str], None]) -> Proposer:
    """The proposer of the night. Raises UsageError where what was asked for cannot be had."""
    tuner = Tuner(wanted.seed)
    if wanted.kind == "tuner":
        say("ideas: the built-in tuner")
        return tuner
    from autoresearch.proposers.command import Command
    from autoresearch.proposers.hybrid import Hybrid

    if wanted.kind == "command":
        if not wanted.command:
            raise UsageError("--proposer command needs --command 'PROGRAM ARGUMENTS', e.g. --command 'claude -p'")
        say(f"ideas: `{wanted.command}`; the tuner where it has none")
        return Hybrid([Command(wanted.command)], fallback=tuner, say=say)
    model, line = _model(wanted, facts)
    if model is None:
        if wanted.kind != "auto":
            raise UsageError(f"--proposer {wanted.kind}: {line}")
        say(f"ideas: the built-in tuner ({line})")
        return tuner
    alone = wanted.kind == "ollama"
    say(f"ideas: {line}; {'the tuner where it has none' if alone else 'shared with the tuner by what each achieves'}")
    return Hybrid([model] if alone else [tuner, model], fallback=tuner, say=say)


def _model(wanted: Wanted, facts: Facts) -> tuple[Proposer | None, str]:
    cache = corpus.cache_folder()
    if wanted.model and wanted.model.startswith(OPENAI):
        from autoresearch.proposers.openai import OpenAIProposer

        if not wanted.base_url:
            raise UsageError(f"--model {wanted.model} needs --base-url, e.g. --base-url http://127.0.0.1:8080/v1")
        name = wanted.model.removeprefix(OPENAI)
        scorecard = Scorecard(cache / "scorecard.json", facts.slug())
        return OpenAIProposer(wanted.base_url, name, scorecard), f"{name} at {wanted.base_url}"
    from autoresearch.proposers.models import open_ollama

    memory_bytes = facts.memory_mb * 2**20
    return open_ollama(memory_bytes=memory_bytes, cache=cache, machine=facts.slug(), wanted=wanted.model)
