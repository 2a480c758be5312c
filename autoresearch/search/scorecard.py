"""Store what each proposer has achieved on this machine and task, across nights, and choose reply formats by it.

The file is paths.Cache.scorecard. It is replaced whole; if it is lost, the first turns of the next night use priors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch.failures import cost_no_training
from autoresearch.files import write_atomic
from autoresearch.jsonable import MalformedError, from_json, to_json
from autoresearch.records import GPT, Trial
from autoresearch.search.policy import TurnCounts

VERSION = 1

# Reply formats, the most powerful first: one function; any edits but a whole file; one whole file; constants only; a
# choice from the menu of changes that are new.
FORMATS = ("function", "blocks", "file", "set", "menu")
SIMPLER = {"function": "set", "blocks": "set", "file": "set", "set": "menu", "menu": "menu"}  # what to fall back on
# What a reply that applies is worth: the tuner changes constants as well, and a menu has nothing that is not in it.
WORTH = {"function": 1.0, "blocks": 0.9, "file": 0.7, "set": 0.5, "menu": 0.4}
# Of a model under SMALL_B billion parameters. Half of its own settings of constants were nothing new, where all of its
# choices were (Qwen2.5-Coder 1.5B, 25 and 15 replies).
WORTH_SMALL = {**WORTH, "set": 0.5, "menu": 0.6}
SMALL_B, TINY_B = 7.0, 3.0
NOT_SMALL = ("function", "file")  # formats that no model under SMALL_B is asked for; a whole file costs minutes to read
NOT_TINY = ("blocks",)
# The share of replies that apply, before any is counted: format -> (at least so many billion parameters, share).
# These are estimates, not measurements.
PRIOR = {
    "function": ((14.0, 0.75), (7.0, 0.6), (0.0, 0.2)),
    "blocks": ((14.0, 0.8), (7.0, 0.6), (0.0, 0.3)),
    "file": ((14.0, 0.6), (7.0, 0.5), (0.0, 0.4)),
    "set": ((14.0, 0.95), (7.0, 0.9), (0.0, 0.85)),
    "menu": ((0.0, 0.97),),
}
PRIOR_WEIGHT = 4.0  # replies that the prior weighs
REVISIT = 12  # turns after which the format with the fewest replies is tried again


@dataclass(slots=True)
class ReplyCounts:
    """Replies of one model in one format."""

    asked: int = 0
    parsed: int = 0  # those that hold edits
    applied: int = 0  # those whose edits apply to the script


@dataclass(slots=True)
class Card:
    """Record of one proposer on one machine."""

    turns: int = 0
    proposals: int = 0
    repairs: int = 0  # answers that mend another
    saved: int = 0  # turns with a proposal that took more than one answer
    decided: int = 0  # experiments decided
    warmed_up: int = 0  # experiments that reached training
    kept: int = 0
    seconds: float = 0.0  # of proposing, loading the model included
    prompt_tokens: int = 0
    answer_tokens: int = 0
    bytes_per_token: float | None = None
    loaded_bytes: float | None = None  # memory of the model with its largest context, as the server reports it
    file_bytes: float | None = None  # size of the model's file when that was measured
    idle_cost: float | None = None  # share of training's speed that the model costs while it is loaded and idle
    formats: dict[str, ReplyCounts] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """Replies asked for, in all formats."""
        return sum(replies.asked for replies in self.formats.values())

    @property
    def applied(self) -> int:
        """Replies whose edits applied, in all formats."""
        return sum(replies.applied for replies in self.formats.values())

    def replies(self, form: str) -> ReplyCounts:
        """Return the counts of a format, for the caller to change in place."""
        return self.formats.setdefault(form, ReplyCounts())

    def turn_counts(self) -> TurnCounts:
        """Return the keeps in all turns: decided experiments and turns without a proposal."""
        return TurnCounts(self.decided + max(0, self.turns - self.proposals), self.kept)

    def measured(self) -> Card:
        """Return a new card with what was measured of the model itself, whatever the task."""
        return Card(
            bytes_per_token=self.bytes_per_token,
            loaded_bytes=self.loaded_bytes,
            file_bytes=self.file_bytes,
            idle_cost=self.idle_cost,
        )

    def learn(self, name: str, trials: Sequence[Trial], since: int) -> None:
        """Count how the trials after number `since` ended that the proposer `name` made."""
        for trial in trials:
            if trial.n > since and trial.proposer == name:
                self.decided += 1
                self.warmed_up += trial.failure is None or not cost_no_training(trial.failure)
                self.kept += trial.verdict == "keep"


@dataclass(frozen=True, slots=True)
class Cards:
    """Content of the file."""

    version: int
    machines: dict[str, dict[str, Card]]  # machine, or "machine, task" but for training -> proposer -> card


class Scorecard:
    """Cards of one machine, for one task: a record in training says little about another.

    `save` reads the file again first, so programs running at once keep each other's cards.
    """

    def __init__(self, path: Path, machine: str, task: str = GPT) -> None:
        self.path, self._hardware = path, machine
        self.machine = machine if task == GPT else f"{machine}, {task}"
        self._cards: dict[str, Card] = {}
        self._learned: dict[str, int] = {}  # name -> number of the last trial counted on the card

    def card(self, name: str) -> Card:
        """Return the card of a proposer, for the caller to change in place and then `save`."""
        if name not in self._cards:
            stored = self._stored()
            measured = stored.get(self._hardware, {}).get(name, Card()).measured()
            self._cards[name] = stored.get(self.machine, {}).get(name, measured)
        return self._cards[name]

    def known(self) -> dict[str, Card]:
        """Return all cards of this machine, by the proposer's name."""
        stored = self._stored()
        for name in [*stored.get(self._hardware, {}), *stored.get(self.machine, {})]:
            self.card(name)
        return dict(self._cards)

    def learn(self, name: str, trials: Sequence[Trial]) -> None:
        """Count on the card how the proposer's experiments ended since the last call.

        The first call counts nothing: an earlier process has counted the trials that exist then.
        """
        since, latest = self._learned.get(name), max((trial.n for trial in trials), default=0)
        self._learned[name] = latest
        if since is not None and since != latest:
            self.card(name).learn(name, trials, since)
            self.save(name)

    def save(self, name: str) -> None:
        """Write the card of a proposer. A full disk is ignored: it must not cost the turn."""
        machines = self._stored()
        machines.setdefault(self.machine, {})[name] = self.card(name)
        with contextlib.suppress(OSError):
            write_atomic(self.path, to_json(Cards(VERSION, machines), indent=1))

    def _stored(self) -> dict[str, dict[str, Card]]:
        """Read machine -> proposer -> card; empty when the file is missing, damaged or of another version."""
        try:
            stored = from_json(Cards, self.path.read_bytes())
        except (OSError, MalformedError):
            return {}
        return stored.machines if stored.version == VERSION else {}


