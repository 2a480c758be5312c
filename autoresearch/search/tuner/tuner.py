"""Propose new values for the incumbent's constants, without a language model.

The first experiments follow a fixed order, one big lever at a time and in both directions, since depth and total batch
decide what this machine can learn in the budget; in a declared task its knobs are the levers. Then Optuna's TPE moves
several constants at once.

The tuner ignores a directive's category: keeping to it gained 2% less (+-3%) in simulated nights. It keeps no state
between turns: everything is computed from the history in the context, so a resumed night proposes what the interrupted
one would have proposed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from autoresearch.candidate.versions import Version, trial_version, version
from autoresearch.errors import ProposerError
from autoresearch.records import Context, Proposal
from autoresearch.search import policy
from autoresearch.search.proposer import NOTHING_LEFT, BaseProposer
from autoresearch.search.tuner.axes import Axis, Value
from autoresearch.search.tuner.observations import observe
from autoresearch.search.tuner.space import WIDTH, Values, infer
from autoresearch.search.tuner.tpe import suggestions
from autoresearch.search.tuner.wording import Move, describe


@dataclass(frozen=True, slots=True)
class Lever:
    """A constant that is worth experiments of its own early in a night."""

    names: tuple[str, ...]  # alternative names; the first one in the search space is used
    steps: tuple[float, float]  # the moves to try, in coarse steps of its axis


LEVERS = (  # the first experiments, in this order
    Lever(("DEPTH", "N_LAYER", "NUM_LAYERS"), (-1, 0.6)),
    Lever(("TOTAL_BATCH_SIZE", "BATCH_SIZE"), (-1, 1)),
    Lever((WIDTH, "N_EMBD", "D_MODEL", "MODEL_DIM"), (-1, 1)),
    Lever(("MATRIX_LR", "LEARNING_RATE", "LR"), (1, -1)),
    Lever(("EMBEDDING_LR",), (1, -1)),
    Lever(("WARMDOWN_RATIO",), (1, -1)),
    Lever(("UNEMBEDDING_LR",), (1, -1)),
    Lever(("WEIGHT_DECAY",), (-1, 1)),
)
PULLS = 4  # experiments that one lever gets
STARTUP = 10  # settings that TPE needs; until then random steps from the incumbent
STEPS = (1.0, -1.0, 0.5, -0.5)  # sizes of those random steps, in coarse steps of the axis

# In simulated nights with noise, up to eight small moves at once gained more than up to three, because their sum stands
# out of the noise. TPE prefers settings far from all others, so each move is limited to stay near the incumbent.
MOST_KNOBS = 8  # constants that one proposal changes, at most
REACH = 1.5  # coarse steps that one constant moves, at most
LEAST = 0.12  # coarse steps below which a move is dropped
LOOKS = 300  # moves examined before the tuner gives up


class Tuner(BaseProposer):
    """Proposer of SET edits. The same seed and context give the same proposals."""

    name = "tuner"

    def __init__(self, seed: int = 0, *, levers: Sequence[Lever] = LEVERS, most_knobs: int = MOST_KNOBS) -> None:
        self.seed, self.levers, self.most_knobs = seed, levers, most_knobs

    def has_ideas(self, context: Context) -> bool:
        """Return whether there is a constant to turn; a declared task may have none."""
        return context.brief is None or bool(infer(context.source, brief=context.brief).axes)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return up to n new settings of the incumbent's constants.

        Raises ProposerError: `exhausted` when no new setting is in reach, `nothing_left` without a constant to change.
        """
        started = time.perf_counter()
        rng = random.Random(f"{self.seed} {context.seed} {context.turn}")
        search = _Search(context, rng, self.levers, self.most_knobs)
        found = list(islice(search.new_moves(), n))
        if not found:
            why = "tried all that it can reach from here" if search.axes else "found no constant that it can turn"
            raise ProposerError(f"the tuner has {why}", reason="exhausted" if search.axes else NOTHING_LEFT)
        usage = {"seconds": (time.perf_counter() - started) / len(found)}
        return [describe(search.space, move, self.name, usage, context.task.metric) for move in found]


