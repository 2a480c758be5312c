"""Findings of other machines as hints for a night: what its proposers are told, and how many of them held here. Pure.

They are hints and nothing more: no directive, no count and no list of repeats is made of them, since nothing of them
was measured here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, with_config

from autoresearch.candidate import constants
from autoresearch.errors import AutoresearchError
from autoresearch.findings import schema
from autoresearch.findings.agreement import change_key, described, direction_key, in_sigma
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.export import change
from autoresearch.findings.finding import Finding
from autoresearch.record.night import Experiment, Night
from autoresearch.records import CATEGORIES, HintLine
from autoresearch.tasks.gpt.calibrate import MACHINE_FIT

MOST = 12  # hints in a prompt
MACHINES_TOLD = 3  # of those that measured one change


@dataclass(frozen=True, slots=True)
class Found:
    """What one machine measured."""

    machine: str  # "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"
    task: str  # "mac, 300 s"
    gain_sigma: float

    def __str__(self) -> str:
        """ "+4.1 sigma on Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2 (mac, 300 s)"."""
        return f"{self.gain_sigma:+.1f} sigma on {self.machine} ({self.task})"


@with_config(schema.STRICT)
@dataclass(frozen=True, slots=True)
class Hint:
    """A change that other machines tried, with a clear gain or loss on each; `finding` is the clearest one's."""

    finding: Finding
    found: tuple[Found, ...]

    @property
    def gains(self) -> bool:
        """Whether it gained wherever it was clear."""
        return all(one.gain_sigma > 0 for one in self.found)

    @property
    def change(self) -> str:
        """ "learning_rate: Higher matrix rate (MATRIX_LR 0.04 → 0.06)"."""
        f = self.finding
        values = f" ({described(f)[:160]})" if f.change is not None else ""
        return f"{f.category if f.category in CATEGORIES else 'other'}: {f.title[:79]}{values}"

    @property
    def there(self) -> str:
        more = len(self.found) - MACHINES_TOLD
        rest = f"; and on {more} more" if more > 0 else ""
        return "; ".join(map(str, self.found[:MACHINES_TOLD])) + rest

    def __str__(self) -> str:
        return f"{self.change}: {self.there}"


ADAPTER = TypeAdapter(Hint)


@dataclass(frozen=True, slots=True)
class HintOutcome:
    """What became of a hint: the experiment here that kept it, else the first that tried it, else none."""

    seed: Hint
    n: int | None = None
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """How the hints of a gain fared in a night: given, tried here in the same direction, and kept here."""

    given: int
    tried: int
    held: int

    def __str__(self) -> str:
        return f"{self.given} findings of other machines were given as hints: {self.tried} tried here, {self.held} held"


# --- choosing ---------------------------------------------------------------------------------------------------------


def seeds(bundles: Iterable[Bundle], most: int = MOST) -> list[Hint]:
    """The findings worth telling: kept ones whose interval lies above zero, and clear losses; the largest first.

    One change is one seed, whatever number of machines tried it.
    """
    groups: dict[Any, list[tuple[Finding, Found]]] = {}
    for bundle in bundles:
        for f in filter(_clear, bundle.findings):
            groups.setdefault(change_key(f), []).append((_trimmed(f), _found(f, bundle)))
    ranked = [sorted(group, key=lambda pair: -abs(pair[1].gain_sigma)) for group in groups.values()]
    ranked.sort(key=lambda group: -abs(group[0][1].gain_sigma))
    return [Hint(group[0][0], tuple(found for _, found in group)) for group in ranked[:most]]


def _clear(f: Finding) -> bool:
    """A clear effect of a change that can be named, and is more than a fit to its machine."""
    if f.role != "candidate" or f.effect is None or f.effect.direction is None or f.change is None:
        return False
    travels = f.change.code is not None or not set(f.change.constants) <= set(MACHINE_FIT)
    return travels and f.effect.direction == (1 if f.verdict == "keep" else -1)


