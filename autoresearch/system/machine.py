"""Find out what this machine is (`facts`) and how it is doing at this moment (`sample`). Nothing is changed.

Tools are called through one parameter `run`, which returns a command's standard output, or an empty string when the
tool is missing or fails; tests pass the recorded output of Macs. A fact that no tool tells is None. Nothing that
identifies the person or the individual machine is kept: no host name, serial number or UUID.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from autoresearch.errors import CommandError
from autoresearch.formats import counted
from autoresearch.records import MachineState
from autoresearch.system import gpu, load, process

Ask = Callable[[Sequence[str]], str]  # a command -> its standard output; "" when it fails

TOOL_TIMEOUT_S = 20.0  # system_profiler takes seconds on a busy Mac

SYSCTL = (
    "sysctl",
    "machdep.cpu.brand_string",
    "kern.osproductversion",
    "hw.model",
    "hw.memsize",
    "hw.physicalcpu",
    *(f"hw.perflevel{level}.{key}" for level in range(3) for key in ("name", "physicalcpu")),
)
SYSCTL_MEMORY = ("sysctl", "vm.swapusage", "kern.memorystatus_vm_pressure_level")
PROFILER = ("system_profiler", "-json", "SPHardwareDataType", "SPDisplaysDataType")
GPU = ("ioreg", "-a", "-r", "-d1", "-c", "AGXAccelerator")
BATTERY = ("pmset", "-g", "batt")
POWER = ("pmset", "-g")
THERMAL = ("notifyutil", "-g", "com.apple.system.thermalpressurelevel")
OLLAMA = ("ollama", "--version")

THERMAL_LEVELS = ("nominal", "moderate", "heavy", "trapping", "sleeping")  # libkern/OSThermalNotification.h, macOS
PRESSURE_LEVELS = {1: "normal", 2: "warning", 4: "critical"}  # kern.memorystatus_vm_pressure_level
LOW_POWER = 1  # `powermode`: 0 automatic, 1 low, 2 high


def cores(gpu: int | None, cpu: int | None) -> str:
    """Name the cores of a machine: those of its GPU, where their number is known, else those of its CPU.

    cores(20, 14) -> "20 GPU cores", cores(None, 1) -> "1 CPU core", cores(None, None) -> "? CPU cores"
    """
    count, kind = (gpu, "GPU") if gpu else (cpu, "CPU")
    return f"? {kind} cores" if count is None else counted(count, f"{kind} core")


@dataclass(frozen=True, slots=True)
class Facts:
    """Description of the machine, with its state at the start. None stands for what is not there or not known."""

    system: str  # "Darwin" or "Linux"
    os: str  # "macOS 26.2"
    chip: str  # "Apple M4 Pro"
    model: str | None  # "Mac16,11"
    gpu_cores: int | None
    cpu_cores: int  # physical; on Linux those that this process may use
    cpu_levels: tuple[tuple[str, int], ...]  # (("Performance", 8), ("Efficiency", 4)); fastest first
    memory_mb: int
    python: str
    mlx: str | None
    ollama: str | None
    power: str | None  # "ac" or "battery"
    battery_percent: int | None  # None: there is no battery
    low_power: bool | None
    thermal: str | None  # one of THERMAL_LEVELS
    display: str | None  # "on", "asleep" or "none"
    free_memory_mb: int
    swap_mb: int | None
    gpu: str | None = None  # "NVIDIA H100 80GB HBM3": one that is not part of the chip
    gpu_memory_mb: int | None = None  # of that GPU

    @property
    def training_memory_mb(self) -> int:
        """The memory that a training can have: the GPU's own, where it has one, else the machine's."""
        return self.gpu_memory_mb or self.memory_mb

    @property
    def memory_gb(self) -> int:
        return round(self.training_memory_mb / 1024)

    @property
    def apple_silicon(self) -> bool:
        return self.chip.startswith("Apple M")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Facts:
        """Return the facts that `to_dict` gave and JSON stored, which leaves out what is None."""
        known: dict[str, Any] = {f.name: stored.get(f.name) for f in fields(cls)}
        levels = tuple((str(name), int(number)) for name, number in known.pop("cpu_levels") or ())
        return cls(**known, cpu_levels=levels)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        """Describe the machine in one line, e.g. "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"."""
        found = self.gpu or f"{self.chip}, {cores(self.gpu_cores, self.cpu_cores)}"
        return f"{found}, {self.memory_gb} GB, {self.os}"

    def slug(self) -> str:
        """Return an id that all machines of this kind share, e.g. "apple-m4-pro-20gpu-24gb"."""
        if self.gpu:
            return re.sub(r"[^a-z0-9]+", "-", f"{self.gpu} {self.memory_gb}gb".lower()).strip("-")
        cores = f"{self.gpu_cores}gpu" if self.gpu_cores else f"{self.cpu_cores}cpu"
        chip = re.sub(r"\((R|TM)\)|@.*|\bCPU\b|\bProcessor\b", " ", self.chip, flags=re.IGNORECASE)
        return re.sub(r"[^a-z0-9]+", "-", f"{chip} {cores} {self.memory_gb}gb".lower()).strip("-")


def ask(argv: Sequence[str]) -> str:
    """Return a tool's standard output; empty when it is missing, cannot start or does not end in time.

    The exit code is ignored: sysctl exits with 1 when it knows all names but one, and prints the others.
    """
    try:
        return process.run(argv, timeout=TOOL_TIMEOUT_S, check=False).stdout
    except CommandError:
        return ""


def swap_mb() -> int:
    """Return the swap in use. It takes microseconds."""
    return int(psutil.swap_memory().used >> 20)


def facts(run: Ask = ask, system: str | None = None) -> Facts:
    """Describe this machine. On a Mac it takes a second or two (system_profiler), so call it once a night."""
    system = system or platform.system()
    now = sample(run, system)
    found = gpu.find() if system == "Linux" else None
    return Facts(
        system=system,
        python=platform.python_version(),
        mlx=_installed("mlx"),
        ollama=_search(r"(\d+\.\d+\.\d+\S*)", run(OLLAMA)),
        **(_mac_hardware(run) if system == "Darwin" else _linux_hardware()),
        power=now.power,
        battery_percent=now.battery_percent,
        low_power=now.low_power,
        thermal=now.thermal,
        free_memory_mb=now.free_memory_mb,
        swap_mb=now.swap_mb,
        gpu=found.name if found else None,
        gpu_memory_mb=found.memory_mb if found else None,
    )


def sample(run: Ask = ask, system: str | None = None) -> MachineState:
    """Take the state of the machine at this moment. It takes milliseconds; the loop does it around every run."""
    state = _mac_state(run) if (system or platform.system()) == "Darwin" else _linux_state()
    return MachineState(
        monotonic=time.monotonic(),
        since_boot=_since_boot(),
        wall=time.time(),
        free_memory_mb=free_memory_mb(),
        others_cpu_s=load.others_cpu_s() / (psutil.cpu_count() or 1),
        **state,
    )


def free_memory_mb() -> int:
    """Return the memory available without swapping. It takes microseconds."""
    return int(psutil.virtual_memory().available >> 20)


def slept_s(before: MachineState, after: MachineState) -> float:
    """Return for how many seconds the machine slept between two samples of one boot.

    It compares a clock that counts sleep with one that does not, so setting the wall clock has no effect.
    """
    return max(0.0, (after.since_boot - before.since_boot) - (after.monotonic - before.monotonic))


def _since_boot() -> float:
    """Return the seconds since boot, sleep included. CLOCK_MONOTONIC_RAW counts sleep on macOS, and not on Linux."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC_RAW))


