"""Findings of other machines as hints for a night: what its proposers are told, and how many of them held here. Pure.

They are hints and nothing more: no directive, no count and no list of repeats is made of them, since nothing of them
was measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.agreement import change_key, described, direction_key, in_sigma
from autoresearch.bundle import Bundle, Finding

MOST = 12  # hints in a prompt


@dataclass(frozen=True, slots=True)
class Seed:
    """One finding of another machine."""

    finding: Finding
    machine: str
    task: str  # "mac, 300 s"
    gain_sigma: float

    def __str__(self) -> str:
        """ "+4.1 sigma on Apple M4 Pro (mac, 300 s): learning_rate: Higher matrix rate (MATRIX_LR 0.04 → 0.06)"."""
        f = self.finding
        values = f" ({described(f)})" if f.change is not None else ""
        return (
            f"{self.gain_sigma:+.1f} sigma on {self.machine} ({self.task}): {f.category}: {f.title[:79]}{values[:160]}"
        )


@dataclass(frozen=True, slots=True)
class Held:
    """How the hints fared in a night: given, tried here in the same direction, and kept here."""

    given: int
    tried: int
    held: int

    def __str__(self) -> str:
        return f"{self.given} findings of other machines were given as hints: {self.tried} tried here, {self.held} held"


def seeds(bundles: Sequence[Bundle], most: int = MOST) -> list[Seed]:
    """The findings worth telling: kept ones whose interval lies above zero, and clear losses; the largest first."""
    found = [_seed(f, bundle) for bundle in bundles for f in bundle.findings if _clear(f)]
    return sorted(found, key=lambda seed: -abs(seed.gain_sigma))[:most]


def lines(given: Sequence[Seed]) -> list[str]:
    """For a prompt: a heading that marks them, and a line each; nothing where there are none."""
    if not given:
        return []
    return [
        "Found on other machines, not measured on this one; it may be otherwise here:",
        *(f"- {seed}" for seed in given),
    ]


def held(given: Sequence[Seed], night: Bundle) -> Held:
    """How many of the hints this night tried, as the same change or one constant moved the same way, and kept.

    A loss elsewhere is not counted: nobody is expected to try it.
    """
    gains = [seed for seed in given if seed.gain_sigma > 0]
    here: dict[object, bool] = {}
    for f in night.findings:
        for key in filter(None, (change_key(f), direction_key(f))):
            here[key] = here.get(key, False) or f.verdict == "keep"
    tried = [keys for keys in map(_keys, gains) if any(key in here for key in keys)]
    return Held(len(gains), len(tried), sum(any(here.get(key) for key in keys) for keys in tried))


def _keys(seed: Seed) -> list[object]:
    return [key for key in (change_key(seed.finding), direction_key(seed.finding)) if key is not None]


def _clear(f: Finding) -> bool:
    if f.role != "candidate" or f.effect is None or f.effect.direction is None:
        return False
    return f.effect.direction == (1 if f.verdict == "keep" else -1)


def _seed(f: Finding, bundle: Bundle) -> Seed:
    parts = [bundle.task.profile, f"{bundle.task.budget_s:g} s" if bundle.task.budget_s else None]
    gain = in_sigma(f.effect.gain_bpb if f.effect else None, bundle)
    return Seed(f, bundle.machine.describe(), ", ".join(filter(None, parts)), gain or 0.0)
