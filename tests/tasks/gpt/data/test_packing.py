"""Packing against a plain reading of its rule, and the properties that training and the metric rely on."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.tasks.gpt.data import packing
from autoresearch.tasks.gpt.data.packing import first_tokens, pack_rows, write_rows, write_shuffled

BOS = 0
bodies = st.lists(st.lists(st.integers(1, 999), min_size=1, max_size=40), max_size=60)


def with_bos(bodies: list[list[int]]) -> list[np.ndarray]:
    return [np.array([BOS, *body], dtype=np.uint16) for body in bodies]


def plain_pack(documents: list[np.ndarray], length: int) -> list[list[int]]:
    """Pack by linear searches: place the largest document that fits, else crop the shortest and put its rest back."""
    waiting = [list(map(int, document)) for document in documents]
    buffer: list[list[int]] = []
    rows = []
    while True:
        row: list[int] = []
        while len(row) < length:
            while len(buffer) < packing.BUFFER and waiting:
                buffer += waiting[: packing.REFILL]
                del waiting[: packing.REFILL]
            if not buffer:
                return rows
            free = length - len(row)
            fitting = [document for document in buffer if len(document) <= free]
            if fitting:
                size = max(map(len, fitting))
                chosen = [document for document in buffer if len(document) == size][-1]
                buffer.remove(chosen)
                row += chosen
            else:
                size = min(map(len, buffer))
                chosen = next(document for document in buffer if len(document) == size)
                buffer.remove(chosen)
                row += chosen[:free]
                buffer.append([BOS, *chosen[free:]])
        rows.append(row)


@given(bodies, st.integers(2, 30))
def test_the_same_lengths_as_the_plain_rule(bodies: list[list[int]], length: int) -> None:
    documents = with_bos(bodies)

    def shape(row: list[int]) -> list[int]:
        return [i for i, token in enumerate(row) if token == BOS]

    assert [shape(list(row)) for row in pack_rows(documents, length)] == [
        shape(row) for row in plain_pack(documents, length)
    ]


@pytest.mark.slow
@given(bodies, st.integers(2, 30))
def test_nothing_is_lost_but_an_unfinished_row(bodies: list[list[int]], length: int) -> None:
    rows = list(pack_rows(with_bos(bodies), length))
    assert all(len(row) == length and row[0] == BOS and row.dtype == np.uint16 for row in rows)
    packed = Counter(int(token) for row in rows for token in row if token != BOS)
    given_tokens = Counter(chain.from_iterable(bodies))
    assert packed <= given_tokens
    assert (given_tokens - packed).total() < length


def test_documents_longer_than_a_row_are_cut_and_kept_in_order() -> None:
    body = np.arange(1, 1001, dtype=np.uint16)
    rows = list(pack_rows([np.concatenate([[BOS], body]).astype(np.uint16)], 101))
    assert len(rows) == 10
    assert np.array_equal(np.concatenate([row[1:] for row in rows]), body)


def test_more_documents_than_the_buffer_holds() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 700, 3 * packing.BUFFER)
    documents = [np.concatenate([[BOS], np.full(n, 7)]).astype(np.uint16) for n in lengths]
    rows = np.stack(list(pack_rows(documents, 257)))
    kept = int((rows == 7).sum())
    assert lengths.sum() - 257 < kept <= lengths.sum()
    assert (rows == BOS).mean() < 0.01  # pieces stay long: 350 tokens a document, 257 a row


def test_the_documented_example() -> None:
    rows = list(pack_rows(with_bos([[1, 2, 3], [4], [5, 6]]), 5))
    assert [list(map(int, row)) for row in rows] == [[0, 1, 2, 3, 0], [0, 5, 6, 0, 4]]


def test_first_tokens_ends_with_the_document_that_reaches_the_number() -> None:
    documents = with_bos([[1] * 9] * 10)
    assert len(list(first_tokens(documents, 30))) == 3
    assert len(list(first_tokens(documents, 31))) == 4
    assert len(list(first_tokens(documents, 10**6))) == 10


def test_rows_in_files(tmp_path: Path) -> None:
    rows = [np.array([i, i + 1, i + 2], dtype=np.uint16) for i in range(300)]
    record = write_rows(tmp_path / "a.u16", rows)
    raw = (tmp_path / "a.u16").read_bytes()
    assert record == {"rows": 300, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    assert raw[:6] == b"\0\0\1\0\2\0"
    shuffled = [write_shuffled(tmp_path / name, rows, 3, seed) for name, seed in (("b", 0), ("c", 0), ("d", 1))]
    assert shuffled[0] == shuffled[1] != shuffled[2]
    stored = np.fromfile(tmp_path / "b", dtype="<u2").reshape(-1, 3)
    assert not np.array_equal(stored, np.stack(rows))
    assert np.array_equal(stored[np.argsort(stored[:, 0])], np.stack(rows))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.u16", "b", "c", "d"]
