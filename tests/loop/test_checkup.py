"""What a check is shown as, and what all of them say to the shell."""

from __future__ import annotations

from autoresearch.loop import checkup
from autoresearch.loop.checkup import FINE, NOTE, PROBLEM, Check


def test_lines_for_a_person() -> None:
    assert checkup.line(Check("git", FINE, "branch main")) == "✓ git: branch main"
    assert checkup.line(Check("disk", PROBLEM, "1.0 GB free", "make room")) == "✗ disk: 1.0 GB free\n    -> make room"
    assert checkup.checks_exit_code([Check("a", FINE, ""), Check("b", NOTE, "")]) == 0
    assert checkup.checks_exit_code([Check("a", FINE, ""), Check("b", PROBLEM, "")]) == 1
