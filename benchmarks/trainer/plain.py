"""Compare the trainer's step with that of a plain port of the same model.

The plain port computes the same loss from the same parameters, which is checked here, as a first port is written: an
uncompiled step, evaluation after each micro-batch, additive T x T masks (cached), `** 2`, norms spelled out, and AdamW
as a Python loop over tensors. Its optimizer is the cheaper one, since it has no orthogonalization. Both steps compute
in float32 on equally many tokens and rows, and take turns. On a CPU each program gets the BLAS threads that suit it:
the plain port all cores for one product, the trainer one thread a stream.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

import prepare
from benchmarks.timing import TINY_CONSTANTS, arguments, measure, random_batch, report, toy_task, trainer

TOKENS = 4096  # a step
QUICK_TOKENS = 512


@cache
def additive_mask(T: int, window: int, dtype: mx.Dtype) -> mx.array:
    """Return a (T, T) mask: 0 for the `window` positions before and the own one, -inf elsewhere."""
    distance = mx.arange(T)[:, None] - mx.arange(T)
    return mx.where((distance >= 0) & (distance <= window), 0.0, float("-inf")).astype(dtype)


def rms_norm(x: mx.array) -> mx.array:
    return x * mx.rsqrt(mx.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def plain_features(model: Any, idx: mx.array) -> mx.array:
    """Compute the head's input from the trainer's parameters by a plain forward pass: (B, T) -> (B, T, C)."""
    p = {path: a.astype(model.config.dtype) for path, a in tree_flatten(model.parameters())}
    B, T = idx.shape
    D = model.config.n_embd // model.config.n_head
    x = p["wte.weight"][idx]
    if "bigrams.weight" in p:
        pairs = (36313 * mx.pad(idx[:, :-1], [(0, 0), (1, 0)]) + idx) % len(p["bigrams.weight"])
        x = x + p["bigrams.weight"][pairs]
    x = x0 = rms_norm(x)
    for i, window in enumerate(model.config.windows):
        x = p["resid_lambdas"][i] * x + p["x0_lambdas"][i] * x0
        y = rms_norm(x)
        q, k, v = ((y @ p[f"h.{i}.attn.{name}.weight"].T).reshape(B, T, -1, D) for name in ("c_q", "c_k", "c_v"))
        if model.config.has_value_embed(i):
            gate = 2 * mx.sigmoid(y[..., :32] @ p[f"h.{i}.attn.ve_gate.weight"].T)
            v = v + gate[..., None] * p[f"value_embeds.l{i}.weight"][idx].reshape(B, T, -1, D)
        q, k, v = (a.transpose(0, 2, 1, 3) for a in (q, k, v))
        q, k = (mx.fast.rope(a, D, traditional=False, base=1e4, scale=-1.0, offset=0) for a in (q, k))
        q, k = (rms_norm(a) for a in (q, k))
        y = plain_attention(q, k, v, window)
        x = x + y.transpose(0, 2, 1, 3).reshape(B, T, -1) @ p[f"h.{i}.attn.c_proj.weight"].T
        y = rms_norm(x) @ p[f"h.{i}.mlp.c_fc.weight"].T
        x = x + mx.maximum(y, 0) ** 2 @ p[f"h.{i}.mlp.c_proj.weight"].T
    return rms_norm(x)


def plain_attention(q: mx.array, k: mx.array, v: mx.array, window: int) -> mx.array:
    mask = additive_mask(q.shape[2], window, q.dtype)
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)


def plain_logits(model: Any, idx: mx.array) -> mx.array:
    """Compute logits by a plain forward pass: (B, T) -> (B, T, V)."""
    x = plain_features(model, idx)
    logits = x @ model.lm_head.weight.astype(x.dtype).T
    return 15 * mx.tanh(logits.astype(mx.float32) / 15)


def plain_loss(model: Any, x: mx.array, y: mx.array) -> mx.array:
    logits = plain_logits(model, x)
    return nn.losses.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1), reduction="mean")


class PlainAdamW:
    """AdamW as a Python loop over tensors; `rule(path)` gives learning rate, betas and weight decay."""

    def __init__(self, rule: Callable[[str], tuple[float, tuple[float, float], float]]) -> None:
        self.rule, self.steps = rule, 0
        self.m: dict[str, mx.array] = {}
        self.v: dict[str, mx.array] = {}

    def update(self, model: Any, gradients: Any, lr_scale: float = 1.0) -> None:
        self.steps += 1
        params = dict(tree_flatten(model.parameters()))
        for path, g in tree_flatten(gradients):
            lr, (beta1, beta2), decay = self.rule(path)
            lr *= lr_scale
            self.m[path] = beta1 * self.m.get(path, mx.zeros_like(g)) + (1 - beta1) * g
            self.v[path] = beta2 * self.v.get(path, mx.zeros_like(g)) + (1 - beta2) * g**2
            m_hat, v_hat = self.m[path] / (1 - beta1**self.steps), self.v[path] / (1 - beta2**self.steps)
            params[path] = params[path] * (1 - lr * decay) - lr * m_hat / (mx.sqrt(v_hat) + 1e-10)
        model.update(tree_unflatten(list(params.items())))


def adamw_rule(train_mlx: ModuleType, model: Any) -> Callable[[str], tuple[float, tuple[float, float], float]]:
    """Return the baseline's AdamW groups, with the layers' matrices at Muon's learning rate and decay."""
    rules = train_mlx.MuonAdamW(model).adam
    matrices = (train_mlx.MATRIX_LR, train_mlx.ADAM_BETAS, train_mlx.WEIGHT_DECAY)
    return lambda path: (*rules[path], 0.0) if path in rules else matrices


