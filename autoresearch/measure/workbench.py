"""Define what a measurement needs to know: Workbench, the same for a whole night, and RunSpec, one run on it."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

import psutil

from autoresearch.paths import DataFolder
from autoresearch.system import machine
from autoresearch.system.sandbox import Sandbox

FREE_DISK = 2**30  # bytes below which a run is stopped, and none is begun
PROBE_NATS = 1e-4, 1e-3  # the least and the most by which a probe may move the loss of a target
PROBE_FACTOR = 10.0  # times what the baseline shows on this machine


def probe_tolerance(shown: Sequence[float]) -> float:
    """Return by how much a probe may move a target's loss, in nats, where the baseline's runs show these changes.

    An honest model moves it only by rounding, mostly not at all. The most that is ever tolerated is a small part of
    0.005 bits per byte, which are worth 0.014 nats a token of four bytes.

    >>> probe_tolerance([0.0, 2e-5]), probe_tolerance([5e-4]), probe_tolerance([])
    (0.0002, 0.001, 0.001)
    """
    least, most = PROBE_NATS
    return min(most, max(least, PROBE_FACTOR * max(shown))) if shown else most


@dataclass(frozen=True)
class Workbench:
    """The harness, the data, the sandbox and the limits of a night's runs."""

    harness: tuple[Path, ...]  # the project's files that children may read, their program first
    data: DataFolder
    budget_s: float
    sandbox: Sandbox
    _: KW_ONLY
    hide: tuple[Path, ...] = ()  # what children must not read beside the cache: other runs, the journal
    env: Mapping[str, str] = field(default_factory=dict)  # extra environment of the children (LD_PRELOAD, MLX_*)
    kernels: Path | None = None  # compiled kernels to start from, copied into each run's TMPDIR
    startup_limit_s: float = 600.0  # before the first baseline is known; a CPU's kernels are compiled by g++
    preflight_limit_s: float = 20.0  # of a change tried on small arrays, after which it is left to the training
    free_build_s: float = 0.5  # of importing and building, or 1% of the budget; what is beyond is taken off the budget
    free_start_s: float = math.inf  # the same of the whole start with its warm-up; the baseline shows what it takes
    overtime_s: float = 0.25  # beside one step, that a run may end after its budget: no process is scheduled at once
    evaluation_limit_s: float = 1800.0
    save_limit_s: float = 120.0
    probe_nats: float = PROBE_NATS[1]  # by which a probe may move the loss of a target; see probe_tolerance
    min_steps: int = 8  # a candidate whose warm-up step promises fewer steps than this in the budget is stopped
    memory_limit: int = field(default_factory=lambda: int(0.9 * psutil.virtual_memory().total))  # bytes of a child
    file_limit: int = 4 * 2**30  # bytes of the largest file that a child can write: a billion parameters
    folder_limit: int = 6 * 2**30  # bytes of all that lies in a run's folder
    files_limit: int = 20_000  # files in it; compiled kernels are hundreds
    python: str = sys.executable
    swap_mb: Callable[[], int] = machine.swap_mb


@dataclass(frozen=True)
class RunSpec:
    """One run of a candidate: its source, its seed, and the folder that is all its processes may write to."""

    bench: Workbench
    source: Path
    sha256: str  # of the source; a child refuses to execute other bytes
    folder: Path
    seed: int

    @classmethod
    def of(cls, bench: Workbench, source: Path, folder: Path, seed: int) -> RunSpec:
        """Specify a run of the source as it is now. Links are resolved, since a sandbox does not follow them."""
        source, folder = source.resolve(), folder.resolve()
        return cls(bench, source, hashlib.sha256(source.read_bytes()).hexdigest(), folder, seed)
