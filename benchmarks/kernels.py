"""Compare what MLX computes on this machine's GPU with plain float32 on its CPU, and tell how it fails and ends.

`python -m benchmarks.kernels` prints a line a fact, which mac.py puts into its block. Errors are ||a - b|| / ||b||.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution

import mlx.core as mx
import numpy as np
import psutil

import prepare
from autoresearch.errors import CommandError
from autoresearch.failures import classify
from autoresearch.records import Failure
from autoresearch.system import family, process
from testbed.toy import ROOT

LARGEST = {mx.float32: 2e-3, mx.bfloat16: 2e-2}  # of an error; an M5 multiplies float32 with ten bits
WIDTHS, HEADS, KV_HEADS = (64, 128), 4, 2
TIMEOUT_S = 120.0


def apart(found: mx.array, plain: mx.array) -> float:
    """Return ||found - plain|| / ||plain||, in float64."""
    a, b = (np.array(x.astype(mx.float32)).astype(np.float64) for x in (found, plain))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def told(what: str, errors: Sequence[float], dtype: mx.Dtype) -> str:
    """Return "attention, bfloat16, D 64: 0.0031", the largest error, with a mark where it is too large."""
    worst = max(errors, key=lambda error: math.inf if math.isnan(error) else error)
    name, limit = str(dtype).removeprefix("mlx.core."), LARGEST[dtype]
    return f"{what}, {name}: {worst:.2g}" + ("" if worst < limit else f" - WRONG, wanted below {limit:g}")


def plain_attention(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """Compute causal attention of q (B, H, T, D), k and v (B, H_kv, T, D) in the most direct way."""
    H, T, D = q.shape[1:]
    k, v = (mx.repeat(x, H // x.shape[1], axis=1) for x in (k, v))
    hidden = mx.arange(T)[:, None] < mx.arange(T)
    scores = mx.where(hidden, -math.inf, (q * D**-0.5) @ k.swapaxes(-1, -2))
    return mx.softmax(scores, axis=-1) @ v


def attention(T: int, attend: Callable[..., mx.array] = prepare.attention) -> Iterator[str]:
    """Compare outputs and gradients of causal attention, whose heads share keys."""
    for D in WIDTHS:
        for dtype in LARGEST:
            shapes = [(1, heads, T, D) for heads in (HEADS, KV_HEADS, KV_HEADS, HEADS)]
            *inputs, weights = (
                mx.random.normal(shape, key=mx.random.key(i)).astype(dtype).astype(mx.float32)
                for i, shape in enumerate(shapes)
            )
            with mx.stream(mx.cpu):
                plain = mx.vjp(lambda q, k, v: [plain_attention(q, k, v)], inputs, [weights])
                mx.eval(plain)
            inputs, weights = [x.astype(dtype) for x in inputs], weights.astype(dtype)
            found = mx.vjp(lambda q, k, v: [attend(q, k, v, "causal")], inputs, [weights])
            pairs = zip([*found[0], *found[1]], [*plain[0], *plain[1]], strict=True)
            yield told(f"attention and its gradients, D {D}", [apart(a, b) for a, b in pairs], dtype)


def rotation(T: int) -> Iterator[str]:
    """Compare the rotary embedding at the last positions of twice the context with float64; MLX takes fast sines."""
    x, positions = mx.random.normal((1, 1, 2 * T, 128), key=mx.random.key(0)), np.arange(2 * T)
    angle = positions[:, None] * 10000.0 ** (-np.arange(64) / 64)
    first, second = np.split(np.array(x).astype(np.float64), 2, axis=-1)
    cos, sin = np.cos(angle), np.sin(angle)
    plain = np.concatenate([first * cos + second * sin, second * cos - first * sin], axis=-1)
    found = np.array(mx.fast.rope(x, 128, traditional=False, base=10000.0, scale=-1.0, offset=0))
    error = np.abs(found - plain)[:, :, -64:].max()
    yield f"rotation of position {2 * T - 1}: a value is off by {error:.2g}" + ("" if error < 0.05 else " - WRONG")


def loss(T: int) -> Iterator[str]:
    """Compare the loss with a soft cap, and its gradient."""
    rows, targets = 6 * mx.random.normal((T, 8192), key=mx.random.key(0)), mx.arange(T) * 7 % 8192

    def plain_loss(x: mx.array) -> mx.array:
        capped = 15 * mx.tanh(x / 15)
        return (mx.logsumexp(capped, axis=-1) - mx.take_along_axis(capped, targets[:, None], axis=-1)[:, 0]).sum()

    def ours(x: mx.array) -> mx.array:
        return prepare.cross_entropy(prepare.soft_cap(x, 15.0), targets, "none").sum()

    with mx.stream(mx.cpu):
        plain = mx.value_and_grad(plain_loss)(rows)
        mx.eval(plain)
    found = mx.compile(mx.value_and_grad(ours))(rows)
    yield told("loss and its gradient", [apart(a, b) for a, b in zip(found, plain, strict=True)], mx.float32)


def embedding(T: int) -> Iterator[str]:
    """Compare the gradient of a table's lookup, and say how far it varies from one call to the next."""
    index = mx.random.randint(0, 64, (8 * T,), key=mx.random.key(0))  # frequent tokens, whose sums are long
    table, weights = mx.zeros((8192, 256)), mx.random.normal((8 * T, 256), key=mx.random.key(1))
    plain = np.zeros((8192, 256))
    np.add.at(plain, np.array(index), np.array(weights).astype(np.float64))
    gradient = mx.grad(lambda table: (table[index] * weights).sum())
    first, again = gradient(table), gradient(table)
    yield told("gradient of a lookup", [apart(first, mx.array(plain.astype(np.float32)))], mx.float32)
    yield f"the same gradient a second time: {apart(again, first):.2g} apart"