class _Search:
    """Search of one `propose`: the space, the experiments so far and the moves that follow from them."""

    def __init__(self, context: Context, rng: random.Random, levers: Sequence[Lever], most_knobs: int) -> None:
        self.context, self.rng, self.levers, self.most_knobs = context, rng, levers, most_knobs
        self.incumbent = version(context.source)
        self.space = infer(context.source, context.task.seq_len, context.brief)
        self.axes = [axis for axis in self.space.axes if not axis.minor] or list(self.space.axes)
        self.seen = observe(self.space, self.incumbent, context.history)

    def new_moves(self) -> Iterator[Move]:
        """Yield possible moves, best first, without those that repeat a trial or each other."""
        drafted: list[Version] = []
        for move in islice(self._moves(), LOOKS) if self.axes else ():
            values = self.space.settle(move.values)
            if values is None or not self.space.edits(values):
                continue
            there = Version(self.incumbent.structure, self.space.constants_at(values))
            if there not in drafted and policy.repeat_of_version(there, self.incumbent, self.context.history) is None:
                drafted.append(there)
                yield Move(values, move.why, move.category)

    def _moves(self) -> Iterator[Move]:
        """Yield candidate moves in order of preference; it never ends."""
        kind = self.context.directive.kind if self.context.directive else ""
        if kind == "combine":
            yield from self._combined()
        if kind == "simplify":
            yield from self._without()
        yield from self._hinted()
        yield from self._levers()
        yield from self._steps() if len(self.seen.trials) < STARTUP else self._suggested()

    def _hinted(self) -> Iterator[Move]:
        """Yield the settings of hints that gained on every machine, where this script has the constants for them."""
        now = self.space.constants
        for hint in self.context.hints:
            new = {name: value for name, (_, value) in hint.constants.items() if type(now.get(name)) is type(value)}
            if new and len(new) == len(hint.constants) and min(hint.gains, default=0.0) > 0:
                values = {**self.space.current, **self.space.values({**now, **new})}
                if all(self.space[name].holds(values[name]) for name in self.space.changed(values)):
                    yield Move(values, "hint")

    def _levers(self) -> Iterator[Move]:
        """Yield the moves of each lever in turn; a declared task's are its knobs."""
        knobs = (Lever((axis.name,), (1, -1)) for axis in self.axes if axis.declared)
        for lever in self.levers if not self.space.source else knobs:
            name = next((name for name in lever.names if name in self.space), None)
            if name is not None:
                yield from self._pulled(self.space[name], lever.steps)

    def _pulled(self, axis: Axis, steps: tuple[float, float]) -> Iterator[Move]:
        """Yield the moves of one lever, except to a side of the incumbent where a value has been tried.

        A direction is therefore followed for as long as its moves are kept.
        """
        pulls = [seen for seen in self.seen.trials if axis.name in seen.moved and len(seen.moved) <= 2]
        if len(pulls) >= PULLS:
            return
        tried = [value for seen in pulls for value in (seen.values[axis.name], seen.before[axis.name])]
        if axis.scale == "choice":
            for other in [choice for choice in axis.grid if choice not in (*tried, axis.value)]:
                yield Move({**self.space.current, axis.name: other}, "lever")
            return
        sides = [float(value) - float(axis.value) for value in tried]
        for step in steps:
            value = axis.moved(axis.value, step)
            if value is not None and not any(side * step > 0 for side in sides):
                yield Move({**self.space.current, axis.name: value}, "lever")

    def _steps(self) -> Iterator[Move]:
        """Yield random steps of one to three constants from the incumbent; it never ends."""
        while True:
            values = self.space.current
            for axis in self.rng.sample(self.axes, min(len(self.axes), self.rng.randint(1, 3))):
                values[axis.name] = self._stepped(axis)
            yield Move(values, "step")

    def _stepped(self, axis: Axis) -> Value:
        if axis.scale == "choice":
            return self.rng.choice([choice for choice in axis.grid if choice != axis.value] or [axis.value])
        value = axis.moved(axis.value, self.rng.choice(STEPS))
        return axis.value if value is None else value

    def _suggested(self) -> Iterator[Move]:
        """Yield the moves that TPE suggests; it never ends."""
        told = [(seen.values, seen.level) for seen in self.seen.trials] + [(self.space.current, self.seen.level)]
        for values in suggestions(self.axes, told, self.rng.randrange(2**31)):
            yield Move({**self.space.current, **self._near(values)}, "tpe")

    def _near(self, values: Values) -> Values:
        """Keep the `most_knobs` largest of the moves in `values`, each cut to REACH from the incumbent."""
        moves: list[tuple[float, str, Value]] = []
        for axis in self.axes:
            if axis.scale == "choice":
                distance, value = float(values[axis.name] != axis.value), values[axis.name]
            else:
                here = axis.coordinate(axis.value)
                steps = (axis.coordinate(values[axis.name]) - here) / axis.step
                distance, value = abs(steps), axis.at(here + max(-REACH, min(REACH, steps)) * axis.step)
            if distance >= LEAST:
                moves.append((distance, axis.name, value))
        moves.sort(key=lambda move: -move[0])
        return {name: value for _, name, value in moves[: self.most_knobs]}

    def _combined(self) -> Iterator[Move]:
        """Yield two near misses at once, the best pair first."""
        near = [self.space.values(trial_version(trial).constants) for trial in policy.near_misses(self.context.history)]
        changes = [{k: v for k, v in values.items() if v != self.space[k].value} for values in near]
        for one, other in combinations(changes, 2):
            if one and other and one.keys().isdisjoint(other):
                yield Move({**self.space.current, **one, **other}, "combine")

    def _without(self) -> Iterator[Move]:
        """Yield moves that switch one mechanism off, such as weight decay or warm-up."""
        for axis in self.space.axes:
            if axis.neutral is not None and axis.value != axis.neutral:
                yield Move({**self.space.current, axis.name: axis.neutral}, "without", "simplification")
