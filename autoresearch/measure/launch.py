"""Start one child of the harness, confined to a folder."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch.measure.workbench import RunSpec
from autoresearch.system.connection import End
from autoresearch.system.limits import environment, limits
from autoresearch.system.process import Child

LOG_LIMIT = 2 * 2**20  # bytes of a child's output that are kept
WIRE = "AUTORESEARCH_WIRE"  # with a number behind it, of the variables that name a connection's descriptors
RESULT_S = 10.0  # seconds that a child may take to end after its last event


def start(
    spec: RunSpec,
    name: str,
    stdin: Path | None = None,
    options: Sequence[str] = (),
    *,
    home: Path | None = None,
    read: Sequence[Path] = (),
    wires: Sequence[End] = (),
    pass_fds: Mapping[str, int] | None = None,
    log: str | None = None,
) -> tuple[Child, str]:
    """Start the child `name` of the harness, confined; return it with the token that its events must carry.

    It may write in `home` alone, by default the run's folder. A candidate finds no path to the file that becomes its
    standard input. Beside what every child may read, it may read `read`. `wires` are the ends of connections that it
    inherits, and `pass_fds` Child's other descriptors. The judge is not given the candidate's source.
    """
    bench, token, home = spec.bench, secrets.token_hex(16), home or spec.folder
    argv = [bench.python, "-P", str(bench.harness[0]), name, str(spec.folder), "--seed", str(spec.seed), *options]
    if name != "judge":
        argv += ["--source", str(spec.source), "--sha256", spec.sha256]
        read = [*read, spec.source]
    env = environment(home, _facts(spec, token))
    # Inside the sandbox only: a preloaded OpenBLAS starts threads in bwrap itself, which then hangs when it forks.
    inside = {"LD_PRELOAD": env.pop("LD_PRELOAD", ""), **bench.env}
    set_inside = ["/usr/bin/env", *(f"{name}={value}" for name, value in inside.items())]
    named = {name: fd for i, end in enumerate(wires) for name, fd in end.named(f"{WIRE}{i}").items()}
    child = Child(
        [*_confinement(spec, home, read), *set_inside, *argv],
        cwd=home,
        env=env,
        log_path=spec.folder / f"{log or name}.log",
        log_limit_bytes=LOG_LIMIT,
        stdin=stdin,
        pass_fds={**named, **(pass_fds or {})},
    )
    return child, token


def _facts(spec: RunSpec, token: str) -> Mapping[str, str]:
    """Return the environment variables that tell a child its data, seed, budget and token."""
    data = spec.bench.data
    return {
        "AUTORESEARCH_CACHE": str(data.cache.folder),
        "AUTORESEARCH_DATASET": data.dataset,
        "AUTORESEARCH_PROFILE": data.profile,
        "AUTORESEARCH_SEED": str(spec.seed),
        "AUTORESEARCH_TIME_BUDGET_S": str(spec.bench.budget_s),
        "AUTORESEARCH_EVENT_TOKEN": token,
    }


def _confinement(spec: RunSpec, home: Path, read: Sequence[Path]) -> list[str]:
    """Return the words before the command that set up the sandbox and the limits."""
    bench, data = spec.bench, spec.bench.data
    hidden = [data.cache.folder, spec.folder, *bench.hide]
    shown = [data.meta, data.token_bytes, *read, *bench.harness]
    prefix = bench.sandbox.prefix(write=[home], hide=[path for path in hidden if path != home], read=shown)
    return [*prefix, *limits(bench.python, file_bytes=bench.file_limit)]
