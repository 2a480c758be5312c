"""List the installed models of an Ollama server that write text, with what they need and whether they fit, best first.

The ranking of models (TIERS, FAMILY_WORTH) is an estimate; a model whose replies hardly ever apply, by the scorecard,
comes last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from autoresearch.errors import ProposerError
from autoresearch.formats import GIB
from autoresearch.search.llm.ollama import CONTEXT_STEPS, context_length, model_family, parameters_b
from autoresearch.search.llm.ollama_server import OllamaServer
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
    Tier(0, ("qwen2.5-coder:3b", "qwen3.5:4b"), 8192, ("set", "menu")),
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
class InstalledModel:
    """Installed model that can write text on this machine."""

    name: str
    size: int  # bytes of its file
    parameters_b: float | None
    context: int | None  # tokens that it was trained for
    need: int  # bytes of memory once loaded: measured if it was loaded here before, else estimated
    fits: bool
    largest: int | None = None  # tokens of context that fit this machine; None when unknown
    poor: bool = False  # whether its replies hardly ever applied here

    @property
    def small(self) -> bool:
        """Whether the built-in tuner is better than a model of this size."""
        return self.size < LEAST_BYTES if self.parameters_b is None else self.parameters_b < LEAST_B


def tier(memory_bytes: int) -> Tier:
    """Return the tier of a machine: tier(16 * 2**30).num_ctx -> 16384.

    A machine may report up to 1 GB less than the memory that it is sold with.
    """
    return next(t for t in TIERS if memory_bytes >= (t.memory_gb - 1) * GIB)


def memory_limit(memory_bytes: int) -> int:
    """Return the bytes that a model may take: macOS lets the GPU use about two thirds, on large machines 3/4."""
    return int(memory_bytes * (0.75 if memory_bytes > 36 * GIB else 0.67))


def installed(server: OllamaServer, memory_bytes: int, scorecard: Scorecard | None = None) -> list[InstalledModel]:
    """Return the installed models that write text and run here, best first; those that do not fit come last."""
    cards = scorecard.known() if scorecard else {}
    models = [_model(server, entry, memory_bytes, cards) for entry in server.models() if _local(entry)]
    found = [model for model in models if model is not None]
    return sorted(found, key=lambda m: (not m.fits, m.small, m.poor, -_worth(m), m.name))


def measured(card: Card | None, file_bytes: int) -> int | None:
    """Return the bytes of memory that a model took, or None if a file of this size was never loaded here.

    The size of the file identifies it, since a tag may be pulled again with another content.
    """
    if card is None or not card.loaded_bytes or card.file_bytes != file_bytes:
        return None
    return int(card.loaded_bytes)


def _model(
    server: OllamaServer, entry: Mapping[str, Any], memory_bytes: int, cards: Mapping[str, Card]
) -> InstalledModel | None:
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
    card = cards.get(f"ollama:{name}")
    need = measured(card, size) or room(num_ctx)
    larger = [step for step in CONTEXT_STEPS if step <= (trained or 0) and room(step) <= limit]
    most = max(larger, default=None)
    return InstalledModel(name, size, parameters_b(show), trained, need, need <= limit, most, useless(card))


def _writes(name: str, show: Mapping[str, Any], capabilities: Any) -> bool:
    """Return whether a model writes text, by its capabilities, else by what models of embeddings are called."""
    if isinstance(capabilities, list):
        return "completion" in capabilities
    info = show.get("model_info") or {}
    pools = any(str(key).endswith(".pooling_type") for key in info)
    return not pools and not EMBEDDERS.search(f"{name} {model_family(show)}")


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


def _worth(model: InstalledModel) -> float:
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
