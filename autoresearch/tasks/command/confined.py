"""Run one command of a task in the sandbox and observe what it prints, how it ends and what it uses.

The command's parent is a small program of ours inside the sandbox. It reads the clock before the command starts and
after it has ended, so that the sandbox's own start does not count; it adopts and ends what the command leaves behind,
and reports the processor time and the memory of all of them. The command cannot reach it: it inherits no descriptor
of the report, and no process may open those of another that is not dumpable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from autoresearch.errors import CommandError
from autoresearch.formats import printable
from autoresearch.measure import run_folder
from autoresearch.measure.workbench import FREE_DISK
from autoresearch.system.family import family, held_bytes
from autoresearch.system.limits import environment, limits
from autoresearch.system.pipes import CappedLog
from autoresearch.system.process import Child
from autoresearch.system.sandbox import Sandbox

STDOUT_FD = "AUTORESEARCH_STDOUT_FD"  # names the descriptor that becomes the command's standard output
PRINTED_BYTES = 2 * 2**20  # of standard output that are kept: the first half and the last
LOG_BYTES = 256 * 1024  # of standard error
MEMORY_SHARE = 0.9  # of the machine's memory that a command may hold
OPEN_FILES = 4096
FILE_BYTES = 4 * 2**30  # of the largest file that a command can write
DETAIL_CHARS = 1500  # of a log that a failure shows
WRITTEN_BYTES, WRITTEN_FILES = 8 * 2**30, 50_000  # that a command may write
DRAIN_S = 5.0  # for reading what is left of the output after the command has ended
STARTING_S = 10.0  # that the sandbox may take beside the command's own time

_OBSERVER = """\
import ctypes, json, os, resource, signal, sys, time
report, out = (int(os.environ.pop(name)) for name in ("AUTORESEARCH_EVENTS_FD", "AUTORESEARCH_STDOUT_FD"))
os.set_inheritable(report, False)
os.dup2(out, 1)
os.close(out)
linux = sys.platform == "linux"
if linux:
    libc = ctypes.CDLL(None)
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: nobody may look into this process or open its descriptors
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what the command leaves behind becomes a child of this one
command, limit = sys.argv[2:], float(sys.argv[1])
begun = time.monotonic()
try:
    pid = os.posix_spawnp(command[0], command, os.environ)
except OSError as error:
    sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\\n")
    os._exit(127)
signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
signal.setitimer(signal.ITIMER_REAL, limit, 0.1)
while True:
    ended, status = os.wait()
    if ended == pid:
        break
wall = time.monotonic() - begun
signal.setitimer(signal.ITIMER_REAL, 0)
if linux:  # the others of this process namespace; where there is none, the loop ends them
    while True:
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                for left in file.read().split():
                    os.kill(int(left), signal.SIGKILL)
            os.wait()
        except (OSError, ValueError):
            break
