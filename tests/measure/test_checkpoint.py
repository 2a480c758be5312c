"""The hash of a checkpoint's parameters, read without MLX."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare
from autoresearch.measure.checkpoint import CheckpointError, fingerprint

ARRAYS = {
    "wte.weight": mx.arange(12).reshape(3, 4).astype(mx.float32),
    "head.weight": mx.arange(6).reshape(2, 3).astype(mx.bfloat16),
    "a.half": mx.array([0.5], dtype=mx.float16),
    "a.counts": mx.array([[1], [2]], dtype=mx.uint32),
    "scalar": mx.array(7, dtype=mx.int64),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    mx.save_safetensors(str(tmp_path / "c.safetensors"), ARRAYS)
    return tmp_path / "c.safetensors"


def test_it_is_the_hash_that_the_child_computes(path: Path) -> None:
    assert fingerprint(path) == prepare.array_hash(ARRAYS)
    other = {**ARRAYS, "scalar": mx.array(8, dtype=mx.int64)}
    assert fingerprint(path) != prepare.array_hash(other)
    mx.save_safetensors(str(path), {"large": mx.ones((2**19 + 3,))})
    assert fingerprint(path) == prepare.array_hash({"large": mx.ones((2**19 + 3,))})


def written(path: Path, header: str, data: bytes = b"1234") -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data)
    return path


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1]}}',
        '{"a": {"dtype": "F32", "dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 3]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4e9]}}',
        '{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}',
        '{"\\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        '{"a": 3}',
        "[1]",
        "[" * 5000,
        "no",
    ],
)
def test_what_mlx_does_not_write_is_refused(header: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        fingerprint(written(tmp_path / "c", header))


def test_overlaps_and_missing_files_are_refused(tmp_path: Path) -> None:
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    with pytest.raises(CheckpointError, match="overlap"):
        fingerprint(written(tmp_path / "c", json.dumps({"a": one, "b": one})))
    with pytest.raises(CheckpointError, match="FileNotFoundError"):
        fingerprint(tmp_path / "nowhere")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        fingerprint(path)
