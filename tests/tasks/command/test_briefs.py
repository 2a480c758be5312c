from __future__ import annotations

from pathlib import Path

from testbed.declared import FILES, TOML, declare, opened


def test_a_brief_holds_what_a_proposer_needs_and_nothing_hidden(tmp_path: Path) -> None:
    toml = (
        TOML.replace("timeout_s = 20", 'read = ["run.py"]\nhide = ["labels"]')
        + """\
unit = "points"
[[guard]]
run = "python score.py --check"
[[limit]]
metric = "wall"
max = 9
[knobs]
x = [1, 5]
"""
    )
    files = {
        **FILES,
        "program.md": "Lower it.",
        "ideas/2-b.txt": "SET x = 2\n",
        "ideas/1-a.txt": "SET x = 1\n",
        "labels": "",
    }
    here = opened(declare(tmp_path / "task", files, task_toml=toml))
    brief = here.brief()
    assert list(brief.ideas) == ["1-a", "2-b"] and brief.knobs == {"x": (1, 5)} and list(brief.read) == ["run.py"]
    for part in ("`config.toml`", "loss in points, and lower is better", "python score.py --check", "wall may be 9"):
        assert part in brief.role
    assert here.program() == "Lower it." and "simplification" in brief.categories
