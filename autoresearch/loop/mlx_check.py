"""Check that MLX runs on this machine, on its GPU, and multiplies matrices correctly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch import jsonable
from autoresearch.formats import GIB
from autoresearch.loop.checkup import FINE, PROBLEM, REINSTALL, Check, Host
from autoresearch.system import chips, process

NO_DEVICE = "No Metal device available"  # MLX's words where the system hides the GPU
NO_METAL = "Metal is not available, as in a virtual machine, in a coding agent's sandbox or in some ssh sessions"
WRONG = "products of matrices come out wrong, and nothing that it trains can be trusted"

# Sums of -1, 0 and 1, which both types hold exactly. A GPU's kernels for large matrices are others than for small ones.
PROBE = """\
import json, mlx.core as mx, numpy as np
metal = mx.metal.is_available()
limit = mx.device_info().get("max_recommended_working_set_size", 0) if metal else 0
n = 2048 if mx.default_device() == mx.gpu else 64
a = np.random.default_rng(0).integers(-1, 2, (n, n)).astype(np.float32)
x = mx.array(a)
products = [np.array((y @ y).astype(mx.float32)) for y in (x, x.astype(mx.bfloat16))]
right = all(np.array_equal(product, a @ a) for product in products)
print(json.dumps({"version": mx.__version__, "right": right, "metal": metal, "limit": limit}))
"""


@dataclass(frozen=True)
class MlxFound:
    """What PROBE prints."""

    version: str
    right: bool
    metal: bool
    limit: int  # bytes that the GPU should hold at the most


def check_mlx(host: Host) -> Iterator[Check]:
    """Run MLX in a process of its own, since this one holds no Metal memory."""
    newer = chips.newer_macos(host.facts)
    mend = f"update to {newer} or later: MLX's package uses its matrix units on this chip" if newer else REINSTALL
    done = process.run([host.python, "-P", "-c", PROBE], timeout=120, check=False)
    try:
        said = jsonable.from_json(MlxFound, done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if NO_DEVICE in last:
            yield Check("mlx", PROBLEM, NO_METAL, "start it from a terminal of the Mac itself, outside any sandbox")
        else:
            yield Check("mlx", PROBLEM, f"it does not run here (exit code {done.returncode}): {last}", mend)
        return
    if not said.right:
        yield Check("mlx", PROBLEM, WRONG, mend)
    elif host.mac and not said.metal:
        yield Check("mlx", PROBLEM, "Metal is not available: this MLX was built without it", REINSTALL)
    elif newer:
        yield Check("mlx", PROBLEM, f"{said.version} needs {newer} on this chip, found {host.facts.os}", mend)
    else:
        limit = f", {said.limit / GIB:.1f} GB for the GPU" if said.metal else ""
        yield Check("mlx", FINE, f"{said.version} on {'Metal' if said.metal else 'the CPU'}{limit}")
