"""What meta.json says of a data folder: written, read again, and refused where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoresearch import jsonable
from autoresearch.errors import DataError
from autoresearch.tasks.gpt.data import prepared
from autoresearch.tasks.gpt.data.prepared import Meta
from testbed.toy import write_toy_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_toy_data(tmp_path / "data" / "toy" / "tiny")


def changed(folder: Path, **changes: Any) -> None:
    meta = folder / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), **changes}))


def test_it_is_the_same_after_it_was_written(folder: Path) -> None:
    meta = prepared.load_meta(folder)
    assert jsonable.from_json(Meta, jsonable.to_json(meta)) == meta
    assert sorted(meta.all_files()) == ["eval/test.u16", "eval/val.u16", "train.u16"]


@pytest.mark.parametrize(
    "changes", [{"seq_len": "64"}, {"splits": []}, {"splits": {"val": {}}}, {"version": "2"}, {"budget_s": None}]
)
def test_a_damaged_one_is_named_with_the_command_that_mends_it(folder: Path, changes: dict[str, Any]) -> None:
    changed(folder, **changes)
    with pytest.raises(DataError, match=r"meta\.json is missing or corrupt \(.*\)\. Run: .*prepare\.py --dataset toy"):
        prepared.load_meta(folder)


def test_another_version_is_named_before_its_fields_are_read(folder: Path) -> None:
    changed(folder, version=1, splits=None, argument="/home/me/my notes")
    with pytest.raises(DataError, match=r"has layout 1, and this version reads 2\. .*--dataset '/home/me/my notes'"):
        prepared.load_meta(folder)
