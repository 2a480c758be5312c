"""The machine: what it is (`facts`), how it fares at this moment (`sample`), and what its chip could do at best.

Reads only. Every tool is asked through one callable `run`, which gives a command's standard output and an empty string
where the tool is missing or fails; so a Mac's recorded output takes the place of a Mac. Absent is None. Nothing that
names the person or the one machine (host name, serial number, UUID) is ever kept.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from autoresearch.errors import CommandError
from autoresearch.records import MachineState
from autoresearch.system import process

Ask = Callable[[Sequence[str]], str]

TOOL_TIMEOUT_S = 20.0  # system_profiler needs seconds on a busy Mac

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
    """cores(20, 14) -> "20 GPU cores", cores(None, 1) -> "1 CPU core", cores(None, None) -> "? CPU cores"."""
    count, kind = (gpu, "GPU") if gpu else (cpu, "CPU")
    return f"{'?' if count is None else count} {kind} core{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the machine is, and its state when asked. Absent is None, e.g. the battery of a Mac mini."""

    system: str  # "Darwin" or "Linux"
    os: str  # "macOS 26.2"
    chip: str  # "Apple M4 Pro"
    model: str | None  # "Mac16,11"
    gpu_cores: int | None
    cpu_cores: int  # physical; on Linux those that this process may use
    cpu_levels: tuple[tuple[str, int], ...]  # (("Performance", 8), ("Efficiency", 4)); fastest first, empty if unknown
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

    @property
    def memory_gb(self) -> int:
        return round(self.memory_mb / 1024)

    @property
    def apple_silicon(self) -> bool:
        return self.chip.startswith("Apple M")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        """One line, e.g. "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"."""
        return f"{self.chip}, {cores(self.gpu_cores, self.cpu_cores)}, {self.memory_gb} GB, {self.os}"

    def slug(self) -> str:
        """A short stable id of this kind of machine, e.g. "apple-m4-pro-20gpu-24gb": the same for all of its kind."""
        cores = f"{self.gpu_cores}gpu" if self.gpu_cores else f"{self.cpu_cores}cpu"
        chip = re.sub(r"\((R|TM)\)|@.*|\bCPU\b|\bProcessor\b", " ", self.chip, flags=re.IGNORECASE)
        return re.sub(r"[^a-z0-9]+", "-", f"{chip} {cores} {self.memory_gb}gb".lower()).strip("-")


def ask(argv: Sequence[str]) -> str:
    """Standard output of a tool; empty where it is missing, fails to start or does not end.

    The exit code says little: sysctl gives 1 when one of several names is unknown, and prints the others.
    """
    try:
        return process.run(argv, timeout=TOOL_TIMEOUT_S, check=False).stdout
    except CommandError:
        return ""


def swap_mb() -> int:
    """What is swapped out at this moment. Microseconds."""
    return int(psutil.swap_memory().used >> 20)


def facts(run: Ask = ask, system: str | None = None) -> Facts:
    """What this machine is. A second or two on a Mac (system_profiler); ask once a night."""
    system = system or platform.system()
    now = sample(run, system)
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
    )


def sample(run: Ask = ask, system: str | None = None) -> MachineState:
    """Take the state of the machine at this moment. It takes milliseconds; the loop does it around every run."""
    state = _mac_state(run) if (system or platform.system()) == "Darwin" else _linux_state()
    return MachineState(
        monotonic=time.monotonic(),
        since_boot=_since_boot(),
        wall=time.time(),
        free_memory_mb=free_memory_mb(),
        **state,
    )


def free_memory_mb() -> int:
    """What can be had without swapping. Microseconds."""
    return int(psutil.virtual_memory().available >> 20)


def slept_s(before: MachineState, after: MachineState) -> float:
    """Seconds that the machine was asleep between two samples of one boot; a clock set by hand does not count."""
    return max(0.0, (after.since_boot - before.since_boot) - (after.monotonic - before.monotonic))


def _since_boot() -> float:
    """Seconds since boot, sleep included. macOS's CLOCK_MONOTONIC_RAW runs on in sleep; Linux's does not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC_RAW))


# --- macOS ----------------------------------------------------------------------------------------------------------


def _mac_hardware(run: Ask) -> dict[str, Any]:
    sysctl, (hardware, gpu) = _lines(run(SYSCTL)), _profiler(run(PROFILER))
    brand = sysctl.get("machdep.cpu.brand_string", "")  # "Apple processor" on the first macOS for M1
    levels = [
        (sysctl.get(f"hw.perflevel{n}.name", f"level {n}"), int(sysctl[f"hw.perflevel{n}.physicalcpu"]))
        for n in range(3)
        if f"hw.perflevel{n}.physicalcpu" in sysctl
    ]
    cores = sysctl.get("hw.physicalcpu") or _search(r"(\d+)", str(hardware.get("number_processors", "")))
    gpu_cores = _search(r"<key>gpu-core-count</key>\s*<integer>(\d+)", run(GPU)) or gpu.get("sppci_cores")
    release = sysctl.get("kern.osproductversion") or platform.mac_ver()[0]
    return {
        "os": f"macOS {release}".strip(),
        "chip": brand if re.match(r"Apple M\d", brand) else str(hardware.get("chip_type") or brand or "Apple"),
        "model": sysctl.get("hw.model") or hardware.get("machine_model"),
        "gpu_cores": _integer(gpu_cores),
        "cpu_cores": _integer(cores) or os.cpu_count() or 1,
        "cpu_levels": tuple(levels),
        "memory_mb": (_integer(sysctl.get("hw.memsize")) or psutil.virtual_memory().total) >> 20,
        "display": _display(gpu),
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
    """The hardware overview and the Apple GPU of system_profiler's JSON; empty where it cannot be read."""
    try:
        report = json.loads(text)
        overview = (report.get("SPHardwareDataType") or [{}])[0]
        gpus = report.get("SPDisplaysDataType") or [{}]
        return overview, next((g for g in gpus if "Apple" in str(g.get("spdisplays_vendor", ""))), gpus[0])
    except (ValueError, AttributeError, LookupError, TypeError):
        return {}, {}