# --- macOS ----------------------------------------------------------------------------------------------------------


def _mac_hardware(run: Ask) -> dict[str, Any]:
    sysctl, (hardware, screen) = _lines(run(SYSCTL)), _profiler(run(PROFILER))
    brand = sysctl.get("machdep.cpu.brand_string", "")  # "Apple processor" on the first macOS for M1
    levels = [
        (sysctl.get(f"hw.perflevel{n}.name", f"level {n}"), int(sysctl[f"hw.perflevel{n}.physicalcpu"]))
        for n in range(3)
        if f"hw.perflevel{n}.physicalcpu" in sysctl
    ]
    cores = sysctl.get("hw.physicalcpu") or _search(r"(\d+)", str(hardware.get("number_processors", "")))
    gpu_cores = _search(r"<key>gpu-core-count</key>\s*<integer>(\d+)", run(GPU)) or screen.get("sppci_cores")
    release = sysctl.get("kern.osproductversion") or platform.mac_ver()[0]
    return {
        "os": f"macOS {release}".strip(),
        "chip": brand if re.match(r"Apple M\d", brand) else str(hardware.get("chip_type") or brand or "Apple"),
        "model": sysctl.get("hw.model") or hardware.get("machine_model"),
        "gpu_cores": _integer(gpu_cores),
        "cpu_cores": _integer(cores) or os.cpu_count() or 1,
        "cpu_levels": tuple(levels),
        "memory_mb": (_integer(sysctl.get("hw.memsize")) or psutil.virtual_memory().total) >> 20,
        "display": _display(screen),
    }


