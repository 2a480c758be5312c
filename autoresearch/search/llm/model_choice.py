"""Choose the Ollama model of a night: the one asked for, else the best installed one that fits this machine.

If none fits, the choice names a model to pull, which happens only when the user agrees.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch import environment
from autoresearch.errors import ProposerError
from autoresearch.formats import GIB
from autoresearch.search.llm.installed import (
    LEAST_B,
    InstalledModel,
    installed,
    measured,
    memory_limit,
    size_text,
    tier,
)
from autoresearch.search.llm.ollama import (
    MOST_IDLE_COST,
    OllamaProposer,
)
from autoresearch.search.llm.ollama_server import OllamaServer, full_name
from autoresearch.search.llm.own_server import connect
from autoresearch.search.scorecard import Card, Scorecard

POOR = "; hardly any of its replies could be used here so far"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Model to use, or None, with the reason."""

    model: str | None
    line: str  # the reason, for the user
    pull: str | None = None  # the model to offer for download if there is none


Offer = Callable[[OllamaServer, ModelChoice], bool]  # returns whether the offered model is installed now


def how_to_begin(memory_bytes: int) -> str:
    """Return what to do without a model: "install Ollama (https://ollama.com), then: ollama pull gemma4:12b"."""
    return f"install Ollama (https://ollama.com), then: ollama pull {tier(memory_bytes).models[0]}"


def shared_bytes(memory_bytes: int, card: Card) -> int:
    """Return the bytes that a loaded model and a training may take together; 0 where it has to go before each training.

    AUTORESEARCH_KEEP_MODEL decides, else what an idle loaded model costs training here where `benchmarks mac` measured
    it.
    """
    keep = environment.keeps_model()
    if keep is None:
        keep = (card.idle_cost or 0.0) <= MOST_IDLE_COST
    return memory_limit(memory_bytes) if keep else 0


def choose_model(
    models: Sequence[InstalledModel], memory_bytes: int, wanted: str | None = None, others: Sequence[str] = ()
) -> ModelChoice:
    """Choose among `models`, the installed ones, best first; `wanted` is the name that the user asked for.

    `others` are installed, too, and write no text here.
    """
    if wanted:
        found = _named(models, wanted)
        if found is None and full_name(wanted) in map(full_name, others):
            return ModelChoice(None, f"{wanted} writes no text on this machine: it makes embeddings, or runs elsewhere")
        if found is None:
            return ModelChoice(None, f"{wanted} is not installed{_listed(models)}. Run: ollama pull {wanted}", wanted)
        asked = "as asked" if full_name(found.name) == full_name(wanted) else f"the only installed {wanted}"
        doubt = "" if found.fits else f"; {_too_large(found)}"
        doubt += f"; {_too_small([found])}" if found.small else ""
        doubt += POOR if found.poor else ""
        return ModelChoice(found.name, f"{found.name}, {asked}{doubt}")
    best = next((m for m in models if m.fits and not m.small), None)
    if best is not None:
        line = f"{best.name}, the best of {len(models)} installed for {memory_bytes / GIB:.0f} GB"
        return ModelChoice(best.name, line + (POOR if best.poor else ""))
    offer, fitting = tier(memory_bytes).models[0], [m for m in models if m.fits]
    why = _too_small(fitting) if fitting else _none_fits(len(models), others)
    return ModelChoice(None, f"{why}. Run: ollama pull {offer}", offer)


def _none_fits(count: int, others: Sequence[str] = ()) -> str:
    if not count and others:
        return f"no installed model writes text here: {', '.join(others[:6])}"
    if count < 2:
        return "the installed model does not fit" if count else "no model is installed"
    return f"none of the {count} installed models fits"


def _named(models: Sequence[InstalledModel], wanted: str) -> InstalledModel | None:
    """Return the model of that name, else the only one that differs from it by its tag, or by capital letters."""
    exact = [m for m in models if full_name(m.name) == full_name(wanted)]
    close = [m for m in models if wanted.lower() in (m.name.lower(), m.name.lower().rpartition(":")[0])]
    return exact[0] if exact else close[0] if len(close) == 1 else None


def _listed(models: Sequence[InstalledModel]) -> str:
    """Return what is installed, for a person: " (installed: a:7b, b:9b)"; empty where nothing is."""
    return f" (installed: {', '.join(m.name for m in models[:6])})" if models else ""


def open_ollama(
    *,
    memory_bytes: int,
    log_path: Path,
    scorecard: Scorecard,
    wanted: str | None = None,
    environ: Mapping[str, str] | None = None,
    offer: Offer | None = None,
    measure: bool = False,
) -> tuple[OllamaProposer | None, str]:
    """Return a proposer with the chosen model, or None, and the line that says which and why.

    `log_path` is for the log of a server that is started here. `offer` is called when no installed model fits. With
    `measure`, a model that was never loaded on this machine is loaded once, and the next best is chosen if it turns out
    too large. The caller closes the proposer, which also stops a server that was started here.
    """
    environ = os.environ if environ is None else environ
    try:
        server = connect(log_path, environ)
    except ProposerError as error:
        return None, f"no local model: {error}"
    if server is None:
        how = how_to_begin(memory_bytes)
        return None, f"no local model: no Ollama server answers and `ollama` is not installed; {how}"
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        try:
            choice, proposer = _chosen(server, memory_bytes, scorecard, wanted, offer, measure)
        except ProposerError as error:
            choice, proposer = ModelChoice(None, str(error)), None
        if proposer is None:
            return None, f"no local model: {choice.line}"
        stack.pop_all()
    return proposer, f"local model: {choice.line} ({server.url})"


def _chosen(
    server: OllamaServer,
    memory_bytes: int,
    scorecard: Scorecard,
    wanted: str | None,
    offer: Offer | None,
    measure: bool,
) -> tuple[ModelChoice, OllamaProposer | None]:
    """Choose until a model fits, the user declines to pull one, or none is left."""
    while True:
        found = installed(server, memory_bytes, scorecard)
        others = [str(entry.get("name") or "") for entry in server.models()]
        choice = choose_model(found, memory_bytes, wanted, others)
        if choice.model is None:
            if choice.pull is None or offer is None or not offer(server, choice):
                return choice, None
            wanted, offer = choice.pull, None
            continue
        fit, chosen = tier(memory_bytes), next(m for m in found if m.name == choice.model)
        proposer = OllamaProposer(
            server,
            choice.model,
            scorecard,
            formats=fit.formats,
            memory_limit=None if wanted else memory_limit(memory_bytes),
            usual_context=fit.num_ctx,
            most_context=max(fit.num_ctx, chosen.largest or 0),
            shared_bytes=shared_bytes(memory_bytes, scorecard.card(f"ollama:{choice.model}")),
        )
        file_bytes = chosen.size
        if not measure or measured(proposer.card, file_bytes) or proposer.fits(file_bytes):
            return choice, proposer


def _too_small(models: Sequence[InstalledModel]) -> str:
    names = ", ".join(f"{m.name} ({size_text(m.parameters_b) or f'{m.size / GIB:.1f} GB'})" for m in models)
    return f"the built-in tuner is better than a model under {LEAST_B:g}B: {names}"


def _too_large(model: InstalledModel) -> str:
    return f"it needs about {model.need / GIB:.1f} GB, which is more than this machine has for a model"
