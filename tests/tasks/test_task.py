from __future__ import annotations

from pathlib import Path

from autoresearch.tasks.task import RunOrder


def test_an_order_of_a_baseline_has_no_incumbent() -> None:
    order = RunOrder(source=Path("0000/source"), folder=Path("0000/run-1"), seed=1, purpose="search", role="baseline")
    assert order.incumbent is None and order.incumbent_score is None and order.ceiling_score is None
