"""MuonAdamW and the schedules against the NumPy reference: twelve steps, alone and inside a training step."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from testbed import reference
from testbed.trainer_support import SLACK, TASK, arrays, assert_close, set_parameters, spread, tokens, trainer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]

STEPS = 12
SHAPE = reference.Shape(n_layer=4, n_head=4, n_kv_head=4, context=32, pattern="SSSL")
PROGRESS = np.linspace(0, 0.99, STEPS)  # the second half of the steps is in the warm-down


def gradients_like(params: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([step, 7])
    return {name: 1e-2 * rng.standard_normal(p.shape) for name, p in params.items()}


@pytest.mark.slow
@pytest.mark.parametrize("stack", [True, False])
def test_twelve_steps_on_given_gradients(stack):
    train_mlx = trainer(STACK_MATRICES=stack, DEPTH=3, ASPECT_RATIO=16, HEAD_DIM=16)
    model = train_mlx.build_model(TASK)
    params = spread(model)
    optimizer, expected = train_mlx.MuonAdamW(model), reference.Optimizer(params)
    shapes = {p.shape for name, p in params.items() if reference.is_layer_matrix(name)}
    assert {(48, 48), (192, 48), (48, 192), (3, 32)} == shapes  # square, tall, wide, and the gates
    for step, progress in enumerate(PROGRESS):
        gradients = gradients_like(params, step)
        params = expected.step(params, gradients, reference.schedule(progress, step))
        tree = tree_unflatten([(name, mx.array(g.astype(np.float32))) for name, g in gradients.items()])
        optimizer.update(model, tree, train_mlx.hyperparameters(progress, step))
        assert_close(arrays(model.parameters()), params, 5e-5)
    assert optimizer.state["step"].item() == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("stack", [True, False])
def test_twelve_steps_of_training(stack):
    """Run forward, backward and update together; each side continues from its own parameters.

    Bigrams are left out: most rows are seen once, and AdamW makes a full step of a gradient that is all rounding error.
    """
    train_mlx = trainer(STACK_MATRICES=stack, DEPTH=4, WINDOW_PATTERN="SSSL", BIGRAM_ROWS=0)
    model = train_mlx.build_model(TASK)
    params = spread(model)
    optimizer, expected = train_mlx.MuonAdamW(model), reference.Optimizer(params)
    train_step = train_mlx.compiled_step(model, optimizer)
    for step, progress in enumerate(PROGRESS):
        x, y = tokens(4, 32, seed=step)
        expected_loss, gradients = reference.loss_and_gradients(params, x, y, SHAPE)
        params = expected.step(params, gradients, reference.schedule(progress, step))
        loss = train_step([(mx.array(x), mx.array(y))], train_mlx.hyperparameters(progress, step))
        assert loss.item() == pytest.approx(expected_loss, rel=1e-5 * SLACK), f"step {step}"
    assert_close(arrays(model.parameters()), params, 5e-4 * SLACK)


def test_the_first_step_from_the_initial_values():
    """Matrices start at zero, and their neighbours have zero gradients.

    The lambdas are left out: at the start the loss does not depend on them, and AdamW would turn the rounding error of
    their gradients into a step of full size.
    """
    train_mlx = trainer(DEPTH=4, WINDOW_PATTERN="SSSL")
    mx.random.seed(3)
    model = train_mlx.build_model(TASK)
    params = {name: p.astype(np.float64) for name, p in arrays(model.parameters()).items()}
    x, y = tokens(4, 32)
    _, gradients = reference.loss_and_gradients(params, x, y, SHAPE)
    assert not gradients["h.0.mlp.c_fc.weight"].any()
    expected = reference.Optimizer(params).step(params, gradients, reference.schedule(0, 0))
    step = train_mlx.compiled_step(model, train_mlx.MuonAdamW(model))
    step([(mx.array(x), mx.array(y))], train_mlx.hyperparameters(0, 0))
    found = {name: p for name, p in arrays(model.parameters()).items() if not name.endswith("lambdas")}
    assert_close(found, expected, 5e-5 * SLACK)


def test_every_parameter_has_one_rule():
    train_mlx = trainer(DEPTH=4)
    model = train_mlx.build_model(TASK)
    optimizer = train_mlx.MuonAdamW(model)
    ruled = sorted([*optimizer.adam, *(path for paths in optimizer.muon.values() for path in paths)])
    assert ruled == sorted(name for name, _ in tree_flatten(model.parameters()))
    assert all(name.startswith("h.") for paths in optimizer.muon.values() for name in paths)
    for name, (lr, betas) in optimizer.adam.items():
        assert (lr, *betas) == pytest.approx(reference.adam_rule(name, model.config.n_embd)), name


def test_stacks_hold_the_matrices_of_one_shape():
    model = trainer(DEPTH=4).build_model(TASK)
    sizes = sorted(len(paths) for paths in trainer(STACK_MATRICES=True).MuonAdamW(model).muon.values())
    assert sizes == [2, 4, 4, 16]  # gates, c_fc, the MLP's c_proj, the four square ones of four layers
    assert {len(paths) for paths in trainer(STACK_MATRICES=False).MuonAdamW(model).muon.values()} == {1}


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 32, 8), (2, 8, 32)])
def test_orthogonalize_brings_singular_values_near_one(shape):
    u, _, v = np.linalg.svd(np.random.default_rng(0).standard_normal(shape), full_matrices=False)
    X = mx.array((u * np.linspace(1, 0.05, 8) @ v).astype(np.float32))
    values = np.linalg.svd(np.array(trainer().orthogonalize(X, 5)), compute_uv=False)
    assert values.min() > 0.7
    assert values.max() < 1.2


def test_normuon_keeps_the_norm_and_evens_the_rows():
    X = mx.array((np.random.default_rng(0).standard_normal((2, 6, 4)) * np.arange(1, 7)[:, None]).astype(np.float32))
    out, second = trainer().normuon(X, mx.zeros((2, 6, 1)), 0.95)
    np.testing.assert_allclose(np.linalg.norm(out, axis=(1, 2)), np.linalg.norm(X, axis=(1, 2)), rtol=1e-5)
    rows = np.linalg.norm(np.array(out), axis=2)
    np.testing.assert_allclose(rows, rows[:, :1].repeat(6, 1), rtol=1e-5)
    np.testing.assert_allclose(second, 0.05 * np.square(X).mean(2, keepdims=True), rtol=1e-5)


def test_decay_is_cautious():
    """At a gradient of zero, a value decays only where the momentum also moves it towards zero."""
    train_mlx = trainer(DEPTH=1)
    model = train_mlx.build_model(TASK)
    params = spread(model)
    gradients = gradients_like(params, 0)
    tree = tree_unflatten([(name, mx.array(g.astype(np.float32))) for name, g in gradients.items()])
    moves = []
    for decay in (0.0, 0.5):
        set_parameters(model, params)
        train_mlx.MuonAdamW(model).update(model, tree, mx.array([1.0, 0.9, decay]))
        moves.append(arrays(model.parameters())["h.0.mlp.c_fc.weight"])
    plain, decayed = moves
    start = params["h.0.mlp.c_fc.weight"]
    shrinks = (start - plain) * start > 0
    assert 0.2 < shrinks.mean() < 0.8
    np.testing.assert_array_equal(plain[~shrinks], decayed[~shrinks])
    lr = 0.04 * 4**0.5  # 32 rows, 8 columns
    np.testing.assert_allclose((plain - decayed)[shrinks], lr * 0.5 * start[shrinks], atol=1e-6)


def test_reset_forgets_in_place():
    train_mlx = trainer()
    model = train_mlx.build_model(TASK)
    optimizer = train_mlx.MuonAdamW(model)
    state, fresh = optimizer.state, arrays(optimizer.state)
    tree = tree_unflatten([(name, mx.ones_like(p)) for name, p in tree_flatten(model.parameters())])
    optimizer.update(model, tree, train_mlx.hyperparameters(0.0, 0))
    assert arrays(state)["step"] == 1
    optimizer.reset(model)
    assert optimizer.state is state
    assert all((value == fresh[name]).all() for name, value in arrays(state).items())


@pytest.mark.parametrize(("progress", "expected"), [(0, 1), (0.5, 1), (0.75, 0.5), (0.9, 0.2), (1, 0)])
def test_learning_rate_falls_over_the_last_half(progress, expected):
    assert trainer().lr_scale(progress) == pytest.approx(expected)


@pytest.mark.parametrize(("progress", "expected"), [(0, 0), (0.05, 0.5), (0.1, 1), (0.6, 1), (0.8, 0.55), (1, 0.1)])
def test_learning_rate_with_warmup_and_a_floor(progress, expected):
    train_mlx = trainer(WARMUP_RATIO=0.1, WARMDOWN_RATIO=0.4, FINAL_LR_FRAC=0.1)
    assert train_mlx.lr_scale(progress) == pytest.approx(expected)


def test_hyperparameters_are_the_references():
    for progress, step in ((0.0, 0), (0.3, 150), (0.7, 300), (1.0, 5000)):
        expected = reference.schedule(progress, step)
        found = trainer().hyperparameters(progress, step)
        assert found.dtype == mx.float32
        np.testing.assert_allclose(found, [expected.lr, expected.momentum, expected.decay], atol=1e-7)