used = resource.getrusage(resource.RUSAGE_CHILDREN)
code = os.waitstatus_to_exitcode(status)
unit = 1024 if linux else 1
facts = {"code": code, "wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "rss_bytes": used.ru_maxrss * unit}
os.write(report, (json.dumps(facts) + "\\n").encode())
os._exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What holds for every command of a task on this machine."""

    sandbox: Sandbox
    judging: Sandbox | None = None  # of what never runs a candidate's code: it may always talk to servers of its own
    hide: tuple[Path, ...] = ()  # the person's folder and the state, of which a command sees its own tree alone
    read: tuple[Path, ...] = ()  # what all commands may read in spite of that: linked folders
    env: Mapping[str, str] | None = None  # the task's own variables


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended. `code` is negative for a signal, None where we ended it."""

    code: int | None
    printed: str = ""  # on standard output
    log: str = ""  # the end of standard error
    stopped: str | None = None  # why we ended it
    late: bool = False  # it was ended at its limit
    excess: str | None = None  # "memory" or "disk", where it took too much of that
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_rss_mb: float | None = None  # of the largest process, or of all together where that is more

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def how(self) -> str:
        """How it ended, for a person: "exited with 1"."""
        if self.stopped is not None:
            return self.stopped
        code = self.code or 0
        return f"exited with {code}" if code >= 0 else f"was killed by signal {-code}"

    @property
    def detail(self) -> str:
        """The end of what it printed, standard error last."""
        both = "\n".join(text.strip() for text in (self.printed[-DETAIL_CHARS:], self.log) if text.strip())
        return printable(both, "\n")[-DETAIL_CHARS:]

    @property
    def last_line(self) -> str:
        """What it said last: on standard error, else on standard output."""
        lines = [line.strip() for text in (self.log, self.printed) for line in text.splitlines()[::-1] if line.strip()]
        return printable(lines[0]) if lines else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One command to run: its words, where, and what it may see and write."""

    argv: Sequence[str]
    cwd: Path
    scratch: Path  # its HOME and TMPDIR
    log: Path  # standard error; standard output goes beside it, to NAME.out
    limit_s: float
    write: tuple[Path, ...] = ()
    read: tuple[Path, ...] = ()
    env: Mapping[str, str] | None = None


def execute(order: Call, around: Confinement) -> Ended:
    """Run a command to its end, or to its limit, and end everything that it started."""
    order.scratch.mkdir(parents=True, exist_ok=True)
    prefix = around.sandbox.prefix([*order.write, order.scratch], around.hide, [order.cwd, *order.read, *around.read])
    observer = [sys.executable, "-I", "-S", "-c", _OBSERVER, str(order.limit_s)]
    argv = [*prefix, *limits(file_bytes=FILE_BYTES, open_files=OPEN_FILES), *observer, *order.argv]
    own = {"HOME": str(order.scratch), "TMPDIR": str(order.scratch)}
    env = environment(order.scratch, {**own, **(around.env or {}), **(order.env or {})})
    printed, watch = _Printed(order.log.with_suffix(".out")), _Watch(order)
    try:
        try:
            child = Child(
                argv,
                cwd=order.cwd,
                env=env,
                log_path=order.log,
                log_limit_bytes=LOG_BYTES,
                pass_fds={STDOUT_FD: printed.write_fd},
                limit_s=order.limit_s + STARTING_S,
                watchdog=watch,
            )
        finally:
            printed.begin()
        with child:
            facts = [event for _, event in child.events()]
    except CommandError as error:
        return Ended(code=127, log=str(error))
    ended = _ended(child, facts, printed.text(), order.limit_s)
    if ended.peak_rss_mb is None:
        return ended
    return replace(ended, peak_rss_mb=max(ended.peak_rss_mb, watch.peak_bytes / 2**20))


class _Watch:
    """Look at a running command once a second: what it holds, all its processes together, and what it writes."""

    def __init__(self, order: Call) -> None:
        written = (*order.write, order.scratch)
        self.folders = [folder for folder in written if folder != order.cwd]  # a tree holds much itself
        self.cwd = order.cwd
        self.peak_bytes = 0

    def __call__(self, child: Child) -> str | None:
        """Return why the command takes too much of the machine, None where it does not."""
        held, most = _held_bytes(child.pid), MEMORY_SHARE * psutil.virtual_memory().total
        self.peak_bytes = max(self.peak_bytes, held)
        if held > most:
            return f"memory: it held {held / 2**30:.1f} GB (limit {most / 2**30:.1f} GB)"
        found = [run_folder.written(folder, WRITTEN_FILES) for folder in self.folders]
        size, files = sum(size for size, _ in found), sum(files for _, files in found)
        if size > WRITTEN_BYTES or files > WRITTEN_FILES:
            allowed = f"{WRITTEN_BYTES // 2**30} GB and {WRITTEN_FILES:,} files"
            return f"disk: it wrote {size / 2**30:.1f} GB in {files:,} files (limit {allowed})"
        if (free := shutil.disk_usage(self.cwd).free) < FREE_DISK:
            return f"disk: only {free / 2**20:.0f} MB of disk are left"
        return None


def _held_bytes(pid: int) -> int:
    """Return the memory of the command's processes, without the observer's and the sandbox's own."""
    for process in family(pid):
        with contextlib.suppress(psutil.Error):
            if _OBSERVER in process.cmdline() and process.name() != "bwrap" and process.children():
                return sum(held_bytes(child.pid) for child in process.children())
    return 0


def _ended(child: Child, facts: list[Mapping[str, object]], printed: str, limit_s: float) -> Ended:
    """Combine what the observer reported with how its own process ended."""
    ended = Ended(code=None, printed=printed, log=child.log_end)
    too_late = f"did not end within its {limit_s:g} s"
    match facts:
        case [{"code": int(code), "wall_s": float(wall_s), "cpu_s": float(cpu_s), "rss_bytes": int(rss)}]:
            ended = replace(ended, code=code, wall_s=wall_s, cpu_s=cpu_s, peak_rss_mb=rss / 2**20)
            return replace(ended, code=None, stopped=too_late, late=True) if wall_s >= limit_s else ended
    if child.stopped is None:
        return replace(ended, code=child.returncode or 1)
    what, _, how = child.stopped.partition(": ")
    if how and what in ("memory", "disk"):
        return replace(ended, stopped=how, excess=what)
    late = "limit" in child.stopped
    return replace(ended, stopped=too_late if late else child.stopped, late=late)


class _Printed:
    """Reader of a command's standard output: it never blocks the command, and keeps a limited part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = CappedLog(path, PRINTED_BYTES)
        self._read_fd, self.write_fd = os.pipe()
        self._thread = threading.Thread(target=self._drain, name="printed", daemon=True)

    def begin(self) -> None:
        """Read from now on: the child has its own copy of the other end, or was never started."""
        os.close(self.write_fd)
        self._thread.start()

    def text(self) -> str:
        """Return what is kept of the output, or its end where a process that nobody could end holds it open."""
        self._thread.join(DRAIN_S)
        kept = self._log.end if self._thread.is_alive() else self._path.read_bytes()
        return kept.decode("utf-8", "replace")

    def _drain(self) -> None:
        with self._log, os.fdopen(self._read_fd, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                self._log.write(chunk)
