"""Set up a Workbench for the GPT task: the data, a copy of the harness, the sandbox, the children's environment."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from autoresearch import environment
from autoresearch.errors import DataError, UsageError
from autoresearch.files import write_atomic
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder
from autoresearch.records import Say
from autoresearch.system import gpu, machine
from autoresearch.system.sandbox import prove, select
from autoresearch.tasks.gpt.data import corpus, prepared
from autoresearch.tasks.gpt.data.profiles import default_profile

# The files that judge, the children's program first: a child can read no other file of the project.
HARNESS = (
    "prepare.py",
    *(
        f"autoresearch/tasks/gpt/{name}.py"
        for name in (
            "ops",
            "children",
            "preflight_child",
            "train_child",
            "model_child",
            "judge",
            "probes",
            "wire",
            "sample_child",
        )
    ),
)

OPENBLAS = (
    "/usr/lib/*/openblas-pthread/libopenblas.so.0",
    "/usr/lib/*/libopenblas.so.0",
    "/usr/lib64/libopenblasp.so.0",
    "/usr/lib64/libopenblas.so.0",
    "/usr/lib/libopenblas.so.0",
)


MOST_CORES = 8  # MLX dispatches all operations from one thread: with more streams, that is the bottleneck


def choose_data(dataset: str | None, profile: str | None, say: Say, cache: Path | None = None) -> Path:
    """Return the folder of the data set, preparing it where it is missing.

    Without a name this is what was prepared last for the profile, and a line says so; where nothing is, it is climbmix
    if the hub answers, else the Python standard library, which is on every machine.
    """
    profile = profile or default_profile()
    if dataset is None:
        known = prepared.folders(cache)
        if known and known[0].profile != profile:
            latest = known[0]
            say(f"data: {prepared.argument(latest)} was prepared last, for another profile: --profile {latest.profile}")
        if here := [data for data in known if data.profile == profile]:
            say(f"data: {_prepared_last(here)}")
            return here[0].folder
        problem = corpus.hub_problem()
        dataset = "stdlib" if problem else "climbmix"
        if problem:
            say(f"data: {problem}; using the offline corpus (Python's standard library)")
    if found := corpus.locate(dataset, profile, cache):
        return found
    say(f"data: preparing {dataset} for the {profile} profile, once")
    return corpus.prepare(dataset, profile, cache=cache, report=say)


def _prepared_last(known: Sequence[DataFolder]) -> str:
    """Return "climbmix", or "/home/me/my notes, prepared last; also prepared: climbmix (choose with --dataset)"."""
    first, *others = [prepared.argument(data) for data in known]
    if not others:
        return first
    return f"{first}, prepared last; also prepared: {', '.join(others)} (choose with --dataset)"


def children_environment(say: Say) -> dict[str, str]:
    """Return the variables that children get beside the scrubbed environment, and say how MLX will run.

    macOS: the GPU watchdog is relaxed, which ends long kernels while a display is on. CPU: the system's OpenBLAS, one
    MLX stream a core (AUTORESEARCH_CORES of them), and no compiled steps, since g++ takes seconds for each new kernel
    and the step is hardly faster (AUTORESEARCH_COMPILE=1 compiles all the same).
    """
    if sys.platform == "darwin":
        return {"AGX_RELAX_CDM_CTXSTORE_TIMEOUT": "1"}
    if (found := gpu.find()) is not None:
        say(f"speed: MLX on {found.name}; steps are compiled, which takes up to three minutes the first time")
        return {}
    compiled, cores = environment.compiles(), cores_to_use()
    env = {"AUTORESEARCH_CORES": str(cores), "OPENBLAS_NUM_THREADS": "1", "MLX_BFS_MAX_WIDTH": "1000"}
    if not compiled:
        env["MLX_DISABLE_COMPILE"] = "1"
    library = openblas()
    if library is None:
        say(
            "speed: MLX on the CPU with its own BLAS, which is about 40 times slower than the system's. "
            "Run: apt-get install libopenblas0-pthread"
        )
        return env
    steps = "compiled by g++" if compiled else "steps not compiled"
    say(f"speed: MLX on {machine.cores(None, cores)} with {library}, {steps}")
    return {**env, "LD_PRELOAD": str(library)}


def cores_to_use() -> int:
    """Return AUTORESEARCH_CORES where it is set, else the cores that this process may use, up to MOST_CORES.

    Raises UsageError where AUTORESEARCH_CORES is not a number from 1 to 1024.
    """
    return environment.cores() or min(machine.usable_cores(), MOST_CORES)


def openblas() -> Path | None:
    """Find a system OpenBLAS to preload: MLX's Linux wheel bundles the slow reference BLAS."""
    for pattern in OPENBLAS:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            return path
    return None


def workbench(
    data: Path, folder: Path, root: Path, budget_s: float | None, no_sandbox: bool, say: Say, *, anew: bool = False
) -> Workbench:
    """Set up the workbench for runs below `folder`.

    The harness is copied to `folder`, so that a checkout in mid-night changes nothing; `anew` replaces an earlier copy.
    Raises UsageError for a budget out of range, and a SandboxError where the sandbox does not hold.
    """
    meta = prepared.verify(data, quick=True)
    budget_s = float(budget_s or meta.budget_s)
    if not 1 <= budget_s <= 24 * 3600:
        raise UsageError(f"--time-budget {budget_s:g}: 1 to 86400 seconds of training")
    sandbox = select(no_sandbox)
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()  # runs may be a link to another disk, which a sandbox does not follow
    prove(sandbox, sys.executable, folder)
    say(f"sandbox: {sandbox.describe()}")
    if anew:
        shutil.rmtree(folder / "harness", ignore_errors=True)
    where = DataFolder(data)
    return Workbench(
        harness=snapshot(root, folder / "harness"),
        data=where,
        budget_s=budget_s,
        sandbox=sandbox,
        hide=((root / "runs").resolve(),),
        env=children_environment(say),
        kernels=where.cache.kernels(version("mlx")),
    )


def harness(root: Path) -> tuple[Path, ...]:
    """Return the files of HARNESS below `root`."""
    return tuple(root / name for name in HARNESS)


def snapshot(root: Path, folder: Path) -> tuple[Path, ...]:
    """Copy the harness into `folder` for a night to use to its end; files that are there already stay as they are.

    Raises DataError for a file that is missing or is not Python: else the candidates would be blamed for it.
    """
    for name in HARNESS:
        copy = folder / name
        if copy.exists():
            _check_syntax(copy, f"rm -r {folder}")
            continue
        if not (root / name).is_file():
            raise DataError(f"{root / name} is missing. Run: git checkout -- {name}")
        _check_syntax(root / name, f"git checkout -- {name}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(copy, (root / name).read_bytes())
    return harness(folder)


def _check_syntax(path: Path, mend: str) -> None:
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else error
        raise DataError(
            f"{path}{where}, which measures every candidate, is not valid Python: {said}. Run: {mend}"
        ) from None
