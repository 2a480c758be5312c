"""Prepare a folder of text once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.tasks.gpt.data import corpus
from testbed.texts import write_own_text


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder of text, and the folder of its prepared data."""
    root = tmp_path_factory.mktemp("own")
    text = write_own_text(root / "my text")
    return text, corpus.prepare(str(text), "tiny", cache=root / "cache", report=lambda line: None)
