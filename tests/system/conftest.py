"""Make a run's folder among other folders."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "0007" / "tmp").mkdir(parents=True)
    return tmp_path / "runs" / "0007"
