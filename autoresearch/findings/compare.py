"""Compare nights or machines: their trajectories, what gained on each, and what they agree on. No I/O.

Gains are compared and values are not: each gain is divided by the baseline or the sigma of its own night.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from autoresearch.candidate import constants
from autoresearch.errors import SourceError
from autoresearch.findings.agreement import SharedRow, in_sigma, shared
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import Effect, Finding, SharedHint, TransferOutcome
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.records import CATEGORIES, COMPARABLE

FEW_DF = 6.0  # below these degrees of freedom sigma itself is uncertain by a factor of two
HINT = "hint"
NOTED = {"mlx": "MLX versions", "harness": "versions of the harness"}
NIGHT_NOTES: Mapping[str, Callable[[Bundle], bool]] = {
    "imported: one run each, without sigma and intervals, so none of its gains is known to be real": (
        lambda b: b.kind == "imported"
    ),
    f"sigma rests on fewer than {FEW_DF:g} degrees of freedom, so the intervals are wide": (
        lambda b: b.sigma_df is not None and b.sigma_df < FEW_DF
    ),
    "on battery at the start": lambda b: b.machine.power == "battery",
    "in low-power mode at the start": lambda b: b.machine.low_power is True,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run of one version costs."""

    tok_s: float | None = None
    mfu_percent: float | None = None
    peak_memory_mb: float | None = None
    num_steps: int | None = None
    num_params: int | None = None


@dataclass(frozen=True, slots=True)
class TrajectoryPoint:
    """The best so far after a number of experiments and hours. Gains are over the night's own baseline."""

    experiment: int
    hour: float | None
    score: float
    gain_percent: float
    gain_sigma: float | None
    title: str


@dataclass(frozen=True, slots=True)
class NightRow:
    """One night in numbers. `key` is its letter in all tables."""

    key: str
    label: str
    id: str
    kind: str
    machine: str
    task: Mapping[str, Any]
    versions: Mapping[str, str]
    experiments: int
    keeps: int
    discards: int
    crashes: int
    hours: float | None
    sigma_score: float | None
    sigma_df: float | None
    baseline_score: float | None
    best_score: float | None
    gain_score: float | None
    gain_percent: float | None
    gain_sigma: float | None
    total: Effect | None
    baseline: Cost
    best: Cost
    trajectory: tuple[TrajectoryPoint, ...]
    metric: Metric = VAL_BPB


class Ends(NamedTuple):
    """The source text of a constant's value in a night's baseline and in its best."""

    first: str
    last: str


