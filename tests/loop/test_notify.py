"""Messages to a person who is not looking, by real commands."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.loop.notify import Notifier, command_for
from testbed import nights

NIGHT = nights.night(12)


@pytest.fixture
def inbox(tmp_path: Path) -> tuple[Path, list[str]]:
    """Return a file, and a command that adds its last argument to it as a line."""
    file = tmp_path / "inbox"
    write = f"import sys; open({str(file)!r}, 'a').write(sys.argv[-1] + chr(10))"
    return file, [sys.executable, "-c", write]


def test_each_new_incumbent_is_told_once_and_the_end_waits_for_every_message(inbox: tuple[Path, list[str]]) -> None:
    file, argv = inbox
    said: list[str] = []
    notifier = Notifier(argv, said.append, incumbent_n=0)
    best = NIGHT.incumbent
    assert best is not None and best.role == "candidate" and best.estimate is not None
    notifier.decided(replace(NIGHT, incumbent_n=0))
    notifier.decided(NIGHT)
    notifier.decided(NIGHT)
    notifier.ended("nov23", "finished; 12 experiments")
    kept = f"nov23: kept #{best.n} {best.proposal.title}, val_bpb {best.estimate:.6f}"
    assert sorted(file.read_text().splitlines()) == sorted([kept, "nov23: finished; 12 experiments"])
    assert said == []


def test_a_failing_command_is_said_once_and_ends_nothing() -> None:
    said: list[str] = []
    notifier = Notifier([sys.executable, "-c", "raise SystemExit(3)"], said.append)
    notifier.send("one")
    notifier.send("two")
    notifier.ended("nov23", "finished")
    assert len(said) == 1 and said[0].startswith("--notify: ") and "exited with 3" in said[0]


def test_a_slow_command_does_not_hold_up_the_loop() -> None:
    notifier = Notifier([sys.executable, "-c", "import time; time.sleep(1)"], print)
    began = time.monotonic()
    notifier.send("one")
    assert time.monotonic() - began < 0.9


def test_the_command_is_checked_before_the_night() -> None:
    assert command_for(None) is None
    assert command_for(f"{sys.executable} -c 'pass now'") == (sys.executable, "-c", "pass now")
    for wrong in ("no-such-program --to me", "curl 'unbalanced"):
        with pytest.raises(UsageError, match="--notify"):
            command_for(wrong)


def test_nobody_is_told_where_nobody_asked() -> None:
    Notifier(None, print).ended("nov23", "finished")


@pytest.mark.parametrize(("system", "program"), [("Darwin", "osascript"), ("Linux", "notify-send")])
def test_without_a_command_the_systems_own_notifications_are_used(
    system: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / program).write_text("#!/bin/sh\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    argv = command_for("", system)
    assert argv is not None and argv[0] == program
