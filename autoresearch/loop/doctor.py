"""Check what a good night needs: the program, the checkout, disk, data, model, machine and sandbox.

`loop.py doctor` prints each check as it is done. Whatever only a machine can tell is asked through `Host`, so that the
answers of another machine can be checked as well.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from autoresearch.errors import AutoresearchError, LockedError
from autoresearch.formats import GIB, counted
from autoresearch.loop.checkup import FINE, NOTE, PROBLEM, REINSTALL, Check, Host
from autoresearch.loop.mlx_check import check_mlx
from autoresearch.paths import EDITABLE, runs_folder
from autoresearch.record.git import Repository
from autoresearch.system import awake, load, login, machine, orphans
from autoresearch.system.invocation import command
from autoresearch.system.sandbox import select, self_test
from autoresearch.tasks.gpt.data import prepared
from autoresearch.tasks.gpt.data.profiles import default_profile
from autoresearch.tasks.gpt.workbench import openblas

DISK_NEEDED = 2 * GIB  # bytes; a run writes up to one, and is stopped where less than one is left
DISK_WANTED = 10 * GIB  # bytes; a night of checkpoints fits
SYNCED = ("Documents", "Desktop", "Downloads", "Library/Mobile Documents", "Library/CloudStorage")
FILEVAULT = ("fdesetup", "status")
AUTOMATIC_LOGIN = ("defaults", "read", "/Library/Preferences/com.apple.loginwindow", "autoLoginUser")


def checks(host: Host) -> Iterator[Check]:
    """Yield all checks as they are done: the quick ones first, the ten-second training last."""
    for check in (
        check_python,
        check_packages,
        check_repository,
        check_disk,
        check_data,
        check_local_model,
        check_power,
        check_load,
        check_orphans,
        check_reboot,
        check_folder,
        check_compiler,
        check_sandbox,
        check_mlx,
    ):
        yield from _guarded(check, host)
    if host.train is not None:
        yield from _guarded(check_training, host)


def _guarded(check: Callable[[Host], Iterable[Check]], host: Host) -> Iterator[Check]:
    """Turn what a check raises into a problem, so that the next checks are done."""
    try:
        yield from check(host)
    except (AutoresearchError, OSError) as error:
        yield Check(check.__name__.removeprefix("check_").replace("_", " "), PROBLEM, str(error))


# --- the program ----------------------------------------------------------------------------------------------------


def check_python(host: Host) -> Iterator[Check]:
    """Check that this Python is native to the machine."""
    translated = host.mac and platform.machine() == "x86_64" and host.facts.apple_silicon
    if translated:
        advice = "uv python install cpython-3.12-macos-aarch64-none && rm -rf .venv && uv sync"
        yield Check("python", PROBLEM, "this Python runs under Rosetta (x86_64), and MLX needs an arm64 one", advice)
    else:
        yield Check("python", FINE, f"{platform.python_version()} ({platform.machine()})")


def check_packages(host: Host) -> Iterator[Check]:
    """Compare what is installed with pyproject.toml."""
    wanted = tomllib.loads((host.root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    problems = [problem for requirement in wanted if (problem := _missing(requirement, sys.platform))]
    if problems:
        yield Check(
            "packages",
            PROBLEM,
            "; ".join(problems),
            REINSTALL,
        )
    else:
        yield Check("packages", FINE, f"{len(wanted)} requirements are met, mlx {host.facts.mlx}")


def _missing(requirement: str, system: str) -> str | None:
    """Return what is wrong: _missing("mlx>=99.0", "darwin") -> "mlx 0.32.4 is installed, >=99.0 is needed"."""
    wanted = Requirement(requirement)
    if wanted.marker and not wanted.marker.evaluate({"sys_platform": system}):
        return None
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(found, prereleases=True):
        return None
    return f"{wanted.name} {found} is installed, {wanted.specifier} is needed"


# --- the checkout, the disk, the data -------------------------------------------------------------------------------


def check_repository(host: Host) -> Iterator[Check]:
    """Check that nothing uncommitted is in the loop's way, and that git knows who commits."""
    repo = Repository.at(host.root)
    branch, changes = repo.branch(), repo.changes()
    if EDITABLE in changes:
        advice = "git commit -m '...' train_mlx.py   (or: git checkout -- train_mlx.py)"
        yield Check("git", PROBLEM, "train_mlx.py has uncommitted changes, which the loop would build on", advice)
    elif branch is None:
        yield Check("git", NOTE, "HEAD is detached; the night will begin its branch there", "git switch BRANCH")
    else:
        yield Check(
            "git", FINE, f"branch {branch}" + (f", {counted(len(changes), 'other file')} changed" if changes else "")
        )
    if not host.run(("git", "-C", str(host.root), "config", "user.email")).strip():
        advice = "git config --global user.name 'You' && git config --global user.email you@example.org"
        yield Check("git", NOTE, "git has no user name and email here; the loop's own will be used for commits", advice)


