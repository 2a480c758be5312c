"""Build the proposer of a night from the command line's options, or from what this machine offers.

`loop.py run` calls `choose`, which reports its decision in one line. A new proposer gets its `kind` here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch import environment
from autoresearch.errors import ProposerError, UsageError
from autoresearch.paths import Cache
from autoresearch.records import GPT, Proposer
from autoresearch.search.command import CommandProposer
from autoresearch.search.hybrid import Hybrid
from autoresearch.search.llm import prompt
from autoresearch.search.recipes.proposer import Ideas, Recipes
from autoresearch.search.recipes.recipe import catalogue
from autoresearch.search.scorecard import Scorecard
from autoresearch.search.tuner.tuner import Tuner
from autoresearch.system.machine import Facts

if TYPE_CHECKING:
    from autoresearch.search.llm.dialogue import Dialogue
    from autoresearch.search.llm.model_choice import Offer

OPENAI = "openai:"  # the prefix of a --model behind an OpenAI-compatible endpoint


@dataclass(frozen=True)
class ProposerOptions:
    """The command line's choice of a proposer."""

    kind: str = "auto"  # auto, hybrid, ollama, tuner, recipes, ideas or command
    model: str | None = None  # the name of an Ollama model; openai:NAME, or NAME with base_url, of another server
    base_url: str | None = None  # of the OpenAI-compatible server; None: OPENAI_BASE_URL
    api_key_file: Path | None = None  # with the key for it; None: OPENAI_API_KEY
    command: str | None = None
    seed: int = 0
    program: str = ""  # the text of program.md, which has to fit the model's context
    task: str = GPT  # its name, under which proposers are remembered
    ideas: int | None = None  # of a declared task's own; None: training, which has the catalogue

    @property
    def ready_made(self) -> str:
        """The ready-made changes, in a line to the person: a declared task's ideas, or the catalogue's recipes."""
        if self.ideas is None:
            return f"{len(catalogue())} recipes from public records"
        return f"{self.ideas or 'none'} of the task's own"


def choose(options: ProposerOptions, facts: Facts, say: Callable[[str], None], offer: Offer | None = None) -> Proposer:
    """Return the proposer of the night. Raises UsageError when `options` ask for one that is not available.

    `offer` asks the user whether to pull a model; it is called when no installed model fits this machine.
    """
    tuner = Tuner(options.seed)
    if options.kind == "tuner":
        say("ideas: the built-in tuner")
        return tuner
    recipes = Recipes() if options.ideas is None else Ideas()
    if options.kind in ("recipes", "ideas"):
        _check_kind(options, recipes)
        say(f"ideas: {options.ready_made}; the tuner when none is left")
        return Hybrid([recipes], fallback=tuner, say=say)
    if options.kind == "command":
        if not options.command:
            raise UsageError("--proposer command needs --command 'PROGRAM ARGUMENTS', e.g. --command 'claude -p'")
        say(f"ideas: `{options.command}`; the tuner when it has none")
        return Hybrid([CommandProposer(options.command, say=say)], fallback=tuner, say=say)
    scorecard = Scorecard(Cache.default().scorecard, facts.slug(), options.task)
    model, line = _model(options, facts, scorecard, offer)
    if model is None:
        if options.kind != "auto":
            raise UsageError(f"--proposer {options.kind}: {line}")
        say(f"ideas: {_without_model(options)} ({line})")
        return _shared([tuner, recipes], recipes, options, scorecard, say)
    alone = options.kind == "ollama"
    say(f"ideas: {line}; {'the tuner when it has none' if alone else _beside_model(options)}")
    _warn(model, options.program, say)
    if alone:
        return Hybrid([model], fallback=tuner, scorecard=scorecard, say=say)
    return _shared([tuner, model, recipes], recipes, options, scorecard, say)


def _check_kind(options: ProposerOptions, recipes: Recipes) -> None:
    """Raise UsageError for recipes of a declared task, which has ideas, and for ideas of training."""
    if options.kind != recipes.name:
        whose = "training" if options.ideas is None else f"the task {options.task}"
        raise UsageError(f"--proposer {options.kind}: {whose} has {recipes.name}. Write --proposer {recipes.name}")


def _shared(
    proposers: list[Proposer],
    recipes: Recipes,
    options: ProposerOptions,
    scorecard: Scorecard,
    say: Callable[[str], None],
) -> Hybrid:
    """Return a night's proposers, of which the tuner is the first; a declared task's own ideas go first."""
    of_task = options.ideas is not None
    return Hybrid(
        proposers,
        fallback=proposers[0],
        late=None if of_task else recipes,
        first=recipes if of_task else None,
        scorecard=scorecard,
        say=say,
    )


def _without_model(options: ProposerOptions) -> str:
    if options.ideas is None:
        return f"the built-in tuner and {options.ready_made}"
    return f"{options.ready_made}, then the built-in tuner" if options.ideas else "the built-in tuner"


def _beside_model(options: ProposerOptions) -> str:
    if options.ideas is None:
        return f"shared with the tuner and {options.ready_made.partition(' from ')[0]} by what each achieves"
    after = f", after {options.ready_made}" if options.ideas else ""
    return f"shared with the tuner by what each achieves{after}"


def _warn(model: Dialogue, program: str, say: Callable[[str], None]) -> None:
    """Report problems that the user can still mend before the night: a silent server, a program.md that is too long."""
    try:
        model.backend.prepare()
        window = model.backend.largest_window()
    except ProposerError as error:
        say(f"{model.name} cannot be reached now; the tuner takes over until it can: {error}")
        return
    if warning := prompt.program_warning(program, window):
        say(f"warning: {warning}")


def _model(
    options: ProposerOptions, facts: Facts, scorecard: Scorecard, offer: Offer | None
) -> tuple[Dialogue | None, str]:
    """Return the language model to use, or None, and the line that says which and why.

    The clients of model servers are imported here: they take a third of a second, which a night without a model saves.
    """
    if options.base_url or (options.model or "").startswith(OPENAI):
        from autoresearch.search.llm.openai import open_openai

        key = environment.openai_key(options.api_key_file)
        wanted = (options.model or "").removeprefix(OPENAI) or None
        return open_openai(options.base_url, wanted, scorecard, api_key=key)
    from autoresearch.search.llm.model_choice import open_ollama

    return open_ollama(
        memory_bytes=facts.training_memory_mb * 2**20,
        log_path=Cache.default().ollama_log,
        scorecard=scorecard,
        wanted=options.model,
        offer=offer,
        measure=True,
    )
