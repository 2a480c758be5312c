"""What a night needs, checked one thing after the other, each with what to do about it.

A check is fine (True), in the way of a night (False), or worth knowing (None). Whatever only this machine can show is
asked through `run` and the callables of `Host`, so that another machine's answers can be examined as well.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autoresearch.errors import AutoresearchError
from autoresearch.formats import GIB
from autoresearch.paths import Cache
from autoresearch.record.git import Repository
from autoresearch.records import Measurement
from autoresearch.system import awake, login, machine, process
from autoresearch.system.machine import Ask, Facts
from autoresearch.system.sandbox import select, self_test
from autoresearch.tasks.gpt.data import corpus
from autoresearch.tasks.gpt.data.profiles import default_profile
from autoresearch.tasks.gpt.workbench import openblas

DISK_NEEDED, DISK_WANTED = (
    2 * GIB,
    10 * GIB,
)  # bytes: below the first a run stops; a night of checkpoints fits the other
DATASETS = ("climbmix", "tinystories", "stdlib")
SYNCED = ("Documents", "Desktop", "Downloads", "Library/Mobile Documents", "Library/CloudStorage")
FILEVAULT = ("fdesetup", "status")
AUTOMATIC_LOGIN = ("defaults", "read", "/Library/Preferences/com.apple.loginwindow", "autoLoginUser")
MARKS = {True: "✓", False: "✗", None: "!"}

MLX_PROBE = """\
import json, mlx.core as mx
product = (mx.ones((64, 64)) @ mx.ones((64, 64))).sum().item()
metal = mx.metal.is_available()
info = mx.device_info() if metal else {}
limit = info.get("max_recommended_working_set_size", 0)
print(json.dumps({"version": mx.__version__, "right": product == 64**3, "metal": metal, "limit": limit}))
"""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool | None  # None: worth knowing, no obstacle
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Host:
    """What is examined. The callables are asked once each, the slow ones last; None leaves a check out."""

    root: Path
    facts: Facts
    run: Ask = machine.ask
    cache: Path = field(default_factory=lambda: Cache.default().folder)
    home: Path = field(default_factory=Path.home)
    python: str = sys.executable
    model: Callable[[], tuple[bool, str]] | None = None  # (a model is ready, the line that says which or why not)
    hub: Callable[[], bool] = corpus.hub_reachable
    train: Callable[[], Measurement] | None = None  # ten seconds of the real thing

    @property
    def mac(self) -> bool:
        return self.facts.system == "Darwin"


def checks(patient: Host) -> Iterator[Check]:
    """All checks, as they are done: the quick ones first, the ten-second training last."""
    for examine in (
        python,
        packages,
        repository,
        disk,
        data,
        local_model,
        power,
        reboot,
        folder,
        compiler,
        sandbox,
        mlx,
    ):
        yield from _guarded(examine, patient)
    if patient.train is not None:
        yield from _guarded(training, patient)


def exit_code(done: Iterable[Check]) -> int:
    """1 when something stands in the way of a night, else 0."""
    return int(any(check.ok is False for check in done))


def line(check: Check) -> str:
    """What a person reads: "✗ git: ...", and what to do about it on a line of its own."""
    text = f"{MARKS[check.ok]} {check.name}: {check.message}"
    return f"{text}\n    -> {check.advice}" if check.advice else text


def _guarded(examine: Callable[[Host], Iterable[Check]], patient: Host) -> Iterator[Check]:
    """A check that cannot be done is one that fails: what it raises says why, and the next are done."""
    try:
        yield from examine(patient)
    except (AutoresearchError, OSError) as error:
        yield Check(examine.__name__.replace("_", " "), False, str(error))


# --- the program ----------------------------------------------------------------------------------------------------


def python(p: Host) -> Iterator[Check]:
    translated = p.mac and platform.machine() == "x86_64" and p.facts.apple_silicon
    if translated:
        advice = "uv python install cpython-3.12-macos-aarch64-none && rm -rf .venv && uv sync"
        yield Check("python", False, "this Python is translated (x86_64), and MLX needs an arm64 one", advice)
    else:
        yield Check("python", True, f"{platform.python_version()} ({platform.machine()})")


def packages(p: Host) -> Iterator[Check]:
    wanted = tomllib.loads((p.root / "pyproject.toml").read_text())["project"]["dependencies"]
    problems = [problem for requirement in wanted if (problem := _missing(requirement, sys.platform))]
    if problems:
        yield Check("packages", False, "; ".join(problems), "uv sync")
    else:
        yield Check("packages", True, f"{len(wanted)} requirements are met, mlx {p.facts.mlx}")


def _missing(requirement: str, system: str) -> str | None:
    """_missing("mlx>=99.0; sys_platform == 'darwin'", "darwin") -> "mlx 0.32.4 is older than 99.0"."""
    match = re.match(r"([\w.-]+)(?:\[[^\]]*\])?(?:\s*>=\s*([\d.]+))?(?:.*sys_platform\s*==\s*'(\w+)')?", requirement)
    if match is None or (match[3] and match[3] != system):
        return None
    try:
        found = version(match[1])
    except PackageNotFoundError:
        return f"{match[1]} is not installed"
    return f"{match[1]} {found} is older than {match[2]}" if match[2] and _numbers(found) < _numbers(match[2]) else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


# --- the checkout, the disk, the data -------------------------------------------------------------------------------


def repository(p: Host) -> Iterator[Check]:
    repo = Repository.at(p.root)
    branch, changes = repo.branch(), repo.changes()
    if "train_mlx.py" in changes:
        advice = "git commit -m '...' train_mlx.py   (or: git checkout -- train_mlx.py)"
        yield Check("git", False, "train_mlx.py has uncommitted changes, which the loop would build on", advice)
    elif branch is None:
        yield Check("git", None, "HEAD is detached; the night begins a branch there", "git switch BRANCH")
    else:
        yield Check("git", True, f"branch {branch}" + (f", {len(changes)} other files changed" if changes else ""))
    if not p.run(("git", "-C", str(p.root), "config", "user.email")).strip():
        advice = "git config --global user.name 'You' && git config --global user.email you@example.org"
        yield Check("git", None, "you have no identity here; commits will name the loop instead", advice)


def disk(p: Host) -> Iterator[Check]:
    for what, folder in (("checkout", p.root), ("cache", _existing(p.cache))):
        free = shutil.disk_usage(folder).free
        ok = True if free >= DISK_WANTED else None if free >= DISK_NEEDED else False
        advice = "" if ok else "make room; uv run loop.py clean frees old checkpoints"
        yield Check("disk", ok, f"{free / GIB:.1f} GB free for the {what}", advice)


def _existing(folder: Path) -> Path:
    return next(f for f in (folder, *folder.parents) if f.exists())


def data(p: Host) -> Iterator[Check]:
    profile = default_profile()
    found = [(name, folder) for name in DATASETS if (folder := corpus.locate(name, profile, p.cache))]
    for name, folder in found:
        meta = corpus.load_meta(folder)  # raises DataError with the command that mends it
        yield Check("data", True, f"{name}/{profile}, {meta['splits']['train']['rows']} rows")
    if not found and p.hub():
        yield Check("data", None, "nothing is prepared; the first start downloads climbmix", "uv run prepare.py")
    elif not found:
        message = "nothing is prepared and the Hugging Face hub does not answer; the offline corpus will be used"
        yield Check("data", None, message, "uv run prepare.py --dataset stdlib   (or a folder of your own text)")


# --- the model, the machine -----------------------------------------------------------------------------------------


def local_model(p: Host) -> Iterator[Check]:
    if p.model is None:
        return
    ready, said = p.model()
    advice = "" if ready else "without a model the built-in tuner researches alone"
    yield Check("model", True if ready else None, said, advice)


def ollama(facts: Facts, cache: Cache) -> tuple[bool, str]:
    """Whether an Ollama server has a model for this machine; the `model` of a real patient."""
    from autoresearch.search.llm.model_choice import open_ollama
    from autoresearch.search.scorecard import Scorecard

    scorecard = Scorecard(cache.scorecard, facts.slug())
    proposer, said = open_ollama(memory_bytes=facts.memory_mb * 2**20, log_path=cache.ollama_log, scorecard=scorecard)
    if proposer is not None:
        proposer.close()
    return proposer is not None, said


def power(p: Host) -> Iterator[Check]:
    if p.facts.power != "battery":  # the warnings tell the rest
        yield Check("power", True if p.facts.power else None, "on mains" if p.facts.power else "its source is unknown")
    for warning in awake.warnings(p.facts, p.run):
        yield Check("power", None, warning)
    if awake.inhibitor(p.facts.system, 0) is None:
        advice = "turn automatic sleep off for the night"
        yield Check("sleep", None, "nothing here keeps the machine awake (caffeinate, systemd-inhibit)", advice)
    elif p.mac and re.search(r"(?m)^\s*displaysleep\s+0\b", p.run(machine.POWER)):
        advice = "sudo pmset -a displaysleep 10   (or each evening: pmset displaysleepnow)"
        yield Check("sleep", None, "the display never sleeps, and training with a lit one has rebooted Macs", advice)
    if p.facts.thermal not in (None, "nominal"):
        yield Check("heat", None, f"thermal pressure is {p.facts.thermal}: measurements would be slow", "let it cool")
    yield _memory(p)


def _memory(p: Host) -> Check:
    free, total = p.facts.free_memory_mb / 1024, p.facts.memory_mb / 1024
    message = f"{free:.1f} of {total:.0f} GB free, {(p.facts.swap_mb or 0) / 1024:.1f} GB swapped out"
    tight = free < total / 3
    return Check("memory", None if tight else True, message, "close what you do not need" if tight else "")


def reboot(p: Host) -> Iterator[Check]:
    """What happens after a power cut or a restart for updates."""
    try:
        there = login.installed(p.root, home=p.home, system=p.facts.system)
    except AutoresearchError:
        return
    if there is None:
        advice = "uv run loop.py install goes on with an interrupted night after the next login"
        yield Check("reboot", None, "a night that a reboot ends is gone on with by hand", advice)
    else:
        yield Check("reboot", True, "an interrupted night goes on after login")
    if not p.mac:
        return
    if "FileVault is On" in p.run(FILEVAULT):
        message = "FileVault is on: after an unattended reboot the Mac waits at the unlock screen"
        yield Check("reboot", None, message, "before a planned restart: sudo fdesetup authrestart")
    elif not p.run(AUTOMATIC_LOGIN).strip():
        advice = "System Settings > Users & Groups > Automatically log in as"
        yield Check("reboot", None, "nobody is logged in automatically: the Mac waits at the login window", advice)


def folder(p: Host) -> Iterator[Check]:
    """Folders that macOS guards from what launchd starts, or that a cloud service moves files out of."""
    if not p.mac:
        return
    root, home = p.root.resolve(), p.home.resolve()
    where = next((name for name in SYNCED if root.is_relative_to(home / name)), None)
    if where is None and not root.is_relative_to("/Volumes"):
        yield Check("folder", True, f"{root} is open to what starts at login")
        return
    place = f"~/{where}" if where else "an external volume"
    message = f"the checkout lies in {place}: what starts at login may be refused there, and iCloud may move its files"
    yield Check("folder", None, message, f"mv {root} {home / root.name}")


# --- what runs a candidate ------------------------------------------------------------------------------------------


def compiler(p: Host) -> Iterator[Check]:
    """Linux only: MLX compiles its fused kernels with g++ while it runs, and brings a slow BLAS."""
    if p.mac:
        return
    gxx = shutil.which("g++")
    if gxx is None:
        advice = "sudo apt-get install g++"
        yield Check("g++", None, "not found: mx.compile silently runs uncompiled, about half as fast", advice)
    else:
        yield Check("g++", True, gxx)
    blas = openblas()
    if blas is None:
        advice = "sudo apt-get install libopenblas0-pthread"
        yield Check("openblas", None, "not found: MLX's own BLAS is about 40 times slower on a CPU", advice)
    else:
        yield Check("openblas", True, str(blas))


def sandbox(p: Host) -> Iterator[Check]:
    """Raises SandboxError with advice where there is none."""
    chosen = select()
    runs = p.root / "runs"
    runs.mkdir(exist_ok=True)
    failures = self_test(chosen, p.python, runs)
    if failures:
        yield Check("sandbox", False, "; ".join(failures), "or go on without confinement: --no-sandbox")
    else:
        yield Check("sandbox", True, chosen.describe())


def mlx(p: Host) -> Iterator[Check]:
    """In a process of its own: this one holds no Metal memory."""
    done = process.run([p.python, "-P", "-c", MLX_PROBE], timeout=120, check=False)
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        yield Check("mlx", False, f"it does not run here (exit code {done.returncode}): {last}", "uv sync")
        return
    if not said["right"]:
        yield Check("mlx", False, "a product of two matrices of ones is wrong", "uv sync --reinstall-package mlx")
    elif p.mac and not said["metal"]:
        yield Check("mlx", False, "Metal is not available: no GPU, or a session without one (ssh, a virtual machine)")
    else:
        limit = f", {said['limit'] / GIB:.1f} GB for the GPU" if said["metal"] else ""
        yield Check("mlx", True, f"{said['version']} on {'Metal' if said['metal'] else 'the CPU'}{limit}")


def training(p: Host) -> Iterator[Check]:
    assert p.train is not None
    m = p.train()
    if m.failure is not None:
        yield Check("training", False, f"{m.failure.kind}: {m.failure.message}", "uv run train_mlx.py shows all of it")
        return
    parts = [f"{m.num_steps} steps in {m.training_s:.0f} s" if m.training_s else "done", f"val_bpb {m.val_bpb:.3f}"]
    parts += [f"{m.tok_s:,.0f} tokens a second"] if m.tok_s else []
    parts += [f"peak memory {m.peak_memory_mb / 1024:.1f} GB"] if m.peak_memory_mb else []
    yield Check("training", True, ", ".join(parts))