def check_disk(host: Host) -> Iterator[Check]:
    """Check the free disk of the checkout and of the cache."""
    for what, folder in (("checkout", host.root), ("cache", _existing(host.cache))):
        free = shutil.disk_usage(folder).free
        level = FINE if free >= DISK_WANTED else NOTE if free >= DISK_NEEDED else PROBLEM
        advice = "" if level is FINE else f"make room; {command('loop.py clean')} frees old checkpoints"
        yield Check("disk", level, f"{free / GIB:.1f} GB free for the {what}", advice)


def _existing(folder: Path) -> Path:
    return next(f for f in (folder, *folder.parents) if f.exists())


def check_data(host: Host) -> Iterator[Check]:
    """Name the prepared data, or what the first start will prepare. Raises DataError for damaged data."""
    profile = default_profile()
    found = [data for data in prepared.folders(host.cache) if data.profile == profile]
    for data in found:
        meta = prepared.load_meta(data.folder)  # raises DataError with the command that mends it
        taken = ", prepared last: what a new night takes" if data == found[0] and len(found) > 1 else ""
        yield Check("data", FINE, f"{prepared.argument(data)}/{profile}, {meta.splits['train'].rows} rows{taken}")
    if not found and host.hub():
        yield Check("data", NOTE, "no data is prepared yet; the first start downloads climbmix", command("prepare.py"))
    elif not found:
        message = "no data is prepared and the Hugging Face hub does not answer; the offline corpus will be used"
        yield Check("data", NOTE, message, f"{command('prepare.py --dataset stdlib')}   (or a folder of your own text)")


# --- the model, the machine -----------------------------------------------------------------------------------------


def check_local_model(host: Host) -> Iterator[Check]:
    """Say which local model would propose."""
    if host.model is None:
        return
    ready, said = host.model()
    advice = "" if ready else "without a model the built-in tuner researches alone"
    yield Check("model", FINE if ready else NOTE, said, advice)


def check_power(host: Host) -> Iterator[Check]:
    """Check what keeps the machine awake, powered and cool, and its free memory."""
    known = host.facts.power is not None
    if host.facts.power != "battery":  # the warnings tell the rest
        yield Check("power", FINE if known else NOTE, "on mains" if known else "the power source is unknown")
    for warning in awake.warnings(host.facts, host.run):
        yield Check("power", NOTE, warning)
    if awake.inhibitor(host.facts.system, 0) is None:
        advice = "turn automatic sleep off for the night"
        yield Check("sleep", NOTE, "nothing on this machine can keep it awake (caffeinate, systemd-inhibit)", advice)
    elif host.mac and re.search(r"(?m)^\s*displaysleep\s+0\b", host.run(machine.POWER)):
        advice = "sudo pmset -a displaysleep 10   (or each evening: pmset displaysleepnow)"
        yield Check(
            "sleep", NOTE, "the display never sleeps, and training with the display on has rebooted Macs", advice
        )
    if host.facts.thermal not in (None, "nominal"):
        message = f"thermal pressure is {host.facts.thermal}: measurements would be slow"
        yield Check("heat", NOTE, message, "let it cool")
    yield _memory(host)


def _memory(host: Host) -> Check:
    free, total = host.facts.free_memory_mb / 1024, host.facts.memory_mb / 1024
    message = f"{free:.1f} of {total:.0f} GB free, {(host.facts.swap_mb or 0) / 1024:.1f} GB swapped out"
    tight = free < total / 3
    return Check("memory", NOTE if tight else FINE, message, "quit programs that you do not need" if tight else "")


def check_load(host: Host) -> Iterator[Check]:
    """Check how much of the CPU other programs use, which makes measurements slow and noisy."""
    now = host.load()
    yield Check("load", NOTE if now.busy else FINE, now.describe(), load.ADVICE if now.busy else "")


