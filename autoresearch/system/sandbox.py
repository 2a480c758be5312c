"""Confine the processes of a candidate: they may write in one folder only, and reach no network or other process.

A candidate is code that a model wrote and nobody has read. On macOS it runs under Seatbelt (sandbox-exec), on Linux
under bubblewrap; `select` chooses, and `prove` tests at the start that the confinement works. Where it does not, the
loop refuses to run without --no-sandbox. The scrubbed `environment` and the `limits` apply with or without a sandbox.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from autoresearch import jsonable
from autoresearch.errors import CommandError, SandboxError
from autoresearch.system.limits import environment, limits
from autoresearch.system.process import run
from autoresearch.system.seatbelt import seatbelt_profile
from autoresearch.system.seccomp import seccomp_filter
from autoresearch.system.secrets import CHECKOUT, secrets

PRIVATE_BYTES = 64 * 2**20  # size of /tmp and of /dev/shm inside bubblewrap, which are in memory


# What a command may reach. local: servers that it starts itself; on macOS also those of this machine.
Network = Literal["none", "local", "open"]


class Sandbox(ABC):
    """A way to confine a command. `network` and `forks` allow what training has no use for: a declared task may."""

    name: str
    program: str = ""

    def __init__(self, executable: str | None = None, *, network: Network = "none", forks: bool = False) -> None:
        self.executable, self.network, self.forks = executable or self.program, network, forks

    @abstractmethod
    def describe(self) -> str:
        """Describe the confinement to a person, in one line."""

    @abstractmethod
    def prefix(self, write: Sequence[Path], hide: Sequence[Path] = (), read: Sequence[Path] = ()) -> list[str]:
        """Return the words to put before a command.

        The command may write below `write` only. It cannot read `hide` and the person's secrets, and it may read `read`
        and the rest of the machine. The most specific path decides:

            prefix(write=[night / "0007"], hide=[night], read=[night / "harness"])

        On Linux, /tmp and /run are replaced as well, since other programs keep files and sockets there, except for what
        `write` and `read` name. Inherited file descriptors stay open, and the environment is kept (but see Bubblewrap).
        """


class Unconfined(Sandbox):
    """No confinement, which the person chose by --no-sandbox."""

    name = "none"

    def describe(self) -> str:
        return "none: a candidate can do what you can do"

    def prefix(self, write: Sequence[Path], hide: Sequence[Path] = (), read: Sequence[Path] = ()) -> list[str]:
        return []


class Seatbelt(Sandbox):
    """Confinement on macOS. sandbox-exec execs the command, so signals and exit codes are the command's own."""

    name, program = "seatbelt", "/usr/bin/sandbox-exec"

    def describe(self) -> str:
        return f"Seatbelt: {_network(self)}, no other processes, writes only into the run's own folder"

    def prefix(self, write: Sequence[Path], hide: Sequence[Path] = (), read: Sequence[Path] = ()) -> list[str]:
        shown = [*_interpreter(), *read]
        hidden = [*hide, *secrets(shown, platform="darwin")]
        profile = seatbelt_profile(write, hidden, shown, network=self.network, forks=self.forks)
        return [self.executable, "-p", profile]


class Bubblewrap(Sandbox):
    """Confinement on Linux, by namespaces. The command is killed when the thread that started bwrap ends.

    bwrap reports a command that signal n killed as exit code 128 + n. It runs without LD_PRELOAD: a preloaded OpenBLAS
    starts threads in bwrap itself, which then hangs when it forks. Set it inside instead, by `env LD_PRELOAD=...`.
    """

    name, program = "bubblewrap", "bwrap"

    def describe(self) -> str:
        missing = "" if filters_calls() else "; without seccomp, so that other programs' sockets may answer"
        return f"bubblewrap: {_network(self)}, no other processes, writes only into the run's own folder{missing}"

    def prefix(self, write: Sequence[Path], hide: Sequence[Path] = (), read: Sequence[Path] = ()) -> list[str]:
        argv = ["/usr/bin/env", "-u", "LD_PRELOAD", *_filtered(self.network), self.executable]
        argv += [
            "--unshare-all",
            *(["--share-net"] if self.network == "open" else []),
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
        ]
        argv += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        for path in _KERNEL_SETTINGS:
            argv += ["--ro-bind-try", path, path]
        for device in sorted(Path("/dev").glob("nvidia*")):  # MLX's CUDA backend opens them
            argv += ["--dev-bind", str(device), str(device)]
        shown = [*read, *_interpreter()]
        return [*argv, *bubblewrap_mounts(write, [*hide, *secrets(shown)], shown), "--"]


