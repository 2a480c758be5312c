"""Run subprocesses: `run` for short commands, `Child` for a long one under supervision. Nothing here uses a shell.

No other module of the package imports subprocess. Every process starts in a session of its own, so that Ctrl-C in the
terminal reaches only the loop, which then decides what ends. A child carries MARK in its environment, and so do its
descendants: by it the loop finds a descendant that left the process group, and the next loop finds the processes that a
killed loop left behind.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autoresearch.errors import CommandError
from autoresearch.system.family import cpu_s, ended, family, held_bytes, signal_each, signal_group
from autoresearch.system.pipes import CappedLog, ChildEvent, EventStream

if TYPE_CHECKING:
    import psutil

MARK = "AUTORESEARCH_CHILD"  # "<pid of the loop>:<its start, in s>:<child number>", inherited by every descendant
EVENTS_FD = "AUTORESEARCH_EVENTS_FD"  # names the file descriptor to which the child writes its JSON lines
TICK_S = 0.1  # between two checks of the limits while the child is silent
WATCHDOG_S = 1.0  # between two calls of the watchdog
LOOK_S, LOOK_SHARE = 0.25, 0.02  # between two readings of a child's processor time: seconds, share of its age
GRACE_S = 2.0  # between SIGTERM and SIGKILL
CLOCK_STEP_S = 5.0  # a process's start seems to move by as much when the system's clock is set
DRAIN_S = 0.5  # for reading a pipe that another process still holds open after the child has ended
CHUNK_BYTES = 65536
_children = itertools.count(1)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Exit code and output of a command that has ended.

    `raw` holds the bytes of standard output; the texts are UTF-8 with undecodable bytes replaced.
    """

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
) -> CommandResult:
    """Run a command to its end and return its output. `env` is its whole environment; None passes ours on.

    Raises CommandError with code 127 when there is no such program, with 124 when the command has not ended after
    `timeout` seconds, and with the command's own code when that is not 0, unless `check` is False. Ctrl-C ends the
    command's whole process group before KeyboardInterrupt propagates.
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
    done = CommandResult(args, process.returncode, stdout, stderr.decode("utf-8", "replace"))
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
    """Send SIGTERM, on which git removes its lock files, and SIGKILL after GRACE_S."""
    signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    signal_group(process.pid, signal.SIGKILL)


class Child:
    """A supervised process with a wall-clock limit, a capped log, and a stream of JSON events stamped with our clock.

    A thread of its own reads both pipes all the time, so that the child never blocks on them, and enforces the limits.
    It ends with the child, and it ends the child when the main thread has ended. Use a Child as a context manager:
    leaving the block, also by Ctrl-C, ends the child and all its descendants.

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
        pass_fds: Mapping[str, int] | None = None,
        limit_s: float | None = None,
        watchdog: Callable[[Child], str | None] | None = None,
    ) -> None:
        """Start the process. `stdin` is a file to read from; without one, the child reads an end of file at once.

        `pass_fds` are descriptors that it inherits, by the environment variable that tells it the number. They stay
        open here: the caller closes its own, and reads an end of file once the child has closed them too.
        `watchdog` is called once a second in the supervising thread; a reason that it returns ends the child.
        Raises CommandError when the program cannot be started, and OSError when `stdin` cannot be opened.
        """
        self.argv = tuple(str(a) for a in argv)
        self.returncode: int | None = None  # negative: the number of the signal that ended it
        self.stopped: str | None = None  # why we ended it; None when it ended by itself
        self.limit_s, self.watchdog = limit_s, watchdog
        self.mark = f"{own_mark()}:{next(_children)}"
        self._kill_reason: str | None = None  # set by `kill`, acted on by the supervising thread
        self._ended = threading.Event()
        self._log = CappedLog(log_path, log_limit_bytes)
        read_fd, write_fd = os.pipe()
        try:
            passed = {EVENTS_FD: write_fd, **(pass_fds or {})}
            marked = {**env, MARK: self.mark, **{name: str(fd) for name, fd in passed.items()}}
            with (stdin or Path(os.devnull)).open("rb") as file:
                streams = {"stdin": file, "stderr": subprocess.STDOUT}
                fds = tuple(passed.values())
                self._process = _spawn(self.argv, cwd=cwd, env=marked, pass_fds=fds, **streams)
        except BaseException:
            os.close(read_fd)
            self._log.close()
            raise
        finally:
            os.close(write_fd)
        self.pid, self.started = self._process.pid, time.monotonic()
        self._watchdog_called = self.started
        self._looked, self._used_s = self.started, 0.0  # when its processor time was read, and the highest reading
        self._terminated: float | None = None  # when SIGTERM was sent
        self._events = EventStream(read_fd)
        threading.Thread(target=self._supervise, name=f"child-{self.pid}").start()

    # --- methods for the calling thread ---

    def next_event(self, timeout: float | None = None) -> tuple[float, ChildEvent] | None:
        """Return the next event with the time.monotonic() of its arrival.

        Returns None when none arrives within `timeout` seconds, and at once when the child has ended and none is left.
        """
        return self._events.get(timeout)

    def events(self) -> Iterator[tuple[float, ChildEvent]]:
        """Yield all events until the child has ended."""
        while (item := self.next_event()) is not None:
            yield item

    @property
    def running(self) -> bool:
        """Whether the child runs, or events of it have not been read yet."""
        return not self._ended.is_set() or self._events.waiting

    @property
    def dropped_events(self) -> int:
        """How many lines were no JSON object, too long, or too many."""
        return self._events.dropped

    @property
    def log_end(self) -> str:
        """The last few thousand characters that the child printed."""
        return self._log.end.decode("utf-8", "replace")

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the child to end. Return its exit code, or None when it still runs after `timeout` seconds."""
        self._ended.wait(timeout)
        return self.returncode

    def kill(self, why: str = "stopped") -> None:
        """End the child and all its descendants: SIGTERM, after GRACE_S SIGKILL. Return when they have ended."""
        self._kill_reason = self._kill_reason or why
        self._ended.wait()

    def held_bytes(self) -> int:
        """Return the memory that the child and its descendants hold; 0 when it has ended."""
        return held_bytes(self.pid)

    def cpu_s(self) -> float:
        """Return the processor time, in seconds, of the child and its descendants; 0.0 when it has ended."""
        return cpu_s(self.pid)

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
                self._read_until_exit(selector)
                self._end_stragglers()
                _read_rest(selector)
        finally:
            if self._process.poll() is None:
                self._signal(signal.SIGKILL)
            self.returncode = self._process.wait()
            ended.append(self._used_s)
            self._ended.set()

    def _read_until_exit(self, selector: selectors.BaseSelector) -> None:
        while self._process.poll() is None:
            self._enforce_limits(time.monotonic())
            self._look(time.monotonic())
            if selector.get_map():
                _read(selector)
            else:  # the child has closed both pipes
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(TICK_S)

    def _look(self, now: float) -> None:
        """Read the processor time now and then, the rarer the longer it runs: bubblewrap does not pass it on."""
        if sys.platform == "linux" and now - self._looked >= max(LOOK_S, LOOK_SHARE * (now - self.started)):
            self._looked, self._used_s = now, max(self._used_s, self.cpu_s())

    def _enforce_limits(self, now: float) -> None:
        if self._terminated is not None:
            if now - self._terminated >= GRACE_S:
                self._signal(signal.SIGKILL)
        elif why := self._reason_to_end(now):
            self.stopped, self._terminated = why, now
            self._signal(signal.SIGTERM)

    def _reason_to_end(self, now: float) -> str | None:
        if self._kill_reason:
            return self._kill_reason
        if self.limit_s is not None and now - self.started > self.limit_s:
            return f"ran longer than its limit of {self.limit_s:g} s"
        if not threading.main_thread().is_alive():
            return "the loop has ended"
        if self.watchdog is None or now - self._watchdog_called < WATCHDOG_S:
            return None
        self._watchdog_called = now
        return self.watchdog(self)

    def _signal(self, number: signal.Signals) -> None:
        members = family(self.pid)
        signal_group(self.pid, number)
        signal_each(members, number)

    def _end_stragglers(self) -> None:
        """End the processes that the child left behind: its group, and outside of it those that carry its mark."""
        signal_group(self.pid, signal.SIGKILL)
        signal_each([p for p, mark in _marked() if mark == self.mark], signal.SIGKILL)


def _read(selector: selectors.BaseSelector) -> None:
    """Pass on what arrives within a tick, and forget a pipe that was closed."""
    for key, _ in selector.select(TICK_S):
        chunk = os.read(key.fd, CHUNK_BYTES)
        if chunk:
            key.data(chunk)
        else:
            selector.unregister(key.fd)


def _read_rest(selector: selectors.BaseSelector) -> None:
    """Read the pipes to their end; for DRAIN_S at most, since a process that left its session may hold them open."""
    deadline = time.monotonic() + DRAIN_S
    while selector.get_map() and time.monotonic() < deadline:
        _read(selector)


# --- processes that outlive their parent ---


def end_orphans(own_too: bool = False) -> list[int]:
    """End what a killed loop left running, or this one too; return the pids. The caller holds the machine's lock."""
    import psutil

    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    mine = f"{own_mark()}:" if own_too else "none"
    orphans = [p for p, mark in _marked() if p.pid not in own and (mark.startswith(mine) or not alive(mark))]
    signal_each(orphans, signal.SIGKILL)
    psutil.wait_procs(orphans, timeout=GRACE_S)
    return [p.pid for p in orphans]


def own_mark() -> str:
    """Return an identity of this process that no later one shares: "<pid>:<start in seconds>"."""
    import psutil

    return f"{os.getpid()}:{psutil.Process().create_time():.2f}"


def alive(mark: str) -> bool:
    """Return whether the loop that `mark` names still runs; another process with its number does not count."""
    import psutil

    pid, _, rest = mark.partition(":")
    try:
        started = float(psutil.Process(int(pid)).create_time())
        return abs(started - float(rest.partition(":")[0])) < CLOCK_STEP_S
    except (psutil.Error, ValueError):
        return False


def _marked() -> Iterator[tuple[psutil.Process, str]]:
    """Yield every process that carries a mark, with the mark."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK)
            if mark:
                yield process, mark