def check_orphans(host: Host) -> Iterator[Check]:
    """Name the processes of models that have lost their server. Those of a killed loop end at the next start."""
    for orphan in orphans.find():
        yield Check("memory", NOTE, orphan.describe(), orphan.advice)


def check_reboot(host: Host) -> Iterator[Check]:
    """Check what happens after a power cut or a restart for updates."""
    try:
        there = login.installed(host.root, home=host.home, system=host.facts.system)
    except AutoresearchError:
        return
    if there is None:
        advice = f"{command('loop.py install')} resumes an interrupted night after the next login"
        yield Check("reboot", NOTE, "after a reboot the night has to be resumed by hand", advice)
    else:
        yield Check("reboot", FINE, "an interrupted night is resumed after login")
    if not host.mac:
        return
    if "FileVault is On" in host.run(FILEVAULT):
        message = "FileVault is on: after an unattended reboot the Mac waits at the unlock screen"
        yield Check("reboot", NOTE, message, "before a planned restart: sudo fdesetup authrestart")
    elif not host.run(AUTOMATIC_LOGIN).strip():
        advice = "System Settings > Users & Groups > Automatically log in as"
        yield Check("reboot", NOTE, "nobody is logged in automatically: the Mac waits at the login window", advice)


def check_folder(host: Host) -> Iterator[Check]:
    """Check for folders that macOS guards from what launchd starts, or that a cloud service moves files out of."""
    if not host.mac:
        return
    root, home = host.root.resolve(), host.home.resolve()
    where = next((name for name in SYNCED if root.is_relative_to(home / name)), None)
    if where is None and not root.is_relative_to("/Volumes"):
        yield Check("folder", FINE, f"{root} can be read by programs started at login")
        return
    place = f"~/{where}" if where else "an external volume"
    message = (
        f"the checkout lies in {place}: programs started at login may be denied access there, and iCloud may move files"
    )
    yield Check("folder", NOTE, message, f"mv {root} {home / root.name}")


# --- what runs a candidate ------------------------------------------------------------------------------------------


def check_compiler(host: Host) -> Iterator[Check]:
    """Check the tools of MLX on Linux: it compiles fused kernels with g++ while it runs, and brings a slow BLAS."""
    if host.mac:
        return
    gxx = shutil.which("g++")
    if gxx is None:
        advice = "sudo apt-get install g++"
        yield Check("g++", NOTE, "not found: mx.compile silently runs uncompiled, about half as fast", advice)
    else:
        yield Check("g++", FINE, gxx)
    blas = openblas()
    if blas is None:
        advice = "sudo apt-get install libopenblas0-pthread"
        yield Check("openblas", NOTE, "not found: MLX's own BLAS is about 40 times slower on a CPU", advice)
    else:
        yield Check("openblas", FINE, str(blas))


def check_sandbox(host: Host) -> Iterator[Check]:
    """Prove the sandbox. Raises SandboxError, with advice, where there is none."""
    chosen = select()
    runs = runs_folder(host.root)
    runs.mkdir(exist_ok=True)
    failures = self_test(chosen, host.python, runs)
    if failures:
        yield Check("sandbox", PROBLEM, "; ".join(failures), "or run without confinement: --no-sandbox")
    else:
        yield Check("sandbox", FINE, chosen.describe())


def check_training(host: Host) -> Iterator[Check]:
    """Train for ten seconds."""
    assert host.train is not None
    try:
        m = host.train()
    except LockedError as error:
        yield Check("training", NOTE, f"not tried beside another one: {error}")
        return
    if m.failure is not None:
        advice = f"{command('train_mlx.py')} shows all of it"
        yield Check("training", PROBLEM, f"{m.failure.kind}: {m.failure.message}", advice)
        return
    parts = [
        f"{counted(m.num_steps or 0, 'step')} in {m.training_s:.0f} s" if m.training_s else "done",
        f"val_bpb {m.score:.3f}",
    ]
    parts += [f"{m.tok_s:,.0f} tokens a second"] if m.tok_s else []
    parts += [f"peak memory {m.peak_memory_mb / 1024:.1f} GB"] if m.peak_memory_mb else []
    yield Check("training", FINE, ", ".join(parts))