def suited(parameters_b: float | None, allowed: Sequence[str] = FORMATS) -> tuple[str, ...]:
    """Return the allowed formats that a model of that size may be asked for, at least those without code.

    >>> suited(1.5), suited(27.0, ("blocks",))
    (('set', 'menu'), ('blocks',))
    """
    small, tiny = is_small(parameters_b), parameters_b is not None and parameters_b < TINY_B
    refused = (*(NOT_SMALL if small else ()), *(NOT_TINY if tiny else ()), *(("file",) if parameters_b is None else ()))
    return tuple(form for form in allowed if form not in refused) or ("set", "menu")


def is_small(parameters_b: float | None) -> bool:
    """Return whether the model is known to be under SMALL_B; 6.5 counts as 7, which is what its name says."""
    return parameters_b is not None and parameters_b < SMALL_B - 0.5


def choose_format(card: Card, parameters_b: float | None, allowed: Sequence[str] = FORMATS) -> str:
    """Return the format with the highest expected worth of a reply, of those allowed that suit the model's size.

    Every REVISIT turns, return the one with the fewest replies instead, since models and prompts change.
    """
    forms = suited(parameters_b, allowed)
    if len(forms) > 1 and card.turns and card.turns % REVISIT == 0:
        return min(forms, key=lambda form: card.replies(form).asked)
    worth = WORTH_SMALL if is_small(parameters_b) else WORTH
    return max(forms, key=lambda form: worth[form] * expected_rate(card, form, parameters_b))


def expected_rate(card: Card, form: str, parameters_b: float | None) -> float:
    """Return the share of replies in `form` that apply, shrunk towards the prior for a model of that size.

    >>> expected_rate(Card(), "set", 3.0)
    0.85
    """
    size = 8.0 if parameters_b is None else parameters_b
    prior = next(rate for least, rate in PRIOR[form] if size >= least)
    replies = card.replies(form)
    return (replies.applied + PRIOR_WEIGHT * prior) / (replies.asked + PRIOR_WEIGHT)
