"""Altered copies: what they keep, what they replace, and what their scores show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.tasks.gpt.probes import Copier, changed_nats, cuts_needed


def copier(seed: int, size: int, length: int, batch_rows: int, vocab: int = 50) -> Copier:
    rng = np.random.default_rng(seed)
    rows, training = (rng.integers(0, vocab, shape, dtype=np.int32) for shape in ((size, length), (20, length + 1)))
    return Copier(rng, rows, training, batch_rows, vocab)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(1, 20), st.integers(2, 12), st.integers(1, 8), st.integers(1, 60))
def test_copies_keep_a_beginning_and_never_show_what_is_tested(
    seed: int, size: int, length: int, batch_rows: int, count: int
) -> None:
    made = copier(seed, size, length, batch_rows, vocab=3)
    shown = np.zeros(size, dtype=int)  # tokens of each row that the second process has seen
    copied = 0
    for copies in made.batches(count):
        assert copies.tokens.shape == (batch_rows, length) and copies.tokens.dtype == np.int32
        for place, (row, cut) in enumerate(zip(copies.rows, copies.cuts, strict=True)):
            if row < 0:
                assert place >= min(size, batch_rows)
                continue
            assert row % batch_rows == place  # rounding may depend on the place
            assert 1 <= cut < length and cut >= shown[row]
            assert (copies.tokens[place, :cut] == made.rows[row, :cut]).all()
            assert copies.tokens[place, cut] != made.rows[row, cut]
            shown[row], copied = cut, copied + 1
    assert count <= copied < count + batch_rows


def test_half_of_the_tails_come_from_training_rows() -> None:
    made = copier(0, 16, 40, 8, vocab=1000)
    natural = total = 0
    for copies in made.batches(400):
        for row, cut, tokens in zip(copies.rows, copies.cuts, copies.tokens, strict=True):
            if row >= 0 and cut < 36:
                total += 1
                tails = np.lib.stride_tricks.sliding_window_view(made.training, 40 - cut, axis=1)
                natural += bool((tails == tokens[cut:]).all(axis=-1).any())
    assert 0.4 < natural / total < 0.6


def test_only_kept_positions_of_copies_count() -> None:
    made = copier(0, 3, 6, 4)
    copies = made.batch(np.array([0, 1, 2, -1]), np.array([2, 5, 1, 3]))
    scored = np.ones((3, 6), np.float32)
    nats = np.ones((4, 6), np.float32)
    nats[~copies.kept] = 9.0
    assert changed_nats(copies, nats, scored).max() == 0.0
    nats[1, 4] = 0.75  # the last kept position, whose target is replaced
    found = changed_nats(copies, nats, scored)
    assert found[1, 4] == 0.25 and np.count_nonzero(found) == 1


@pytest.mark.parametrize(("targets", "size"), [(1000, 4000), (5000, 5000), (4096, 20000)])
def test_enough_cuts_find_a_gated_gain(targets: int, size: int) -> None:
    gain = 0.005 * math.log(2) * size / targets  # nats a target, and the share of places where a gain of 1 nat is
    cuts = cuts_needed(targets, size)
    assert (1 - gain) ** cuts <= 1.001e-3 and (1 - gain) ** (cuts / 2) > 2e-2