@dataclass(frozen=True, slots=True)
class ConstantRow:
    """A constant that a night moved, or that differs between their baselines, with a cell for each night."""

    name: str
    cells: tuple[Ends | None, ...]
    moved: int  # number of nights that changed it


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """One night's experiments of a category by verdict, and the sum of the gains of its keeps."""

    tried: int = 0
    kept: int = 0
    crashed: int = 0
    gain_score: float = 0.0
    gain_sigma: float | None = None


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """A category of changes, with a cell for each night."""

    name: str
    cells: tuple[CategoryResult, ...]


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One change that night `of` kept, with a cell for each night: what came of it where it was replayed or hinted."""

    of: str  # a letter, the start of an id where that night is not among those compared, or HINT
    n: int | None  # the experiment there; not known of a hint
    title: str
    there: Effect | None
    cells: tuple[TransferOutcome | None, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that the tables and pictures of a comparison show."""

    nights: tuple[NightRow, ...]
    warnings: tuple[str, ...]
    constants: tuple[ConstantRow, ...]
    categories: tuple[CategoryRow, ...]
    shared: tuple[SharedRow, ...]
    transfers: tuple[TransferRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison in JSON's own types, for `--json`."""
        return asdict(self)


def compare(bundles: Sequence[Bundle]) -> Comparison:
    """Compare one or more nights, in their order."""
    nights = tuple(_night(letter(i), bundle) for i, bundle in enumerate(bundles))
    return Comparison(
        nights=nights,
        warnings=tuple(warnings(bundles)),
        constants=tuple(_constants(bundles)),
        categories=tuple(_categories(bundles)),
        shared=tuple(shared(bundles)),
        transfers=(*_transfers(bundles, {night.id: night.key for night in nights}), *_hints(bundles)),
    )


def letter(i: int) -> str:
    """Return the letter of a night in all tables: letter(0) -> "A", letter(25) -> "Z", letter(26) -> "AA"."""
    return (letter(i // 26 - 1) if i >= 26 else "") + chr(65 + i % 26)


# --- one night ------------------------------------------------------------------------------------------------------


def _night(key: str, bundle: Bundle) -> NightRow:
    candidates = [f for f in bundle.findings if f.role == "candidate"]
    counts = {verdict: sum(f.verdict == verdict for f in candidates) for verdict in ("keep", "discard")}
    first, last = bundle.baseline, bundle.finding(bundle.best)
    before, after = first.score if first else None, last.score if last else None
    gain = before - after if before is not None and after is not None else None
    metric = bundle.task.metric.metric
    return NightRow(
        key=key,
        label=bundle.label,
        id=bundle.id,
        kind=bundle.kind,
        machine=bundle.machine.describe(),
        task={name: getattr(bundle.task, name) for name in ("dataset", "profile", "fingerprint", "budget_s")},
        versions=bundle.versions,
        experiments=len(candidates),
        keeps=counts["keep"],
        discards=counts["discard"],
        crashes=len(candidates) - counts["keep"] - counts["discard"],
        hours=bundle.hours,
        sigma_score=bundle.sigma_score,
        sigma_df=bundle.sigma_df,
        baseline_score=before,
        best_score=after,
        gain_score=gain,
        gain_percent=metric.percent(before, after) if before is not None and after is not None else None,
        gain_sigma=in_sigma(gain, bundle),
        total=bundle.total,
        baseline=_cost(first),
        best=_cost(last),
        trajectory=tuple(_trajectory(bundle, before)) if before is not None else (),
        metric=metric,
    )


def _trajectory(bundle: Bundle, baseline_score: float) -> Iterator[TrajectoryPoint]:
    """Yield a point at every baseline and keep, and one at the end of the night."""
    tried, best, hour = 0, None, 0.0
    for f in bundle.findings:
        tried += f.role == "candidate"
        hour = f.hour if f.hour is not None else hour
        if f.verdict == "keep" and f.score is not None:
            gain = baseline_score - f.score
            percent = bundle.task.metric.metric.percent(baseline_score, f.score) or 0.0
            best = TrajectoryPoint(tried, f.hour, f.score, percent, in_sigma(gain, bundle), f.title)
            yield best
    if best is not None and best.experiment < tried:
        end = hour if best.hour is not None else None
        yield TrajectoryPoint(tried, end, best.score, best.gain_percent, best.gain_sigma, "")


def _cost(f: Finding | None) -> Cost:
    run = f.cost if f else None
    if run is None:
        return Cost()
    return Cost(run.tok_s, run.mfu_percent, run.peak_memory_mb, run.num_steps, run.num_params)


# --- what forbids comparing -----------------------------------------------------------------------------------------


def warnings(bundles: Sequence[Bundle]) -> Iterator[str]:
    """Yield what a reader must know before comparing the figures, the gravest first."""
    keys = [letter(i) for i in range(len(bundles))]
    for name, why in COMPARABLE.items():
        groups = _groups(keys, [getattr(bundle.task, name) for bundle in bundles])
        if len(groups) > 1:
            yield f"{name}: {_listed(groups)}; {why}"
    for name, what in NOTED.items():
        groups = _groups(keys, [bundle.versions.get(name) for bundle in bundles])
        if len(groups) > 1:
            yield f"the {what} differ: {_listed(groups)}"
    for what, holds in NIGHT_NOTES.items():
        if found := [key for key, bundle in zip(keys, bundles, strict=True) if holds(bundle)]:
            yield f"{' '.join(found) if len(found) < max(3, len(keys)) else 'all'}: {what}"


def _groups(keys: Sequence[str], values: Sequence[Any]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in zip(keys, values, strict=True):
        text = "unknown" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        groups.setdefault(text, []).append(key)
    return groups


def _listed(groups: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{value} in {' '.join(keys)}" for value, keys in groups.items())


# --- constants and categories ---------------------------------------------------------------------------------------


def _constants(bundles: Sequence[Bundle]) -> list[ConstantRow]:
    ends = [(_literals(b.source(b.baseline)), _literals(b.source(b.finding(b.best)))) for b in bundles]
    rows = []
    for name in dict.fromkeys(name for first, last in ends for name in (*first, *last)):
        cells = tuple(
            Ends(first.get(name, "–"), last.get(name, "–")) if name in first or name in last else None
            for first, last in ends
        )
        known = [cell for cell in cells if cell is not None]
        moved = sum(cell.first != cell.last for cell in known)
        if moved or len({cell.first for cell in known}) > 1:
            rows.append(ConstantRow(name, cells, moved))
    return sorted(rows, key=lambda row: -row.moved)


def _literals(source: str | None) -> Mapping[str, str]:
    """Return the source text of each constant's value."""
    try:
        return constants.literals(source) if source is not None else {}
    except SourceError:  # an imported source may be anything
        return {}


def _categories(bundles: Sequence[Bundle]) -> list[CategoryRow]:
    found = {f.category for bundle in bundles for f in bundle.findings if f.role == "candidate"}
    names = [*(name for name in CATEGORIES if name in found), *sorted(found - set(CATEGORIES))]
    rows = [CategoryRow(name, tuple(_counts(bundle, name) for bundle in bundles)) for name in names]
    return sorted(rows, key=lambda row: -sum(cell.gain_sigma or 0.0 for cell in row.cells))


def _counts(bundle: Bundle, category: str) -> CategoryResult:
    tried = [f for f in bundle.findings if f.role == "candidate" and f.category == category]
    kept = [f for f in tried if f.verdict == "keep"]
    gain = sum(f.effect.gain_score for f in kept if f.effect)
    crashed = sum(f.verdict in ("crash", "quarantined") for f in tried)
    return CategoryResult(len(tried), len(kept), crashed, gain, in_sigma(gain, bundle))


# --- transfers ------------------------------------------------------------------------------------------------------


def _transfers(bundles: Sequence[Bundle], keys: Mapping[str, str]) -> Iterator[TransferRow]:
    """Yield a row for each change that was replayed."""
    replays = [(i, bundle.transfer) for i, bundle in enumerate(bundles) if bundle.transfer is not None]
    for of in dict.fromkeys(transfer.id for _, transfer in replays):
        rows: dict[int, dict[int, TransferOutcome]] = {}
        for i, transfer in replays:
            if transfer.id == of:
                for row in transfer.rows:
                    rows.setdefault(row.n, {})[i] = row
        for n, cells in rows.items():
            first = next(iter(cells.values()))
            columns = tuple(cells.get(i) for i in range(len(bundles)))
            yield TransferRow(keys.get(of, of[:12]), n, first.title, first.there, columns)


def _hints(bundles: Sequence[Bundle]) -> Iterator[TransferRow]:
    """Yield a row for each change that proposers were told of and tried."""
    for change in dict.fromkeys(hint.change for bundle in bundles for hint in bundle.hints):
        told = [next((hint for hint in bundle.hints if hint.change == change), None) for bundle in bundles]
        first = next(hint for hint in told if hint is not None)
        yield TransferRow(HINT, None, first.title, first.there, tuple(map(_hint, told)))


def _hint(hint: SharedHint | None) -> TransferOutcome | None:
    return None if hint is None else TransferOutcome(hint.experiment, hint.title, hint.verdict, here=hint.here)
