"""A run's folder and a child's log and input, against whatever a candidate may have left there."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from autoresearch.measure import run_folder
from autoresearch.system.process import run


def nest(folder: Path, depth: int) -> None:
    """Make folders nested deeper than Python's recursion limit and the longest path."""
    code = "import os, sys\nfor _ in range(int(sys.argv[1])):\n    os.mkdir('deeper'); os.chdir('deeper')"
    run([sys.executable, "-c", code, str(depth)], cwd=folder)


def test_tidy_keeps_what_is_named_and_regular(tmp_path: Path) -> None:
    folder, outside = tmp_path / "run", tmp_path / "outside"
    (folder / "tmp").mkdir(parents=True)
    (folder / "kept.log").write_text("kept")
    (folder / "other").write_text("other")
    outside.write_text("outside")
    (folder / "evaluate.log").symlink_to(outside)
    (folder / "fixed.safetensors").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "train.log")
    (folder / "checkpoint.safetensors").mkdir()
    (folder / "link").symlink_to(tmp_path)
    run_folder.tidy(folder, ["kept.log", "tmp", *run_folder.LEFT])
    assert sorted(p.name for p in folder.iterdir()) == ["kept.log", "tmp"]
    assert outside.read_text() == "outside"
    run_folder.tidy(folder, run_folder.LEFT)
    assert list(folder.iterdir()) == []
    run_folder.tidy(tmp_path / "nowhere", ())


@pytest.mark.slow
def test_tidy_removes_what_is_locked_or_nested_without_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "locked" / "inner").mkdir(parents=True)
    (folder / "locked" / "inner").chmod(0)
    (folder / "locked").chmod(0)
    nest(folder, 1500)
    folder.chmod(0)
    run_folder.tidy(folder, ())
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "chflags"), reason="files are marked as immutable on macOS")
def test_tidy_removes_what_is_marked_as_immutable(tmp_path: Path) -> None:
    for path in (tmp_path / "file", tmp_path / "folder" / "file"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.chflags(path, stat.UF_IMMUTABLE)
    os.chflags(tmp_path / "folder", stat.UF_IMMUTABLE)
    run_folder.tidy(tmp_path, ())
    assert list(tmp_path.iterdir()) == []


def test_make_starts_afresh_with_the_kernels(tmp_path: Path) -> None:
    folder, kernels = tmp_path / "run", tmp_path / "kernels"
    (folder / "tmp" / "mlx").mkdir(parents=True)
    (folder / "tmp" / "mlx" / "stale.so").write_text("stale")
    kernels.mkdir()
    (kernels / "warm.so").write_text("warm")
    run_folder.make(folder, kernels)
    assert [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()] == ["tmp/mlx/warm.so"]
    run_folder.make(tmp_path / "new", tmp_path / "nowhere")
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "tmp"]


@pytest.mark.slow
def test_written_counts_and_stops_counting(tmp_path: Path) -> None:
    assert run_folder.written(tmp_path / "nowhere", 10) == (0, 0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big").write_bytes(bytes(10**6))
    (tmp_path / "link").symlink_to("/")
    size, files = run_folder.written(tmp_path, 100)
    assert files == 3 and 10**6 <= size < 10**6 + 20_000
    for i in range(50):
        (tmp_path / str(i)).touch()
    assert 20 < run_folder.written(tmp_path, 20)[1] <= 22
    nest(tmp_path, 1500)
    started = time.monotonic()
    run_folder.written(tmp_path, 10_000)
    assert time.monotonic() - started < 5
    run_folder.tidy(tmp_path, ())
    assert list(tmp_path.iterdir()) == []
