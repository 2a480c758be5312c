"""One run by hand: the summary block, the profile's constants, and the whole command on the toy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.records import Failure, Measurement
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt.by_hand import summary, with_profile
from testbed.toy import HONEST, git

BLOCK = """\
---
val_bpb:          1.294526
training_seconds: 300.0
total_seconds:    318.4
peak_memory_mb:   9216.0
mfu_percent:      31.20
total_tokens_M:   36.1
num_steps:        551
num_params_M:     11.5
depth:            4"""


def test_the_familiar_block() -> None:
    measured = Measurement(
        seed=1, score=1.294526, training_s=300.0, total_s=318.4, peak_memory_mb=9216.0, mfu_percent=31.2,
        total_tokens=36_100_000, num_steps=551, num_params=11_500_000, depth=4,
    )  # fmt: skip
    assert summary(measured) == BLOCK


def test_a_failure_has_no_number_that_it_did_not_reach() -> None:
    text = summary(Measurement(seed=1, total_s=2.0, failure=Failure("build", "no", "Traceback ...")))
    assert text == "---\ntotal_seconds:    2.0\nfailed:           build: no\nTraceback ..."


@pytest.mark.slow
@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--hours", 2)])
def test_help_and_an_unknown_option_train_nothing(repository: Path, option: str, code: int) -> None:
    done = subprocess.run([sys.executable, "train_mlx.py", option], cwd=repository, capture_output=True, text=True)
    assert done.returncode == code and "usage: train_mlx.py" in done.stdout + done.stderr
    assert not (repository / "runs").exists()


@pytest.mark.slow
def test_a_profile_sets_what_the_person_has_not_changed(repository: Path) -> None:
    path = repository / "train_mlx.py"
    wanted = {"WIDTH": "16", "LR": "0.5", "NOTHING": "1"}
    path.write_text(path.read_text().replace("LR = 0.01", "LR = 0.02"))
    text = with_profile(path, wanted)
    assert "WIDTH = 16" in text and "LR = 0.02" in text
    git(repository, "checkout", "-q", "-b", "autoresearch/t", "--")
    assert with_profile(path, wanted) == path.read_text()  # on a branch of the loop they were set or found


@pytest.mark.slow
def test_by_hand(repository: Path, toy_data: Path) -> None:
    env = {
        **os.environ,
        "AUTORESEARCH_CACHE": str(toy_data.parents[2]),
        "AUTORESEARCH_DATASET": "toy",
        "AUTORESEARCH_PROFILE": "tiny",
        "AUTORESEARCH_TIME_BUDGET_S": "1",
    }
    done = subprocess.run([sys.executable, "train_mlx.py"], cwd=repository, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "task: toy/tiny, 1 s of training, seed 42" in done.stdout
    value = re.search(r"^val_bpb:          (\d\.\d{6})$", done.stdout, re.MULTILINE)
    assert value and 0 < float(value[1]) < 6.5  # how far a second of training gets depends on the machine's load
    assert git(repository, "status", "--porcelain") == ""
    with hold(toy_data.parents[2] / "machine.lock", "this machine"):  # as a night does
        done = subprocess.run([sys.executable, "train_mlx.py"], cwd=repository, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and f"process {os.getpid()}" in done.stderr and "val_bpb" not in done.stdout
    (repository / "train_mlx.py").write_text(HONEST.read_text().replace("optim.Adam", "optim.Nothing"))
    done = subprocess.run([sys.executable, "train_mlx.py"], cwd=repository, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "failed:           warmup: " in done.stdout
