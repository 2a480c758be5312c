"""Compute with MLX what train_mlx.py asks of prepare: losses, attention in blocks, work dealt to cores.

prepare.py loads this file by its path and offers its public functions as its own, so that the editable file holds no
derivative written by hand: an edit there of a forward pass cannot leave an old derivative beside it.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import mlx.core as mx
import mlx.nn as nn

Part = TypeVar("Part")
Returned = TypeVar("Returned")

GPU_LOGITS = 2**24  # bytes of logits in a chunk of training, where the caller names no number
CPU_LOGITS = 2**21  # the same on a CPU, always: MLX runs some 30 such arrays ahead, and more do not fit its caches
POW_FOR_EXP = platform.machine() == "x86_64"  # a CPU where MLX's exp and tanh take three times as long as C's pow
CPU_SCORES, GPU_SCORES = 2**26, 2**29  # bytes of a layer's attention scores that are kept for its backward pass
METAL_HEADS = frozenset({64, 72, 80, 96, 128, 192, 256})  # head dimensions with fused attention, also backward
CUDA_HEAD = 128  # the largest head dimension that cuDNN's attention takes, in multiples of 8 and in 16-bit types


def cross_entropy(logits: mx.array, targets: mx.array, reduction: str = "mean") -> mx.array:
    """Compute cross-entropy in nats, in float32: logits (B, T, V), targets (B, T) -> scalar, or (B, T) for "none"."""
    logits = logits.astype(mx.float32)
    if mx.default_device() == mx.gpu:
        losses = _cross_entropy_on_gpu(logits, targets)
    else:  # the backward pass of mx.fast.cross_entropy computes each exponential again
        shifted = logits - mx.stop_gradient(logits.max(axis=-1, keepdims=True))
        losses = mx.log(_exp(shifted).sum(axis=-1)) - mx.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]
    return losses if reduction == "none" else losses.mean()


def _cross_entropy_on_gpu(logits: mx.array, targets: mx.array) -> mx.array:
    """Compute the cross-entropy of each token by MLX's kernel, whose gradient is used where nothing is compiled."""
    if "MLX_DISABLE_COMPILE" in os.environ:
        return mx.fast.cross_entropy(logits, targets)

    @mx.custom_function
    def losses(logits: mx.array) -> mx.array:
        return mx.fast.cross_entropy(logits, targets)

    @losses.vjp
    def losses_vjp(logits: mx.array, gradient: mx.array, output: mx.array) -> mx.array:
        # Of single numbers, unlike MLX's kernel, so that mx.compile makes one pass of it and the soft cap's gradient.
        hot = mx.arange(logits.shape[-1], dtype=targets.dtype) == targets[..., None]
        log_sums = output[..., None] + mx.take_along_axis(logits, targets[..., None], axis=-1)
        return gradient[..., None] * (mx.exp(logits - log_sums) - hot)

    return losses(logits)


