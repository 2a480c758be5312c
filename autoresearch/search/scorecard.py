"""What each proposer has achieved on this machine, kept across nights; it chooses format and share of turns.

One JSON file in the cache, replaced whole: machine -> model -> counts. Losing it costs a few turns of learning again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch.failures import cost_no_training
from autoresearch.files import write_atomic
from autoresearch.jsonable import MalformedError, from_json, to_json
from autoresearch.records import Trial
from autoresearch.search.policy import TurnCounts

VERSION = 1

# Reply formats, the most able first: all edit forms beside the whole file; one whole file; constants only.
FORMATS = ("blocks", "file", "set")
SIMPLER = {"blocks": "set", "file": "set", "set": "set"}
WORTH = {"blocks": 1.0, "file": 0.8, "set": 0.5}  # of an applied reply: constants alone are the tuner's trade too
# The share of replies that apply before anything has been measured, by billions of parameters: judgement.
PRIOR = {
    "blocks": ((14.0, 0.8), (7.0, 0.55), (0.0, 0.3)),
    "file": ((14.0, 0.6), (7.0, 0.5), (0.0, 0.4)),
    "set": ((14.0, 0.95), (7.0, 0.9), (0.0, 0.85)),
}
PRIOR_WEIGHT = 4.0  # replies that the prior counts for
REVISIT = 12  # every so many turns the format tried least is tried once more


@dataclass(slots=True)
class ReplyCounts:
    """The replies of one model in one format."""

    asked: int = 0  # replies asked for
    parsed: int = 0  # of them, those that hold edits
    applied: int = 0  # of them, those whose edits apply to the script


@dataclass(slots=True)
class Card:
    """One proposer on one machine. `seconds` are what it takes to propose, loading included."""

    turns: int = 0
    proposals: int = 0
    repairs: int = 0  # repair turns asked for
    saved: int = 0  # turns that a repair or a fresh sample saved
    decided: int = 0  # experiments decided
    warmed_up: int = 0
    kept: int = 0
    seconds: float = 0.0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    bytes_per_token: float | None = None
    loaded_bytes: float | None = None  # of memory, as the server told when it was loaded with its largest context
    file_bytes: float | None = None  # of the model's file then
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
        """Return the counts of a format, to be changed in place."""
        return self.formats.setdefault(form, ReplyCounts())

    def turn_counts(self) -> TurnCounts:
        """Count as turns the experiments decided and the turns without a proposal."""
        return TurnCounts(self.decided + max(0, self.turns - self.proposals), self.kept)

    def learn(self, name: str, trials: Sequence[Trial], since: int) -> None:
        """Counts how those of `trials` with a number above `since` ended which `name` proposed."""
        for trial in trials:
            if trial.n > since and trial.proposer == name:
                self.decided += 1
                self.warmed_up += trial.failure is None or not cost_no_training(trial.failure)
                self.kept += trial.verdict == "keep"


@dataclass(frozen=True, slots=True)
class Cards:
    """Content of the file."""

    version: int
    machines: dict[str, dict[str, Card]]  # machine -> model -> card


class Scorecard:
    """The cards of one machine. Every `save` reads the file again, so that two programs lose no model of each other."""

    def __init__(self, path: Path, machine: str) -> None:
        self.path, self.machine = path, machine
        self._cards: dict[str, Card] = {}
        self._learned: dict[str, int] = {}  # model -> the number of the last trial that its card knows of

    def card(self, model: str) -> Card:
        """The card of `model`, to be changed in place and then saved."""
        if model not in self._cards:
            self._cards[model] = self._stored().get(self.machine, {}).get(model, Card())
        return self._cards[model]

    def known(self) -> dict[str, Card]:
        """All cards of this machine, by model."""
        for model in self._stored().get(self.machine, {}):
            self.card(model)
        return dict(self._cards)

    def learn(self, model: str, trials: Sequence[Trial]) -> None:
        """Counts on the card how the model's experiments ended since the last call; a past process counted the rest."""
        since, self._learned[model] = self._learned.get(model), max((trial.n for trial in trials), default=0)
        if since is not None and since != self._learned[model]:
            self.card(model).learn(model, trials, since)
            self.save(model)

    def save(self, model: str) -> None:
        """Write the card of `model`. A full disk is ignored: it must not cost the turn."""
        machines = self._stored()
        machines.setdefault(self.machine, {})[model] = self.card(model)
        with contextlib.suppress(OSError):
            write_atomic(self.path, to_json(Cards(VERSION, machines), indent=1))

    def _stored(self) -> dict[str, dict[str, Card]]:
        """Read machine -> model -> card; empty when the file is missing, damaged or of another version."""
        try:
            stored = from_json(Cards, self.path.read_bytes())
        except (OSError, MalformedError):
            return {}
        return stored.machines if stored.version == VERSION else {}


def choose_format(card: Card, parameters_b: float | None, allowed: Sequence[str] = FORMATS) -> str:
    """The format with the most worth in applied replies: measured, shrunk towards what a model of that size can do.

    Every REVISIT turns it is the allowed format with the fewest replies, since models and prompts change.
    """
    if len(allowed) > 1 and card.turns and card.turns % REVISIT == 0:
        return min(allowed, key=lambda form: card.replies(form).asked)
    return max(allowed, key=lambda form: WORTH[form] * expected_rate(card, form, parameters_b))


def expected_rate(card: Card, form: str, parameters_b: float | None) -> float:
    """The share of replies in `form` that apply: expected_rate(Card(), "set", 3.0) -> 0.85."""
    size = 8.0 if parameters_b is None else parameters_b
    prior = next(rate for least, rate in PRIOR[form] if size >= least)
    replies = card.replies(form)
    return (replies.applied + PRIOR_WEIGHT * prior) / (replies.asked + PRIOR_WEIGHT)
