"""Time one step, in a child process of its own: a case names the step, its size, constants and environment.

`python -m benchmarks.trainer.cases JSON` measures the case here and prints one JSON line.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoresearch.errors import CommandError
from autoresearch.system import process
from testbed.toy import ROOT

LEAST_S = 5.0  # a case is not begun with less time
AFTER_S = 10.0  # for a command before a case to take effect, as a display that goes dark


@dataclass(frozen=True)
class StepCase:
    """Step to time. A value of None in `env` removes the variable."""

    what: str
    T: int
    V: int
    tokens: int  # of a step
    constants: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str | None] = field(default_factory=dict)
    before: tuple[str, ...] = ()  # a command to run first
    kind: str = "step"  # one of KINDS
    seconds: float = 1.0  # to repeat the step for


class CaseTimer:
    """The rows of a run. Each case is timed in a child of its own and printed, as long as there is time."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self.rows: list[dict[str, Any]] = []

    @property
    def left_s(self) -> float:
        return self.ends - time.monotonic()

    def measure(self, case: StepCase) -> dict[str, Any]:
        """Time the case and keep its row. What fails, or finds no time, is a row too, with the reason."""
        found = row(case, self.left_s) if self.left_s > LEAST_S else {"what": case.what, "failed": "no time was left"}
        self.rows.append(found)
        print(json.dumps(found), file=sys.stderr, flush=True)
        return found

    @property
    def failed(self) -> bool:
        return any("failed" in found for found in self.rows)


def row(case: StepCase, timeout: float) -> dict[str, Any]:
    """Run the case in a child of its own; a failure is a row too, with the last line of its errors."""
    if case.before:
        process.run(case.before)
        time.sleep(AFTER_S)
    env = {name: value for name, value in {**os.environ, **case.env}.items() if value is not None}
    argv = [sys.executable, "-m", "benchmarks.trainer.cases", json.dumps(asdict(case))]
    try:
        done = process.run(argv, cwd=ROOT, env=env, timeout=timeout, check=False)
    except CommandError:
        return {"what": case.what, "failed": f"not done after {timeout:.0f} s"}
    if done.returncode:
        return {"what": case.what, "failed": (done.stderr.strip() or "no message").splitlines()[-1][:200]}
    return {"what": case.what, **json.loads(done.stdout.splitlines()[-1])}


# --- the child --------------------------------------------------------------------------------------------------------


def ours(case: StepCase) -> dict[str, Any]:
    """Train as train() does: the next step's graph is built while the last one runs, and one is in flight."""
    from benchmarks.timing import fused_kernels, toy_task, trainer, training_step

    train_mlx, task = trainer(**case.constants), toy_task(case.T, case.V)
    model = train_mlx.build_model(task)
    dtype, flops = str(model.config.dtype).removeprefix("mlx.core."), model.flops_per_token()
    step = training_step(train_mlx, task)
    found = looped(case, step, in_flight=True)
    found |= {"tflops": flops * found["tok_s"] / 1e12, "fused_kernels": fused_kernels(step())}
    return {"type": dtype, **found}


