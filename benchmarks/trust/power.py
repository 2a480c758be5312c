"""Count how often planted leaks of known size are found in one evaluation, by profile and type of the logits.

Each evaluation draws as many cuts as the judge does. Only a position that sees a replaced token can change, so
only those are computed. The last row is a model that replays: it answers a row with a known beginning as before.

Cuts, copies, cross-entropies and comparisons are the judge's own code, called in this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

import prepare
from autoresearch.measure.workbench import PROBE_NATS
from autoresearch.tasks.gpt.data.profiles import MAC, TINY, Profile
from autoresearch.tasks.gpt.judge import cross_entropies
from autoresearch.tasks.gpt.probes import Copier, cuts_needed
from autoresearch.tasks.gpt.wire import Sizes
from benchmarks.timing import arguments, report
from testbed.judging import largest_change, replaying

CHANNELS = 8  # of the model: an embedding and a head, whose distribution the rows are drawn from
UNIQUE_ROWS = 32  # rows that are drawn; the evaluation repeats them
LIKELY = 0.02  # probability from which a gate that opens for natural futures takes a token for one
TOKEN_BYTES = {"tiny": 3, "mac": 4}


@dataclass(frozen=True)
class Leak:
    """A look at the next token, which adds `nats` to its logit at a share of the positions.

    The gate depends on the position and the token there; `natural` leaks only if the next token is likely, and `far`
    makes the gate depend on the token three places later.
    """

    nats: float
    share: float = 1.0
    natural: bool = False
    far: bool = False

    def __str__(self) -> str:
        kind = "where the future is natural" if self.natural else "gate three ahead" if self.far else "one ahead"
        return f"{kind}, +{self.nats:g}"


LEAKS = (
    *(Leak(nats) for nats in (0.001, 0.003, 0.014, 0.1, 1.0)),
    *(Leak(1.0, share) for share in (0.5, 0.1, 0.05, 0.03, 0.02, 0.01)),
    *(Leak(0.1, 0.2), Leak(0.1, 0.5), Leak(1.0, 0.2, natural=True), Leak(1.0, 0.03, far=True), Leak(8.0, 0.003)),
)


class ProbeTask:
    """A task in one profile's shape: rows of a bigram process, and the model that knows that process."""

    def __init__(self, profile: Profile, rng: np.random.Generator) -> None:
        self.profile, self.rng = profile, rng
        V, T = profile.vocab_size, profile.seq_len
        self.embedding = rng.normal(size=(V, CHANNELS)).astype(np.float32)
        self.head = (1.5 * rng.normal(size=(CHANNELS, V))).astype(np.float32)
        unique, training = self._draw(UNIQUE_ROWS, T + 1), self._draw(UNIQUE_ROWS, T + 1)
        self.rows = np.tile(unique, (profile.eval_tokens // T // UNIQUE_ROWS, 1))
        self.copier = Copier(rng, self.rows[:, :-1], training, profile.eval_rows, V)
        targets = self.rows[:, 1:].size
        self.count = cuts_needed(targets, TOKEN_BYTES[profile.name] * targets)

    def _draw(self, size: int, length: int) -> np.ndarray:
        """Draw rows from the bigram process by the Gumbel trick."""
        rows = np.zeros((size, length), np.int32)
        rows[:, 0] = self.rng.integers(0, self.profile.vocab_size, size)
        for t in range(1, length):
            noise = self.rng.gumbel(size=(size, self.profile.vocab_size)).astype(np.float32)
            rows[:, t] = (self.base(rows[:, t - 1]) + noise).argmax(axis=1)
        return rows

    def base(self, tokens: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.embedding[tokens] @ self.head
        return logits

    def opens(self, leak: Leak, rows: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Return at which positions `where` (n,) of its row (n, T) a leak is open: (n,) bool."""
        n = np.arange(len(where))
        ahead = rows[n, np.minimum(where + 1, rows.shape[1] - 1)]
        seen = rows[n, np.minimum(where + 3, rows.shape[1] - 1) if leak.far else where].astype(np.int64)
        found: np.ndarray = (seen * 7919 + where * 104729) % 10007 < leak.share * 10007
        if leak.natural and found.any():
            at = np.flatnonzero(found)
            found[at] = np.exp(-cross_entropies(self.base(rows[at, where[at]]), ahead[at])) >= LIKELY
        return found

    def nats(self, leak: Leak | None, rows: np.ndarray, where: np.ndarray, y: np.ndarray, bits: bool) -> np.ndarray:
        """Return the nats of targets `y` (n,) at one position of each row (n, T): (n,) float32."""
        n = np.arange(len(where))
        logits = self.base(rows[n, where])
        if leak is not None:
            opened = self.opens(leak, rows, where)
            logits[n, rows[n, np.minimum(where + 1, rows.shape[1] - 1)]] += leak.nats * opened
        return cross_entropies(as_bfloat16(logits) if bits else logits, y)

    def worth_score(self, leak: Leak) -> float:
        """Return what a leak gains, in bits per byte, at 20,000 random positions."""
        at = self.rng.integers(0, len(self.rows), 20_000)
        where = self.rng.integers(0, self.profile.seq_len - 1, len(at))
        rows, y = self.rows[at], self.rows[at, where + 1]
        opened = np.flatnonzero(self.opens(leak, rows, where))
        given = (rows[opened], where[opened], y[opened], False)
        gain = float((self.nats(None, *given) - self.nats(leak, *given)).sum()) if len(opened) else 0.0
        return gain / len(at) / (np.log(2) * TOKEN_BYTES[self.profile.name])

    def found(self, cases: Sequence[tuple[Leak, bool]]) -> set[tuple[Leak, bool]]:
        """Probe once and return those of the cases (a leak, and whether logits are bfloat16) that are found."""
        left, found = list(cases), set()
        for copies in self.copier.batches(self.count):
            for case in left:
                if self.moved(*case, copies.rows, copies.cuts, copies.tokens) > PROBE_NATS[1]:
                    found.add(case)
            left = [case for case in left if case not in found]
        return found

    def moved(self, leak: Leak, bits: bool, rows: np.ndarray, cuts: np.ndarray, tokens: np.ndarray) -> float:
        """Return how far a target's nats move before the cuts, where a leak is open in the row or its copy."""
        largest = 0.0
        for back in (1, 2, 3) if leak.far else (1,):
            where = np.maximum(cuts - back, 0)
            true = self.rows[rows, :-1]
            opened = np.flatnonzero(self.opens(leak, true, where) | self.opens(leak, tokens, where))
            if len(opened):
                given = where[opened], self.rows[rows, where + 1][opened], bits
                change = self.nats(leak, tokens[opened], *given) - self.nats(leak, true[opened], *given)
                largest = max(largest, float(np.abs(change).max()))
        return largest


def as_bfloat16(logits: np.ndarray) -> np.ndarray:
    """Return float32 numbers rounded to bfloat16, as bits."""
    bits = logits.view(np.uint32)
    rounded: np.ndarray = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def main(argv: Sequence[str]) -> int:
    args = arguments("trust power", __doc__).parse_args(argv)
    trials, rows = (3, LEAKS[3:5]) if args.quick else (2000, LEAKS)
    profiles = [TINY] if args.quick else [TINY, MAC]
    table: dict[Leak, dict[str, Any]] = {leak: {"leak": str(leak)} for leak in rows}
    for profile in profiles:
        scene = ProbeTask(profile, np.random.default_rng(1))
        cases = [(leak, bits) for leak in rows for bits in (False, True)]
        counts = dict.fromkeys(cases, 0)
        for _ in range(trials):
            for case in scene.found(cases):
                counts[case] += 1
        for leak in rows:
            table[leak] |= {"open": f"{100 * leak.share:g}%", f"{profile.name} bpb": scene.worth_score(leak)}
            for bits, name in ((False, "float32"), (True, "bfloat16")):
                table[leak][f"{profile.name} {name}"] = f"{100 * counts[leak, bits] / trials:g}%"
        table[rows[0]] |= {f"{profile.name} cuts": scene.count}
    replayed = sum(replay_found(seed) for seed in range(3 if args.quick else 200))
    last = {"leak": "replays, on rows of 12 tokens", "tiny float32": f"{replayed} of {3 if args.quick else 200}"}
    return report([*table.values(), last], args)


def replay_found(seed: int) -> bool:
    """Return whether a whole evaluation of a model that replays fails."""
    rng = np.random.default_rng(seed)
    table = mx.array(rng.normal(size=(16, 16)).astype(np.float32))
    rows, training = (rng.integers(0, 16, (n, 13), dtype=np.int32) for n in (12, 30))
    try:
        largest_change(lambda: replaying(lambda x: table[x], 16), rows, training, Sizes(4, 12, 16), 100, rng)
    except prepare.Failed:
        return True
    return False