def plain_step(train_mlx: ModuleType, model: Any, batches: list[tuple[mx.array, mx.array]]) -> Callable[[], Any]:
    loss_and_grad = nn.value_and_grad(model, plain_loss)
    optimizer = PlainAdamW(adamw_rule(train_mlx, model))

    def step() -> Any:
        blas_threads(len(prepare.streams()))
        total: dict[str, mx.array] = {}
        for x, y in batches:
            loss, gradients = loss_and_grad(model, x, y)
            mx.eval(loss, gradients)
            total = {path: total.get(path, 0) + g / len(batches) for path, g in tree_flatten(gradients)}
        optimizer.update(model, tree_unflatten(list(total.items())))
        return [model.state, optimizer.m, optimizer.v]

    return step


def our_step(train_mlx: ModuleType, model: Any, batches: list[tuple[mx.array, mx.array]]) -> Callable[[], Any]:
    optimizer = train_mlx.MuonAdamW(model)
    compiled = train_mlx.compiled_step(model, optimizer)

    def step() -> Any:
        blas_threads(1)
        return [compiled(batches, train_mlx.hyperparameters(0.0, 0)), model.state, optimizer.state]

    return step


def blas_threads(n: int) -> None:
    """Set the threads of the preloaded OpenBLAS, if there is one."""
    if library := os.environ.get("LD_PRELOAD"):
        ctypes.CDLL(library).openblas_set_num_threads(n)


def row(T: int, pattern: str, repeats: int, tokens: int) -> dict[str, Any]:
    task, batch = toy_task(seq_len=T), {"TOTAL_BATCH_SIZE": tokens}
    train_mlx = trainer(**{**TINY_CONSTANTS, **batch, "WINDOW_PATTERN": pattern, "COMPUTE_DTYPE": "float32"})
    rows, micro_batches = train_mlx.batch_shape(T)
    batches, whole = [random_batch(task, rows)] * micro_batches, random_batch(task, tokens // T)
    check_same_loss(train_mlx.build_model(task), whole)
    found = measure(
        {
            "plain": lambda: plain_step(train_mlx, train_mlx.build_model(task), [whole]),
            "ours": lambda: our_step(train_mlx, train_mlx.build_model(task), batches),
        },
        repeats,
    )
    plain, ours = found["plain"], found["ours"]
    return {
        "T": T,
        "pattern": pattern,
        "plain_tok_s": tokens / plain["s"],
        "ours_tok_s": tokens / ours["s"],
        "speedup": plain["s"] / ours["s"],
        "processor_ratio": plain["cpu_s"] / ours["cpu_s"],
        "plain_mib": plain["peak_mib"],
        "ours_mib": ours["peak_mib"],
        "memory_share": ours["peak_mib"] / plain["peak_mib"],
    }


def check_same_loss(model: Any, batch: tuple[mx.array, mx.array]) -> None:
    """Raise ValueError when the plain and the trainer's forward pass differ by more than 1e-5 nats a token."""
    x, y = batch
    plain, ours = plain_loss(model, x, y).item(), prepare.cross_entropy(model(x), y).item()
    if abs(plain - ours) > 1e-5:
        raise ValueError(f"the two forward passes differ: {plain:.6f} and {ours:.6f} nats a token")


def main(argv: Sequence[str]) -> int:
    args = arguments("trainer plain", __doc__).parse_args(argv)
    cases = [(256, "L")] if args.quick else [(256, "L"), (512, "L"), (1024, "L"), (1024, "SSSL"), (2048, "L")]
    repeats, tokens = (1, QUICK_TOKENS) if args.quick else (10, TOKENS)
    return report([row(T, pattern, repeats, tokens) for T, pattern in cases], args)
