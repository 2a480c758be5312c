"""How does a training step's cost grow with depth, width, context, vocabulary and rows?

    uv run benchmarks/scaling.py [--quick] [--json FILE]

One number at a time away from the tiny profile's: seconds and peak memory of a step, and both as ratios to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common import TINY_CONSTANTS, arguments, measure, random_batch, report, toy_task, trainer

START = {"depth": 4, "C": 128, "T": 256, "V": 1024, "rows": 8}
SWEEPS = {"depth": (2, 8), "C": (64, 256), "T": (128, 512, 1024), "V": (512, 4096), "rows": (4, 16)}


def maker(depth: int, C: int, T: int, V: int, rows: int) -> Callable[[], Callable[[], Any]]:
    constants = {"DEPTH": depth, "ASPECT_RATIO": C // depth, "TOTAL_BATCH_SIZE": rows * T, "DEVICE_BATCH_SIZE": rows}
    task = toy_task(seq_len=T, vocab_size=V)
    train_mlx = trainer(**{**TINY_CONSTANTS, **constants})

    def make() -> Callable[[], Any]:
        model = train_mlx.build_model(task)
        optimizer = train_mlx.MuonAdamW(model)
        at_once, micro_batches = train_mlx.batch_shape(T)
        batches = [random_batch(task, at_once)] * micro_batches
        step = train_mlx.compiled_step(model, optimizer)
        return lambda: [step(batches, train_mlx.hyperparameters(0.0, 0)), model.state, optimizer.state]

    return make


def main() -> int:
    args = arguments(__doc__).parse_args()
    sweeps = {name: values[:1] for name, values in SWEEPS.items()} if args.quick else SWEEPS
    cases = [START, *({**START, name: value} for name, values in sweeps.items() for value in values)]
    makers = {str(i): maker(**case) for i, case in enumerate(cases)}
    found = list(measure(makers, 2 if args.quick else 7).values())
    rows = [
        {
            **case,
            "s": f["s"],
            "peak_mib": f["peak_mib"],
            "tok_s": case["rows"] * case["T"] / f["s"],
            "s_ratio": f["s"] / found[0]["s"],
            "memory_ratio": f["peak_mib"] / found[0]["peak_mib"],
        }
        for case, f in zip(cases, found, strict=True)
    ]
    return report(rows, args)


if __name__ == "__main__":
    raise SystemExit(main())
