"""Count the operations that a GPU has to start for a training step: the trainer's by part, beside the plain port's.

The graphs are built on a CPU as MLX builds them for CUDA, with each of its fast kernels as one operation, and nothing
is computed. What only looks at memory in another way, as a transposition does, does not count, nor do copies that a
kernel makes for itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map

import prepare
from autoresearch.tasks.gpt.data.profiles import MAC
from benchmarks.timing import (
    TINY_CONSTANTS,
    arguments,
    fused_kernels,
    operation_names,
    random_batch,
    report,
    toy_task,
    trainer,
    training_step,
)
from benchmarks.trainer.plain import PlainAdamW, adamw_rule, additive_mask, plain_attention, plain_features, plain_loss

VIEWS = {
    "AsStrided", "Broadcast", "BroadcastAxes", "Copy", "CustomTransforms", "Depends", "ExpandDims", "Flatten",
    "Reshape", "Slice", "Split", "Squeeze", "StopGradient", "Transpose", "Unflatten",
}  # fmt: skip
ROWS = 16


def operations(arrays: Any) -> int:
    """Count the operations of the arrays' graph."""
    return sum(name not in VIEWS for name in operation_names(arrays))


# --- MLX's fast kernels, one operation each --------------------------------------------------------------------------


def kernel(x: mx.array, *others: mx.array) -> mx.array:
    """Return an array of x's shape by one operation, which mx.compile fuses with no other, after the others."""
    return mx.cumsum(mx.depends(x, list(others)), axis=-1)


@mx.custom_function
def _rms_norm(x: mx.array) -> mx.array:
    return kernel(x)


@_rms_norm.vjp
def _rms_norm_vjp(x: mx.array, gradient: mx.array, _: mx.array) -> mx.array:
    return kernel(x, gradient)


@mx.custom_function
def _rope(x: mx.array) -> mx.array:
    return kernel(x)


@_rope.vjp
def _rope_vjp(_: mx.array, gradient: mx.array, __: mx.array) -> mx.array:
    return kernel(gradient)


@mx.custom_function
def _cross_entropy(logits: mx.array) -> mx.array:
    return mx.logsumexp(logits, axis=-1)


@_cross_entropy.vjp
def _cross_entropy_vjp(logits: mx.array, gradient: mx.array, _: mx.array) -> mx.array:
    return kernel(logits, gradient)


@mx.custom_function
def _fused_attention(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    return kernel(q, k, v)


@_fused_attention.vjp
def _fused_attention_vjp(primals: Any, gradient: mx.array, output: mx.array) -> tuple[mx.array, ...]:
    q, k, v = primals
    dq = kernel(q, k, v, gradient, output)
    return dq, mx.depends(k, [dq]), mx.depends(v, [dq])


def _attention(q: mx.array, k: mx.array, v: mx.array, *, scale: float, mask: str | mx.array) -> mx.array:
    """Attend as MLX does on CUDA: by a kernel where it has one, else by the products and the softmax."""
    if prepare.has_fused_attention(q) and isinstance(mask, str):
        return _fused_attention(q, k, v)
    scores = (scale * q) @ k.swapaxes(-1, -2)
    n, m = scores.shape[-2:]
    if isinstance(mask, str):
        mask = mx.arange(m - n, m)[:, None] >= mx.arange(m)
    scores = mx.where(mask, scores, -1e30) if mask.dtype == mx.bool_ else scores + mask
    return mx.softmax(scores, axis=-1, precise=True) @ v


@contextmanager
def as_on_cuda() -> Iterator[None]:
    """Let graphs be built as for a CUDA device."""
    gpu, streams = mx.gpu, prepare.streams()[:1]
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"MLX_DISABLE_COMPILE": "1"}))
        stack.enter_context(patch.multiple(prepare.ops, streams=lambda: streams))
        stack.enter_context(patch.object(mx, "default_device", lambda: gpu))
        kernels = {
            "rms_norm": lambda x, weight, eps: _rms_norm(x),
            "rope": lambda x, *_, **__: _rope(x),
            "cross_entropy": lambda logits, targets: _cross_entropy(logits),
            "scaled_dot_product_attention": _attention,
        }
        stack.enter_context(patch.multiple(mx.fast, **kernels))
        yield


# --- the parts of a step ----------------------------------------------------------------------------------------------


