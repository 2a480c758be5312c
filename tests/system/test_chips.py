"""Peaks and bandwidths against Apple's published figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.system import chips, machine
from testbed.recorded import replay

M4_PRO = machine.facts(replay("mac-mini-m4-pro"), "Darwin")


@pytest.mark.parametrize(
    ("chip", "cores", "tflops"),
    [
        ("Apple M1", 8, 2.6),
        ("Apple M1 Pro", 16, 5.3),
        ("Apple M1 Max", 32, 10.6),
        ("Apple M1 Ultra", 64, 21.2),
        ("Apple M2", 10, 3.6),
        ("Apple M2 Pro", 19, 6.8),
        ("Apple M2 Max", 38, 13.6),
        ("Apple M2 Ultra", 76, 27.2),
        ("Apple M3", 10, 3.55),
        ("Apple M3 Max", 40, 14.2),
        ("Apple M4", 10, 4.26),
        ("Apple M4 Pro", 20, 8.5),
        ("Apple M4 Max", 40, 17.0),
        ("Apple M5", 10, 4.0),
    ],
)
def test_published_peaks(chip: str, cores: int, tflops: float) -> None:
    facts = replace(M4_PRO, chip=chip, gpu_cores=cores, os="macOS 26.1")
    assert chips.peak_tflops(facts, "float32") == pytest.approx(tflops, rel=0.01)


def test_matrix_units_count_from_the_release_that_reaches_them() -> None:
    m5 = replace(M4_PRO, chip="Apple M5", gpu_cores=10)
    assert chips.peak_tflops(replace(m5, os="macOS 26.2"), "bfloat16") == pytest.approx(16.0)
    assert chips.peak_tflops(replace(m5, os="macOS 26.1"), "bfloat16") == pytest.approx(4.0)
    assert chips.peak_tflops(replace(m5, os="macOS 26.2"), "float32") is None
    assert chips.peak_tflops(M4_PRO, "bfloat16") == chips.peak_tflops(M4_PRO, "float32")


@pytest.mark.parametrize(
    ("chip", "os", "needed"),
    [
        ("Apple M5", "macOS 26.1", "macOS 26.2"),
        ("Apple M5 Max", "macOS 26.0.1", "macOS 26.2"),
        ("Apple M5", "macOS 26.2", None),
        ("Apple M5 Pro", "macOS 27.0", None),
        ("Apple M4", "macOS 26.1", None),
        ("Apple M1", "macOS 14.7", None),
        ("AMD EPYC", "Linux 6.8", None),
    ],
)
def test_an_m5_needs_the_macos_that_mlx_was_built_for(chip: str, os: str, needed: str | None) -> None:
    assert chips.newer_macos(replace(M4_PRO, chip=chip, os=os)) == needed


def test_what_is_not_known_has_no_peak() -> None:
    m6 = machine.facts(replay("mac-m6"), "Darwin")
    assert chips.peak_tflops(m6, "float32") is None and chips.bandwidth_gb_s(m6) is None
    assert chips.peak_tflops(replace(M4_PRO, gpu_cores=None), "float32") is None
    assert chips.peak_tflops(M4_PRO, "int4") is None
    assert chips.peak_tflops(replace(M4_PRO, chip="AMD EPYC"), "float32") is None


@pytest.mark.parametrize(
    ("chip", "cores", "gb_s"),
    [("Apple M1", 8, 68), ("Apple M2 Ultra", 76, 800), ("Apple M4 Max", 32, 410), ("Apple M4 Max", 40, 546)],
)
def test_bandwidth(chip: str, cores: int, gb_s: float) -> None:
    assert chips.bandwidth_gb_s(replace(M4_PRO, chip=chip, gpu_cores=cores)) == gb_s
