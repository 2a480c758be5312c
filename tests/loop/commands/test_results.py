"""Commands that make something of a night."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from autoresearch.errors import UsageError
from autoresearch.loop.commands import results
from autoresearch.system.process import run
from testbed.honest import BASE
from testbed.night_builder import NightBuilder, set_to
from testbed.toy import ROOT, git

pytestmark = pytest.mark.slow

NIGHT = Namespace(tag="nov23", anyway=False)


def made_night(root: Path, verdict: str, rounds: int = 0, gain_score: float = 0.05) -> NightBuilder:
    """Write a night on another profile's constants: its baseline has LR = 0.02, as a profile or a fit would set it."""
    made = NightBuilder(source=BASE.replace("LR = 0.01", "LR = 0.02"))
    made.candidate(set_to("DEPTH", 3), gain_score, verdict)
    made.validate(rounds)
    made.write(root / "runs" / "nov23")
    return made


def commit_base(root: Path) -> None:
    (root / "train_mlx.py").write_text(BASE)
    git(root, "commit", "-q", "-a", "-m", "Take the made-up nights' source")


def test_a_report_is_shown_in_the_browser(repository: Path, tmp_path: Path) -> None:
    made_night(repository, "keep")
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/shown\n')
    browser.chmod(0o755)
    code = "import sys; from pathlib import Path; from autoresearch.loop.commands import results; "
    code += "from argparse import Namespace; results.report(Path(sys.argv[1]), Namespace(tag='nov23', open=True))"
    env = {**os.environ, "BROWSER": str(browser)}
    run([sys.executable, "-c", code, repository], cwd=ROOT, env=env)
    assert (tmp_path / "shown").read_text().strip() == (repository / "report.html").as_uri()


def test_adopting_commits_the_winner_on_the_person_s_branch(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_night(repository, "keep", rounds=5)
    commit_base(repository)
    assert results.adopt(repository, NIGHT) == 0
    assert git(repository, "show", "main:train_mlx.py") == BASE.replace("DEPTH = 2", "DEPTH = 3")
    message = git(repository, "log", "-1", "--format=%B")
    assert message.startswith("Adopt the winner of autoresearch/nov23\n") and "- DEPTH -> 3: it is keep" in message
    out = capsys.readouterr().out
    assert " on main: " in out and "constants changed: DEPTH 2 → 3\n" in out
    assert "left as they are, since the night only began with other values: LR = 0.01 (0.02 there)" in out
    with pytest.raises(UsageError, match="already has what nov23 found"):
        results.adopt(repository, NIGHT)


@pytest.mark.parametrize(
    ("rounds", "gain_score", "why"),
    [(0, 0.05, "#1, was not validated"), (5, 0.0, "does not prove a gain: .* interval")],
)
def test_a_winner_without_a_proven_gain_is_adopted_only_anyway(
    repository: Path, capsys: pytest.CaptureFixture[str], rounds: int, gain_score: float, why: str
) -> None:
    made_night(repository, "keep", rounds, gain_score)
    commit_base(repository)
    with pytest.raises(UsageError, match=f"{why}.*--anyway.*loop.py validate --tag nov23"):
        results.adopt(repository, NIGHT)
    assert results.adopt(repository, Namespace(tag="nov23", anyway=True)) == 0
    assert re.search(why, capsys.readouterr().out)


def test_nothing_is_adopted_over_uncommitted_work_on_the_loop_s_branch_or_without_a_winner(repository: Path) -> None:
    made_night(repository, "discard")
    with pytest.raises(UsageError, match="nov23 kept nothing"):
        results.adopt(repository, NIGHT)
    file = repository / "train_mlx.py"
    file.write_text(file.read_text() + "# mine\n")
    with pytest.raises(UsageError, match="uncommitted changes"):
        results.adopt(repository, NIGHT)
    git(repository, "switch", "-q", "-c", "autoresearch/nov23")
    with pytest.raises(UsageError, match="git switch main"):
        results.adopt(repository, NIGHT)


def test_cleaning_removes_what_decided_candidates_need_no_more(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_night(repository, "discard")
    left = repository / "runs" / "nov23" / "0007" / "run-1" / "checkpoint.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x" * 1000)
    assert results.clean(repository, NIGHT) == 0
    assert not left.exists() and capsys.readouterr().out
