"""Batches from the loop's side: their order, the clock, and requests of every kind."""

from __future__ import annotations

import os
import threading
import time

import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare
from autoresearch.errors import DataError
from autoresearch.measure import feeder
from autoresearch.measure.clock import Clock
from autoresearch.measure.feeder import BATCHES_FD, MOST_TOKENS, REQUEST, REQUESTS_FD, Feeder, Order, load_rows
from testbed.feeding import fed

ROWS = np.arange(20 * 9, dtype=np.uint16).reshape(20, 9)  # 20 rows of 8 tokens and the next
TASK = prepare.Task("toy", "tiny", "0" * 16, 8, 256, 252, 64, 8, 5.0)


def runs(feed: prepare.Feed) -> prepare.Run:
    class Flat(nn.Module):
        def __call__(self, idx):  # type: ignore[no-untyped-def]
            return prepare.mx.zeros((*idx.shape, 256))

    return prepare.Run(TASK, 0, Flat(), feed, lambda *a, **k: None)


def test_both_ends_speak_the_same() -> None:
    assert (prepare.Feed.REQUEST.format, prepare.Feed.ANSWER.format) == (feeder.REQUEST.format, feeder.ANSWER.format)
    assert prepare.Feed.MOST_TOKENS == MOST_TOKENS


@pytest.mark.slow
def test_every_row_comes_once_an_epoch_in_the_order_of_the_seed() -> None:
    def order(seed: int) -> list[int]:
        with fed(ROWS, seed) as (feed, _):
            batches = runs(feed).batches(5)
            return [int(i) for _ in range(4) for i in np.array(next(batches)[0])[:, 0]]

    a, b, c = order(1), order(1), order(2)
    assert a == b != c and sorted(a) == sorted(c) == ROWS[:, 0].tolist()
    drawn = np.random.default_rng([1, 2, 0]).permutation(20)
    assert a == ROWS[drawn, 0].tolist()


@pytest.mark.slow
def test_shorter_rows_are_pieces_of_rows_with_their_targets() -> None:
    with fed(ROWS) as (feed, clock):
        x, y = next(runs(feed).batches(40, 4))
        assert sorted(np.array(x)[:, 0].tolist()) == sorted([*ROWS[:, 0].tolist(), *ROWS[:, 4].tolist()])
        assert (np.array(y) == np.array(x) + 1).all()
        assert (clock.batches, clock.tokens, clock.epochs) == (1, 160, 1.0)


@given(st.integers(1, 8), st.lists(st.integers(1, 90), max_size=6))
def test_each_epoch_is_whole_however_it_is_cut(length: int, counts: list[int]) -> None:
    order = Order(ROWS, length, 3)
    taken = [int(start) for count in counts for start in order.take(count)[:, 0]]
    whole = sorted(row * 9 + piece * length for row in range(20) for piece in range(8 // length))
    for k in range(len(taken) // order.total):
        assert sorted(taken[k * order.total : (k + 1) * order.total]) == whole


@pytest.mark.slow
def test_the_first_batch_starts_the_clock_and_the_budget_ends_the_batches() -> None:
    with fed(ROWS, budget_s=0.2) as (feed, clock):
        run = runs(feed)
        assert clock.began is None and run.progress == 0.0
        for _ in run.batches(5):
            time.sleep(0.01)
        assert clock.began is not None and clock.batches > 1
        assert list(run.batches(5)) == []  # over is over, also for a second loop
        assert 0 < run.progress <= 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (REQUEST.pack(0, 8), "0 rows of 8"),
        (REQUEST.pack(1, 0), "1 rows of 0"),
        (REQUEST.pack(1, 9), "at most 8 in a row"),
        (REQUEST.pack(2**32 - 1, 8), "in all"),
        (REQUEST.pack(1, 8) * 2, "before it had the last one"),
        (b"x", "before it had the last one"),
        (os.urandom(300), "before it had the last one"),
    ],
)
def test_a_request_out_of_range_ends_the_feeding(said: bytes, why: str) -> None:
    with fed(ROWS) as (feed, clock):
        os.write(feed.requests, said)
        assert feed.batches.read() == b""
        assert clock.refused is not None and why in clock.refused and clock.batches == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=16), min_size=1, max_size=4))
def test_no_bytes_end_more_than_the_feeding(chunks: list[bytes]) -> None:
    with fed(ROWS, budget_s=0.05) as (feed, clock):
        reader = threading.Thread(target=feed.batches.read)
        reader.start()
        for chunk in chunks:
            try:
                os.write(feed.requests, chunk)
            except BrokenPipeError:
                break
        if any(len(chunk) != REQUEST.size for chunk in chunks):
            reader.join(30)
            assert clock.refused is not None
        assert clock.tokens <= len(chunks) * MOST_TOKENS
        os.write(feed.requests, b"end")
        reader.join(30)


def test_many_lengths_and_tiny_ones_cost_the_loop_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder, "MOST_LENGTHS", 2)
    monkeypatch.setattr(feeder, "MOST_PIECES", 100)
    with fed(ROWS) as (feed, clock):
        for length in (8, 4, 8, 3):
            if length == 3:
                with pytest.raises(prepare.Failed, match="no more data"):
                    feed(1, length)
            else:
                assert feed(1, length)[2] is not None
        assert clock.refused is not None and "different lengths" in clock.refused
    with fed(ROWS) as (feed, clock), pytest.raises(prepare.Failed):
        feed(1, 1)
    assert clock.refused is not None and "more than 100 pieces" in clock.refused


def test_a_child_that_reads_nothing_or_leaves_stops_no_feeder() -> None:
    large = np.zeros((100, 4097), dtype=np.uint16)
    clock = Clock(60.0, large.size)
    with Feeder(large, 0, clock) as feeding:
        os.write(feeding.pass_fds[REQUESTS_FD], REQUEST.pack(100, 4096))  # far more than a pipe holds
        while clock.batches == 0:
            time.sleep(0.01)
    with Feeder(large, 0, Clock(60.0, large.size)) as feeding:
        os.write(feeding.pass_fds[REQUESTS_FD], REQUEST.pack(100, 4096))
        assert feeding.pass_fds[BATCHES_FD] > 0
        feeding.release()


def test_rows_that_are_not_whole_are_an_error_of_the_data(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "train.u16"
    path.write_bytes(b"abc")
    with pytest.raises(DataError, match=r"train\.u16 cannot be read as rows of 9 tokens"):
        load_rows(path, 8)
    ROWS.tofile(path)
    assert (load_rows(path, 8) == ROWS).all()
