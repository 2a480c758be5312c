"""Fixtures of several test files."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.toy import make_repository, write_toy_data


@pytest.fixture
def toy_data(tmp_path: Path) -> Path:
    return write_toy_data(tmp_path / "cache" / "data" / "toy" / "tiny")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")
