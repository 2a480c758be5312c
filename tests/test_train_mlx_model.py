"""The model against the NumPy reference: logits, loss, gradients; windows, causality, types, memory, initial values."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

import prepare
from testbed.reference import Shape, loss_and_gradients, slope
from testbed.reference import model as reference_model
from testbed.trainer_support import SLACK, TASK, arrays, frees_at_once, spread, tokens, trainer

pytestmark = pytest.mark.slow

SHAPES = {
    "plain": (Shape(n_layer=3, n_head=3, n_kv_head=3, context=32), {}),
    "bigrams": (Shape(n_layer=3, n_head=3, n_kv_head=3, context=32), {"BIGRAM_ROWS": 16}),
    "windows": (
        Shape(n_layer=4, n_head=4, n_kv_head=4, context=32, pattern="SSSL"),
        {"DEPTH": 4, "WINDOW_PATTERN": "SSSL"},
    ),
    "shared keys": (Shape(n_layer=4, n_head=4, n_kv_head=2, context=32), {"DEPTH": 4, "HEADS_PER_KV": 2}),
    "wide": (Shape(n_layer=2, n_head=2, n_kv_head=2, context=32), {"DEPTH": 2, "ASPECT_RATIO": 24, "HEAD_DIM": 24}),
    "blocks": (
        Shape(n_layer=3, n_head=3, n_kv_head=3, context=32, pattern="LS"),
        {"QUERY_BLOCK": 12, "WINDOW_PATTERN": "LS"},
    ),
}


@pytest.fixture(params=SHAPES)
def case(request):
    shape, constants = SHAPES[request.param]
    return trainer(**constants).build_model(TASK), shape


def test_the_reference_gradients_are_the_slopes_of_its_loss():
    model = trainer(DEPTH=4, WINDOW_PATTERN="SSSL", HEADS_PER_KV=2, BIGRAM_ROWS=16).build_model(TASK)
    params, (x, y) = spread(model), tokens(2, 12)
    shape = Shape(n_layer=4, n_head=4, n_kv_head=2, context=8, pattern="SSSL")
    _, grads = loss_and_gradients(params, x, y, shape)
    rng = np.random.default_rng(1)
    for name, gradient in grads.items():
        direction = rng.standard_normal(gradient.shape)
        expected = slope(params, name, direction, x, y, shape)
        assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-5, abs=1e-9), name


def test_logits_and_loss(case):
    model, shape = case
    params, (x, y) = spread(model), tokens(2, 32)
    expected, _ = reference_model(params, x, shape)
    logits = model(mx.array(x))
    assert logits.dtype == mx.float32
    np.testing.assert_allclose(np.array(logits), expected, atol=2e-4 * SLACK, rtol=0)
    loss, _ = loss_and_gradients(params, x, y, shape)
    assert prepare.cross_entropy(logits, mx.array(y)).item() == pytest.approx(loss, rel=2e-6 * SLACK)


def test_gradients(case):
    model, shape = case
    params, (x, y) = spread(model), tokens(2, 32)
    _, expected = loss_and_gradients(params, x, y, shape)
    assert set(expected) == set(params)
    _, gradients = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))(mx.array(x), mx.array(y))
    for name, gradient in arrays(gradients).items():
        error = np.linalg.norm(gradient - expected[name]) / np.linalg.norm(expected[name])
        assert error < 2e-5 * SLACK, f"{name}: relative error {error:.1e}"


def test_parameter_names_are_the_reference_setups():
    names = set(arrays(trainer(DEPTH=2, BIGRAM_ROWS=0).build_model(TASK).parameters()))
    layers = {f"h.{i}.{part}.weight" for i in (0, 1) for part in ("attn.c_q", "attn.c_k", "attn.c_v", "attn.c_proj")}
    layers |= {f"h.{i}.mlp.{part}.weight" for i in (0, 1) for part in ("c_fc", "c_proj")}
    assert names == layers | {
        "h.1.attn.ve_gate.weight",
        "value_embeds.l1.weight",
        *("wte.weight", "lm_head.weight", "resid_lambdas", "x0_lambdas"),
    }


@pytest.mark.parametrize("block", [5, 8, 256])  # several blocks, blocks that meet the window, one block
def test_a_short_window_reaches_exactly_half_the_context(block):
    train_mlx = trainer(QUERY_BLOCK=block)
    T, window, D = 32, 16, 8
    q, k = mx.random.normal((1, 2, T, D)), mx.random.normal((1, 2, T, D))
    seen = mx.broadcast_to(mx.eye(T), (1, 2, T, T))  # values that show which positions were read
    out = np.array(train_mlx.attend(q, k, seen, window))
    distance = np.arange(T)[:, None] - np.arange(T)
    assert ((out[0] > 0) == ((distance >= 0) & (distance <= window))).all()


@pytest.mark.slow
def test_the_last_layer_sees_the_whole_context():
    config = trainer(WINDOW_PATTERN="S", DEPTH=3).build_model(TASK).config
    assert config.windows == [16, 16, 32]
    assert trainer(WINDOW_PATTERN="SSSL", DEPTH=6).build_model(TASK).config.windows == [16, 16, 16, 32, 16, 32]


@pytest.mark.parametrize("block", [8, 256])
def test_no_logit_depends_on_later_tokens(block):
    model = trainer(QUERY_BLOCK=block, WINDOW_PATTERN="SL").build_model(TASK)
    spread(model)
    x, _ = tokens(2, 32)
    changed = x.copy()
    changed[:, 20:] = (changed[:, 20:] + 7) % TASK.vocab_size
    before, after = np.array(model(mx.array(x))), np.array(model(mx.array(changed)))
    assert (before[:, :20] == after[:, :20]).all()
    assert (np.abs(before[:, 20:] - after[:, 20:]).max(-1) > 0).all()


def test_the_residual_stream_keeps_the_compute_type():
    train_mlx = trainer()
    wide = train_mlx.build_model(TASK)
    narrow = train_mlx.GPT(train_mlx.GPTConfig(32, 48, 3, 3, 3, 24, dtype=mx.bfloat16))
    narrow.update(wide.parameters())
    spread(narrow)
    seen = []

    class Watched(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def __call__(self, x, *rest):
            y = self.block(x, *rest)
            seen.append((x.dtype, y.dtype))
            return y

    narrow.h = [Watched(block) for block in narrow.h]
    logits = narrow(mx.array(tokens(2, 32)[0]))
    assert seen == [(mx.bfloat16, mx.bfloat16)] * 3
    assert logits.dtype == mx.float32
    assert {p.dtype for _, p in tree_flatten(narrow.parameters())} == {mx.float32}


def test_bfloat16_gradients_are_float32_and_close():
    train_mlx = trainer()
    x, y = (mx.array(a) for a in tokens(4, 32))
    found = []
    for dtype in (mx.float32, mx.bfloat16):
        model = train_mlx.GPT(train_mlx.GPTConfig(32, 48, 3, 3, 3, 24, dtype=dtype))
        spread(model)
        loss, gradients = nn.value_and_grad(model, lambda x, y, m=model: prepare.cross_entropy(m(x), y))(x, y)
        assert {g.dtype for _, g in tree_flatten(gradients)} == {mx.float32}
        found.append((loss.item(), arrays(gradients)))
    (exact, exact_gradients), (rounded, rounded_gradients) = found
    assert rounded == pytest.approx(exact, rel=5e-3)
    for name, gradient in exact_gradients.items():
        cosine = (gradient * rounded_gradients[name]).sum() / np.linalg.norm(gradient)
        assert cosine / np.linalg.norm(rounded_gradients[name]) > 0.98, name


@frees_at_once
@pytest.mark.slow
def test_memory_grows_with_tokens_and_not_with_their_square(monkeypatch):
    """In rows four times as long, the same tokens would need four times the memory for whole score matrices."""
    monkeypatch.setattr(prepare.ops, "CPU_SCORES", 2**22)  # fewer than the longer rows have
    train_mlx = trainer(DEPTH=2, QUERY_BLOCK=64)

    def peak_bytes(rows, length):
        model = train_mlx.GPT(train_mlx.GPTConfig(length, 48, 2, 2, 2, 32))
        spread(model)
        x, y = (mx.array(a) for a in tokens(rows, length))
        mx.eval(model.parameters(), x, y)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))(x, y))
        return mx.get_peak_memory() - before

    short, long = peak_bytes(8, 256), peak_bytes(2, 1024)
    scores = 2 * 2 * 2 * 1024**2 * 4  # bytes of two layers' whole score matrices for the longer rows
    assert long < 1.3 * short
    assert long < scores


def test_initial_values():
    model = trainer(DEPTH=4, ASPECT_RATIO=32, HEAD_DIM=64).build_model(
        prepare.Task(**{**TASK.__dict__, "vocab_size": 1024})
    )
    values, bound = arrays(model.parameters()), (3 / 128) ** 0.5
    assert values["wte.weight"].std() == pytest.approx(1, rel=0.02)
    assert values["lm_head.weight"].std() == pytest.approx(0.001, rel=0.02)
    for name in ("h.0.attn.c_q", "h.1.attn.c_k", "h.2.attn.c_v", "h.3.mlp.c_fc", "value_embeds.l1", "value_embeds.l3"):
        w = values[f"{name}.weight"]
        assert np.abs(w).max() <= bound
        assert w.std() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert abs(w.mean()) < 0.02 * bound
    for name in ("attn.c_proj", "mlp.c_proj"):
        assert not any(values[f"h.{i}.{name}.weight"].any() for i in range(4))
    assert not values["h.1.attn.ve_gate.weight"].any()
    assert (values["resid_lambdas"] == 1).all()
    assert (values["x0_lambdas"] == np.float32(0.1)).all()


def test_an_untrained_model_predicts_nothing():
    x, y = (mx.array(a) for a in tokens(4, 32))
    loss = prepare.cross_entropy(trainer().build_model(TASK)(x), y).item()
    assert loss == pytest.approx(np.log(TASK.vocab_size), abs=1e-2)


def test_flops_per_token_count_matrices_and_visible_positions():
    model = trainer(DEPTH=2, WINDOW_PATTERN="SL").build_model(TASK)
    C, V = 16, 48
    matrices = 2 * (4 * C * C + 8 * C * C) + 2 * C + V * C  # two layers, one gate of two heads, the head
    assert model.flops_per_token() == 6 * matrices + 12 * C * (16 + 32)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"DEPTH": 0}, "DEPTH=0"),
        ({"HEAD_DIM": 0}, "HEAD_DIM=0"),
        ({"HEAD_DIM": 15}, "30 channels do not make 2 heads of one even size"),
        ({"HEADS_PER_KV": 0}, "HEADS_PER_KV=0"),
        ({"WINDOW_PATTERN": "SLX"}, "SLX"),
        ({"COMPUTE_DTYPE": "float16"}, "float16"),
        ({"DEVICE_BATCH_SIZE": 0}, "DEVICE_BATCH_SIZE=0"),
    ],
)
def test_impossible_constants_are_named(constants, message):
    with pytest.raises(ValueError, match=message):
        trainer(**constants).build_model(TASK)


def test_a_config_names_numbers_that_do_not_divide():
    train_mlx = trainer()
    with pytest.raises(ValueError, match="50 channels do not make 4 heads"):
        train_mlx.GPTConfig(32, 48, 2, 4, 4, 50)
    with pytest.raises(ValueError, match="n_heads 6 for n_kv_heads 4"):
        train_mlx.GPT(train_mlx.GPTConfig(32, 48, 2, 6, 4, 96))(mx.zeros((1, 32), mx.int32))


def test_constants_round_where_they_can():
    config = trainer(DEPTH=3, ASPECT_RATIO=30, HEAD_DIM=32, HEADS_PER_KV=2).build_model(TASK).config
    assert (config.n_embd, config.n_head, config.n_kv_head) == (96, 3, 3)