def _mac_state(run: Ask) -> dict[str, Any]:
    battery, settings, memory = run(BATTERY), run(POWER), _lines(run(SYSCTL_MEMORY))
    source = _search(r"drawing from '(AC|Battery|UPS) Power'", battery)
    level = _integer(_search(r"thermalpressurelevel (\d+)", run(THERMAL)))
    pressure = _integer(memory.get("kern.memorystatus_vm_pressure_level"))
    mode = _search(r"(?m)^\s*(?:low)?powermode\s+(\d)", settings)
    left = re.search(r"discharging; (\d+):(\d\d) remaining", battery)  # "(no estimate)" for the first minutes
    return {
        "power": {"AC": "ac", "Battery": "battery", "UPS": "battery"}.get(source or ""),
        "battery_percent": _integer(_search(r"InternalBattery\S*.*?(\d+)%", battery)),
        "battery_left_s": int(left[1]) * 3600 + int(left[2]) * 60 if left else None,
        "low_power": None if mode is None else int(mode) == LOW_POWER,
        "thermal": THERMAL_LEVELS[level] if level is not None and level < len(THERMAL_LEVELS) else None,
        "memory_pressure": PRESSURE_LEVELS.get(pressure or 0),
        "swap_mb": _used_mb(memory.get("vm.swapusage", "")),
    }


def _profiler(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the hardware overview and the Apple GPU from system_profiler's JSON; empty when it cannot be read."""
    try:
        report = json.loads(text)
        overview = (report.get("SPHardwareDataType") or [{}])[0]
        gpus = report.get("SPDisplaysDataType") or [{}]
        return overview, next((g for g in gpus if "Apple" in str(g.get("spdisplays_vendor", ""))), gpus[0])
    except (ValueError, AttributeError, LookupError, TypeError):
        return {}, {}


def _display(screen: Mapping[str, Any]) -> str | None:
    """Return "on" when a display is lit, "asleep" when all are (system_profiler still lists these), else "none"."""
    if not screen:
        return None
    online = [d for d in screen.get("spdisplays_ndrvs") or () if d.get("spdisplays_online") != "spdisplays_no"]
    awake = [d for d in online if d.get("spdisplays_asleep") != "spdisplays_yes"]
    return "on" if awake else "asleep" if online else "none"


def _used_mb(swapusage: str) -> int | None:
    """Parse sysctl's vm.swapusage; some languages print a decimal comma.

    _used_mb("total = 2048.00M  used = 1017.50M  free = ...") -> 1017
    """
    match = re.search(r"used = ([\d.,]+)([KMGT])", swapusage)
    if not match:
        return None
    return int(float(match[1].replace(",", ".")) * 1024.0 ** ("KMGT".index(match[2]) - 1))


# --- Linux ----------------------------------------------------------------------------------------------------------


def _linux_hardware() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    name = _search(r"(?m)^model name\s*:\s*(.+)$", cpuinfo.read_text("utf-8", "replace")) if cpuinfo.is_file() else None
    return {
        "os": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "chip": " ".join((name or platform.machine() or "unknown").split()),
        "model": None,
        "gpu_cores": None,
        "cpu_cores": usable_cores(),
        "cpu_levels": (),
        "memory_mb": psutil.virtual_memory().total >> 20,
        "display": None,
    }


def usable_cores() -> int:
    """Return the number of physical cores, or of those that a container or taskset lets this process use."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if sys.platform == "linux":
        return min(physical, len(os.sched_getaffinity(0)))
    return physical


def _linux_state() -> dict[str, Any]:
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    profile = Path("/sys/firmware/acpi/platform_profile")
    return {
        "power": "battery" if battery and battery.power_plugged is False else "ac",
        "battery_percent": round(battery.percent) if battery else None,
        "battery_left_s": battery.secsleft if battery and battery.secsleft > 0 else None,
        "low_power": profile.read_text("utf-8", "replace").strip() == "low-power" if profile.is_file() else None,
        "thermal": None,
        "memory_pressure": None,
        "swap_mb": swap_mb(),
    }


# --- small parsers --------------------------------------------------------------------------------------------------


def _lines(text: str) -> dict[str, str]:
    """Parse lines such as `hw.memsize: 25769803776` -> {"hw.memsize": "25769803776"}."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon and value.strip()}


def _search(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1].strip() if match else None


def _integer(text: Any) -> int | None:
    return int(text) if text is not None and str(text).strip().isdecimal() else None


def _installed(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # here: it takes long to load

    try:
        return version(package)
    except PackageNotFoundError:
        return None
