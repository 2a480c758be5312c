"""Choose findings of other machines as hints for a night, and count how many of them held there. No I/O.

A proposer reads them as hints and nothing more. They never affect the search policy's directives and counts or the
check for repeats, because nothing of them was measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autoresearch import jsonable
from autoresearch.candidate import constants
from autoresearch.errors import AutoresearchError
from autoresearch.findings.agreement import change_id, change_key, described, direction_key, in_sigma, verdict
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.export import change
from autoresearch.findings.finding import Effect, Finding, SharedHint, SharedMachine
from autoresearch.formats import counted, shortened
from autoresearch.record.night import Experiment, Night
from autoresearch.records import CATEGORIES, HintLine
from autoresearch.tasks.gpt.calibrate import MACHINE_FIT

MOST = 12  # hints in a prompt
MACHINES_TOLD = 3  # of those that measured one change
SIGMA, PERCENT = "sigma", "%"
TITLE, VALUES, MACHINE = 80, 160, 80  # characters of a hint's parts


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one machine measured of a change."""

    machine: str  # "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"
    task: str  # "mac, 300 s"
    gain: float
    unit: str = SIGMA  # of the gain; "%" or the metric's own where runs do not scatter

    def __str__(self) -> str:
        """Return "+4.1 sigma on Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2 (mac, 300 s)"."""
        task = f" ({self.task})" if self.task else ""
        gain = f"{self.gain:+,.1f}" if self.unit in (SIGMA, PERCENT) else f"{self.gain:+.3g}"
        return f"{gain}{'' if self.unit in (PERCENT, '') else ' '}{self.unit} on {self.machine}{task}"


@dataclass(frozen=True, slots=True)
class Hint:
    """A change that gained or lost clearly on other machines. `finding` is that of the machine with the largest effect.

    The evidence is ordered by the size of the effect. `nulls` counts the machines where it made no clear difference.
    """

    finding: Finding
    evidence: tuple[Evidence, ...]
    nulls: int = 0

    @property
    def gains(self) -> bool:
        """Whether every machine measured a gain."""
        return all(one.gain > 0 for one in self.evidence)

    @property
    def claim(self) -> int:
        """1 where the largest effect is a gain, -1 where it is a loss."""
        return 1 if self.evidence[0].gain > 0 else -1

    @property
    def change(self) -> str:
        """The change in a line: "learning_rate: Higher matrix rate (MATRIX_LR 0.04 → 0.06)"."""
        finding = self.finding
        values = f" ({shortened(described(finding), VALUES)})" if finding.change is not None else ""
        category = finding.category if finding.category in CATEGORIES else "other"
        return f"{category}: {shortened(finding.title, TITLE)}{values}"

    @property
    def there(self) -> str:
        """The evidence in a line: "+4.1 sigma on Apple M4 Pro (mac, 300 s); ...; and on 2 more"."""
        more = len(self.evidence) - MACHINES_TOLD
        rest = f"; and on {more} more" if more > 0 else ""
        nulls = f"; no clear difference on {self.nulls}" if self.nulls else ""
        return "; ".join(map(str, self.evidence[:MACHINES_TOLD])) + rest + nulls

    def __str__(self) -> str:
        return f"{self.change}: {self.there}"


@dataclass(frozen=True, slots=True)
class HintOutcome:
    """What became of a hint: the experiment `n` that kept it, else the first one that tried it, else None."""

    hint: Hint
    n: int | None = None
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class HintCounts:
    """How many hints of a gain a night was given, how many it tried in the same direction, and how many it kept."""

    given: int
    tried: int
    held: int

    def __str__(self) -> str:
        return f"hints: {counted(self.given, 'gain')} from elsewhere, {self.tried} tried here, {self.held} held"