def _trimmed(f: Finding) -> Finding:
    """What a night has to remember of it: its blocks, runs and source stay in the file."""
    change = replace(f.change, blocks=()) if f.change is not None else None
    return Finding(f.n, f.role, f.verdict, f.title, category=f.category, change=change, effect=f.effect)


def _found(f: Finding, bundle: Bundle) -> Found:
    parts = [bundle.task.profile, f"{bundle.task.budget_s:g} s" if bundle.task.budget_s else None]
    gain = in_sigma(f.effect.gain_bpb if f.effect else None, bundle)
    return Found(bundle.machine.describe()[:79], ", ".join(filter(None, parts)), round(gain or 0.0, 2))


# --- telling ----------------------------------------------------------------------------------------------------------


def to_json(given: Sequence[Hint]) -> list[dict[str, Any]]:
    """As the journal holds them."""
    return [schema.write(ADAPTER, seed) for seed in given]


def from_json(hinted: Sequence[Mapping[str, Any]]) -> list[Hint]:
    """The inverse. Raises strict.Mismatch, a ValueError, for what no `to_json` wrote."""
    return [schema.read(ADAPTER, json.dumps(dict(seed)).encode(), f"hint {i}") for i, seed in enumerate(hinted, 1)]


def hints(hinted: Sequence[Mapping[str, Any]]) -> tuple[HintLine, ...]:
    """What a proposer may know of them."""
    return tuple(_hint(seed) for seed in from_json(hinted))


def _hint(seed: Hint) -> HintLine:
    return HintLine(str(seed), _numbers(seed.finding), tuple(one.gain_sigma for one in seed.found))


def _numbers(f: Finding) -> dict[str, tuple[Any, Any]]:
    """The constants of a change that is numbers and nothing else; empty for any other."""
    if f.change is None or f.change.code is not None:
        return {}
    pairs = {name: pair for name, pair in f.change.constants.items() if name not in MACHINE_FIT}
    values = {name: (_number(old), _number(new)) for name, (old, new) in pairs.items()}
    return values if all(None not in pair for pair in values.values()) else {}


def _number(literal: str | None) -> Any:
    try:
        value = constants.evaluate(literal) if literal is not None else None
    except ValueError:
        return None
    return value if isinstance(value, int | float) else None


# --- what became of them ----------------------------------------------------------------------------------------------


def fates(given: Sequence[Hint], findings: Iterable[Finding]) -> list[HintOutcome]:
    """What a night made of each hint: tried means the same change, else for a gain one constant moved the same way."""
    here: dict[Any, Finding] = {}
    for f in findings:
        for key in filter(None, (change_key(f), direction_key(f))):
            if key not in here or (f.verdict == "keep" and here[key].verdict != "keep"):
                here[key] = f
    return [_fate(seed, here) for seed in given]


def _fate(seed: Hint, here: Mapping[Any, Finding]) -> HintOutcome:
    f = here.get(change_key(seed.finding))
    if f is None and seed.gains and (way := direction_key(seed.finding)) is not None:
        f = here.get(way)
    return HintOutcome(seed) if f is None else HintOutcome(seed, f.n, f.verdict)


def of_night(night: Night, source_of: Callable[[int], str]) -> list[HintOutcome]:
    """What the night made of the hints it was given; empty where it was given none."""
    given = from_json(night.hinted)
    if not given:
        return []
    tried = [x for x in night.decided if x.role == "candidate" and x.parent_n is not None]
    return fates(given, [_as_finding(x, source_of) for x in tried])


def _as_finding(x: Experiment, source_of: Callable[[int], str]) -> Finding:
    assert x.parent_n is not None and x.verdict is not None
    try:
        told = change(source_of(x.parent_n), source_of(x.n))
    except AutoresearchError:  # its source is gone
        told = None
    return Finding(x.n, x.role, x.verdict, x.proposal.title, change=told)


def held(results: Sequence[HintOutcome]) -> Held:
    """A loss elsewhere is not counted: nobody is expected to try it."""
    gains = [fate for fate in results if fate.seed.gains]
    tried = [fate for fate in gains if fate.n is not None]
    return Held(len(gains), len(tried), sum(fate.verdict == "keep" for fate in tried))
