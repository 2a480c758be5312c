"""The child that continues texts: where they end, and what the seed decides."""

from __future__ import annotations

import mlx.core as mx
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare
from autoresearch.tasks.gpt import sample_child

TASK = prepare.Task("toy", "tiny", "0" * 16, 64, 64, 60, 64, 8, 1.0)


def counting(rows: mx.array) -> mx.array:
    """Return the logits of a model that counts: after token i comes i + 1."""
    return 50.0 * mx.eye(64)[(rows + 1) % 64]


def counted(prompts: list[list[int]], tokens: int = 5, temperature: float = 0.0, **more: int) -> list[list[int]]:
    return sample_child.continue_texts(counting, TASK, prompts, tokens, temperature, more.get("seed", 0), whole=False)


def test_texts_go_on_and_end_before_a_special_token() -> None:
    assert counted([[60, 1], [60, 7, 9], [60, 57]]) == [[2, 3, 4, 5, 6], [10, 11, 12, 13, 14], [58, 59]]
    assert counted([[60, 59]]) == [[]]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 59), min_size=1, max_size=150), st.integers(0, 3))
def test_any_prompt_is_gone_on_with_within_the_task_s_context(prompt: list[int], seed: int) -> None:
    shapes = set()

    def model(rows: mx.array) -> mx.array:
        shapes.add(rows.shape)
        return counting(rows)

    one = sample_child.continue_texts(model, TASK, [[60, *prompt]], 3, 1.0, seed, False)
    assert one[0] == [t for t in range(prompt[-1] + 1, prompt[-1] + 4) if t < 60]
    assert shapes <= {(1, 32), (1, 64)}


def test_the_seed_decides_and_a_temperature_of_zero_does_not_ask_it() -> None:
    def flat(rows: mx.array) -> mx.array:
        return mx.zeros((*rows.shape, 64)) + mx.arange(64) / 100

    def write(seed: int, temperature: float) -> list[list[int]]:
        return sample_child.continue_texts(flat, TASK, [[60, 1]], 20, temperature, seed, True)

    assert write(1, 1.0) == write(1, 1.0) != write(2, 1.0)
    assert write(1, 0.0) == write(2, 0.0) == [[]]  # the likeliest is a special token
