"""Feed a prepare.Run in this process, as the loop feeds one in a child."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import prepare
from autoresearch.measure.clock import Clock
from autoresearch.measure.feeder import BATCHES_FD, REQUESTS_FD, Feeder


@contextmanager
def fed(rows: np.ndarray, seed: int = 0, budget_s: float = 3600.0) -> Iterator[tuple[prepare.Feed, Clock]]:
    """Yield the child's end of a feeder of `rows` (N, T + 1) uint16, and the clock that it keeps."""
    clock = Clock(budget_s, rows.size - len(rows))
    with Feeder(rows, seed, clock) as feeder:
        requests, batches = feeder.pass_fds[REQUESTS_FD], feeder.pass_fds[BATCHES_FD]
        feed = prepare.Feed(os.dup(requests), os.dup(batches))
        try:
            yield feed, clock
        finally:
            feed.batches.close()
            os.close(feed.requests)