def _display(gpu: Mapping[str, Any]) -> str | None:
    """Whether any display is lit. A sleeping one stays listed, with `spdisplays_asleep`."""
    if not gpu:
        return None
    online = [d for d in gpu.get("spdisplays_ndrvs") or () if d.get("spdisplays_online") != "spdisplays_no"]
    awake = [d for d in online if d.get("spdisplays_asleep") != "spdisplays_yes"]
    return "on" if awake else "asleep" if online else "none"


def _used_mb(swapusage: str) -> int | None:
    """`total = 2048.00M  used = 1017.50M  free = ...` -> 1017; some languages print a decimal comma."""
    match = re.search(r"used = ([\d.,]+)([KMGT])", swapusage)
    if not match:
        return None
    return int(float(match[1].replace(",", ".")) * 1024.0 ** ("KMGT".index(match[2]) - 1))


# --- Linux ----------------------------------------------------------------------------------------------------------


def _linux_hardware() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    name = _search(r"(?m)^model name\s*:\s*(.+)$", cpuinfo.read_text()) if cpuinfo.is_file() else None
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
    """Physical cores, or those that a container or taskset leaves: what trains on one core is a one-core machine."""
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
        "low_power": profile.read_text().strip() == "low-power" if profile.is_file() else None,
        "thermal": None,
        "memory_pressure": None,
        "swap_mb": swap_mb(),
    }


# --- the chip at its best -------------------------------------------------------------------------------------------

FLOPS_PER_CORE_AND_CYCLE = 256  # 128 multiply-adds in float32
GPU_GHZ = {"M1": 1.296, "M2": 1.398, "M3": 1.387, "M4": 1.664, "M5": 1.5625}
BASE_M1_GHZ = 1.278  # the M1 without a suffix is clocked lower
MATRIX_UNITS = {"M5": 4}  # how much faster 16-bit products are in the GPU's matrix units
MATRIX_UNITS_MACOS = (26, 2)  # the first macOS whose Metal reaches them

# Apple's published figures. A triple: of the smaller GPU of that name, of the full one, and the full one's cores.
BANDWIDTH_GB_S: dict[str, int | tuple[int, int, int]] = {
    "M1": 68, "M1 Pro": 200, "M1 Max": 400, "M1 Ultra": 800,
    "M2": 100, "M2 Pro": 200, "M2 Max": 400, "M2 Ultra": 800,
    "M3": 100, "M3 Pro": 150, "M3 Max": (300, 400, 40), "M3 Ultra": 819,
    "M4": 120, "M4 Pro": 273, "M4 Max": (410, 546, 40),
    "M5": 153, "M5 Pro": 307, "M5 Max": (460, 614, 40),
}  # fmt: skip


def peak_tflops(facts: Facts, dtype: str) -> float | None:
    """The GPU's arithmetic peak in TFLOP/s for float32, float16 or bfloat16; None where it is not known.

    GPU cores * 256 * GHz / 1000. M1 and M2 compute bfloat16 in float32; up to M4 16 bits save memory, not arithmetic.
    Less certain from the M3 on, whose clocks are derived from published TFLOPS.
    """
    name = _chip(facts)
    generation = name.split()[0] if name else ""
    if generation not in GPU_GHZ or not facts.gpu_cores or dtype not in ("float32", "float16", "bfloat16"):
        return None
    ghz = BASE_M1_GHZ if name == "M1" else GPU_GHZ[generation]
    reaches = _release(facts.os) >= MATRIX_UNITS_MACOS and dtype != "float32"
    faster = MATRIX_UNITS.get(generation, 1) if reaches else 1
    return facts.gpu_cores * FLOPS_PER_CORE_AND_CYCLE * ghz / 1000 * faster


def bandwidth_gb_s(facts: Facts) -> float | None:
    """Memory bandwidth in GB/s; None where it is not known."""
    entry = BANDWIDTH_GB_S.get(_chip(facts) or "")
    if isinstance(entry, tuple):
        binned, full, cores = entry
        return float(full if (facts.gpu_cores or 0) >= cores else binned)
    return None if entry is None else float(entry)


def _chip(facts: Facts) -> str | None:
    """`Apple M4 Pro` -> `M4 Pro`."""
    return _search(r"Apple (M\d+(?: (?:Pro|Max|Ultra))?)", facts.chip)


def _release(os_name: str) -> tuple[int, ...]:
    """`macOS 26.2.1` -> (26, 2, 1)."""
    return tuple(int(n) for n in re.findall(r"\d+", os_name))


# --- small parsers --------------------------------------------------------------------------------------------------


def _lines(text: str) -> dict[str, str]:
    """`hw.memsize: 25769803776` a line -> {"hw.memsize": "25769803776"}."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon and value.strip()}


def _search(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1].strip() if match else None


def _integer(text: Any) -> int | None:
    return int(text) if text is not None and str(text).strip().isdecimal() else None


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
