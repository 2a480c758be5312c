"""The tables of what a candidate may use."""

from __future__ import annotations

import prepare
from autoresearch.tasks.gpt import allowlist


def test_the_tables_name_what_the_harness_offers() -> None:
    run = prepare.Run.__new__(prepare.Run)
    offered = {n for n in dir(run) if not n.startswith("_")} | {"task", "seed"}
    assert offered == allowlist.RUN
    assert all(hasattr(prepare, name) for name in allowlist.PREPARE)
