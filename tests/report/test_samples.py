"""The stored texts of baseline and winner."""

from __future__ import annotations

from pathlib import Path

from autoresearch.report.samples import StoredTexts, stored


def test_damaged_texts_count_as_none(tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    assert stored(path) == StoredTexts()
    for content in ("", "[]", "{}", '{"prompts": 3, "texts": 4}'):
        path.write_text(content)
        assert stored(path) == StoredTexts()