def chunked_cross_entropy(
    head: Callable[..., mx.array], x: mx.array, weight: mx.array, targets: mx.array, chunk_bytes: int = GPU_LOGITS
) -> mx.array:
    """Compute the mean cross-entropy of head(x, weight), never with all logits at once: x (B, T, C), targets (B, T).

    A chunk's gradients are taken while its logits (tokens, V) are there: `chunk_bytes` of them in float32 on a GPU,
    CPU_LOGITS on a CPU. `head` must treat tokens alike, and compute with no other learned array than `weight`.
    """
    _require_explicit_arrays("chunked_cross_entropy", head)
    x, targets = x.reshape(-1, x.shape[-1]), targets.reshape(-1)
    size = max(1, (chunk_bytes if mx.default_device() == mx.gpu else CPU_LOGITS) // (4 * weight.shape[0]))

    def loss(x: mx.array, weight: mx.array, targets: mx.array) -> mx.array:
        return cross_entropy(head(x, weight), targets, "none").sum()

    @mx.custom_function
    def in_chunks(x: mx.array, weight: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        total, dw = mx.array(0.0), mx.zeros_like(weight)
        dx: list[mx.array] = []
        for start in range(0, len(x), size):
            rows, y = mx.depends(x[start : start + size], dw), targets[start : start + size]  # one chunk after another
            nats, (rows, matrix) = mx.value_and_grad(loss, argnums=(0, 1))(rows, weight, y)
            total, dx, dw = total + nats, [*dx, rows], dw + matrix
        return total, mx.concatenate(dx), dw

    @in_chunks.vjp
    def in_chunks_vjp(primals: Any, gradients: Any, outputs: Any) -> tuple[mx.array, ...]:
        return tuple(gradients[0].astype(g.dtype) * g for g in outputs[1:])

    return in_chunks(x, weight)[0] / targets.size


def relu_squared(x: mx.array) -> mx.array:
    """Compute mx.square(nn.relu(x)), with the gradient 2 relu(x), which needs no mask."""
    return _relu_squared(x)


@mx.custom_function
def _relu_squared(x: mx.array) -> mx.array:
    return mx.square(nn.relu(x))


@_relu_squared.vjp
def _relu_squared_vjp(x: mx.array, gradient: mx.array, _: mx.array) -> mx.array:
    return (x + mx.abs(x)) * gradient  # 2 relu(x) without the forward pass's relu, which would be kept for it


def soft_cap(logits: mx.array, limit: float) -> mx.array:
    """Compute limit * mx.tanh(logits / limit), which lies within +-limit, in float32. The gradient reuses the tanh."""
    if isinstance(limit, mx.array):
        raise TypeError("soft_cap: limit must be a number; for a learned limit write limit * mx.tanh(logits / limit)")

    @mx.custom_function
    def capped(logits: mx.array) -> mx.array:
        # A cast outside would be stored for this function. A GPU multiplies faster than it divides.
        return limit * _tanh(logits.astype(mx.float32) * (1 / limit))

    @capped.vjp
    def capped_vjp(logits: mx.array, gradient: mx.array, output: mx.array) -> mx.array:
        return (gradient * (1 - mx.square(output * (1 / limit)))).astype(logits.dtype)

    return capped(logits)


def attention(q: mx.array, k: mx.array, v: mx.array, mask: str | mx.array) -> mx.array:
    """Compute softmax(q k^T / sqrt(D)) v over what `mask` lets see: q (B, H, n, D), k and v (B, H_kv, m, D).

    `mask` is (n, m) of bool, or "causal", where the last of the n positions is the last of the m. Where a GPU has a
    fused kernel this is mx.fast.scaled_dot_product_attention. Raises ValueError where H is not a multiple of H_kv.
    """
    (B, H, n, D), (_, H_kv, m, _) = q.shape, k.shape
    if H % H_kv:
        raise ValueError(f"attention of n_heads {H} for n_kv_heads {H_kv}, which do not divide them")
    if has_fused_attention(q):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=D**-0.5, mask=mask)
    if isinstance(mask, str):
        mask = mx.arange(m - n, m)[:, None] >= mx.arange(m)
    bias = mx.where(mask, 0.0, -math.inf).astype(q.dtype)
    # The heads that share keys and values become rows of one product.
    q, bias = q.reshape(B, H_kv, -1, D), mx.concatenate([bias] * (H // H_kv))
    return _weighted(q, k, v, bias)[0].reshape(B, H, n, -1)


@mx.custom_function
def _weighted(q: mx.array, k: mx.array, v: mx.array, bias: mx.array) -> tuple[mx.array, mx.array]:
    """Return the sums of values and their weights, softmax(q k^T / sqrt(D) + bias)."""
    weights = _softmax(mx.addmm(bias, q, k.swapaxes(-1, -2), alpha=q.shape[-1] ** -0.5))
    return weights @ v, weights


@_weighted.vjp
def _weighted_vjp(primals: Any, gradients: Any, outputs: Any) -> tuple[mx.array, ...]:
    (q, k, v, bias), gradient, (output, weights) = primals, gradients[0], outputs
    scaled = q.shape[-1] ** -0.5 * gradient
    mean = (scaled * output).sum(axis=-1, keepdims=True)  # that of dw by the weights, in fewer passes over T x T
    dw = scaled @ v.swapaxes(-1, -2)
    ds = weights * (dw - mean)
    return ds @ k, ds.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ gradient, mx.zeros_like(bias)


def _pow_is_faster() -> bool:
    return POW_FOR_EXP and mx.default_device() == mx.cpu


@mx.custom_function
def _exp(x: mx.array) -> mx.array:
    return mx.power(math.e, x) if _pow_is_faster() else mx.exp(x)


@_exp.vjp
def _exp_vjp(_: mx.array, gradient: mx.array, output: mx.array) -> mx.array:
    return gradient * output


def _tanh(x: mx.array) -> mx.array:
    return 1 - 2 / (mx.power(math.e, 2 * x) + 1) if _pow_is_faster() else mx.tanh(x)


def _softmax(x: mx.array) -> mx.array:
    if not _pow_is_faster():
        return mx.softmax(x, axis=-1, precise=True)
    powers = mx.power(math.e, x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def has_fused_attention(q: mx.array) -> bool:
    """Return whether causal attention over the whole context of q (B, H, T, D) never builds T x T scores here.

    Metal fuses it in any type, CUDA in 16-bit types only, both for some head dimensions D. A CPU does not.
    """
    if mx.default_device() != mx.gpu:
        return False
    D = q.shape[-1]
    return D in METAL_HEADS if mx.metal.is_available() else q.dtype != mx.float32 and D <= CUDA_HEAD and D % 8 == 0


def attend_in_blocks(
    attend: Callable[..., mx.array], q: mx.array, k: mx.array, v: mx.array, window: int, size: int
) -> mx.array:
    """Compute attend(q, k, v, window) of `size` queries at a time, one block after another.

    q is (B, H, T, D), k and v are (B, H_kv, T, D). `attend` gets n queries and the m keys and values that they see: the
    last n of them stand at the queries' own positions. It must compute with no other learned array. Where the scores of
    all blocks are more than CPU_SCORES or GPU_SCORES bytes, the backward pass computes them again, so that those of
    one block exist at a time and memory is linear in T.
    """
    _require_explicit_arrays("attend_in_blocks", attend)
    B, H, T, _ = q.shape
    spans = [(slice(s, min(T, s + size)), slice(max(0, s - window), min(T, s + size))) for s in range(0, T, size)]
    scores = B * H * q.dtype.size * sum((i.stop - i.start) * (j.stop - j.start) for i, j in spans)

    def in_order(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        blocks: list[mx.array] = []
        seen = _beginnings(k, spans), _beginnings(v, spans)
        for (queries, keys), k, v in zip(spans, *seen, strict=True):
            block = mx.depends(q[:, :, queries], blocks[-1:])
            blocks.append(attend(block, k[:, :, keys], v[:, :, keys], window))
        return mx.concatenate(blocks, axis=2)

    if scores <= (GPU_SCORES if mx.default_device() == mx.gpu else CPU_SCORES):
        return in_order(q, k, v)
    in_blocks = mx.custom_function(in_order)

    @in_blocks.vjp
    def in_blocks_vjp(primals: Any, gradient: mx.array, _: mx.array) -> tuple[mx.array, ...]:
        q, k, v = primals
        dq: list[mx.array] = []
        dk, dv = k[:, :, :0], v[:, :, :0]
        for queries, keys in spans:
            block = mx.depends(q[:, :, queries], [*dq[-1:], dk, dv])
            inputs = [block, k[:, :, keys], v[:, :, keys]]
            _, grads = mx.vjp(functools.partial(attend, window=window), inputs, [gradient[:, :, queries]])
            dq.append(grads[0])
            dk, dv = _add_from(keys.start, dk, grads[1]), _add_from(keys.start, dv, grads[2])
        return mx.concatenate(dq, axis=2), dk, dv

    return in_blocks(q, k, v)


def _beginnings(x: mx.array, spans: Sequence[tuple[slice, slice]]) -> list[mx.array]:
    """Return x (B, H, T, D) up to the end of each span, each cut from the next, so that gradients are copied least."""
    found = [x]
    for queries, _ in reversed(spans[1:]):
        found.append(mx.split(found[-1], [queries.start], axis=2)[0])
    return found[::-1]


def _require_explicit_arrays(caller: str, function: Callable[..., Any]) -> None:
    """Raise TypeError where `function` holds arrays that are not its arguments: these would get no gradient."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    bound = [getattr(function, "__self__", None)]
    partial = [*function.args, *function.keywords.values()] if isinstance(function, functools.partial) else []
    if any(isinstance(value, mx.array | nn.Module) for value in [*cells, *bound, *partial]):
        raise TypeError(
            f"prepare.{caller}: its function must take every array as an argument, since others get no gradient. Where"
            " it needs more arrays, compute without chunks, e.g. prepare.cross_entropy(logits, targets)"
        )


def _add_from(start: int, x: mx.array, y: mx.array) -> mx.array:
    """Add x and y (B, H, m, D), where y begins at x's position `start` and extends beyond its end."""
    both = x.shape[2] - start
    return mx.concatenate([x[:, :, :start], x[:, :, start:] + y[:, :, :both], y[:, :, both:]], axis=2)


def even_streams(parts: int) -> int:
    """Return the largest number of streams that get the same number of parts each: 6 parts, 4 streams -> 3."""
    return max(n for n in range(1, len(streams()) + 1) if parts % n == 0)


def parallel(function: Callable[[Part], Returned], parts: Iterable[Part]) -> list[Returned]:
    """Return [function(part) for part in parts], computed by MLX on all streams (CPU cores) at the same time.

    The parts are dealt to the streams in turn; within a stream, operations run one after another.
    """
    results = []
    for part, stream in zip(parts, itertools.cycle(streams()), strict=False):
        with mx.stream(stream):
            results.append(function(part))
    return results


@functools.cache
def streams() -> tuple[mx.Stream, ...]:
    """Return one stream on a GPU; on a CPU, which runs a stream on one core, one for each of AUTORESEARCH_CORES."""
    device = mx.default_device()
    cores = 1 if device == mx.gpu else int(os.environ.get("AUTORESEARCH_CORES", 1))
    return mx.default_stream(device), *(mx.new_stream(device) for _ in range(cores - 1))
