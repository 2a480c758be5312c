"""Choose the Ollama model of a night: the one asked for, else the best installed one that fits this machine.

If none fits, the choice names a model to pull, which happens only when the user agrees. The ranking of models (TIERS,
FAMILY_WORTH) is an estimate; a model whose replies hardly ever apply, by the scorecard, comes last.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autoresearch import environment
from autoresearch.errors import ProposerError
from autoresearch.formats import GIB
from autoresearch.search.llm.ollama import (
    CONTEXT_STEPS,
    MOST_IDLE_COST,
    OllamaProposer,
    context_length,
    family,
    parameters_b,
)
from autoresearch.search.llm.ollama_server import OllamaServer, full_name
from autoresearch.search.llm.own_server import connect
from autoresearch.search.llm.transport import positive
from autoresearch.search.scorecard import FORMATS, Card, Scorecard


@dataclass(frozen=True, slots=True)
class Tier:
    """Models and context for machines with at least `memory_gb` of memory."""

    memory_gb: int
    models: tuple[str, ...]  # the first one is offered for download
    num_ctx: int  # tokens of context
    formats: tuple[str, ...] = FORMATS


TIERS = (
    Tier(48, ("qwen3.8:27b", "qwen3.6:35b"), 32768),
    Tier(32, ("qwen3.6:27b", "qwen3.8:27b", "qwen3-coder:30b"), 16384),
    Tier(24, ("gemma4:12b", "gpt-oss:20b", "qwen2.5-coder:14b"), 16384),
    Tier(16, ("qwen3.5:9b", "gemma4:12b", "qwen2.5-coder:7b"), 16384),
    Tier(0, ("qwen2.5-coder:3b", "qwen3.5:4b"), 8192, ("set",)),
)
# The worth of a billion parameters of each family.
FAMILY_WORTH = {
    "qwen3.8": 1.6,
    "qwen3.6": 1.5,
    "qwen3.5": 1.4,
    "gemma4": 1.3,
    "gpt-oss": 1.2,
    "qwen3-coder": 0.9,  # 3 of 30 billion are active
    "qwen2.5-coder": 1.0,
}
OTHER_WORTH = 0.7  # of any other family
FEWEST_REPLIES, LOWEST_RATE = 12, 0.15  # with a lower share of so many replies applied, a model is chosen last
SMALLEST = 50 * 2**20  # bytes; smaller entries are stubs of models that run elsewhere
LEAST_B = 0.5  # billion parameters: with fewer the built-in tuner is better, and a model is taken by name only
LEAST_BYTES = int(0.35 * GIB)  # the same for a model whose parameters are not known
EMBEDDERS = re.compile(r"embed|minilm|rerank|\bbge\b|bert", re.I)  # in names and architectures


@dataclass(frozen=True, slots=True)
class Model:
    """Installed model that can write text on this machine."""

    name: str
    size: int  # bytes of its file
    parameters_b: float | None
    context: int | None  # tokens that it was trained for
    need: int  # bytes of memory once loaded: measured if it was loaded here before, else estimated
    fits: bool
    largest: int | None = None  # tokens of context that fit this machine; None when unknown

    @property
    def small(self) -> bool:
        """Whether the built-in tuner is better than a model of this size."""
        return self.size < LEAST_BYTES if self.parameters_b is None else self.parameters_b < LEAST_B


@dataclass(frozen=True, slots=True)
class Choice:
    """Model to use, or None, with the reason."""

    model: str | None
    line: str  # the reason, for the user
    pull: str | None = None  # the model to offer for download if there is none


Offer = Callable[[OllamaServer, Choice], bool]  # returns whether the offered model is installed now


def tier(memory_bytes: int) -> Tier:
    """Return the tier of a machine: tier(16 * 2**30).num_ctx -> 16384.

    A machine may report up to 1 GB less than the memory that it is sold with.
    """
    return next(t for t in TIERS if memory_bytes >= (t.memory_gb - 1) * GIB)


def how_to_begin(memory_bytes: int) -> str:
    """Return what to do without a model: "install Ollama (https://ollama.com), then: ollama pull gemma4:12b"."""
    return f"install Ollama (https://ollama.com), then: ollama pull {tier(memory_bytes).models[0]}"


def memory_limit(memory_bytes: int) -> int:
    """Return the bytes that a model may take: macOS lets the GPU use about two thirds, on large machines 3/4."""
    return int(memory_bytes * (0.75 if memory_bytes > 36 * GIB else 0.67))


def shared_bytes(memory_bytes: int, card: Card) -> int:
    """Return the bytes that a loaded model and a training may take together; 0 where it has to go before each training.

    AUTORESEARCH_KEEP_MODEL decides, else what an idle loaded model costs training here where `benchmarks mac` measured
    it.
    """
    keep = environment.choice("AUTORESEARCH_KEEP_MODEL")
    if keep is None:
        keep = (card.idle_cost or 0.0) <= MOST_IDLE_COST
    return memory_limit(memory_bytes) if keep else 0


def installed(server: OllamaServer, memory_bytes: int, scorecard: Scorecard | None = None) -> list[Model]:
    """Return the installed models that write text and run here, best first; those that do not fit come last."""
    cards = scorecard.known() if scorecard else {}
    models = [_model(server, entry, memory_bytes, cards) for entry in server.models() if _local(entry)]
    found = [model for model in models if model is not None]
    return sorted(
        found, key=lambda m: (not m.fits, m.small, useless(cards.get(f"ollama:{m.name}")), -_worth(m), m.name)
    )


def choose_model(
    models: Sequence[Model], memory_bytes: int, wanted: str | None = None, others: Sequence[str] = ()
) -> Choice:
    """Choose among `models`, the installed ones, best first; `wanted` is the name that the user asked for.

    `others` are installed, too, and write no text here.
    """
    if wanted:
        found = _named(models, wanted)
        if found is None and full_name(wanted) in map(full_name, others):
            return Choice(None, f"{wanted} writes no text on this machine: it makes embeddings, or runs elsewhere")
        if found is None:
            return Choice(None, f"{wanted} is not installed{_listed(models)}. Run: ollama pull {wanted}", wanted)
        asked = "as asked" if full_name(found.name) == full_name(wanted) else f"the only installed {wanted}"
        doubt = "" if found.fits else f"; {_too_large(found)}"
        doubt += f"; {_too_small([found])}" if found.small else ""
        return Choice(found.name, f"{found.name}, {asked}{doubt}")
    best = next((m for m in models if m.fits and not m.small), None)
    if best is not None:
        return Choice(best.name, f"{best.name}, the best of {len(models)} installed for {memory_bytes / GIB:.0f} GB")
    offer, fitting = tier(memory_bytes).models[0], [m for m in models if m.fits]
    why = _too_small(fitting) if fitting else _none_fits(len(models))
    return Choice(None, f"{why}. Run: ollama pull {offer}", offer)


def _none_fits(count: int) -> str:
    if count < 2:
        return "the installed model does not fit" if count else "no model is installed"
    return f"none of the {count} installed models fits"


def _named(models: Sequence[Model], wanted: str) -> Model | None:
    """Return the model of that name, else the only one that differs from it by its tag, or by capital letters."""
    exact = [m for m in models if full_name(m.name) == full_name(wanted)]
    close = [m for m in models if wanted.lower() in (m.name.lower(), m.name.lower().rpartition(":")[0])]
    return exact[0] if exact else close[0] if len(close) == 1 else None


def _listed(models: Sequence[Model]) -> str:
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
            choice, proposer = Choice(None, str(error)), None
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
) -> tuple[Choice, OllamaProposer | None]:
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
        if not measure or _measured(proposer.card, file_bytes) or proposer.fits(file_bytes):
            return choice, proposer


def _measured(card: Card | None, file_bytes: int) -> int | None:
    """Return the bytes of memory that a model took, or None if a file of this size was never loaded here.

    The size of the file identifies it, since a tag may be pulled again with another content.
    """
    if card is None or not card.loaded_bytes or card.file_bytes != file_bytes:
        return None
    return int(card.loaded_bytes)


def _model(
    server: OllamaServer, entry: Mapping[str, Any], memory_bytes: int, cards: Mapping[str, Card]
) -> Model | None:
    """Describe an installed model; None for one that does not write text."""
    name, size = str(entry.get("name") or entry.get("model") or ""), positive(entry, "size") or 0
    try:
        show = server.show(name)
    except ProposerError as error:
        if error.reason == "server_gone":
            raise
        show = {}  # the model is listed but broken: only the entry describes it
    details = entry.get("details")
    show = {"details": details if isinstance(details, dict) else {}, **show}
    if not _writes(name, show, show.get("capabilities") or entry.get("capabilities")):
        return None
    limit, room = memory_limit(memory_bytes), partial(_estimate, show.get("model_info") or {}, size)
    trained = context_length(show)
    num_ctx = min(tier(memory_bytes).num_ctx, trained or tier(memory_bytes).num_ctx)
    need = _measured(cards.get(f"ollama:{name}"), size) or room(num_ctx)
    larger = [step for step in CONTEXT_STEPS if step <= (trained or 0) and room(step) <= limit]
    return Model(name, size, parameters_b(show), trained, need, need <= limit, max(larger, default=None))


def _writes(name: str, show: Mapping[str, Any], capabilities: Any) -> bool:
    """Return whether a model writes text, by its capabilities, else by what models of embeddings are called."""
    if isinstance(capabilities, list):
        return "completion" in capabilities
    info = show.get("model_info") or {}
    pools = any(str(key).endswith(".pooling_type") for key in info)
    return not pools and not EMBEDDERS.search(f"{name} {family(show)}")


def _estimate(info: Mapping[str, Any], size: int, num_ctx: int) -> int:
    """Estimate the bytes of memory that a model with a file of `size` bytes takes with so much context."""
    return int(size * 1.05) + _cache_bytes(info, num_ctx, size) + GIB // 2


def _local(entry: Mapping[str, Any]) -> bool:
    """Return whether a listed model runs on this machine; stubs of cloud models have a few hundred bytes."""
    remote = entry.get("remote_host") or entry.get("remote_model") or str(entry.get("name", "")).endswith("cloud")
    return not remote and (positive(entry, "size") or 0) >= SMALLEST


def _cache_bytes(info: Mapping[str, Any], num_ctx: int, size: int) -> int:
    """Return the bytes of keys and values, in 16 bits, for all layers and positions.

    If the server does not report the model's shape, they are estimated as a tenth of its size.
    """
    architecture = info.get("general.architecture")
    layers, heads, length, width, all_heads = (
        info.get(f"{architecture}.{key}")
        for key in (
            "block_count",
            "attention.head_count_kv",
            "attention.key_length",
            "embedding_length",
            "attention.head_count",
        )
    )
    if length is None and isinstance(width, int) and isinstance(all_heads, int) and all_heads:
        length = width // all_heads
    if isinstance(layers, int) and isinstance(heads, int) and isinstance(length, int):
        return 2 * 2 * layers * heads * length * num_ctx
    return size // 10


def _worth(model: Model) -> float:
    """Return the parameters of a model in billions, weighted by its family; gigabytes if unknown."""
    family = model.name.rpartition("/")[2].partition(":")[0].lower()
    return (model.parameters_b or model.size / GIB) * FAMILY_WORTH.get(family, OTHER_WORTH)


def useless(card: Card | None) -> bool:
    """Return whether a model's replies hardly ever apply on this machine."""
    return card is not None and card.asked >= FEWEST_REPLIES and card.applied < LOWEST_RATE * card.asked


def size_text(billions: float | None) -> str:
    """Write a number of parameters as people do: [size_text(b) for b in (0.13452, 7.6157)] -> ["135M", "7.6B"]."""
    if billions is None:
        return ""
    return f"{billions * 1000:.0f}M" if billions < 0.9995 else f"{billions:.1f}B".replace(".0B", "B")


def _too_small(models: Sequence[Model]) -> str:
    names = ", ".join(f"{m.name} ({size_text(m.parameters_b) or f'{m.size / GIB:.1f} GB'})" for m in models)
    return f"the built-in tuner is better than a model under {LEAST_B:g}B: {names}"


def _too_large(model: Model) -> str:
    return f"it needs about {model.need / GIB:.1f} GB, which is more than this machine has for a model"
