"""Machine facts from recorded output of nine Macs, from this machine, and from tools that print nonsense."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch import jsonable
from autoresearch.records import MachineState
from autoresearch.system import machine
from testbed.recorded import FOLDER, MACHINES, replay

M4_PRO = machine.facts(replay("mac-mini-m4-pro"), "Darwin")

DESCRIBED = {
    "mac-m6": "Apple M6, 10 GPU cores, 32 GB, macOS 27.0.1",
    "mac-mini-m4-pro": "Apple M4 Pro, 16 GPU cores, 24 GB, macOS 26.2",
    "mac-studio-m2-ultra": "Apple M2 Ultra, 60 GPU cores, 64 GB, macOS 26.5",
    "macbook-air-m1": "Apple M1, 8 GPU cores, 16 GB, macOS 12.2.1",
    "macbook-air-m4": "Apple M4, 10 GPU cores, 16 GB, macOS 15.5",
    "macbook-pro-m1-max": "Apple M1 Max, 32 GPU cores, 64 GB, macOS 26.6.2",
    "macbook-pro-m3-max": "Apple M3 Max, 30 GPU cores, 36 GB, macOS 14.4",
    "macbook-pro-m5-max": "Apple M5 Max, 40 GPU cores, 128 GB, macOS 26.3.1",
    "macbook-pro-m5-pro": "Apple M5 Pro, 16 GPU cores, 48 GB, macOS 27.0",
}

# power, battery, low power, thermal, display, swap in MB, Ollama
STATES = {
    "mac-m6": ("ac", 64, False, "nominal", "on", 0, "0.20.2"),
    "mac-mini-m4-pro": ("ac", None, False, "nominal", "asleep", 11947, "0.13.0"),
    "mac-studio-m2-ultra": ("ac", None, None, "nominal", "none", 11625, "0.12.3"),
    "macbook-air-m1": ("ac", 80, False, "nominal", "on", 1017, "0.5.4"),
    "macbook-air-m4": ("battery", 77, True, "trapping", "asleep", 512, "0.9.6"),
    "macbook-pro-m1-max": ("ac", 100, False, "moderate", "on", 0, "0.7.1"),
    "macbook-pro-m3-max": ("battery", 87, False, "heavy", "on", 124, None),
    "macbook-pro-m5-max": ("ac", 100, False, "nominal", "on", 100, "0.15.0"),
    "macbook-pro-m5-pro": ("ac", 33, True, None, None, None, "0.14.1-rc2"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_facts_of_every_recorded_machine(name: str) -> None:
    facts = machine.facts(replay(name), "Darwin")
    assert facts.describe() == DESCRIBED[name]
    assert (
        facts.power,
        facts.battery_percent,
        facts.low_power,
        facts.thermal,
        facts.display,
        facts.swap_mb,
        facts.ollama,
    ) == STATES[name]
    assert sum(count for _, count in facts.cpu_levels) == facts.cpu_cores
    assert facts.apple_silicon
    assert json.loads(json.dumps(facts.to_dict()))["chip"] == facts.chip


def test_cores_by_level_are_read_by_name_and_not_assumed() -> None:
    m5, m6 = (machine.facts(replay(name), "Darwin") for name in ("macbook-pro-m5-max", "mac-m6"))
    assert m5.cpu_levels == (("Super", 6), ("Performance", 12))
    assert m6.cpu_levels == (("Super", 2), ("Performance", 4), ("Efficiency", 6))
    assert machine.facts(replay("macbook-air-m1"), "Darwin").cpu_levels == (("level 0", 4), ("level 1", 4))


def test_gpu_cores_come_from_system_profiler_where_ioreg_is_silent() -> None:
    assert (FOLDER / "macbook-air-m4" / "ioreg.txt").read_text() == ""
    assert machine.facts(replay("macbook-air-m4"), "Darwin").gpu_cores == 10


def test_a_translated_python_still_learns_the_chip() -> None:
    sysctl = (FOLDER / "mac-mini-m4-pro" / "sysctl.txt").read_text().replace("Apple M4 Pro", "VirtualApple @ 2.50GHz")
    facts = machine.facts(replay("mac-mini-m4-pro", {machine.SYSCTL: sysctl}), "Darwin")
    assert facts.chip == "Apple M4 Pro"


@pytest.mark.parametrize(
    ("settings", "low_power"),
    [
        (" lowpowermode         1\n", True),
        (" lowpowermode         0\n", False),
        (" powermode            1\n", True),
        (" powermode            2\n", False),
        (" hibernatemode        3\n", None),
    ],
)
def test_low_power_mode_in_both_spellings(settings: str, low_power: bool | None) -> None:
    assert machine.sample(replay("mac-mini-m4-pro", {machine.POWER: settings}), "Darwin").low_power is low_power


def test_slugs_tell_kinds_of_machines_apart_and_name_nobody() -> None:
    slugs = {name: machine.facts(replay(name), "Darwin").slug() for name in MACHINES}
    assert slugs["mac-mini-m4-pro"] == "apple-m4-pro-16gpu-24gb"
    assert len(set(slugs.values())) == len(MACHINES)
    assert replace(M4_PRO, os="macOS 27.0", power="battery", mlx="9").slug() == M4_PRO.slug()
    intel = replace(M4_PRO, chip="Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", gpu_cores=None, cpu_cores=28)
    assert intel.slug() == "intel-xeon-e5-2680-v4-28cpu-24gb"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_recordings_hold_nothing_that_identifies_a_machine(path: Path) -> None:
    text = path.read_text().lower()
    assert not any(word in text for word in ('"serial', "serial_number", "uuid", "udid", "serial-number"))


# --- tools that fail ---


def test_a_mac_whose_tools_all_fail_still_has_facts() -> None:
    facts = machine.facts(lambda argv: "", "Darwin")
    assert facts.gpu_cores is None and facts.display is None and facts.power is None and facts.thermal is None
    assert facts.cpu_cores >= 1 and facts.memory_mb > 0 and facts.free_memory_mb > 0


@given(st.lists(st.text(), min_size=1))
def test_no_output_of_any_tool_breaks_facts(texts: list[str]) -> None:
    answers = iter(texts * 20)
    facts = machine.facts(lambda argv: next(answers), "Darwin")
    assert facts.describe() and facts.slug()


@pytest.mark.parametrize("answer", ["[]", "3", '{"SPDisplaysDataType": [3]}', '{"SPHardwareDataType": {}}', "null"])
def test_json_of_another_shape_is_as_good_as_none(answer: str) -> None:
    facts = machine.facts(replay("macbook-air-m4", {machine.PROFILER: answer}), "Darwin")
    assert facts.chip == "Apple M4" and facts.display is None


def test_ask_gives_output_whatever_the_exit_code_and_nothing_without_the_tool() -> None:
    code = "import sys; print('hw.memsize: 1'); sys.exit(1)"
    assert machine.ask([sys.executable, "-c", code]) == "hw.memsize: 1\n"
    assert machine.ask(["no-such-tool-on-this-machine"]) == ""


# --- this machine ---


def test_stored_facts_name_the_same_machine() -> None:
    here = machine.facts()
    stored = json.loads(jsonable.to_json(here))
    assert "gpu" in stored or here.gpu is None
    assert machine.Facts.from_dict(stored) == here


def test_facts_of_this_machine() -> None:
    facts = machine.facts()
    assert facts.memory_mb > 256 and facts.cpu_cores >= 1 and facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.mlx is not None
    assert facts.chip in facts.describe() and f"{facts.memory_gb} GB" in facts.describe()
    assert machine.facts().slug() == facts.slug()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins a process to cores")
def test_a_machine_has_the_cores_that_it_may_use() -> None:
    code = "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]); "
    code += "from autoresearch.system import machine; print(machine.usable_cores())"
    argv = [sys.executable, "-c", code]
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip() == "1"


def test_a_sample_is_cheap() -> None:
    machine.sample()
    started = time.perf_counter()
    for _ in range(5):
        sample = machine.sample()
    limit_s = 5.0 if sys.platform == "darwin" else 0.25
    assert time.perf_counter() - started < limit_s
    assert json.dumps(asdict(sample)) and sample.free_memory_mb > 0


# --- sleep and clocks ---


def moment(monotonic: float, since_boot: float, wall: float) -> MachineState:
    return MachineState(monotonic=monotonic, since_boot=since_boot, wall=wall, free_memory_mb=8000)


def test_sleep_is_told_from_a_clock_that_was_set() -> None:
    before = moment(100.0, 100.0, 1_000_000.0)
    asleep = moment(160.0, 3760.0, 1_003_660.0)
    assert machine.slept_s(before, asleep) == 3600.0
    turned_back = moment(160.0, 160.0, 996_460.0)
    assert machine.slept_s(before, turned_back) == 0.0


def test_the_clocks_of_two_real_samples_agree() -> None:
    before, after = machine.sample(), machine.sample()
    assert machine.slept_s(before, after) < 0.05
