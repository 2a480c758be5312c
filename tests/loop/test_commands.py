"""Commands of the program: what they print and how they exit."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.program import TASK, loop
from testbed.toy import HONEST

pytestmark = [pytest.mark.usefixtures("toy_cache"), pytest.mark.slow]


def test_try_measures_a_file_and_says_so_by_its_exit_code(repository: Path) -> None:
    assert loop(repository, "try", "nowhere.py", "-m", "x", *TASK).returncode == 2
    assert not (repository / "runs").exists()  # a slip of the keyboard begins no night
    candidate = repository / "train_mlx.py"
    candidate.write_text(HONEST.read_text().replace("LR = 0.01", "LR = 0.0001"))
    done = loop(repository, "try", "train_mlx.py", "-m", "learn slowly\nit may generalise", *TASK)
    assert done.returncode == 10, done.stderr
    assert "discard: " in done.stdout and "sigma" in done.stdout
    candidate.write_text("import os\n")
    done = loop(repository, "try", "train_mlx.py", "-m", "nonsense", *TASK)
    assert done.returncode == 11 and "contract" in done.stdout
    candidate.write_text("def broken(:\n")
    done = loop(repository, "try", "train_mlx.py", "-m", "no Python", *TASK)
    assert done.returncode == 1 and "not valid Python" in done.stderr
    status = loop(repository, "status")
    assert status.returncode == 0 and "learn slowly" in status.stdout
