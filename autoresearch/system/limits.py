"""Give a confined child its environment and its limits, which apply with or without a sandbox."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

INHERITED = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "SDKROOT")
INHERITED_FAMILIES = ("AUTORESEARCH_", "MLX_", "LC_", "OMP_", "OPENBLAS_", "VECLIB_", "MTL_", "AGX_")


def environment(
    run_dir: Path, extra: Mapping[str, str] | None = None, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the whole environment of a child: what an allowlist lets through from `base` (None: ours), and `extra`.

    HOME and TMPDIR are in the run's own folder, so that runs share no caches or compiled kernels. Python is told not to
    import packages from HOME.
    """
    base = os.environ if base is None else base
    kept = {k: v for k, v in base.items() if k in INHERITED or k.startswith(INHERITED_FAMILIES)}
    own = {"HOME": str(run_dir), "TMPDIR": str(run_dir / "tmp")}
    python = dict.fromkeys(("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONSAFEPATH", "PYTHONNOUSERSITE"), "1")
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **kept, **own, **python, **(extra or {})}


# This program sets the limits of its own process and then execs the command, so that the loop needs no code between
# fork and exec. With oom_score_adj, a machine short of memory ends this process first, not the loop or the browser.
_LIMIT = """\
import contextlib, os, resource, signal, sys
for item in sys.argv[1].split(","):
    name, value = item.split("=")
    if (kind := getattr(resource, "RLIMIT_" + name, None)) is not None:
        hard = resource.getrlimit(kind)[1]
        limit = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        resource.setrlimit(kind, (limit, limit))
with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def limits(
    python: str = sys.executable,
    *,
    file_bytes: int = 8 * 2**30,
    open_files: int = 1024,
    cpu_s: int = 0,
    processes: int = 0,
) -> list[str]:
    """Return the words that limit a command: `[*sandbox.prefix(...), *limits(...), *command]`.

    `file_bytes` is the size of the largest file that it can write, `cpu_s` the processor time of all its threads, and
    `processes` the number of processes and threads of the user (within the sandbox on Linux 5.14 and later); 0 sets no
    limit. Core dumps are off. Memory is not limited here, since MLX crashes when an allocation is refused; the loop
    watches instead how much the child holds.
    """
    values = {"CORE": 0, "FSIZE": file_bytes, "NOFILE": open_files}
    optional = {"CPU": cpu_s, "NPROC": processes}
    values |= {name: value for name, value in optional.items() if value}
    return [python, "-I", "-S", "-c", _LIMIT, ",".join(f"{name}={int(value)}" for name, value in values.items())]
