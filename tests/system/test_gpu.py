"""A GPU that MLX computes on and that is not part of the chip."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from autoresearch.findings.export import shared_machine
from autoresearch.system import gpu, machine

H100 = '{"device_name": "NVIDIA H100 80GB HBM3", "total_memory": 85520809984, "free_memory": 1, "uuid": "GPU-x"}'


def test_mlx_s_answer_is_read() -> None:
    assert gpu.parse(H100) == gpu.Gpu("NVIDIA H100 80GB HBM3", 81559)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"device_name": "x"}', '{"device_name": 1, "total_memory": "?"}']
)
def test_no_gpu_is_no_gpu(text: str) -> None:
    assert gpu.parse(text) is None


def test_the_question_runs_on_this_machine() -> None:
    said = subprocess.run(gpu.DEVICE_INFO, capture_output=True, text=True, check=True).stdout
    assert (gpu.parse(said) is None) == (gpu.find() is None)


def test_title_slug_and_memory_are_the_gpu_s() -> None:
    facts = replace(machine.facts(), gpu="NVIDIA H100 80GB HBM3", gpu_memory_mb=81559, os="Linux 6.8", memory_mb=131072)
    assert facts.describe() == "NVIDIA H100 80GB HBM3, 80 GB, Linux 6.8"
    assert facts.slug() == "nvidia-h100-80gb-hbm3-80gb"
    assert facts.training_memory_mb == 81559
    shared = shared_machine(facts.to_dict())
    assert shared.describe() == "NVIDIA H100 80GB HBM3, 80 GB, Linux 6.8"