def plain(case: StepCase) -> dict[str, Any]:
    from benchmarks.timing import random_batch, toy_task, trainer
    from benchmarks.trainer.plain import plain_step

    train_mlx, task = trainer(**case.constants), toy_task(case.T, case.V)
    batch = random_batch(task, case.tokens // case.T)
    return looped(case, plain_step(train_mlx, train_mlx.build_model(task), [batch]))


def attention(case: StepCase) -> dict[str, Any]:
    """Time attention alone, forward and backward, in the trainer's own way."""
    import mlx.core as mx

    from benchmarks.timing import trainer

    train_mlx = trainer(**case.constants)
    dtype = getattr(mx, case.constants["COMPUTE_DTYPE"])
    shape = (case.tokens // case.T, 2, case.T, case.constants["HEAD_DIM"])
    q, k, v = (mx.random.normal(shape, key=mx.random.key(i)).astype(dtype) for i in range(3))
    gradients = mx.grad(lambda q, k, v: train_mlx.attend(q, k, v, case.T).astype(mx.float32).sum(), argnums=(0, 1, 2))
    mx.eval(q, k, v)
    return looped(case, lambda: gradients(q, k, v))


def layers(case: StepCase) -> dict[str, Any]:
    """Compile and time the layers' forward and backward pass alone."""
    import mlx.core as mx
    import mlx.nn as nn

    from benchmarks.timing import random_batch, toy_task, trainer

    train_mlx, task = trainer(**case.constants), toy_task(case.T, case.V)
    model, (x, _) = train_mlx.build_model(task), random_batch(task, train_mlx.batch_shape(case.T)[0])
    through = nn.value_and_grad(model, lambda x: model.features(x).astype(mx.float32).sum())
    both = mx.compile(through, inputs=[model.state], outputs=[model.state])
    return looped(case, lambda: both(x))


def head(case: StepCase) -> dict[str, Any]:
    """Compile and time the head and its loss alone, forward and backward."""
    import mlx.core as mx

    import prepare
    from benchmarks.timing import random_batch, toy_task, trainer

    train_mlx, task = trainer(**case.constants), toy_task(case.T, case.V)
    model, (x, y) = train_mlx.build_model(task), random_batch(task, train_mlx.batch_shape(case.T)[0])
    features, weight = model.features(x), model.lm_head.weight
    mx.eval(features, weight)

    def loss(features: mx.array, weight: mx.array) -> mx.array:
        return prepare.chunked_cross_entropy(train_mlx.head, features, weight, y, train_mlx.LOSS_CHUNK)

    both = mx.compile(mx.value_and_grad(loss, argnums=(0, 1)))
    return looped(case, lambda: both(features, weight))


def optimizer(case: StepCase) -> dict[str, Any]:
    """Compile and time the optimizer alone."""
    import mlx.core as mx

    from benchmarks.timing import toy_task, trainer

    train_mlx, task = trainer(**case.constants), toy_task(case.T, case.V)
    model = train_mlx.build_model(task)
    optimizer, grads = train_mlx.MuonAdamW(model), model.trainable_parameters()
    state = [model.state, optimizer.state]
    update = mx.compile(lambda g, hyper: optimizer.update(model, g, hyper), inputs=state, outputs=state)

    def step() -> Any:
        update(grads, train_mlx.hyperparameters(0.0, 0))
        return state

    return looped(case, step)


def parity(case: StepCase) -> dict[str, Any]:
    """Compare loss and gradients with the plain port's: the largest ||ours - plain|| / ||plain|| of a parameter."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten, tree_map

    from benchmarks.timing import random_batch, toy_task, trainer
    from benchmarks.trainer.plain import plain_loss

    train_mlx, task = trainer(**case.constants), toy_task(case.T, case.V)
    model = train_mlx.build_model(task)
    moved = tree_map(lambda p: p + 0.02 * mx.random.normal(p.shape), model.parameters())  # zeros would hide gradients
    model.update(moved)
    x, y = random_batch(task, max(1, case.tokens // case.T))
    loss, ours = nn.value_and_grad(model, model.loss)(x, y)
    plain, theirs = nn.value_and_grad(model, lambda x, y: plain_loss(model, x, y))(x, y)
    pairs = zip(tree_flatten(ours), tree_flatten(theirs), strict=True)
    apart = {path: float(mx.linalg.norm(a - b) / mx.linalg.norm(b)) for (path, a), (_, b) in pairs}
    worst = max(apart, key=lambda path: apart[path])
    return {"loss_apart": abs(loss.item() - plain.item()), "gradient_apart": apart[worst], "parameter": worst}


def looped(case: StepCase, step: Callable[[], Any], in_flight: bool = False) -> dict[str, Any]:
    """Repeat a step for the case's seconds; its cost is the median. The first call, which compiles, stands apart.

    With `in_flight` the next step's graph is built while one runs, as train() does; the step's first array is its loss.
    """
    import mlx.core as mx

    start, compiled = time.perf_counter(), kernel_files()
    mx.eval(step())
    first_s, compiled = time.perf_counter() - start, kernel_files() - compiled
    mx.eval(step())
    mx.reset_peak_memory()
    took: list[float] = []
    loss: Any = None
    began = before = time.perf_counter()
    while before - began < case.seconds or len(took) < 2:
        arrays = step()
        if in_flight:
            mx.eval(loss)
            loss = arrays[0]
        (mx.async_eval if in_flight else mx.eval)(arrays)
        took.append(time.perf_counter() - before)
        before += took[-1]
    mx.eval(loss)
    step_s = statistics.median(took[1:])  # the first wait is not for a whole step
    return {
        "tok_s": case.tokens / step_s,
        "step_ms": 1000 * step_s,
        "peak_mib": mx.get_peak_memory() / 2**20,
        "first_s": first_s,
        "new_kernels": compiled,
    }


def kernel_files() -> int:
    """Count the kernels in the caches that MLX keeps on disk: CUDA's, or those that g++ compiled."""
    folders = [os.environ.get("MLX_PTX_CACHE_DIR"), f"{os.environ.get('TMPDIR', '/tmp')}/mlx"]
    return sum(len([*Path(f).rglob(f"*.{end}")]) for f in folders if f for end in ("ptx", "cubin", "so"))


KINDS: dict[str, Callable[[StepCase], dict[str, Any]]] = {
    "step": ours,
    "plain": plain,
    "attention": attention,
    "layers": layers,
    "head": head,
    "parity": parity,
    "optimizer": optimizer,
}

if __name__ == "__main__":
    here = StepCase(**json.loads(sys.argv[1]))
    print(json.dumps(KINDS[here.kind](here)))