# What root could write in a new /proc, as the owner of the files, although it has no capability left.
_KERNEL_SETTINGS = [
    f"/proc/{name}"
    for name in ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "driver", "mtrr", "pressure", "asound")
]

# This program hands bubblewrap the filter, which it reads from an open file, and then becomes it.
_FILTERED = """\
import os, sys
file = os.memfd_create("filter", 0)
os.write(file, bytes.fromhex(sys.argv[1]))
os.lseek(file, 0, os.SEEK_SET)
try:
    os.execvp(sys.argv[2], [sys.argv[2], "--seccomp", str(file), *sys.argv[3:]])
except FileNotFoundError as error:
    sys.stderr.write(f"{sys.argv[2]}: {error}\\n")
    os._exit(127)
"""


def filters_calls() -> bool:
    """Return whether this kernel takes a seccomp filter, and there is one for its architecture."""
    return Path("/proc/sys/kernel/seccomp/actions_avail").exists() and seccomp_filter() is not None


def _network(sandbox: Sandbox) -> str:
    return {"none": "no network", "local": "a network of its own", "open": "the network is open"}[sandbox.network]


def _filtered(network: Network) -> list[str]:
    """Return the words before bwrap's that hand it the filter of system calls; none where the kernel takes none."""
    found = seccomp_filter(network=network != "none") if filters_calls() else None
    return [sys.executable, "-I", "-S", "-c", _FILTERED, found.hex()] if found else []


def bubblewrap_mounts(write: Sequence[Path], hide: Sequence[Path], read: Sequence[Path]) -> list[str]:
    """Return bwrap's mount options, from the outermost folder inward, so that the most specific path decides."""
    places = ("/tmp", "/var/tmp", "/run", "/dev/shm", os.environ.get("XDG_RUNTIME_DIR") or "/run")
    masks = [real(Path(p)) for p in places if Path(p).is_dir()]
    hidden, written = [p for p in map(real, hide) if p.exists()], [real(p) for p in write]
    mounts = {p: ["--size", str(PRIVATE_BYTES), "--tmpfs", str(p)] for p in masks}
    for path in map(real, read):
        if path.exists() and any(path.is_relative_to(p) for p in [*masks, *hidden, *written]):
            mounts[path] = ["--ro-bind", str(path), str(path)]
    for link in (real(p.parent) / p.name for p in read if p.is_symlink()):  # e.g. a virtual environment
        if any(link.is_relative_to(p) for p in [*masks, *hidden]):
            mounts[link] = ["--symlink", str(real(link)), str(link)]
    for path in hidden:
        empty = ["--size", "65536", "--tmpfs"] if path.is_dir() else ["--ro-bind", "/dev/null"]
        mounts[path] = [*empty, str(path)]
    mounts |= {p: ["--bind", str(p), str(p)] for p in written}
    closed = [p for p in [*hidden, real(Path("/run"))] if "--tmpfs" in mounts.get(p, ())]
    words = [word for p in sorted(mounts, key=lambda p: len(p.parts)) for word in mounts[p]]
    return words + [word for p in [*closed, Path("/dev")] for word in ("--remount-ro", str(p))]


def real(path: Path) -> Path:
    """Resolve a path as both sandboxes see it: /tmp is /private/tmp on macOS, /var/run is /run on Linux."""
    return Path(os.path.realpath(path))


def _interpreter() -> list[Path]:
    """Return the folders from which the running Python, its packages and their libraries are read."""
    own = [sys.prefix, sys.base_prefix, str(real(Path(sys.executable)).parent)]
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    places = [Path(p) for p in (*own, *sys.path, *libraries)]
    places = [p for p in places if p.is_absolute() and os.path.exists(p)]  # noqa: PTH110 - pathlib raises in locked ones
    return [p for p in places if not any(folder.is_relative_to(real(p)) for folder in (CHECKOUT, Path.cwd()))]


# --- choosing --------------------------------------------------------------------------------------------------------


def select(
    allow_none: bool = False,
    platform: str = sys.platform,
    attempt: Callable[[Sandbox], str | None] | None = None,
    *,
    network: Network = "none",
    forks: bool = False,
) -> Sandbox:
    """Return the sandbox of this machine, or Unconfined with `allow_none` (--no-sandbox).

    `attempt` runs a harmless command in a sandbox and returns why that failed, or None. Raises SandboxError, with what
    to do about it, when it failed.
    """
    if allow_none:
        return Unconfined()
    kind = Seatbelt if platform == "darwin" else Bubblewrap
    sandbox: Sandbox = kind(network=network, forks=forks)
    problem = (attempt or _attempt)(sandbox)
    if problem is None:
        return sandbox
    raise SandboxError(f"candidates cannot be confined here: {_advice(sandbox, problem)}")