# --- choosing ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """What the nights measured of one change: clear effects, and the machines where it was none."""

    clear: list[tuple[Finding, Evidence, SharedMachine]] = field(default_factory=list)
    nulls: set[str] = field(default_factory=set)

    def rank(self, here: SharedMachine | None) -> tuple[bool, int, float]:
        """Return a key, least first: replicated on this class of machine, by how many machines, by how much.

        Machines that contradict the largest effect count against it. A machine counts once, however many nights it had.
        """
        lead = self.clear[0][1].gain
        sides = {machine.describe(): one.gain * lead > 0 for _, one, machine in reversed(self.clear)}
        like = here is not None and any(
            machine.kind == here.kind and sides[machine.describe()] for _, _, machine in self.clear
        )
        return not like, -sum(1 if agrees else -1 for agrees in sides.values()), -abs(lead)


def choose(bundles: Iterable[Bundle], most: int = MOST, here: SharedMachine | None = None) -> list[Hint]:
    """Return kept changes whose interval lies above zero and discarded ones whose interval lies below.

    A change is one hint, however many machines tried it. Those come first that were measured on a machine like `here`,
    then those that most machines replicate, then the largest.
    """
    groups: dict[Any, _Group] = {}
    for bundle in bundles:
        for finding in bundle.findings:
            if _clear(finding):
                found = _without_bulk(finding), _evidence(finding, bundle), bundle.machine
                groups.setdefault(change_key(finding), _Group()).clear.append(found)
            elif finding.role == "candidate" and finding.effect is not None and finding.effect.direction == 0:
                groups.setdefault(change_key(finding), _Group()).nulls.add(bundle.machine.describe())
    told = [group for group in groups.values() if group.clear]
    for group in told:
        group.clear.sort(key=lambda found: -abs(found[1].gain))
    told.sort(key=lambda group: group.rank(here))
    return [Hint(g.clear[0][0], tuple(found[1] for found in g.clear), len(g.nulls)) for g in told[:most]]


def _clear(finding: Finding) -> bool:
    """Return whether the interval excludes zero on the verdict's side, for a change that is more than a machine fit."""
    effect, made = finding.effect, finding.change
    if finding.role != "candidate" or effect is None or effect.direction is None or made is None:
        return False
    travels = made.code is not None or not set(made.constants) <= set(MACHINE_FIT)
    return travels and effect.direction == (1 if finding.verdict == "keep" else -1)


def _without_bulk(finding: Finding) -> Finding:
    """Return what the journal of a night needs of a finding; blocks, runs and source stay in the file."""
    made = replace(finding.change, blocks=()) if finding.change is not None else None
    kept = (finding.n, finding.role, finding.verdict, finding.title)
    return Finding(*kept, category=finding.category, change=made, effect=finding.effect)


def _evidence(finding: Finding, bundle: Bundle) -> Evidence:
    parts = [bundle.task.profile, f"{bundle.task.budget_s:g} s" if bundle.task.budget_s else None]
    machine = shortened(bundle.machine.describe(), MACHINE)
    return Evidence(machine, ", ".join(filter(None, parts)), *_gain(finding.effect, bundle))


def _gain(effect: Effect | None, bundle: Bundle) -> tuple[float, str]:
    """Return a gain and its unit: in sigma; where runs do not scatter in percent of the value, or the metric's own."""
    score, metric = effect.gain_score if effect else 0.0, bundle.task.metric.metric
    if (gain := in_sigma(score, bundle)) is not None:
        return round(gain, 2), SIGMA
    if metric.scale == "log":
        return round(metric.percent(0.0, -score) or 0.0, 2), PERCENT
    return score, metric.unit


# --- telling ----------------------------------------------------------------------------------------------------------


def for_journal(given: Sequence[Hint]) -> list[dict[str, Any]]:
    """Return hints as the journal holds them."""
    return [jsonable.plain(hint) for hint in given]


def from_journal(hinted: Sequence[Mapping[str, Any]]) -> list[Hint]:
    """Return the hints in a journal: the inverse of `for_journal`. Raises jsonable.MalformedError."""
    return [jsonable.from_plain(Hint, hint) for hint in hinted]


