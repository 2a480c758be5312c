"""The commands `new-task` and `doctor --task`, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest

import loop


def test_a_new_task_is_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    assert loop.main(["new-task", str(folder)]) == 0
    assert f"loop.py doctor --task {folder}" in capsys.readouterr().out
    (folder / "score.py").unlink()
    assert loop.main(["doctor", "--task", str(folder), "--no-sandbox"]) == 1
    said = capsys.readouterr().out
    assert "✗ task.toml: task.toml, line 10: `python score.py data/labels.txt` runs score.py" in said
    assert loop.main(["doctor", "--task", str(tmp_path)]) == 2
    assert "has no task.toml. To write one: " in capsys.readouterr().err
    assert loop.main(["run", "--task", str(folder / "task.toml")]) == 2
    assert f"is a file. Name the folder of the task: --task {folder}" in capsys.readouterr().err
