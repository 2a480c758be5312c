"""A night of a declared task: its own ideas first, each in its file, until none is left."""

from __future__ import annotations

from pathlib import Path

import pytest

import loop
from autoresearch.candidate.pack import unpack
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.records import SearchReplace
from testbed.declared import FILES, TOML, declare

IDEA = "TITLE: {title}\nCATEGORY: other\n### words/x.txt\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"
RUN = "open('out/x', 'w').write(open('words/x.txt').read().split()[-1])\n"


@pytest.mark.slow
def test_a_night_of_ideas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    files = {
        **{path: text for path, text in FILES.items() if path != "config.toml"},
        "task.toml": TOML.replace("config.toml", "words/x.txt", 1),
        "run.py": RUN,
        "words/x.txt": "x is\n3\n",
        "ideas/10-two.txt": IDEA.format(title="Two", old="3", new="2"),
        "ideas/20-one.txt": IDEA.format(title="One", old="2", new="1"),
    }
    folder = declare(tmp_path / "task", files)
    assert loop.main(["--task", str(folder), "--experiments", "5", "--proposer", "ideas", "--no-sandbox"]) == 0
    said = capsys.readouterr()
    assert "no ideas are left: tuner: the tuner has found no constant that it can turn" in said.out
    tag = next(path.parent.name for path in (folder / ".autoresearch" / "runs").glob("*/journal.jsonl"))
    night = journal.read(Layout(folder / ".autoresearch", tag))
    one, two = [x for x in night.experiments.values() if x.n]
    assert one.proposal.edits == (SearchReplace("3", "2", "words/x.txt"),)
    assert [(x.proposal.title, x.verdict) for x in (one, two)] == [("Two", "keep"), ("One", "keep")]
    assert unpack(Layout(folder / ".autoresearch", tag).source(two.n).read_text()) == {"words/x.txt": "x is\n1\n"}


@pytest.mark.slow
def test_a_night_that_has_tried_every_setting_has_ended_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    folder = declare(tmp_path / "task", task_toml=f"{TOML}[knobs]\nx = [2, 3]\n")
    assert loop.main(["--task", str(folder), "--proposer", "tuner", "--no-sandbox"]) == 0
    assert "stopped: no ideas are left: the tuner has tried all that it can reach" in capsys.readouterr().out