def lines(hinted: Sequence[Mapping[str, Any]]) -> tuple[HintLine, ...]:
    """Return what a proposer may know of the hints in a journal."""
    return tuple(_line(hint) for hint in from_journal(hinted))


def _line(hint: Hint) -> HintLine:
    return HintLine(str(hint), _moves(hint.finding), tuple(one.gain for one in hint.evidence), _unit(hint))


def _unit(hint: Hint) -> str:
    unit = hint.evidence[0].unit
    return "s" if unit == SIGMA else unit


def _moves(finding: Finding) -> dict[str, tuple[Any, Any]]:
    """Return the values of a change before and after; empty where it changes more than numbers."""
    if finding.change is None or finding.change.code is not None:
        return {}
    pairs = {name: pair for name, pair in finding.change.constants.items() if name not in MACHINE_FIT}
    values = {name: (_number(old), _number(new)) for name, (old, new) in pairs.items()}
    return values if all(None not in pair for pair in values.values()) else {}


def _number(literal: str | None) -> Any:
    try:
        value = constants.evaluate(literal) if literal is not None else None
    except ValueError:
        return None
    return value if isinstance(value, int | float) else None


# --- what became of them ----------------------------------------------------------------------------------------------


def outcomes_of(night: Night, source_of: Callable[[int], str]) -> list[HintOutcome]:
    """Return what the night made of each hint that it was given."""
    given = from_journal(night.hinted)
    if not given:
        return []
    tried = [x for x in night.decided if x.role == "candidate" and x.parent_n is not None]
    return outcomes(given, [_as_finding(x, source_of) for x in tried])


def outcomes(given: Sequence[Hint], findings: Iterable[Finding]) -> list[HintOutcome]:
    """Return what became of each hint among `findings`.

    A hint counts as tried where a finding makes the same change. A hint of a gain that moves one constant counts as
    tried, too, where a finding moves it the same way to another value.
    """
    here: dict[Any, Finding] = {}
    for finding in findings:
        for key in filter(None, (change_key(finding), direction_key(finding))):
            if key not in here or (finding.verdict == "keep" and here[key].verdict != "keep"):
                here[key] = finding
    return [_outcome(hint, here) for hint in given]


def _outcome(hint: Hint, here: Mapping[Any, Finding]) -> HintOutcome:
    finding = here.get(change_key(hint.finding))
    if finding is None and hint.gains and (way := direction_key(hint.finding)) is not None:
        finding = here.get(way)
    return HintOutcome(hint) if finding is None else HintOutcome(hint, finding.n, finding.verdict)


def reported(hinted: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> tuple[SharedHint, ...]:
    """Return what a night's own findings say of each hint in its journal that it tried, to be shared again."""
    candidates = [finding for finding in findings if finding.role == "candidate"]
    results = outcomes(from_journal(hinted), candidates)
    by_number = {finding.n: finding for finding in candidates}
    return tuple(_reported(one, by_number[one.n]) for one in results if one.n is not None)


def _reported(outcome: HintOutcome, here: Finding) -> SharedHint:
    told = outcome.hint.finding
    result = verdict(outcome.hint.claim, here.effect)
    return SharedHint(change_id(told), told.title, result, here.n, told.effect, here.effect)


def _as_finding(experiment: Experiment, source_of: Callable[[int], str]) -> Finding:
    assert experiment.parent_n is not None and experiment.verdict is not None
    try:
        made = change(source_of(experiment.parent_n), source_of(experiment.n))
    except AutoresearchError:  # its source is gone
        made = None
    return Finding(experiment.n, experiment.role, experiment.verdict, experiment.proposal.title, change=made)


def count(results: Sequence[HintOutcome]) -> HintCounts:
    """Count the hints of a gain. Hints of a loss do not count: no proposer is expected to try them."""
    gains = [outcome for outcome in results if outcome.hint.gains]
    tried = [outcome for outcome in gains if outcome.n is not None]
    return HintCounts(len(gains), len(tried), sum(outcome.verdict == "keep" for outcome in tried))
