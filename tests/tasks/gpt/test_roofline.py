"""The machine's peaks, measured by a child."""

from __future__ import annotations

import subprocess
import sys

import pytest

from autoresearch.tasks.gpt import roofline
from testbed.toy import ROOT, this_machine


@pytest.mark.slow
def test_the_roofline_is_measured_by_a_child() -> None:
    found = roofline.measure({"MLX_DISABLE_COMPILE": "1"})
    assert found.tflops["float32"] > 0 and found.bandwidth_gb_s > 0 and found.compile_s is None
    assert "steps are not compiled here" in found.table(this_machine())


@pytest.mark.slow
def test_the_loop_holds_no_metal_memory() -> None:
    code = "import sys, loop; from autoresearch.tasks.gpt import calibrate, roofline; print('mlx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
