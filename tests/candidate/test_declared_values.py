"""Ranges and choices that a person declares."""

from __future__ import annotations

from typing import Any

import pytest

from autoresearch.candidate.declared_values import admits, is_range, values_text


@pytest.mark.parametrize(
    ("spec", "words", "within", "beyond"),
    [
        ((10, 48), "10 to 48", [10, 48, 20.5], [9, 48.1, -20, True, "20", None, float("nan"), [20]]),
        ((0.0, 2.0), "0.0 to 2.0", [0, 2, 0.5], [-0.001, 1e300, float("inf")]),
        (("wal", "off"), "one of wal, off", ["wal"], ["WAL", "", 0, None]),
        ((1, 2, 4), "one of 1, 2, 4", [1, 4.0], [3, True]),
        ((True, False), "one of true, false", [False], [0, 1, "true"]),
        ((8,), "one of 8", [8], [9]),
    ],
)
def test_a_declaration_admits_what_it_says(
    spec: tuple[Any, ...], words: str, within: list[Any], beyond: list[Any]
) -> None:
    assert values_text(spec) == words and is_range(spec) == (" to " in words)
    assert all(admits(spec, value) for value in within)
    assert not any(admits(spec, value) for value in beyond)
