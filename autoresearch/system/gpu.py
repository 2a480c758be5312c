"""Ask MLX for the GPU that it computes on, where that is not part of an Apple chip: MLX's CUDA backend on Linux."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from autoresearch import jsonable
from autoresearch.errors import CommandError
from autoresearch.system import process

BACKENDS = ("mlx-cuda-13", "mlx-cuda-12", "mlx-cuda")  # the packages that hold it
# MLX stays out of this process: it would hold the GPU's memory for as long as the loop runs.
DEVICE_INFO = (
    sys.executable,
    "-c",
    "import json, mlx.core as mx; print(json.dumps(mx.device_info() if mx.default_device() == mx.gpu else {}))",
)
TIMEOUT_S = 60.0  # the first start of CUDA takes seconds


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU with memory of its own, e.g. Gpu("NVIDIA H100 80GB HBM3", 81559)."""

    name: str
    memory_mb: int


@dataclass(frozen=True, slots=True)
class _DeviceInfo:
    """What is read of the JSON that DEVICE_INFO prints."""

    device_name: str
    total_memory: int  # bytes


@cache
def find() -> Gpu | None:
    """Return the GPU that MLX computes on here; None on a Mac, whose chip holds it, and where MLX runs on a CPU."""
    if sys.platform == "darwin" or not any(map(_installed, BACKENDS)):
        return None
    return parse(_ask(DEVICE_INFO))


def parse(text: str) -> Gpu | None:
    """Read the output of DEVICE_INFO.

    >>> parse('{"device_name": "NVIDIA H100 80GB HBM3", "total_memory": 85520809984, "architecture": "sm_90"}')
    Gpu(name='NVIDIA H100 80GB HBM3', memory_mb=81559)
    """
    try:
        found = jsonable.from_json(_DeviceInfo, text)
    except jsonable.MalformedError:
        return None
    return Gpu(found.device_name, found.total_memory >> 20)


def _ask(argv: Sequence[str]) -> str:
    try:
        return process.run(argv, timeout=TIMEOUT_S).stdout
    except CommandError:
        return ""


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
