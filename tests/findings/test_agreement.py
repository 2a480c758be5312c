"""Which changes of two nights are the same, and whether their effects agree."""

from __future__ import annotations

import pytest

from autoresearch.findings import agreement
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import Change, Effect, Finding, SharedMachine, SharedTask


def effect(low: float, high: float) -> Effect:
    return Effect((low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("effects", "told"),
    [
        ([effect(0.1, 0.3), effect(0.2, 0.9)], "same direction"),
        ([effect(-0.3, -0.1), effect(-0.9, -0.2)], "same direction"),
        ([effect(0.1, 0.3), effect(-0.3, -0.1)], "opposite"),
        ([effect(0.1, 0.3), effect(-0.3, -0.1), effect(-1, 1)], "opposite"),
        ([effect(-0.1, 0.3), effect(-0.3, 0.1)], "null"),
        ([effect(0.1, 0.3), effect(-0.1, 0.2)], "undecided"),
        ([effect(0.2, 0.3), effect(-0.1, 0.1)], "differs"),
        ([effect(0.2, 0.3)], "no intervals"),
        ([effect(0.2, 0.3), Effect(-0.4), None], "no intervals"),
        ([effect(0.2, 0.3), Effect(-0.4), effect(0.1, 0.2)], "same direction"),
    ],
)
def test_agreement_needs_intervals(effects: list[Effect | None], told: str) -> None:
    assert agreement.agree(effects) == told


def test_a_claim_collects_what_the_other_machines_say_of_it() -> None:
    made = [
        tried("2026-11-23", "Apple M4", effect(0.1, 0.3)),
        tried("2026-11-20", "Apple M1", effect(-0.1, 0.3)),  # the earliest, which says nothing clear
        tried("2026-11-24", "Apple M1", effect(0.2, 0.3)),
        tried("2026-11-25", "Apple M1", effect(-0.3, -0.1)),
        tried("2026-11-26", "Apple M2", effect(0.1, 0.2)),
        tried("2026-11-26", "Apple M3", Effect(0.4)),  # no interval: says nothing
        tried("2026-11-26", "Apple M3", None),  # crashed
    ]
    (row,) = agreement.shared(made)
    assert row.claim == 0
    assert row.ledger == (
        agreement.ClassCount("Apple M1", transfers=1, nulls=1, reversals=1),
        agreement.ClassCount("Apple M2", transfers=1),
    )
    (row,) = agreement.shared(made[1:2] * 2)
    assert row.claim is None and row.ledger == ()


def tried(day: str, chip: str, effect: Effect | None) -> Bundle:
    f = Finding(1, "candidate", "discard", "t", change=Change({"LR": ("1", "2")}), effect=effect)
    return Bundle("imported", day, SharedMachine(chip, os="macOS 26.2"), SharedTask(), (f,))


@pytest.mark.parametrize(
    ("claim", "here", "told"),
    [
        (1, effect(0.1, 0.2), "transfers"),
        (-1, effect(-0.2, -0.1), "transfers"),
        (1, effect(-0.2, -0.1), "reverses"),
        (-1, effect(0.1, 0.2), "reverses"),
        (1, effect(-0.1, 0.1), "null"),
        (1, Effect(0.1), "null"),
        (1, None, "cannot run"),
    ],
)
def test_what_an_effect_says_of_a_claim(claim: int, here: Effect | None, told: str) -> None:
    assert agreement.verdict(claim, here) == told


def test_a_long_constant_stays_a_line() -> None:
    told = agreement.described(finding(TABLE=("(1,\n 2)", "(" + "1.0, " * 5000 + ")")))
    assert told.startswith("TABLE (1, 2) → (1.0, 1.0,") and told.endswith("…") and len(told) < 80


def finding(**constants: tuple[str | None, str | None]) -> Finding:
    return Finding(1, "candidate", "discard", "t", change=Change(constants))


def test_what_counts_as_the_same_change() -> None:
    key, way = agreement.change_key, agreement.direction_key
    assert key(finding(LR=("0.0400", "0.06"))) == key(finding(LR=("4e-2", "0.0601")))
    assert key(finding(LR=("0.04", "0.06"))) != key(finding(LR=("0.05", "0.06")))
    assert key(finding(BATCH=("2**16", "2**15"))) == key(finding(BATCH=("65536", "32768")))
    assert key(finding(LR=("0.04", "0.06"), A=("1", "2"))) != key(finding(LR=("0.04", "0.06")))
    assert way(finding(LR=("0.04", "0.05"))) == way(finding(LR=("0.01", "0.1"))) == ("LR", "up")
    assert way(finding(LR=("0.04", "0.01"))) == ("LR", "down")
    assert way(finding(FLAG=("True", "False"))) is None and way(finding(A=("1", "2"), B=("1", "2"))) is None
    assert way(finding(NEW=(None, "2"))) is None and way(finding(PATTERN=('"L"', '"SL"'))) is None
