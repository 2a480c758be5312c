"""What does a training step cost: tokens a second, peak memory, operations, MFU?

    uv run benchmarks/step.py [--quick] [--json FILE]

By depth, width, context and type of the computation. Operations are the graph's nodes before and after `mx.compile`,
with Newton-Schulz over stacked and over single matrices. MFU is against a float32 product of 1024 x 1024, taken here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import patch

import mlx.core as mx
from common import TINY_CONSTANTS, arguments, measure, primitives, random_batch, report, toy_task, trainer

import prepare

TOKENS = 4096  # a step
CASES = [  # depth, channels, context
    (4, 128, 256),
    (2, 128, 256),
    (8, 128, 256),
    (4, 256, 256),
    (4, 128, 1024),
]


def stepper(train_mlx: ModuleType, model: Any, T: int) -> Callable[[], Any]:
    """A call that gives the arrays of one step: loss, parameters, optimizer state."""
    task, optimizer = toy_task(seq_len=T), train_mlx.MuonAdamW(model)
    rows, micro_batches = train_mlx.batch_shape(T)
    batches = [random_batch(task, rows)] * micro_batches
    step = train_mlx.compiled_step(model, optimizer)
    return lambda: [step(batches, train_mlx.hyperparameters(0.0, 0)), model.state, optimizer.state]


def operations(train_mlx: ModuleType, T: int) -> int:
    """Nodes of one step's graph, which is not evaluated."""
    model = train_mlx.build_model(toy_task(seq_len=T))
    call = stepper(train_mlx, model, T)
    mx.eval(model.state)
    return primitives(call())


def row(depth: int, channels: int, T: int, dtype: str, repeats: int) -> dict[str, Any]:
    constants = {**TINY_CONSTANTS, "DEPTH": depth, "ASPECT_RATIO": channels // depth, "COMPUTE_DTYPE": dtype}
    train_mlx = trainer(**constants)
    task = toy_task(seq_len=T)
    found = measure({"step": lambda: stepper(train_mlx, train_mlx.build_model(task), T)}, repeats)["step"]
    flops = train_mlx.build_model(task).flops_per_token()
    return {
        "depth": depth,
        "C": channels,
        "T": T,
        "type": str(train_mlx.build_model(task).config.dtype).removeprefix("mlx.core."),
        "tok_s": TOKENS / found["s"],
        "peak_mib": found["peak_mib"],
        "mfu_percent": 100 * flops * TOKENS / found["s"] / (prepare.matmul_tflops() * 1e12),
        **counts(constants, T),
    }


def counts(constants: dict[str, Any], T: int) -> dict[str, int]:
    """Operations of a step, for a GPU to start one by one: uncompiled or compiled, single matrices or stacked.

    The logits are cut as a GPU's are and there is one stream; attention in blocks is the CPU's own.
    """
    found, streams = {}, prepare.streams()
    with patch.multiple(prepare, CPU_LOGITS=prepare.GPU_LOGITS, streams=lambda: streams[:1]):
        for name, switch, stack in (
            ("ops_plain", mx.disable_compile, False),
            ("ops_compiled", mx.enable_compile, False),
            ("ops_stacked", mx.enable_compile, True),
        ):
            switch()
            found[name] = operations(trainer(**{**constants, "STACK_MATRICES": stack}), T)
    (mx.disable_compile if os.environ.get("MLX_DISABLE_COMPILE") else mx.enable_compile)()
    return found


def main() -> int:
    args = arguments(__doc__).parse_args()
    types = ["float32"] if mx.default_device() == mx.cpu else ["bfloat16", "float32"]
    cases = CASES[:2] if args.quick else CASES
    return report([row(*case, dtype, 3 if args.quick else 10) for case in cases for dtype in types], args)


if __name__ == "__main__":
    raise SystemExit(main())
