"""Keep the machine awake while the loop runs, and tell what can still end a night: battery, heat, a closed lid.

On macOS `caffeinate -i -s -w PID` does it, without `-d`, so that the display may sleep: training with a lit display has
rebooted Macs (the GPU's watchdog). On Linux `systemd-inhibit` does it. Both wait for the loop's process and therefore
end with it even when it is killed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path
from typing import Self

from autoresearch.formats import span
from autoresearch.records import MachineState, Say
from autoresearch.system import machine
from autoresearch.system.machine import Ask
from autoresearch.system.process import Child

BATTERY_FLOOR = 20  # percent; the loop stops cleanly there
START_S = 0.5  # an inhibitor that does not work here exits within this time
MEASURED_DRAIN = 2  # percent of battery after which the measured drain is a better guide than the system's estimate

LID = ("ioreg", "-r", "-k", "AppleClamshellState", "-d", "1")
SLEEP_DISPLAY = ("pmset", "displaysleepnow")


class Awake:
    """Context manager in which the machine does not fall asleep by itself.

        with Awake(say, folder / "awake.log") as awake:
            ...
            awake.ensure()  # before each experiment: the inhibitor may have been killed

    Where no inhibitor works, it says so once, and the loop runs without one.
    """

    def __init__(self, say: Say, log: Path, system: str | None = None) -> None:
        self.argv = inhibitor(system or platform.system(), os.getpid())
        self._say, self._log = say, log
        self._child: Child | None = None

    @property
    def active(self) -> bool:
        return self._child is not None and self._child.running

    def ensure(self) -> bool:
        """Start the inhibitor if it does not run. Return whether it runs now."""
        if not self.active and self.argv:
            self._child = Child(self.argv, cwd=Path("/"), env=dict(os.environ), log_path=self._log)
            self._child.wait(START_S)
        return self.active

    def __enter__(self) -> Self:
        if self.argv is None:
            self._say("awake: no caffeinate or systemd-inhibit here; turn automatic sleep off for the night")
        elif not self.ensure():
            said = self._log.read_text("utf-8", "replace").strip() or "it exited without a message"
            self._say(f"awake: {self.argv[0]} cannot hold the machine awake ({said}); turn automatic sleep off")
            self.argv = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill("the loop has ended")


def inhibitor(system: str, pid: int) -> tuple[str, ...] | None:
    """Return the command that keeps the machine awake until process `pid` has ended; None where there is none."""
    if system == "Darwin" and (caffeinate := shutil.which("caffeinate")):
        return (caffeinate, "-i", "-s", "-w", str(pid))
    if system == "Linux" and (inhibit := shutil.which("systemd-inhibit")):
        purpose = ("--what=sleep:idle", "--mode=block", "--who=autoresearch-metal", "--why=an experiment is running")
        return (inhibit, *purpose, "tail", f"--pid={pid}", "-f", "/dev/null")
    return None


def darken(wanted: bool, say: Say, system: str | None = None, run: Ask = machine.ask) -> None:
    """Switch a Mac's display off if that is wanted, else tell how to ask for it."""
    mac = (system or platform.system()) == "Darwin"
    if mac and wanted:
        run(SLEEP_DISPLAY)
        say("the display is off; press any key to turn it on")
    elif mac:
        say("training with the display on has rebooted Macs: --display-off switches it off as a night begins")
    elif wanted:
        say("--display-off is for Macs; on this machine it does nothing")


# --- what can end a night ---------------------------------------------------------------------------------------------


def warnings(facts: machine.Facts, run: Ask = machine.ask, floor: int = BATTERY_FLOOR) -> list[str]:
    """Return what a person should know before leaving the machine alone, one line per warning."""
    found = []
    if facts.power == "battery":
        found.append(f"on battery ({_outlook(machine.sample(run, facts.system), None, floor)}): plug it in")
    if facts.low_power:
        found.append("low-power mode is on and slows training; turn it off in System Settings > Battery")
    if facts.system == "Darwin" and lid_sleeps(run):
        found.append("keep the lid open: closed, this Mac sleeps; only power and an external display keep it awake")
    if facts.display == "on":
        off = " ".join(SLEEP_DISPLAY)
        found.append(f"the display is on; training with the display on has rebooted Macs. To switch it off: {off}")
    return found


def lid_sleeps(run: Ask = machine.ask) -> bool:
    """Return whether closing the lid would put the Mac to sleep now; False for a Mac without a lid."""
    text = run(LID)
    answer = re.search(r'"AppleClamshellCausesSleep" = (Yes|No)', text)
    return answer[1] == "Yes" if answer else '"AppleClamshellState"' in text


def reason_to_end(now: MachineState, floor: int = BATTERY_FLOOR) -> str | None:
    """Return why the night has to end now: the battery is at `floor` percent, or heat is about to put it to sleep."""
    percent = now.battery_percent
    if now.power == "battery" and percent is not None and percent <= floor:
        return f"the battery is at {percent}% (floor {floor}%); plug in and start the same command again"
    if now.thermal == "sleeping":
        return "the machine is about to sleep because of heat; let it cool and start the same command again"
    return None


def battery_outlook(now: MachineState, start: MachineState | None, floor: int = BATTERY_FLOOR) -> str | None:
    """Tell how long the battery will last, e.g. "64%, about 1 h 50 min to the floor of 20%"; None on mains power.

    The measured drain since `start`, an earlier state on battery, is preferred to the system's estimate, which lags
    minutes behind a GPU that has just started to work.
    """
    return _outlook(now, start, floor) if now.power == "battery" else None


def _outlook(now: MachineState, start: MachineState | None, floor: int) -> str:
    percent = now.battery_percent
    if percent is None:
        return "charge unknown"
    left_s = _measured_left(now, start, floor)
    if left_s is None and (estimate_s := now.battery_left_s) and percent > 0:
        left_s = estimate_s * max(0, percent - floor) / percent
    return f"{percent}%" + (f", about {span(left_s)} to the floor of {floor}%" if left_s is not None else "")


def _measured_left(now: MachineState, start: MachineState | None, floor: int) -> float | None:
    """Return the seconds until the battery is at `floor`, extrapolated from its drain since `start`."""
    if start is None or start.power != "battery" or start.battery_percent is None or now.battery_percent is None:
        return None
    used, elapsed = start.battery_percent - now.battery_percent, now.monotonic - start.monotonic
    if used < MEASURED_DRAIN or elapsed <= 0:
        return None
    return max(0, now.battery_percent - floor) * elapsed / used
