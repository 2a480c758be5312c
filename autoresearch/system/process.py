"""The one door to subprocesses: `run` for short commands, `Child` for a long one under supervision. Never a shell.

Everything started here stands in a session of its own, so that Ctrl-C in the terminal reaches the loop alone and the
loop decides what ends. Every child carries MARK in its environment: that is how a descendant is found which left the
process group, and how the next loop finds what a killed loop left running.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from autoresearch.errors import CommandError
from autoresearch.system.pipes import CappedLog, ChildEvent, EventStream

MARK = "AUTORESEARCH_CHILD"  # "<pid of the loop>:<its start, in s>:<child number>", inherited by every descendant
EVENTS_FD = "AUTORESEARCH_EVENTS_FD"  # the child writes its JSON lines to this file descriptor
TICK_S = 0.1  # how often limits are checked while the child is silent
WATCHDOG_S = 1.0  # how often the watchdog is asked
GRACE_S = 2.0  # between SIGTERM and SIGKILL
CLOCK_STEP_S = 5.0  # how far a process's start may seem to move when the system's clock is set
DRAIN_S = 0.5  # how long a pipe that outlives its process is still read
_children = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended. `raw` is stdout's bytes; the texts are UTF-8 with undecodable bytes replaced."""

    argv: tuple[str, ...]
    returncode: int
    raw: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.raw.decode("utf-8", "replace")


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | str = b"",
    timeout: float = 60.0,
    check: bool = True,
) -> Completed:
    """Run a command to its end. `env` is the whole environment (None: ours); stdin holds `input` and then ends.

    Raises CommandError: 127 where there is no such program, 124 after `timeout` seconds, and any other exit code than 0
    unless `check` is False. Ctrl-C ends the command's whole group before it goes on.
    """
    args = tuple(str(a) for a in argv)
    data = input.encode() if isinstance(input, str) else input
    process = _spawn(args, cwd=cwd, env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        try:
            stdout, stderr = process.communicate(data, timeout=timeout)
        except BaseException as error:
            _end_group(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise CommandError(args, 124, stderr=f"no end after {timeout:g} s; killed") from None
    done = Completed(args, process.returncode, stdout, stderr.decode("utf-8", "replace"))
    if check and done.returncode:
        raise CommandError(args, done.returncode, done.stdout, done.stderr)
    return done


def _spawn(args: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(args, stdout=subprocess.PIPE, start_new_session=True, **options)
    except FileNotFoundError as error:
        raise CommandError(args, 127, stderr=f"not found: {error.filename}") from None
    except OSError as error:
        raise CommandError(args, 126, stderr=f"cannot start: {error}") from None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM first: git removes its lock files on it."""
    _signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    _signal_group(process.pid, signal.SIGKILL)


class Child:
    """A supervised process: own session, wall-clock limit, capped log, JSON events stamped with our clock.

    One thread reads both pipes without pause, so that the child never blocks on them, and keeps the limits; it ends
    with the child, and ends the child when the main thread is gone. Use it as a context manager: leaving it, by Ctrl-C
    too, ends the child and all its descendants.

        with Child(argv, cwd=folder, env=env, log_path=folder / "log", limit_s=400) as child:
            for t, event in child.events():
                ...
        child.returncode, child.stopped
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log_path: Path,
        log_limit_bytes: int = 1024 * 1024,
        stdin: Path | None = None,
        limit_s: float | None = None,
        watchdog: Callable[[Child], str | None] | None = None,
    ) -> None:
        """`stdin` is opened here and handed over; without it there is nothing to read.

        `watchdog` is asked once a second, in the supervising thread; what it returns is why the child is ended.
        """
        self.argv = tuple(str(a) for a in argv)
        self.returncode: int | None = None  # negative: the signal that ended it
        self.stopped: str | None = None  # why we ended it; None where it ended by itself
        self.limit_s, self.watchdog = limit_s, watchdog
        self.mark = f"{own_mark()}:{next(_children)}"
        self._wanted: str | None = None
        self._over = threading.Event()
        self._log = CappedLog(log_path, log_limit_bytes)
        read_fd, write_fd = os.pipe()
        try:
            marked = {**env, MARK: self.mark, EVENTS_FD: str(write_fd)}
            with (stdin or Path(os.devnull)).open("rb") as file:
                streams = {"stdin": file, "stderr": subprocess.STDOUT}
                self._process = _spawn(self.argv, cwd=cwd, env=marked, pass_fds=(write_fd,), **streams)
        except BaseException:
            os.close(read_fd)
            self._log.close()
            raise
        finally:
            os.close(write_fd)
        self.pid, self.started = self._process.pid, time.monotonic()
        self._events = EventStream(read_fd)
        threading.Thread(target=self._supervise, name=f"child-{self.pid}").start()

    # --- for the one who waits ---

    def next_event(self, timeout: float | None = None) -> tuple[float, ChildEvent] | None:
        """The next (time.monotonic() of its arrival, event); None after `timeout` seconds, or when none will come."""
        return self._events.get(timeout)

    def events(self) -> Iterator[tuple[float, ChildEvent]]:
        """All events until the child is gone."""
        while (item := self.next_event()) is not None:
            yield item

    @property
    def running(self) -> bool:
        """False once the child is gone and no event of it is waiting."""
        return not self._over.is_set() or self._events.waiting

    @property
    def dropped_events(self) -> int:
        """Lines that were no JSON object, too long, or too many."""
        return self._events.dropped

    @property
    def log_end(self) -> str:
        """The last of what the child printed."""
        return self._log.end.decode("utf-8", "replace")

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, or None when the child still runs after `timeout` seconds."""
        self._over.wait(timeout)
        return self.returncode

    def kill(self, why: str = "stopped") -> None:
        """SIGTERM to the group and all descendants, SIGKILL after GRACE_S; returns when they are gone."""
        self._wanted = self._wanted or why
        self._over.wait()

    def rss_bytes(self) -> int:
        """Resident memory of the child and its descendants; 0 when it is gone."""
        return sum(_rss(p) for p in _family(self.pid))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # --- the supervising thread ---

    def _supervise(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            with self._log, self._events, stdout, selectors.DefaultSelector() as selector:
                selector.register(stdout.fileno(), selectors.EVENT_READ, self._log.write)
                selector.register(self._events.fd, selectors.EVENT_READ, self._events.feed)
                self._pump(selector, self._until_exit())
                self._end_stragglers()
                self._pump(selector, _until_quiet())
        finally:
            if self._process.poll() is None:
                self._signal(signal.SIGKILL)
            self.returncode = self._process.wait()
            self._over.set()

    def _pump(self, selector: selectors.BaseSelector, going_on: Iterator[bool]) -> None:
        """Read what comes, and look after every read and every tick whether to go on."""
        while next(going_on):
            if not selector.get_map():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(TICK_S)
            for key, _ in selector.select(TICK_S) if selector.get_map() else ():
                chunk = os.read(key.fd, 65536)
                if chunk:
                    key.data(chunk)
                else:
                    selector.unregister(key.fd)
            if not selector.get_map() and self._process.returncode is not None:
                return

    def _until_exit(self) -> Iterator[bool]:
        """True until the process has ended, while its limits are kept."""
        killed_at, asked_at = None, self.started
        while self._process.poll() is None:
            now = time.monotonic()
            if killed_at is None and (why := self._reason_to_stop(now, asked=now - asked_at >= WATCHDOG_S)):
                self.stopped, killed_at = why, now
                self._signal(signal.SIGTERM)
            elif killed_at is not None and now - killed_at >= GRACE_S:
                self._signal(signal.SIGKILL)
            if now - asked_at >= WATCHDOG_S:
                asked_at = now
            yield True
        yield False

    def _reason_to_stop(self, now: float, asked: bool) -> str | None:
        if self._wanted:
            return self._wanted
        if self.limit_s is not None and now - self.started > self.limit_s:
            return f"ran longer than its limit of {self.limit_s:g} s"
        if not threading.main_thread().is_alive():
            return "the loop has ended"
        return self.watchdog(self) if asked and self.watchdog else None

    def _signal(self, number: signal.Signals) -> None:
        family = _family(self.pid)
        _signal_group(self.pid, number)
        _signal_each(family, number)

    def _end_stragglers(self) -> None:
        """What the ended process left behind, in its group or (found by the mark) outside."""
        _signal_group(self.pid, signal.SIGKILL)
        _signal_each([p for p, mark in _marked() if mark == self.mark], signal.SIGKILL)


def _until_quiet() -> Iterator[bool]:
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        yield True
    yield False


# --- processes that outlive their parent ---


def end_orphans() -> list[int]:
    """End what a loop that was killed left running; their pids. Call it with the machine's lock held."""
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    orphans = [p for p, mark in _marked() if p.pid not in own and not alive(mark)]
    _signal_each(orphans, signal.SIGKILL)
    psutil.wait_procs(orphans, timeout=GRACE_S)
    return [p.pid for p in orphans]


def own_mark() -> str:
    """A name of this process that no later one has: its number and its start."""
    return f"{os.getpid()}:{psutil.Process().create_time():.2f}"


def alive(mark: str) -> bool:
    """Whether the loop that `mark` names still runs; a process number used again does not count."""
    pid, _, rest = mark.partition(":")
    try:
        started = float(psutil.Process(int(pid)).create_time())
        return abs(started - float(rest.partition(":")[0])) < CLOCK_STEP_S
    except (psutil.Error, ValueError):
        return False


def _marked() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK)
            if mark:
                yield process, mark


def _family(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _signal_each(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
