"""Notify a person that a candidate was kept, and that the night has ended: `loop.py --notify`."""

from __future__ import annotations

import platform
import shlex
import shutil
import threading
from collections.abc import Sequence

from autoresearch.errors import CommandError, UsageError
from autoresearch.record.night import Night
from autoresearch.records import Say
from autoresearch.system.process import run

APPLE_SCRIPT = ("on run argv", 'display notification (item 1 of argv) with title "autoresearch-metal"', "end run")
LIMIT_S = 20.0  # for the command


def command_for(wanted: str | None, system: str | None = None) -> tuple[str, ...] | None:
    """Return the command to which a message is added as the last argument; None where nobody wants to be told.

    `wanted` is a command line of the person's, or "" for the system's own notifications. Raises UsageError where a
    program of it is not found.
    """
    if wanted is None:
        return None
    try:
        argv = tuple(shlex.split(wanted)) or _system_command(system or platform.system())
    except ValueError as error:
        raise UsageError(f"--notify {wanted}: {error}") from None
    if shutil.which(argv[0]) is None:
        raise UsageError(f"--notify: {argv[0]} is not found. Name a command that takes a message: --notify 'COMMAND'")
    return argv


def _system_command(system: str) -> tuple[str, ...]:
    if system == "Darwin":
        return ("osascript", *(word for line in APPLE_SCRIPT for word in ("-e", line)))
    return ("notify-send", "autoresearch-metal")


class Notifier:
    """Sender of short messages by a command, which runs beside the loop. The first failure is said, and no other."""

    def __init__(self, argv: Sequence[str] | None, say: Say, incumbent_n: int | None = None) -> None:
        self._argv, self._say = argv, say
        self._told_n = incumbent_n  # the incumbent of which the person knows
        self._sending: list[threading.Thread] = []
        self._failed = False

    def decided(self, night: Night) -> None:
        """Tell of a new incumbent, if the last decision made one."""
        x = night.incumbent
        if x is None or x.n == self._told_n:
            return
        self._told_n = x.n
        if x.role == "candidate":
            value = "" if x.estimate is None else f", {night.task.metric.text(x.estimate)}"
            self.send(f"{night.tag}: kept #{x.n} {x.proposal.title}{value}")

    def ended(self, tag: str, text: str) -> None:
        """Tell that the night has ended, and wait until every message is sent."""
        self.send(f"{tag}: {text}")
        for thread in self._sending:
            thread.join(LIMIT_S)

    def send(self, text: str) -> None:
        """Send a message without waiting for it."""
        if self._argv is None:
            return
        thread = threading.Thread(target=self._run, args=([*self._argv, text],), daemon=True)
        self._sending = [t for t in self._sending if t.is_alive()] + [thread]
        thread.start()

    def _run(self, argv: Sequence[str]) -> None:
        try:
            run(argv, timeout=LIMIT_S)
        except CommandError as error:
            if not self._failed:
                self._failed = True
                self._say(f"--notify: {error}")
