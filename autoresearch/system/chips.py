"""Look up what Apple's chips can do at best: arithmetic and memory bandwidth, from published figures. No I/O."""

from __future__ import annotations

import re

from autoresearch.system.machine import Facts

FLOPS_PER_CORE_AND_CYCLE = 256  # 128 multiply-adds in float32
GPU_GHZ = {"M1": 1.296, "M2": 1.398, "M3": 1.387, "M4": 1.664, "M5": 1.5625}  # from M3 on derived from published TFLOPS
BASE_M1_GHZ = 1.278  # the M1 without a suffix is clocked lower
MATRIX_UNITS = {"M5": 4}  # speed-up of 16-bit products in the GPU's matrix units
MATRIX_UNITS_MACOS = (26, 2)  # the first macOS whose Metal uses them

BANDWIDTH_GB_S = {
    "M1": 68, "M1 Pro": 200, "M1 Max": 400, "M1 Ultra": 800,
    "M2": 100, "M2 Pro": 200, "M2 Max": 400, "M2 Ultra": 800,
    "M3": 100, "M3 Pro": 150, "M3 Max": 400, "M3 Ultra": 819,
    "M4": 120, "M4 Pro": 273, "M4 Max": 546,
    "M5": 153, "M5 Pro": 307, "M5 Max": 614,
}  # fmt: skip
FULL_MAX_CORES = 40  # a Max with fewer GPU cores has fewer memory channels, too
SMALLER_MAX_GB_S = {"M3 Max": 300, "M4 Max": 410, "M5 Max": 460}


def peak_tflops(facts: Facts, dtype: str) -> float | None:
    """Return the GPU's peak in TFLOP/s for "float32", "float16" or "bfloat16"; None when it is not known.

    It is GPU cores * 256 FLOP * GHz / 1000, e.g. 2.6 for an M1 with 8 cores. Up to the M4, 16-bit types save memory but
    no arithmetic, so the peak is the same for all three; later chips multiply them faster in matrix units. There MLX
    multiplies float32 as well, with ten bits, for which no speed is published.
    """
    name = _chip(facts)
    generation = _generation(name)
    if generation not in GPU_GHZ or not facts.gpu_cores or dtype not in ("float32", "float16", "bfloat16"):
        return None
    ghz = BASE_M1_GHZ if name == "M1" else GPU_GHZ[generation]
    faster = MATRIX_UNITS.get(generation, 1) if _release(facts.os) >= MATRIX_UNITS_MACOS else 1
    if faster > 1 and dtype == "float32":
        return None
    return facts.gpu_cores * FLOPS_PER_CORE_AND_CYCLE * ghz / 1000 * faster


def newer_macos(facts: Facts) -> str | None:
    """Return the first macOS that can run MLX's package on this chip, where this one cannot; else None.

    The package for macOS 26 counts on 26.2, and is installed on 26.0 and 26.1 as well (ml-explore/mlx#4525).
    """
    needed = _generation(_chip(facts)) in MATRIX_UNITS and (26,) <= _release(facts.os) < MATRIX_UNITS_MACOS
    return f"macOS {'.'.join(map(str, MATRIX_UNITS_MACOS))}" if needed else None


def bandwidth_gb_s(facts: Facts) -> float | None:
    """Return the memory bandwidth in GB/s; None when it is not known."""
    chip = _chip(facts) or ""
    if chip in SMALLER_MAX_GB_S and (facts.gpu_cores or 0) < FULL_MAX_CORES:
        return float(SMALLER_MAX_GB_S[chip])
    return float(BANDWIDTH_GB_S[chip]) if chip in BANDWIDTH_GB_S else None


def _chip(facts: Facts) -> str | None:
    """Return the chip's name without its maker: "Apple M4 Pro" -> "M4 Pro"."""
    match = re.search(r"Apple (M\d+(?: (?:Pro|Max|Ultra))?)", facts.chip)
    return match[1] if match else None


def _generation(chip: str | None) -> str:
    """Return the generation of a chip, "" where it is not known: "M4 Pro" -> "M4"."""
    return chip.split()[0] if chip else ""


def _release(os_name: str) -> tuple[int, ...]:
    """Return the release as numbers to compare: "macOS 26.2.1" -> (26, 2, 1)."""
    return tuple(int(n) for n in re.findall(r"\d+", os_name))
