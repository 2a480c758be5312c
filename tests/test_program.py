"""program.md: its examples apply to train_mlx.py and compute what they say; what it names exists."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map

from autoresearch.candidate import constants, edits
from autoresearch.records import CATEGORIES
from autoresearch.search.llm import replies
from autoresearch.search.llm.replies import ParsedReply
from autoresearch.tasks.gpt import contract
from autoresearch.tasks.gpt.data.profiles import PROFILES
from testbed.toy import ROOT
from testbed.trainer_support import SOURCE, TASK, spread, tokens

PROGRAM = (ROOT / "program.md").read_text()
SCRIPT = SOURCE.read_text()
SMALL = {"HEAD_DIM": "16", "TOTAL_BATCH_SIZE": "128", "DEVICE_BATCH_SIZE": "4"}


def examples() -> list[ParsedReply]:
    """Return the answers that program.md shows in its indented blocks."""
    indented = "\n".join(line[4:] if line.startswith("    ") else "%%" for line in PROGRAM.split("\n")).split("%%")
    return [replies.parse(text) for text in indented if text.strip()]


def module(source: str) -> ModuleType:
    """Execute the source of a trainer with few rows per step and small heads, and return its module."""
    for name, literal in SMALL.items():
        source = constants.assign(source, name, literal)
    trainer = ModuleType("train_mlx")
    exec(compile(source, str(SOURCE), "exec", dont_inherit=True), trainer.__dict__)
    return trainer


def model_of(example: ParsedReply) -> Any:
    return module(edits.apply(SCRIPT, example.edits)).build_model(TASK)


@pytest.mark.slow
@pytest.mark.parametrize("example", examples(), ids=lambda example: example.title)
def test_an_example_keeps_the_form_and_the_contract(example: ParsedReply) -> None:
    assert example.category in CATEGORIES and example.hypothesis
    changed = edits.apply(SCRIPT, example.edits)
    assert changed != SCRIPT
    assert contract.check(changed, SCRIPT) == []


@pytest.mark.slow
@pytest.mark.parametrize("example", examples(), ids=lambda example: example.title)
def test_an_example_trains_with_the_gradient_of_its_own_loss(example: ParsedReply) -> None:
    """A short way along the gradient, the loss changes as fast as the gradient is long."""
    model = model_of(example)
    spread(model)
    x, y = (mx.array(a) for a in tokens(2, 32))
    _, gradient = nn.value_and_grad(model, model.loss)(x, y)
    length = sum(mx.square(g).sum() for _, g in tree_flatten(gradient)) ** 0.5
    here = model.parameters()

    def loss_at(distance: float) -> float:
        model.update(tree_map(lambda p, g: p + distance / length * g, here, gradient))
        return model.loss(x, y).item()

    step = 0.01 / length.item()
    slope = (loss_at(step) - loss_at(-step)) / (2 * step)
    assert slope == pytest.approx(length.item(), rel=0.01)


@pytest.mark.slow
def test_the_examples_are_the_changes_that_their_titles_name() -> None:
    rate, halved, cubed = examples()
    before = constants.read(SCRIPT)
    assert constants.changed(SCRIPT, edits.apply(SCRIPT, rate.edits)) == {"MATRIX_LR": (0.04, 0.06)}
    model, shipped = model_of(halved), module(SCRIPT).build_model(TASK)
    assert len(model.h) == len(shipped.h) / 2 == before["DEPTH"] / 2
    assert model.config.n_embd == shipped.config.n_embd
    mlp = model_of(cubed).h[0].mlp
    spread(mlp)
    fc, proj = mlp.c_fc.weight, mlp.c_proj.weight
    x, weight = mx.random.normal((2, 2, 3, fc.shape[1]), key=mx.random.key(0))

    def plain(x: mx.array) -> mx.array:
        return mx.maximum(x @ fc.T, 0) ** 3 @ proj.T

    for found, expected in zip(mx.vjp(mlp, [x], [weight]), mx.vjp(plain, [x], [weight]), strict=True):
        size = np.abs(np.array(expected[0])).max()
        np.testing.assert_allclose(np.array(found[0]), np.array(expected[0]), rtol=0, atol=1e-5 * size)


def test_an_edit_of_the_soft_cap_changes_the_gradient_with_the_value() -> None:
    old = "prepare.soft_cap(logits, LOGIT_SOFTCAP)"
    assert SCRIPT.count(old) == 1
    trainer = module(SCRIPT.replace(old, "30 * mx.sigmoid(x @ weight.T / 15) - 15"))
    x, w = mx.random.normal((1, 4, 8), key=mx.random.key(0)), mx.random.normal((5, 8), key=mx.random.key(1))
    found = mx.grad(lambda x: trainer.head(x, w).sum())(x)
    expected = mx.grad(lambda x: (30 * mx.sigmoid(x @ w.T / 15) - 15).sum())(x)
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-4, atol=1e-5)


def test_the_pairs_of_depth_and_aspect_ratio_have_the_width_that_it_says() -> None:
    lines = re.findall(
        r"DEPTH = (\d+) and ASPECT_RATIO = (\d+) have width (\d+), and so have DEPTH = (\d+) and ASPECT_RATIO = (\d+)",
        PROGRAM,
    )
    pairs = [[int(number) for number in line] for line in lines]
    assert all(a * b == width == c * d for a, b, width, c, d in pairs)
    shipped = constants.literals(SCRIPT)
    for profile in PROFILES.values():
        start = {**shipped, **profile.constants}
        assert [int(start["DEPTH"]), int(start["ASPECT_RATIO"])] in [pair[:2] for pair in pairs]


def test_the_constants_that_it_names_exist() -> None:
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", PROGRAM))
    assert len(named) > 15
    assert named <= set(constants.read(SCRIPT))