def _attempt(sandbox: Sandbox) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            run([*sandbox.prefix([Path(folder)]), sys.executable, "-I", "-S", "-c", "pass"], timeout=30)
        except CommandError as error:
            return "not found" if error.returncode == 127 else error.stderr.strip() or str(error)
    return None


def _advice(sandbox: Sandbox, problem: str) -> str:
    without = "Or run without confinement: --no-sandbox"
    if isinstance(sandbox, Seatbelt):
        if "Operation not permitted" in problem:
            return "this process is already confined by another sandbox, and macOS does not nest them. " + without
        return f"{sandbox.executable} failed: {problem}. {without}"
    if problem == "not found":
        return f"bubblewrap is not installed. Run: sudo apt-get install bubblewrap. {without}"
    return (
        f"bubblewrap is installed and fails ({problem}). A container has to allow user namespaces; on Ubuntu run: "
        f"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0. {without}"
    )


_PROBE = """\
import ctypes, json, os, socket, sys
inside, hidden, port, outside, name, filtered = json.loads(sys.argv[1])
found = []
def refused(what, attempt):
    try:
        attempt()
    except OSError:
        return
    found.append(what)
def write(path):
    with open(path, "w") as file:
        file.write("x")
def connect():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(name)
try:
    import mlx.core as mx
    assert (mx.ones((8, 8)) @ mx.ones((8, 8))).sum().item() == 512
    if mx.metal.is_available():  # a kernel that the system's compiler builds from source
        assert mx.compile(lambda x: 3 * mx.square(x) + 1)(mx.ones(8)).sum().item() == 32
    write(inside)
except Exception as error:
    found.append(f"MLX does not work in it: {type(error).__name__}: {error}")
refused("the network can be reached", lambda: socket.create_connection(("127.0.0.1", port), 2).close())
refused("a socket of another program answers", connect)
refused("a hidden file can be read", lambda: open(hidden).close())
for setting in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/sys/power/state"):
    refused(f"{setting} can be written", lambda: open(setting, "r+").close())
if filtered and ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0:
    found.append("system calls are not filtered")
refused("", lambda: write(outside))
print(json.dumps([what for what in found if what]))
"""


def self_test(sandbox: Sandbox, python: str, write_dir: Path) -> list[str]:
    """Test the confinement in a child and return what is wrong, empty when all is well.

    MLX has to work; the network, another program's socket, a hidden file, the kernel's settings, tracing and a write
    outside have to be refused. The test makes a temporary folder in `write_dir`, where the runs should be as well.
    """
    with (
        tempfile.TemporaryDirectory(dir=write_dir) as name,
        tempfile.TemporaryDirectory() as short,  # since a socket's address has at most 104 bytes
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        address = Path(short, "socket")
        local.bind(str(address))
        local.listen()
        folder, hidden, outside = Path(name) / "run", Path(name) / "hidden", Path(name) / "outside"
        for path in (folder / "tmp", hidden):
            path.mkdir(parents=True)
        (hidden / "val").write_text("secret", "utf-8")
        facts = [str(folder / "inside"), str(hidden / "val"), server.getsockname()[1], str(outside), str(address)]
        facts.append(isinstance(sandbox, Bubblewrap) and filters_calls())
        argv = [*sandbox.prefix([folder], [hidden]), *limits(python), python, "-P", "-c", _PROBE, json.dumps(facts)]
        try:
            done = run(argv, cwd=folder, env=environment(folder), timeout=120)
        except CommandError as error:
            return [f"the test does not run in it: {error}"]
        found = jsonable.from_json(list[str], done.stdout.splitlines()[-1])
        return found + (["a file outside can be written"] if outside.exists() else [])


def prove(sandbox: Sandbox, python: str, write_dir: Path) -> None:
    """Raise SandboxError when the self-test of `sandbox` fails. Unconfined is not tested."""
    if isinstance(sandbox, Unconfined):
        return
    if failures := self_test(sandbox, python, write_dir):
        said = "; ".join(failures)
        raise SandboxError(f"{sandbox.name} does not confine as it should: {said}. To run without it: --no-sandbox")