def product(T: int) -> Iterator[str]:
    """Compare the product of a weight's gradient, whose inner dimension is long."""
    for dtype in LARGEST:
        shapes = (2048, 12 * T), (12 * T, 2048 if T >= 1024 else 64)
        a, b = (mx.random.normal(s, key=mx.random.key(i)).astype(dtype) for i, s in enumerate(shapes))
        plain = np.array(a.astype(mx.float32)) @ np.array(b.astype(mx.float32))
        yield told(f"product {shapes[0]} x {shapes[1]}", [apart(a @ b, mx.array(plain))], dtype)


def memory(T: int) -> Iterator[str]:
    """Tell how much of the GPU's memory the two readings of a process show."""
    before, size = family.held_bytes(os.getpid()), T * 2**20
    resident = psutil.Process().memory_info().rss
    held = mx.ones((size // 4,))
    mx.eval(held)
    found, rss = family.held_bytes(os.getpid()) - before, psutil.Process().memory_info().rss - resident
    yield f"of {size >> 20} MiB that MLX holds, the loop sees {found >> 20}, and {rss >> 20} are resident"


def refusal(T: int) -> Iterator[str]:
    """Ask Metal for a larger buffer than it allows, and tell what is raised. On a CPU that would end the process."""
    if not mx.metal.is_available():
        yield "a refused allocation: only on Metal can it be caught"
        return
    most = int(mx.device_info()["max_buffer_length"])
    try:
        mx.eval(mx.zeros((most // 2**20 + 64, 2**20), dtype=mx.uint8))
    except (RuntimeError, ValueError, MemoryError) as error:
        kind = classify(Failure("train", f"{type(error).__name__}: {error}")).kind
        yield f"a refused allocation is {kind}: {type(error).__name__}: {error}"
    else:
        yield f"an allocation of over {most} bytes is not refused"


def package(T: int) -> Iterator[str]:
    """Tell which of MLX's packages is installed, of which that for macOS 26 alone uses an M5's matrix units."""
    try:
        tags = distribution("mlx-metal").read_text("WHEEL") or ""
    except PackageNotFoundError:
        tags = ""
    tag = next((line for line in tags.splitlines() if line.startswith("Tag:")), "no package of Metal's")
    yield f"{tag}; {mx.device_info().get('architecture', 'a CPU')}"


FACTS: tuple[Callable[[int], Iterator[str]], ...] = (
    package,
    product,
    attention,
    rotation,
    loss,
    embedding,
    memory,
    refusal,
)


def facts(T: int) -> Iterator[str]:
    """Yield the lines of all facts for a context of T tokens; one that fails is a line too."""
    for fact in FACTS:
        try:
            yield from fact(T)
        except (RuntimeError, ValueError, MemoryError) as error:
            yield f"{fact.__name__}: WRONG, {type(error).__name__}: {error}"


def told_by_child(T: int) -> list[str]:
    """Return the lines of a process of its own, and a last one where it does not end well."""
    argv = [sys.executable, "-m", "benchmarks.kernels", str(T)]
    try:
        done = process.run(argv, cwd=ROOT, timeout=TIMEOUT_S, check=False)
    except CommandError as error:
        return [f"kernels: WRONG, {error}"]
    lines = done.stdout.splitlines()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        lines.append(f"kernels: WRONG, exit code {done.returncode}: {last}")
    return lines


if __name__ == "__main__":
    for line in facts(int(sys.argv[1])):
        print(line, flush=True)
