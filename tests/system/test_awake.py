"""The inhibitor runs as long as the loop, whatever ends it; warnings, battery and sleep from recorded Macs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from autoresearch.records import MachineState
from autoresearch.system import awake, machine
from autoresearch.system.awake import Awake
from testbed.recorded import replay
from testbed.toy import ROOT

pytestmark = pytest.mark.slow

# As caffeinate(8) says: with -w it waits for that process to exit.
CAFFEINATE = """#!/bin/sh
echo "$@" > "$CAFFEINATE_CALLS"
while kill -0 "$4" 2>/dev/null; do sleep 0.05; done
"""

LOOP = """
import sys, time
from dataclasses import replace
from pathlib import Path
from autoresearch.system.awake import Awake
with Awake(print, Path(sys.argv[1]), "Darwin") as awake:
    assert awake.active
    print(awake._child.pid, flush=True)
    {body}
"""


@pytest.fixture
def caffeinate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a fake caffeinate at the head of PATH, and return the file to which it writes its arguments."""
    tool = tmp_path / "bin" / "caffeinate"
    tool.parent.mkdir()
    tool.write_text(CAFFEINATE)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CAFFEINATE_CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def gone(pid: int, within_s: float = 5.0) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        with contextlib.suppress(psutil.TimeoutExpired):
            psutil.Process(pid).wait(within_s)
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_held_while_inside_and_gone_afterwards(caffeinate: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with Awake(said.append, tmp_path / "log", "Darwin") as held:
        assert held.active and held.ensure()
        assert held._child is not None
        pid = held._child.pid
    assert not held.active and gone(pid) and said == []
    assert caffeinate.read_text().split() == ["-i", "-s", "-w", str(os.getpid())]  # and never -d


def test_an_inhibitor_that_ended_is_started_again(caffeinate: Path, tmp_path: Path) -> None:
    with Awake(print, tmp_path / "log", "Darwin") as held:
        assert held._child is not None
        first = held._child.pid
        os.kill(first, signal.SIGKILL)
        held._child.wait(5)
        assert not held.active
        assert held.ensure() and held._child.pid != first


def test_an_exception_leaves_nothing_behind(caffeinate: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Awake(print, tmp_path / "log", "Darwin") as held:
        assert held._child is not None
        pid = held._child.pid
        raise ZeroDivisionError
    assert gone(pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "end"),
    [
        ("time.sleep(60)", signal.SIGKILL),
        ("time.sleep(60)", signal.SIGTERM),
        ("time.sleep(60)", signal.SIGINT),
        ("sys.exit(3)", None),
        ("raise RuntimeError", None),
    ],
)
def test_nothing_is_left_however_the_loop_ends(
    caffeinate: Path, tmp_path: Path, body: str, end: signal.Signals | None
) -> None:
    argv = [sys.executable, "-c", LOOP.format(body=body), str(tmp_path / "log")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as loop:
        assert loop.stdout is not None
        pid = int(loop.stdout.readline())
        if end is not None:
            assert psutil.pid_exists(pid)
            loop.send_signal(end)
        loop.wait(10)
    assert gone(pid)


def test_an_inhibitor_that_does_not_work_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "systemd-inhibit"
    tool.write_text("#!/bin/sh\necho 'Failed to connect to bus: No such file or directory' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    with Awake(said.append, tmp_path / "log", "Linux") as held:
        assert not held.active and not held.ensure()
    assert len(said) == 1 and "Failed to connect to bus" in said[0]


def test_a_machine_without_any_inhibitor_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for system in ("Darwin", "Linux"):
        said: list[str] = []
        with Awake(said.append, tmp_path / "log", system) as held:
            assert not held.ensure()
        assert len(said) == 1 and "no caffeinate" in said[0]


@pytest.mark.skipif(sys.platform != "linux", reason="tail --pid is GNU's")
def test_the_inhibitor_waits_for_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "systemd-inhibit"
    tool.write_text('#!/bin/sh\nshift 4\nexec "$@"\n')  # like systemd-inhibit, it runs the command that holds the lock
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    loop = subprocess.Popen(["sleep", "60"])
    argv = awake.inhibitor("Linux", loop.pid)
    assert argv is not None and "sleep:idle" in argv[1]
    with subprocess.Popen(argv) as inhibitor:
        with pytest.raises(subprocess.TimeoutExpired):
            inhibitor.wait(0.3)
        loop.kill()
        loop.wait()
        assert inhibitor.wait(5) == 0


# --- warnings ---

LID_OPEN = (
    '+-o IOPMrootDomain\n    {\n      "AppleClamshellState" = No\n      "AppleClamshellCausesSleep" = Yes\n    }\n'
)
NO_LID = ""


def warn(name: str, lid: str = NO_LID) -> list[str]:
    run = replay(name, {awake.LID: lid})
    return awake.warnings(machine.facts(run, "Darwin"), run)


def test_a_mac_on_battery_is_told_how_long_it_will_last() -> None:
    battery, lid, display = warn("macbook-pro-m3-max", LID_OPEN)
    assert "87%, about 1 h 44 min to the floor of 20%" in battery  # 2:16 for 87%, of which 67% can be used
    assert "keep the lid open" in lid
    assert "pmset displaysleepnow" in display


def test_low_power_mode_is_named_and_no_estimate_is_invented() -> None:
    battery, low_power = warn("macbook-air-m4")
    assert "77%" in battery and "about" not in battery
    assert "low-power mode" in low_power


def test_a_desktop_mac_with_a_sleeping_display_has_nothing_to_fear() -> None:
    assert warn("mac-mini-m4-pro") == []
    assert warn("mac-studio-m2-ultra") == []


@pytest.mark.parametrize(
    ("text", "sleeps"),
    [
        (LID_OPEN, True),
        (LID_OPEN.replace("= Yes", "= No"), False),  # on power with an external display
        ('"AppleClamshellState" = No', True),
        (NO_LID, False),
    ],
)
def test_what_closing_the_lid_would_do(text: str, sleeps: bool) -> None:
    assert awake.lid_sleeps(lambda argv: text) is sleeps


@pytest.mark.parametrize(
    ("system", "wanted", "asks", "says"),
    [
        ("Darwin", True, [("pmset", "displaysleepnow")], "the display is off"),
        ("Darwin", False, [], "--display-off switches it off"),
        ("Linux", True, [], "is for Macs"),
        ("Linux", False, [], ""),
    ],
)
def test_the_display_is_switched_off_where_that_is_wanted(system: str, wanted: bool, asks: list, says: str) -> None:
    asked, said = [], []
    awake.darken(wanted, said.append, system, lambda argv: asked.append(tuple(argv)) or "")
    assert asked == asks and says in "".join(said) and len(said) == bool(says)


# --- battery floor, sleep ---


@pytest.mark.parametrize(
    ("power", "percent", "stops"),
    [("battery", 20, True), ("battery", 21, False), ("battery", 3, True), ("ac", 3, False), ("battery", None, False)],
)
def test_the_battery_floor(power: str, percent: int | None, stops: bool) -> None:
    reason = awake.reason_to_end(replace(moment(0, 0, percent), power=power, thermal="nominal"), 20)
    assert (reason is not None) is stops
    assert reason is None or f"{percent}% (floor 20%)" in reason


def test_a_machine_that_is_about_to_sleep_of_heat_stops() -> None:
    on_mains = replace(moment(0, 0, 100), power="ac")
    assert awake.reason_to_end(replace(on_mains, thermal="sleeping"))
    assert not awake.reason_to_end(replace(on_mains, thermal="trapping"))


def moment(monotonic: float, since_boot: float, percent: int | None, left_s: int | None = None) -> MachineState:
    return MachineState(
        monotonic=monotonic,
        since_boot=since_boot,
        wall=since_boot,
        free_memory_mb=8000,
        power="battery",
        battery_percent=percent,
        battery_left_s=left_s,
    )


def test_the_outlook_follows_the_measured_drain_once_there_is_one() -> None:
    start = moment(0, 0, 90, 36000)
    assert awake.battery_outlook(moment(60, 60, 89, 34200), start) == "89%, about 7 h 21 min to the floor of 20%"
    assert awake.battery_outlook(moment(3600, 3600, 70, 30000), start) == "70%, about 2 h 30 min to the floor of 20%"
    assert awake.battery_outlook(replace(start, power="ac"), start) is None


def test_time_passes_for_real_between_samples() -> None:
    before = machine.sample()
    time.sleep(0.05)
    assert machine.sample().monotonic - before.monotonic >= 0.05
