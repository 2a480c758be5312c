"""Commands that run a night: their exit codes, and when a night ends."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.loop.commands import night
from testbed.program import TASK, loop
from testbed.toy import HONEST


@pytest.mark.parametrize("text", ["7", "25:00", "soon"])
def test_an_end_that_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--until {text}: a time such as 07:30"):
        night.deadline(None, text)


def test_a_night_ends_at_the_earlier_of_two_ends() -> None:
    now = time.time()
    assert night.deadline(None, None) is None
    assert night.deadline(2.0, None) == pytest.approx(now + 7200, abs=60)
    soon = datetime.fromtimestamp(now + 3600).strftime("%H:%M")
    assert night.deadline(8.0, soon) == pytest.approx(now + 3600, abs=90)
    past = datetime.fromtimestamp(now - 3600).strftime("%H:%M")  # tomorrow's
    assert night.deadline(None, past) == pytest.approx(now + 23 * 3600, abs=90)


@pytest.mark.slow
@pytest.mark.usefixtures("toy_cache")
def test_try_measures_a_file_and_says_so_by_its_exit_code(repository: Path) -> None:
    assert loop(repository, "try", "nowhere.py", "-m", "x", *TASK).returncode == 2
    for text, why in (("import os\n", "contract: "), ("def broken(:\n", "invalid syntax"), ("", "is missing")):
        (repository / "idea.py").write_text(text)
        done = loop(repository, "try", "idea.py", "-m", "nonsense", *TASK)
        assert done.returncode == 11 and why in done.stdout and "Nothing was measured" in done.stdout
    done = loop(repository, "try", "train_mlx.py", "-m", "nothing changed", *TASK)
    assert done.returncode == 2 and "nothing to measure" in done.stderr
    assert not (repository / "runs").exists()  # none of these begins a night
    candidate = repository / "train_mlx.py"
    candidate.write_text(HONEST.read_text().replace("LR = 0.01", "LR = 0.0001"))
    done = loop(repository, "try", "train_mlx.py", "-m", "learn slowly\nit may generalise", *TASK)
    assert done.returncode == 10, done.stderr
    assert "discard: " in done.stdout and "sigma" in done.stdout
    assert "constants that differ from the night's best: LR 0.01 → 0.0001" in done.stdout
    status = loop(repository, "status")
    assert status.returncode == 0 and "learn slowly" in status.stdout
