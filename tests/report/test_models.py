"""The table of `loop.py models`, and the offer to download one."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autoresearch.formats import GIB
from autoresearch.report import models
from autoresearch.search.llm import model_choice
from autoresearch.search.llm.installed import installed
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.scorecard import ReplyCounts, Scorecard
from testbed.fake_ollama import LARGE, MODEL, PULL, FakeOllama


def test_the_table_shows_each_model_with_its_card(tmp_path: Path) -> None:
    scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
    card = scorecard.card("ollama:qwen2.5-coder:7b")
    card.turns, card.seconds, card.decided, card.warmed_up, card.kept = 10, 250.0, 8, 6, 2
    card.formats["blocks"] = ReplyCounts(asked=20, parsed=15, applied=10)
    with FakeOllama(models=[MODEL, LARGE]) as fake:
        found = installed(OllamaServer(fake.url), 16 * GIB, scorecard)
    console = Console(file=io.StringIO(), width=80)
    console.print(models.models_view(found, scorecard, 80))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split() for line in text.splitlines() if line.startswith("qwen")]
    assert rows[0] == ["qwen2.5-coder:7b", "4.4", "7.6B", "32768", "yes", "10", "50%", "75%", "25%", "25"]
    narrow = str(models.models_view(found, scorecard, 60)).splitlines()
    assert narrow[0] == (
        "qwen2.5-coder:7b: 4.4 GB, 7.6B, context 32768, fits; 10 turns, 50% of its replies applied, "
        "75% of its experiments warmed up, 25% kept, 25 s a turn"
    )
    assert narrow[1].startswith("qwen3.6:27b: 17.0 GB, 27.4B, context 32768, does not fit: needs ")
    assert rows[1][:5] == ["qwen3.6:27b", "17.0", "27.4B", "32768", "no:"] and rows[1][-1] == "0"


def test_pull_shows_its_progress() -> None:
    console = Console(file=io.StringIO())
    with FakeOllama(models=[], pull=PULL) as fake:
        server = OllamaServer(fake.url)
        models.pull(server, "qwen3.5:4b", console)
        assert [m["name"] for m in server.models()] == ["qwen3.5:4b"]
    assert "qwen3.5:4b" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "lines", "installed"),
    [("y\n", PULL, True), ("", PULL, False), ("n\n", PULL, False), (" YES ", PULL[:3], False)],
)
def test_a_pull_is_offered_to_a_person(
    tmp_path: Path, answer: str, lines: list[dict[str, Any]], installed: bool
) -> None:
    console, asked = Console(file=io.StringIO(), width=120), list[str]()

    def ask(question: str) -> str:
        asked.append(question)
        return answer

    with FakeOllama(models=[], pull=lines) as fake:
        proposer, line = model_choice.open_ollama(
            memory_bytes=16 * GIB,
            log_path=tmp_path / "log",
            scorecard=Scorecard(tmp_path / "scorecard.json", "mac"),
            environ={"OLLAMA_HOST": fake.url, "PATH": ""},
            offer=lambda server, choice: models.offer_pull(server, choice, console, ask),
        )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(asked) == 1 and "Download qwen3.5:9b" in asked[0] and "no model is installed." in text
    assert (proposer is not None) == installed
    assert ("qwen3.5:9b, as asked" if installed else "Run: ollama pull qwen3.5:9b") in line
    assert ("was not pulled" in text) == (answer == " YES ")


def test_a_question_does_not_wait_for_who_has_gone_to_bed(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours) as stdin:
        assert models.ask_user("Now? ", stdin, wait_s=0.05) == ""
        os.write(theirs, b"y\n")
        assert models.ask_user("Now? ", stdin, wait_s=5.0) == "y\n"
        os.close(theirs)
        assert models.ask_user("Now? ", stdin, wait_s=5.0) == ""  # the terminal has gone
    assert "continuing without" in capsys.readouterr().out
