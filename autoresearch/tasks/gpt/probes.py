"""Draw altered copies of evaluation rows, and find what a model's scores owe to tokens that it must not look at.

A copy is a row whose tail, after a random cut, is replaced. A model that looks only back scores every position before
the cut as it scored it in the row itself. What another one gains, by tokens ahead, by other rows or by what it was
shown before, it gains at positions whose target the copy does not hold: there its score of the true target differs.
Copies go to a process that never saw a whole row: so no memory helps, nor does it help to recognise a copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FOUND_BPB = 0.005  # a gain that must be found
MISSED = 1e-3  # the chance that it is not found in an evaluation
TRIES = 8  # places of the training rows that are looked at for a tail


def cuts_needed(targets: int, target_bytes: int) -> int:
    """Return how many random cuts find a model that gains FOUND_BPB by tokens that it must not see.

    That is a mean gain of g nats a target. Where the model gains, it gains at most about 1 nat: it does at a share of g
    of the positions at least, and k cuts miss all of these with a chance of (1 - g)^k.

    cuts_needed(1000, 4000) -> 499
    """
    nats = FOUND_BPB * math.log(2) * target_bytes / targets
    return math.ceil(math.log(1 / MISSED) / nats)


@dataclass(frozen=True)
class Copies:
    """A batch of altered copies: `rows` (B,) are the copied rows, `cuts` (B,) the first replaced positions.

    `tokens` is (B, T) int32. A row of -1 is not a copy: its tokens are noise.
    """

    rows: np.ndarray
    cuts: np.ndarray
    tokens: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """The positions before the cuts: (B, T) bool."""
        return (np.arange(self.tokens.shape[1]) < self.cuts[:, None]) & (self.rows >= 0)[:, None]


class Copier:
    """Drawer of altered copies of `rows` (N, T), which were scored `batch_rows` at a time.

    A copy stands at its row's own place in the batch, since rounding may depend on it, beside copies of rows that the
    row was not scored with. Of the copies of one row those with earlier cuts come first, so a target that is tested was
    never shown before. Half of the tails are uniform noise, half come from `training` (M, L) and look natural.
    """

    def __init__(
        self, rng: np.random.Generator, rows: np.ndarray, training: np.ndarray, batch_rows: int, vocab_size: int
    ) -> None:
        self.rng, self.rows, self.training = rng, rows, training
        self.batch_rows, self.vocab_size = batch_rows, vocab_size

    def batches(self, count: int) -> Iterator[Copies]:
        """Yield batches that hold `count` copies or a few more."""
        size, length = self.rows.shape
        places = min(self.batch_rows, size)
        turns = -(-count // places)
        rows = np.full((turns, self.batch_rows), -1)
        for place in range(places):
            own = np.arange(place, size, self.batch_rows)
            order = np.concatenate([self.rng.permutation(own) for _ in range(-(-turns // len(own)))])
            rows[:, place] = order[:turns]
        cuts = np.sort(self.rng.integers(1, length, rows.shape), axis=0)  # the earlier cuts first
        for turn in range(turns):
            yield self.batch(rows[turn], cuts[turn])

    def batch(self, rows: np.ndarray, cuts: np.ndarray) -> Copies:
        """Return the copies of these rows (B,) with these cuts (B,)."""
        tokens = self.rng.integers(0, self.vocab_size, (len(rows), self.rows.shape[1]), dtype=np.int32)
        for place, (row, cut) in enumerate(zip(rows.tolist(), cuts.tolist(), strict=True)):
            if row < 0:
                continue
            true, tail = int(self.rows[row, cut]), tokens[place, cut:]
            if self.rng.random() < 0.5:
                self._natural(tail, true)
            if tail[0] == true:
                tail[0] = (true + self.rng.integers(1, self.vocab_size)) % self.vocab_size
            tokens[place, :cut] = self.rows[row, :cut]
        return Copies(rows, cuts, tokens)

    def _natural(self, tail: np.ndarray, true: int) -> None:
        """Fill `tail` with tokens of a random training row, from a place where another token than `true` stands."""
        size, length = self.training.shape
        for _ in range(TRIES):
            row, start = self.rng.integers(size), self.rng.integers(length - len(tail) + 1)
            if self.training[row, start] != true:
                break
        tail[:] = self.training[row, start : start + len(tail)]


def changed_nats(copies: Copies, nats: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Return by how much the nats of the true targets differ, where tokens are kept: (B, T), 0 elsewhere.

    `nats` (B, T) belongs to the copies, `scored` (N, T) to the rows themselves.
    """
    return np.where(copies.kept, np.abs(nats - scored[copies.rows]), 0.0)
