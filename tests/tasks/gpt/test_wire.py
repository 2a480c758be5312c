"""Tokens and logits between two ends, one of them in a thread, and what the judge makes of odd messages."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.system.connection import connection
from autoresearch.tasks.gpt.wire import CHUNK, HELLO, MESSAGE, Garbled, Gone, JudgesEnd, ModelsEnd, Sizes

Model = Callable[[ModelsEnd], object]


@contextlib.contextmanager
def judging(sizes: Sizes, model: Model) -> Iterator[JudgesEnd]:
    """Yield the judge's end while a thread runs `model` at the other one, which then closes."""

    def run(end: ModelsEnd) -> None:
        with contextlib.suppress(Gone):
            model(end)
        end.close()

    with connection(2**16) as (a, b):
        a.is_open = b.is_open = False  # the two ends of the wire close what they have
        judge = JudgesEnd((a.memory, a.reads, a.writes), sizes)
        thread = Thread(target=run, args=[ModelsEnd((b.memory, b.reads, b.writes), sizes)])
        thread.start()
        try:
            yield judge
        finally:
            judge.close()
            thread.join()
            os.close(a.memory)
            os.close(b.memory)


def logits_of(tokens: np.ndarray, vocab: int) -> np.ndarray:
    return (tokens.reshape(-1, 1) * 100 + np.arange(vocab)).astype(np.float32)


def honest(end: ModelsEnd) -> None:
    end.send(HELLO)
    while (tokens := end.take(wait=True)) is not None:
        end.answer(logits_of(tokens, end.sizes.vocab))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(2, 7), st.integers(1, 400), st.integers(1, 2))
def test_logits_of_every_shape_arrive_whole(rows: int, length: int, vocab: int, chunk_bytes: int, ahead: int) -> None:
    sizes = Sizes(rows, length, vocab, chunk_bytes)
    batches = [np.random.default_rng(i).integers(0, vocab, (rows, length), dtype=np.int32) for i in range(4)]
    with judging(sizes, honest) as judge:
        judge.wait()
        for i in range(ahead - 1):
            judge.ask(batches[i])
        for i, tokens in enumerate(batches):
            if i + ahead <= len(batches):
                judge.ask(batches[i + ahead - 1])
            found = [logits for _, logits in judge.chunks(rows)]
            np.testing.assert_array_equal(np.concatenate(found), logits_of(tokens, vocab))


SIZES = Sizes(2, 4, 3, 4 * 3 * 4)  # two chunks of four positions


def says(*messages: bytes, leaves: bool = False) -> Model:
    def model(end: ModelsEnd) -> None:
        end.take(wait=True)
        for message in messages:
            os.write(end.writes, message)
        while not leaves:
            end.receive()  # until the judge has left

    return model


@pytest.mark.parametrize(
    "messages",
    [
        [MESSAGE.pack(HELLO, 0, 0, 0)],  # a greeting instead of logits
        [MESSAGE.pack(CHUNK, 0, 1, 0)],  # the second chunk first
        [MESSAGE.pack(CHUNK, 0, 0, 0), MESSAGE.pack(CHUNK, 0, 0, 0)],  # the first one twice
        [MESSAGE.pack(CHUNK, 2, 0, 0)],  # an unknown type
        [MESSAGE.pack(CHUNK, 255, 0, 0)],
        [MESSAGE.pack(77, 0, 0, 0)],
        [struct.pack("<BBxxII", CHUNK, 0, 2**32 - 1, 2**32 - 1)],
    ],
)
def test_a_message_out_of_turn_ends_it(messages: list[bytes]) -> None:
    with judging(SIZES, says(*messages)) as judge:
        judge.ask(np.zeros((2, 4), np.int32))
        with pytest.raises(Garbled):
            list(judge.chunks(2))


@pytest.mark.parametrize("messages", [[], [MESSAGE.pack(CHUNK, 0, 0, 0)], [MESSAGE.pack(CHUNK, 0, 0, 0)[:5]]])
def test_a_model_s_process_that_leaves_is_noticed(messages: list[bytes]) -> None:
    with judging(SIZES, says(*messages, leaves=True)) as judge:
        judge.ask(np.zeros((2, 4), np.int32))
        with pytest.raises(Gone):
            list(judge.chunks(2))


def test_a_chunk_is_the_judge_s_own_once_it_was_taken() -> None:
    """What the model's process writes into the memory after its message changes nothing that was copied."""

    def scribbles(end: ModelsEnd) -> None:
        assert end.take(wait=True) is not None
        for number, value in ((0, 1.0), (1, 2.0)):
            end.logits(number, 4, np.dtype("<f4"))[:] = value
            end.send(CHUNK, number)
        end.receive()  # the first chunk was taken
        end.logits(0, 4, np.dtype("<f4"))[:] = np.nan
        end.receive()

    with judging(SIZES, scribbles) as judge:
        judge.ask(np.zeros((2, 4), np.int32))
        found = dict(judge.chunks(2))
        assert (found[0] == 1.0).all() and (found[4] == 2.0).all()
