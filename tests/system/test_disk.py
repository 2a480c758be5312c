"""What a person reads on a full disk and in a folder that may not be written: a sentence, no traceback."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.files import write_atomic
from autoresearch.paths import Layout
from autoresearch.system import disk
from testbed import nights
from testbed.toy import git


@pytest.mark.parametrize("code", disk.FULL)
def test_a_full_disk_is_named_with_its_room_and_the_next_command(tmp_path: Path, code: int) -> None:
    said = disk.refusal(OSError(code, os.strerror(code), str(tmp_path / "not" / "there")))
    assert said is not None and said.startswith(f"{tmp_path}/not/there: {os.strerror(code)} (")
    assert "MB are free). Nothing that was recorded is lost. Make room, e.g. by uv run loop.py clean" in said


@pytest.mark.parametrize("code", disk.FORBIDDEN)
def test_a_folder_that_may_not_be_written_is_named(code: int) -> None:
    assert (disk.refusal(OSError(code, "x", "runs/a")) or "").startswith(f"runs/a: {os.strerror(code)}. Make it your")


@pytest.mark.parametrize("error", [OSError(), OSError("odd"), FileNotFoundError(errno.ENOENT, "x"), TimeoutError()])
def test_other_errors_are_none_of_it(error: OSError) -> None:
    assert disk.refusal(error) is None


def test_a_copy_of_many_files_tells_why_in_words_alone(tmp_path: Path) -> None:
    error = shutil.Error([("a", "b", str(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "b")))])
    assert (disk.refusal(error) or "").startswith("No space left on device. Nothing that was recorded is lost")
    assert disk.refusal(shutil.Error([("a", "b", "[Errno 2] No such file or directory")])) is None


def test_a_write_that_fails_names_its_file(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_atomic(tmp_path / "file", b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(tmp_path / "file") and list(tmp_path.iterdir()) == []


# --- the programs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(repository: Path, toy_data: Path) -> Path:
    """Return a checkout with a night and data that are prepared."""
    nights.long_night(4, validate=False).write(Layout(repository, "nov23").folder)
    git(repository, "branch", "autoresearch/nov23")
    return repository


def ended(root: Path, argv: list[str], around: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "AUTORESEARCH_CACHE": str(root.parent / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"AUTORESEARCH_DATASET": "toy", "AUTORESEARCH_PROFILE": "tiny"}
    whole = [*around, sys.executable, *argv]
    return subprocess.run(whole, cwd=root, env=env, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


NEW = ["loop.py", "--tag", "new", "--dataset", "toy", "--profile", "tiny", "--proposer", "tuner"]


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["train_mlx.py"], ["loop.py", "report"], ["loop.py"]], ids=" ".join)
def test_a_checkout_that_may_not_be_written_is_one_sentence(checkout: Path, argv: list[str]) -> None:
    if not shutil.which("bwrap"):
        pytest.skip("bubblewrap makes the checkout read-only, for root as well")
    around = [
        "bwrap",
        "--bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--ro-bind",
        str(checkout),
        str(checkout),
    ]
    done = ended(checkout, argv, around)
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: ") and "Read-only file system" in last and str(checkout) in last
    status = ended(checkout, ["loop.py", "status"], around)
    assert status.returncode == 0 and "4 experiments" in status.stdout, status.stderr


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["train_mlx.py"], ["loop.py", "report"], NEW], ids=" ".join)
def test_a_full_disk_is_one_sentence(checkout: Path, argv: list[str]) -> None:
    journal = Layout(checkout, "nov23").journal
    before = journal.read_bytes()
    done = ended(checkout, argv, [], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)))
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout
    *_, last = done.stderr.splitlines()
    assert "File too large" in last and ("Make room" in last or "make room" in last)
    assert journal.read_bytes() == before
