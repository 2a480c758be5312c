"""Helpers of the tests. This file may change; the tests stay."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.2  # seconds between two looks
PATIENCE_S = 2.0  # seconds until a condition is given up


def wait_until(condition: Callable[[], bool]) -> bool:
    """Return whether a condition comes true in time."""
    for _ in range(round(PATIENCE_S / POLL_S)):
        time.sleep(POLL_S)
        if condition():
            return True
    return False


def is_true_after_a_while(condition: Callable[[], bool]) -> bool:
    """Return whether a condition holds once all is quiet."""
    time.sleep(2 * POLL_S)
    return condition()
