"""Judge models in this process, with the judge's own code, where a test or a benchmark needs many evaluations."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import mlx.core as mx
import numpy as np

from autoresearch.tasks.gpt.judge import probe, score
from autoresearch.tasks.gpt.model_child import plain
from autoresearch.tasks.gpt.probes import Copier
from autoresearch.tasks.gpt.wire import Sizes

Model = Callable[[mx.array], mx.array]  # tokens (B, T) -> logits (B, T, V)


class Inline:
    """A model that answers in this process; for the judge it is the end of a wire."""

    def __init__(self, model: Model, sizes: Sizes) -> None:
        self.model, self.sizes = model, sizes
        self.asked: deque[np.ndarray] = deque()

    def ask(self, tokens: np.ndarray) -> None:
        self.asked.append(tokens.copy())

    def chunks(self, rows: int) -> Iterator[tuple[int, np.ndarray]]:
        logits = plain(self.model(mx.array(self.asked.popleft())).reshape(-1, self.sizes.vocab))
        for start, positions in self.sizes.chunks(rows):
            yield start, logits[start : start + positions].copy()


def ignore(event: str, **fields: object) -> None:
    pass


def replaying(honest: Model, vocab: int) -> Model:
    """Return a model that looks ahead, and answers a row whose beginning it knows as it answered that row."""
    known: list[np.ndarray] = []

    def model(tokens: mx.array) -> mx.array:
        rows = np.array(tokens)
        ahead = np.concatenate([rows[:, 1:], rows[:, -1:]], axis=1)
        for row, answer in zip(rows, ahead, strict=True):
            if known:
                same = (np.stack(known) == row).cumprod(axis=1).sum(axis=1)
                if 1 < same.max() < len(row):
                    answer[same.max() - 1] = known[int(same.argmax())][same.max()]
            known.append(row)
        return honest(tokens) + 3.0 * mx.eye(vocab)[mx.array(ahead)]

    return model


def largest_change(
    make: Callable[[], Model],
    rows: np.ndarray,
    training: np.ndarray,
    sizes: Sizes,
    count: int,
    rng: np.random.Generator,
    tolerance: float = 1e-3,
) -> float:
    """Score `rows` (N, T + 1) with one model that `make` returns and probe another one, as an evaluation does.

    Returns the largest change of a target's nats. Raises Failed where that is above `tolerance`.
    """
    scored = score(Inline(make(), sizes), rows, ignore)  # type: ignore[arg-type]
    copier = Copier(rng, rows[:, :-1], training, sizes.rows, sizes.vocab)
    second = Inline(make(), sizes)
    return probe(second, copier, rows[:, 1:], scored, count, tolerance, ignore)  # type: ignore[arg-type]