def ours(task: prepare.Task, constants: Mapping[str, Any], rows: int) -> dict[str, int]:
    """Return the operations of the parts of the trainer's step."""
    train_mlx = trainer(**constants)
    model = train_mlx.build_model(task)
    optimizer = train_mlx.MuonAdamW(model)
    mx.eval(optimizer.state)

    def update(gradients: Any) -> Any:
        optimizer.update(model, gradients, train_mlx.hyperparameters(0.0, 0))
        return [model.state, optimizer.state]

    return parts(model, train_mlx.attend, lambda m, x: m.features(x), lambda m, x, y: m.loss(x, y), update, task, rows)


def plain(task: prepare.Task, constants: Mapping[str, Any], rows: int) -> dict[str, int]:
    """Return the operations of the parts of the plain port's step."""
    train_mlx = trainer(**constants)
    model = train_mlx.build_model(task)
    optimizer, zeros = PlainAdamW(adamw_rule(train_mlx, model)), tree_map(mx.zeros_like, model.parameters())
    optimizer.m, optimizer.v = dict(tree_flatten(zeros)), dict(tree_flatten(zeros))

    def update(gradients: Any) -> Any:
        optimizer.update(model, gradients)
        return [model.state, optimizer.m, optimizer.v]

    mx.eval(optimizer.m, optimizer.v, additive_mask(task.seq_len, task.seq_len, model.config.dtype))
    return parts(model, plain_attention, plain_features, plain_loss, update, task, rows)


def parts(
    model: Any,
    attend: Callable[..., mx.array],
    features: Callable[..., mx.array],
    loss: Callable[..., mx.array],
    update: Callable[[Any], Any],
    task: prepare.Task,
    rows: int,
) -> dict[str, int]:
    """Count the operations of layers, head and optimizer, each with its backward pass, and of attention in the layers.

    `attend` is called with q, k, v and a window, `features` with the model and tokens, `loss` with targets, too.
    """
    x, y = random_batch(task, rows)
    q, k, v = heads(model, task, rows)
    mx.eval(model.state, x, y, q, k, v)
    attended = mx.vjp(lambda q, k, v: attend(q, k, v, task.seq_len), [q, k, v], [mx.zeros_like(q)])
    through = nn.value_and_grad(model, lambda x: features(model, x).sum())
    whole = nn.value_and_grad(model, lambda x, y: loss(model, x, y))
    attention = len(model.h) * operations(attended)
    layers, both = operations(through(x)), operations(whole(x, y))
    grads = tree_map(mx.zeros_like, model.trainable_parameters())
    mx.eval(grads)
    optimizer = operations(update(grads))
    return {
        "attention": attention,
        "layers without attention": layers - attention,
        "head and loss": both - layers,
        "optimizer": optimizer,
        "step": both + optimizer,
    }


def heads(model: Any, task: prepare.Task, rows: int) -> tuple[mx.array, ...]:
    """Return queries, keys and values of one layer."""
    config = model.config
    shape = (rows, config.n_head, task.seq_len, config.n_embd // config.n_head)
    return tuple(mx.zeros(shape, dtype=config.dtype) for _ in range(3))


def compiled(task: prepare.Task, constants: Mapping[str, Any]) -> dict[str, int]:
    """Count the operations and the distinct fused kernels of the trainer's compiled step."""
    mx.enable_compile()
    with patch.dict(os.environ):
        del os.environ["MLX_DISABLE_COMPILE"]
        arrays = training_step(trainer(**constants), task)()
    mx.disable_compile()
    return {"compiled step": operations(arrays), "fused kernels": fused_kernels(arrays)}


def rows(dtype: str, table: int, task: prepare.Task, constants: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for the plain port and one for the trainer, whose compiled step has all logits at once."""
    settings = {**constants, "COMPUTE_DTYPE": dtype, "BIGRAM_ROWS": table, "DEVICE_BATCH_SIZE": ROWS}
    case = {"type": dtype, "table": table}
    with as_on_cuda():
        once = compiled(task, {**settings, "LOSS_CHUNK": 2**40})
        return [
            {"whose": "the plain port", **case, **plain(task, settings, ROWS)},
            {"whose": "ours", **case, **ours(task, settings, ROWS), **once},
        ]


def main(argv: Sequence[str]) -> int:
    args = arguments("trainer operations", __doc__).parse_args(argv)
    task = toy_task(256, 512) if args.quick else toy_task(MAC.seq_len, MAC.vocab_size)
    constants = {**(TINY_CONSTANTS if args.quick else {}), "LOSS_CHUNK": 2**28, "TOTAL_BATCH_SIZE": ROWS * task.seq_len}
    cases = [("float32", 0)] if args.quick else [("float32", 0), ("float32", 16), ("bfloat16", 0), ("bfloat16", 16)]
    mx.disable_compile()
    return report([found for dtype, table in cases for found in rows(dtype, table, task, constants)], args)
