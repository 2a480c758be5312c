"""Measure what this machine can do at best: matrix products by type, memory bandwidth, the compiler.

MLX runs in a child of its own (`python -m autoresearch.tasks.gpt.roofline`): the loop holds no Metal memory, so only
the child's functions import mlx.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch.jsonable import from_json, to_json
from autoresearch.system import chips, machine, process
from autoresearch.system.limits import environment

ROOT = Path(__file__).resolve().parents[3]
TYPES = ("float32", "bfloat16", "float16")
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Roofline:
    """The machine's best speeds, as MLX reaches them."""

    device: str  # "gpu" or "cpu"
    tflops: Mapping[str, float]  # of square products, by type
    bandwidth_gb_s: float  # read and written by an element-wise kernel over more than the caches hold
    compile_s: float | None = None  # of one new fused kernel; None where steps are not compiled

    def table(self, facts: machine.Facts) -> str:
        """Format one number a line, with its share of the chip's published figure where there is one."""
        rows = [
            (f"product, {name}", f"{v:.3g} TFLOP/s", v, chips.peak_tflops(facts, name))
            for name, v in self.tflops.items()
        ]
        rows += [("memory", f"{self.bandwidth_gb_s:.3g} GB/s", self.bandwidth_gb_s, chips.bandwidth_gb_s(facts))]
        lines = [f"  {what:<18}{text:>16}{_share(value, tabled)}" for what, text, value, tabled in rows]
        kernel = "steps are not compiled here" if self.compile_s is None else f"{self.compile_s:.3g} s"
        return "\n".join([*lines, f"  {'a new kernel':<18}{kernel:>16}"])


def _share(value: float, tabled: float | None) -> str:
    return f"   {value / tabled:.0%} of the chip's {tabled:.3g}" if tabled else ""


def measure(env: Mapping[str, str]) -> Roofline:
    """Measure for some three seconds, with the environment that children get. Raises CommandError."""
    with tempfile.TemporaryDirectory() as folder:  # a kernel cache of its own: the compiler has something to do
        (Path(folder) / "tmp").mkdir()
        whole = environment(Path(folder), {**env, "PYTHONPATH": str(ROOT)})
        done = process.run(
            [sys.executable, "-m", "autoresearch.tasks.gpt.roofline"], cwd=ROOT, env=whole, timeout=TIMEOUT_S
        )
    return from_json(Roofline, done.stdout.splitlines()[-1])


# --- the child --------------------------------------------------------------------------------------------------------


def _child() -> Roofline:
    import mlx.core as mx

    prepare = importlib.import_module("prepare")  # the harness, which is not part of this package
    device = "gpu" if mx.default_device() == mx.gpu else "cpu"
    types = TYPES if device == "gpu" else TYPES[:1]  # a CPU of Linux has fast products in float32 alone
    tflops = {name: prepare.matmul_tflops(getattr(mx, name)) for name in types}
    bandwidth_gb_s = _bandwidth_gb_s(mx, prepare.streams(), 2**26 if device == "gpu" else 2**24)
    return Roofline(device, tflops, bandwidth_gb_s, _compile_s(mx))


def _bandwidth_gb_s(mx: Any, places: Sequence[Any], size: int) -> float:
    a = mx.ones((size,))
    seconds = min(_seconds(lambda: mx.eval([mx.add(a, 1.0, stream=place) for place in places])) for _ in range(10))
    return float(2 * a.nbytes * len(places) / seconds / 1e9)


def _compile_s(mx: Any) -> float | None:
    if os.environ.get("MLX_DISABLE_COMPILE"):
        return None
    new, x = time.time() % 1, mx.ones((256,))  # a constant that no kernel was compiled with before
    kernel = mx.compile(lambda x: mx.tanh(new * x) + x)
    mx.eval(x)
    first, again = (_seconds(lambda: mx.eval(kernel(x))) for _ in range(2))
    return max(0.0, first - again)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    print(to_json(_child()).decode())
