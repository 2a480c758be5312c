"""Predict a value from an input. Experiments change this file."""

import math

HEIGHT = 1.0  # above the level, at input 0
RATE = 1.0  # of the fall
LEVEL = 0.0  # that it approaches


def predict(x: float) -> float:
    """Return the value at input x."""
    return HEIGHT * math.exp(-RATE * x) + LEVEL
