"""What the children of the harness share. Whole children run in tests/measure/test_experiment.py."""

from __future__ import annotations

import hashlib
from pathlib import Path

import mlx.core as mx
import pytest

from autoresearch.tasks.gpt.children import check_originals, load_candidate, originals
from prepare import Failed


def test_no_other_source_than_the_proposed_one_is_executed(tmp_path: Path) -> None:
    source = tmp_path / "train_mlx.py"
    source.write_text("VALUE = 3\n")
    proposed = hashlib.sha256(source.read_bytes()).hexdigest()
    assert load_candidate(source, proposed).VALUE == 3
    source.write_text("VALUE = 4\n")
    with pytest.raises(Failed, match="not the source that was proposed"):
        load_candidate(source, proposed)


def test_a_replaced_function_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = originals()
    check_originals(before)
    monkeypatch.setattr(mx, "abs", mx.square)
    with pytest.raises(Failed, match=r"mlx\.core\.abs was replaced"):
        check_originals(before)
