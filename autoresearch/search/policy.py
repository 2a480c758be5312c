"""Decide the kind of each turn, how to leave a plateau, what counts as a repeat, and which proposer is asked. No I/O.

A hundred noisy trials are too few to learn which kinds of change pay, so the kinds rotate and fixed rules end a
plateau. Proposers share a night in proportion to what they achieved, each with a minimum share.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from autoresearch.candidate.versions import Version, trial_version, version
from autoresearch.records import CATEGORIES, Brief, Directive, Trial

PLATEAU = 8  # experiments without a keep after which turns ask for unused categories at a higher temperature
DEEP_PLATEAU = 16  # experiments without a keep after which the next PLATEAU turns start from an older version
HOT = 1.0  # sampling temperature on a plateau
TRIES = 2  # experiments with each big lever before the rotation begins
NEAR_SIGMA = 1.0  # a discard that is at most this many sigmas worse is a near miss
SAME_TO = 2  # significant digits to which values of a constant are compared
RECENT = 40  # experiments that count for the shares, since a proposer's success wears off
FLOOR = 0.1  # share of the turns that each proposer has at least
LATE_EVERY = 4  # turns of a plateau, of which the first is the late proposer's
PRIOR_RATE, PRIOR_TURNS = 1 / 8, 8.0  # assumed keeps a turn of a new proposer, and the turns that the assumption weighs
PRIOR_RATES = {"tuner": 1 / 5, "recipes": 1 / 16}  # the same of those whose rates are known from nights
MOVED_ON = 3  # a repeat is allowed once this many other constants have changed

BIG_LEVER = "big lever"  # kind of the turns that ask for one constant
LEVER_TEXTS = {  # category -> what the proposer is told
    "depth": "Change DEPTH: fewer layers mean more steps in the budget, more layers mean more from each.",
    "batch": "Change TOTAL_BATCH_SIZE: a smaller one means more steps, a larger one means steadier ones.",
    "width": "Change the width (ASPECT_RATIO, MLP_RATIO): capacity against speed.",
    "learning_rate": "Change one group's learning rate by a factor of 1.5 to 2.",
    "schedule": "Change the learning-rate schedule: how long the decay is, where it ends.",
}
KIND_TEXTS = {  # kind of turn -> what the proposer is told
    "refine": "Refine: take the change that helped most so far and go a step further, or half a step back.",
    "new category": "Something else: an idea of the category {category}, which has hardly been tried.",
    "combine": "Combine: {near} came close. Try them together, or with a companion that lets them pay.",
    "simplify": "Ablate or simplify: remove a mechanism or a constant that does not pay for its time.",
    "bold": "Be bold: one larger change of the model or the optimizer that could win several sigma at once.",
}
KIND_TEXTS_OF_ANY = {  # the same in a declared task
    **KIND_TEXTS,
    "simplify": "Simplify: remove something that does not pay for itself.",
    "bold": "Be bold: one larger change that could gain much at once.",
}
LEVER = "lever"  # kind of the turns that ask for a category that a declared task's brief begins with
ROTATION = ("refine", "new category", "combine", "simplify", "bold")


# --- the kind of turn -------------------------------------------------------------------------------------------------


def next_directive(history: Sequence[Trial], n: int, brief: Brief | None = None) -> Directive:
    """Return the kind of turn for experiment `n`: the big levers first, then the rotation, adapted on a plateau.

    >>> next_directive([], 1)
    Directive(kind='big lever', text='Change DEPTH: ...', category='depth', temperature=None)

    Levers and categories are training's, or those of a declared task's `brief`.
    """
    tried = [trial.category for trial in history]
    levers, texts = (LEVER_TEXTS, KIND_TEXTS) if brief is None else (dict(brief.levers), KIND_TEXTS_OF_ANY)
    categories = CATEGORIES if brief is None else brief.categories
    lever = next((name for name in levers if tried.count(name) < TRIES), None)
    if lever and len(history) < TRIES * len(levers) + PLATEAU:
        return Directive(BIG_LEVER if brief is None else LEVER, levers[lever], lever)
    stalled = since_keep(history)
    kind = ROTATION[n % len(ROTATION)]
    if kind == "combine" and len(near_misses(history)) < 2:
        kind = "refine"
    if stalled >= PLATEAU and kind in ("refine", "simplify"):
        kind = "new category"
    if kind == "new category" and set(categories) <= {"other"}:
        kind = "bold"
    category = least_used(history, n, categories) if kind == "new category" else None
    near = " and ".join(f'"{trial.title}"' for trial in near_misses(history)[:3])
    text = texts[kind].format(category=category, near=near)
    directive = Directive(kind, text, category, HOT if stalled >= PLATEAU else None)
    return directive if branch_point(history) is None else _from_branch(directive, stalled)


def since_keep(history: Sequence[Trial]) -> int:
    """Count the experiments since the last keep, or since the beginning."""
    return sum(1 for _ in takewhile(lambda trial: trial.verdict != "keep", reversed(history)))


def least_used(history: Sequence[Trial], n: int, categories: Sequence[str] = CATEGORIES) -> str:
    """Return the category with the fewest experiments; `n` rotates through those with equally few."""
    counts = {category: 0 for category in categories if category != "other"}
    for trial in history:
        if trial.category in counts:
            counts[trial.category] += 1
    fewest = [category for category, count in counts.items() if count == min(counts.values())]
    return fewest[n % len(fewest)]


def near_misses(history: Sequence[Trial]) -> list[Trial]:
    """Return the discards since the last keep that were at most NEAR_SIGMA worse, best first."""
    recent = history[len(history) - since_keep(history) :]
    measured = [trial for trial in recent if trial.verdict == "discard" and trial.delta_score is not None]
    sigmas = {trial.n: _sigmas(trial.delta_score or 0.0, trial.sigma_score) for trial in measured}
    close = [trial for trial in measured if sigmas[trial.n] >= -NEAR_SIGMA]
    return sorted(close, key=lambda trial: -sigmas[trial.n])


def _sigmas(delta_score: float, sigma_score: float | None) -> float:
    """Return a gain in sigma; for an exact metric, which has no sigma, any loss is infinite."""
    if not sigma_score:
        return -math.inf if delta_score < 0 else 0.0
    return delta_score / sigma_score


def branch_point(history: Sequence[Trial]) -> int | None:
    """Return the experiment whose version the next turn edits instead of the incumbent's, or None; 0 is the baseline.

    After every DEEP_PLATEAU experiments without a keep, the next PLATEAU turns start from an ancestor: in the first
    round the version before the last keep, in each further round the one before that.
    """
    rounds, place = divmod(since_keep(history), DEEP_PLATEAU)
    ancestors = [0, *(trial.n for trial in history if trial.verdict == "keep")][:-1]
    if rounds == 0 or place >= PLATEAU or not ancestors:
        return None
    return ancestors[-min(rounds, len(ancestors))]


def _from_branch(directive: Directive, stalled: int) -> Directive:
    """Tell the proposer that its turn starts from an older version."""
    start = f"No keep in {stalled} experiments, so this turn starts from an older version that was nearly as good."
    return replace(directive, text=f"{start} Go another way from here. {directive.text}", temperature=HOT)


# --- repeats ----------------------------------------------------------------------------------------------------------


def repeat_of(source: str, parent: str, history: Sequence[Trial]) -> Trial | None:
    """Return the latest trial that `source`, proposed as a change of `parent`, repeats, or None.

    It repeats a trial if it is the version that the trial measured or changed, or if it sets the same constants to the
    same values, compared to SAME_TO significant digits. Equal values do not count once the code or at least MOVED_ON
    other constants have changed since.
    """
    return repeat_of_version(version(source), version(parent), history)


def repeat_of_version(new: Version, old: Version, history: Sequence[Trial]) -> Trial | None:
    """Do what `repeat_of` does, for versions instead of sources."""
    return next((trial for trial in reversed(history) if _is_repeat(new, old, trial)), None)


def repeat_sentence(source: str, trial: Trial) -> str:
    """Tell a proposer: 'That is experiment 7 again, "DEPTH 4 -> 2", which was discarded: 0.01 worse ...'."""
    if version(source) == version(trial.parent_source):
        return f'That is the version from before experiment {trial.n}, "{trial.title}". Propose something new.'
    ended = {"keep": "was kept", "discard": "was discarded", "crash": "crashed"}[trial.verdict]
    one = f'experiment {trial.n} again, "{trial.title}", which {ended}: {trial.reason}'
    nearly = "" if version(source) == trial_version(trial) else "nearly "
    return f"That is {nearly}{one}. Propose something else."


def _is_repeat(new: Version, old: Version, trial: Trial) -> bool:
    tried, before = trial_version(trial), version(trial.parent_source)
    if new in (tried, before):
        return new != old
    if not new.structure == old.structure == tried.structure == before.structure:
        return False
    change = new.changed_from(old)
    if not change or _rounded(change) != _rounded(tried.changed_from(before)):
        return False
    moved_on = before.changed_from(old).keys() - change.keys()
    return len(moved_on) < MOVED_ON


def _rounded(value: Any) -> Any:
    """Round floats, also in containers, to SAME_TO digits: {"MATRIX_LR": 0.0412} -> {"MATRIX_LR": 0.041}."""
    match value:
        case dict():
            return {name: _rounded(item) for name, item in value.items()}
        case tuple() | list():
            return tuple(_rounded(item) for item in value)
        case float():
            return float(f"{value:.{SAME_TO}g}")
    return value


# --- whose turn -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnCounts:
    """Turns of one proposer, and how many of them were kept."""

    turns: int = 0
    kept: int = 0
    cost: float = 1.0  # time of a turn, proposing included, divided by that of training
    prior: float = PRIOR_RATE  # keeps a turn that are assumed before any turn is counted

    @property
    def rate(self) -> float:
        """Keeps in the time of one training, shrunk towards `prior` as if PRIOR_TURNS turns had shown it.

        >>> TurnCounts().rate, TurnCounts(92, 4).rate
        (0.125, 0.05)
        """
        return (self.kept + PRIOR_TURNS * self.prior) / (self.turns + PRIOR_TURNS) / self.cost


def prior_rate(name: str) -> float:
    """Return the keeps a turn that are assumed of a proposer before any turn is counted."""
    return PRIOR_RATES.get(name, PRIOR_RATE)


def turn_counts(history: Sequence[Trial], names: Sequence[str]) -> dict[str, TurnCounts]:
    """Count the turns and keeps of each proposer in the last RECENT experiments that any of them proposed."""
    recent = [trial for trial in history if trial.proposer in names][-RECENT:]
    turns = Counter(trial.proposer for trial in recent)
    kept = Counter(trial.proposer for trial in recent if trial.verdict == "keep")
    return {name: TurnCounts(turns[name], kept[name], prior=prior_rate(name)) for name in names}


def shares(counts: Mapping[str, TurnCounts], floor: float = FLOOR) -> dict[str, float]:
    """Return each proposer's share of the turns, in proportion to its rate and none below `floor`.

    >>> shares({"tuner": TurnCounts(20, 6), "ollama:x": TurnCounts(20, 0)}, floor=0.25)
    {'tuner': 0.75, 'ollama:x': 0.25}
    """
    if not 0 <= floor * len(counts) <= 1:
        raise ValueError(f"a floor of {floor} for each of {len(counts)} proposers")
    raised: set[str] = set()
    while True:
        free = [name for name in counts if name not in raised]
        left, total = 1 - floor * len(raised), sum(counts[name].rate for name in free)
        result = {name: floor if name in raised else left * counts[name].rate / total for name in counts}
        low = {name for name in free if result[name] < floor}
        if not low:
            return result
        raised |= low


def for_late(history: Sequence[Trial]) -> bool:
    """Return whether a turn is the late proposer's: the first of a plateau, and each LATE_EVERYth from there on."""
    stalled = since_keep(history)
    return stalled >= PLATEAU and (stalled - PLATEAU) % LATE_EVERY == 0


def of_lever(directive: Directive | None) -> bool:
    """Return whether a turn is for one of the big levers."""
    return directive is not None and directive.kind in (BIG_LEVER, LEVER)


def whose_turn(counts: Mapping[str, TurnCounts], seed: int, floor: float = FLOOR) -> str:
    """Return the proposer that is furthest behind its share of the turns; `seed` breaks ties."""
    turns = sum(count.turns for count in counts.values()) + 1
    behind = {name: share * turns - counts[name].turns for name, share in shares(counts, floor).items()}
    furthest = max(behind.values())
    return random.Random(seed).choice([name for name, amount in behind.items() if furthest - amount < 1e-9])
