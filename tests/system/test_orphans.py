"""Processes of models whose server has ended: which ones count, and finding a real one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from autoresearch.system import orphans
from testbed.fake_ollama import start_model
from testbed.toy import ROOT

BLOB = "/Users/a/.ollama/models/blobs/sha256-60e05f2100071479f596b964f89f510f057ce397ea22f2833a0cfe029bfc2463"
ABANDON = "from pathlib import Path; from testbed.fake_ollama import start_model as s; print(s(Path({!r})).pid)"


@pytest.mark.parametrize(
    ("argv", "model"),
    [
        (["/usr/local/lib/ollama/llama-server", "--port", "1", "--model", BLOB], "sha256-60e05f210007"),
        (["/usr/bin/ollama", "runner", "--model", BLOB, "--port", "1"], "sha256-60e05f210007"),
        (["ollama", "runner", "--mlx-engine", "--model", "gemma4:12b-mlx"], "gemma4:12b-mlx"),
        (["llama-server", "--model", "/home/a/my-own.gguf"], None),
        (["llama-server", "--model"], None),
        (["ollama", "serve"], None),
        (["vi", "--model", BLOB], None),
        ([], None),
    ],
)
def test_which_processes_are_a_models(argv: list[str], model: str | None) -> None:
    assert orphans.model_of(argv) == model


def test_a_model_whose_starter_lives_is_no_orphan(tmp_path: Path) -> None:
    with start_model(tmp_path) as process:
        assert process.pid not in [orphan.pid for orphan in orphans.find()]
        process.kill()


def test_a_real_orphan_is_found_with_its_memory(tmp_path: Path) -> None:
    code = ABANDON.format(str(tmp_path))
    command = [sys.executable, "-c", code]
    pid = int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    process = psutil.Process(pid)
    try:
        deadline = time.monotonic() + 10
        while "llama-server" not in "".join(process.cmdline()[:1]) and time.monotonic() < deadline:
            time.sleep(0.02)
        parent = process.parent()
        if parent is not None and parent.pid != 1 and parent.name() not in orphans.ADOPTERS:
            pytest.skip(f"orphans are adopted by {parent.name()} here")
        (found,) = [orphan for orphan in orphans.find() if orphan.pid == pid]
        assert found.memory > 2**20 and found.model == "sha256-60e05f210007"
        assert found.describe().startswith(f"process {pid} keeps 0.0 GB for the model sha256-60e05f210007")
        assert found.advice == f"kill {pid}"
    finally:
        process.kill()
