"""What the doctor says of MLX: here, and where a Python in its place prints what other machines would."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoresearch.loop.checkup import FINE, PROBLEM, Check, Host
from autoresearch.loop.mlx_check import check_mlx
from autoresearch.system import machine
from testbed.recorded import replay
from testbed.toy import this_machine

M4_PRO = machine.facts(replay("mac-mini-m4-pro"), "Darwin")
M5 = replace(M4_PRO, chip="Apple M5", os="macOS 26.1")
FOUND = '{"version": "0.32.4", "right": true, "metal": true, "limit": 12884901888}'
HIDDEN = (
    "RuntimeError: [metal::load_device] No Metal device available. This typically occurs in headless, sandboxed, or "
    "virtualized macOS sessions where the GPU is not accessible."
)
KERNEL = "RuntimeError: [metal::Device] Unable to load kernel steel_gemm_fused_nax_nn_bfloat16_bfloat16_bm128_bn128"


def check(folder: Path, facts: machine.Facts, printed: str = "", error: str = "") -> Check:
    """Return the check of a machine whose Python prints this, or fails with it."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\necho '{error}' >&2\necho '{printed}'\nexit {int(bool(error))}\n")
    python.chmod(0o755)
    (found,) = check_mlx(Host(folder, facts, cache=folder, python=str(python)))
    return found


def test_mlx_here(tmp_path: Path) -> None:
    (found,) = check_mlx(Host(tmp_path, this_machine(), cache=tmp_path))
    assert found.level is FINE and ("on Metal" in found.message or "on the CPU" in found.message)


@pytest.mark.parametrize(
    ("facts", "said", "message", "advice"),
    [
        (M4_PRO, {"error": "ImportError: no module named mlx"}, "(exit code 1): ImportError: no", "install the"),
        (M4_PRO, {"error": HIDDEN}, "Metal is not available", "from a terminal of the Mac itself"),
        (M4_PRO, {"printed": FOUND.replace("true", "false", 1)}, "come out wrong", "install the packages again"),
        (M4_PRO, {"printed": FOUND.replace('metal": true', 'metal": false')}, "built without it", "install the"),
        (M5, {"error": KERNEL}, "Unable to load kernel", "update to macOS 26.2"),
        (M5, {"printed": FOUND.replace("true", "false", 1)}, "come out wrong", "update to macOS 26.2"),
        (M5, {"printed": FOUND}, "needs macOS 26.2 on this chip, found macOS 26.1", "update to macOS 26.2"),
    ],
)
def test_what_is_wrong_and_what_to_do(
    tmp_path: Path, facts: machine.Facts, said: dict[str, Any], message: str, advice: str
) -> None:
    found = check(tmp_path, facts, **said)
    assert found.level is PROBLEM and message in found.message and advice in found.advice


def test_a_mac_that_is_well(tmp_path: Path) -> None:
    found = check(tmp_path, replace(M5, os="macOS 26.2"), FOUND)
    assert (found.level, found.message) == (FINE, "0.32.4 on Metal, 12.0 GB for the GPU")


@pytest.mark.skipif(sys.platform == "darwin", reason="needs an MLX without Metal")
def test_a_mac_whose_mlx_has_no_metal(tmp_path: Path) -> None:
    (found,) = check_mlx(Host(tmp_path, M4_PRO, cache=tmp_path))
    assert found.level is PROBLEM and "built without it" in found.message
