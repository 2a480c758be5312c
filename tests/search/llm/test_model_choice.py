"""The choice of a model, its pull, and what `loop.py models` shows."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autoresearch.errors import ProposerError
from autoresearch.formats import GIB
from autoresearch.search.llm import model_choice
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.transport import Timeouts
from autoresearch.search.scorecard import ReplyCounts, Scorecard
from testbed.fake_ollama import CLOUD, EMBEDDER, MODEL, THINKER, FakeOllama, install

LARGE: dict[str, Any] = {**MODEL, "name": "qwen3.6:27b", "size": 17 * GIB, "parameter_size": "27.4B"}
STRANGER: dict[str, Any] = {**MODEL, "name": "someone/finetune:8b", "size": 5 * GIB, "parameter_size": "8.0B"}


def card(folder: Path) -> Scorecard:
    return Scorecard(folder / "scorecard.json", "mac")


def test_tiers_by_memory() -> None:
    assert model_choice.tier(8 * GIB).formats == ("set",)
    assert model_choice.tier(16 * GIB).models[0] == "qwen3.5:9b"
    assert model_choice.tier(18 * GIB) is model_choice.tier(16 * GIB)
    assert model_choice.tier(64 * GIB).num_ctx == 32768
    assert model_choice.memory_limit(16 * GIB) == pytest.approx(10.7 * GIB, rel=0.01)


def test_the_best_installed_model_that_fits(tmp_path: Path) -> None:
    remote = {**CLOUD, "name": "deepseek:671b-cloud", "size": 6 * GIB}
    with FakeOllama(models=[MODEL, THINKER, LARGE, EMBEDDER, CLOUD, remote, STRANGER]) as fake:
        server = OllamaServer(fake.url)
        found = model_choice.installed(server, 16 * GIB)
        assert [(m.name, m.fits) for m in found] == [
            ("qwen3.5:9b", True),
            ("qwen2.5-coder:7b", True),
            ("someone/finetune:8b", True),
            ("qwen3.6:27b", False),
        ]
        choice = model_choice.choose_model(found, 16 * GIB)
        assert choice.model == "qwen3.5:9b" and "the best of 4 installed for 16 GB" in choice.line
        assert model_choice.choose_model(model_choice.installed(server, 48 * GIB), 48 * GIB).model == "qwen3.6:27b"


def test_the_need_counts_keys_and_values() -> None:
    """28 layers, 4 heads of 128 for keys and values, 16 bits, 16384 positions: 0.875 GiB."""
    with FakeOllama() as fake:
        (model,) = model_choice.installed(OllamaServer(fake.url), 16 * GIB)
    assert model.need - int(model.size * 1.05) - GIB // 2 == int(0.875 * GIB)
    assert (model.parameters_b, model.context) == (7.6, 32768)


def test_a_model_that_does_not_work_here_goes_to_the_end(tmp_path: Path) -> None:
    scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
    scorecard.card("ollama:qwen3.5:9b").formats["set"] = ReplyCounts(asked=20, parsed=4, applied=1)
    scorecard.save("ollama:qwen3.5:9b")
    with FakeOllama(models=[MODEL, THINKER]) as fake:
        found = model_choice.installed(OllamaServer(fake.url), 16 * GIB, scorecard)
    assert [m.name for m in found] == ["qwen2.5-coder:7b", "qwen3.5:9b"]


def test_what_is_asked_for_is_taken_or_named() -> None:
    with FakeOllama(models=[MODEL, LARGE]) as fake:
        found = model_choice.installed(OllamaServer(fake.url), 16 * GIB)
    assert model_choice.choose_model(found, 16 * GIB, "qwen2.5-coder:7b").model == "qwen2.5-coder:7b"
    large = model_choice.choose_model(found, 16 * GIB, "qwen3.6:27b")
    assert large.model == "qwen3.6:27b" and "more than this machine has" in large.line
    missing = model_choice.choose_model(found, 16 * GIB, "llama5:8b")
    assert (missing.model, missing.pull) == (None, "llama5:8b")
    assert "Run: ollama pull llama5:8b" in missing.line


def test_nothing_that_fits_offers_a_pull() -> None:
    none = model_choice.choose_model([], 16 * GIB)
    assert (none.model, none.pull) == (None, "qwen3.5:9b") and "no model is installed" in none.line
    with FakeOllama(models=[LARGE]) as fake:
        found = model_choice.installed(OllamaServer(fake.url), 16 * GIB)
    assert "none of the 1 installed models fits. Run: ollama pull" in model_choice.choose_model(found, 16 * GIB).line


PULL = [
    {"status": "pulling manifest"},
    {"status": "pulling 60e05f210007", "digest": "sha256:60e0", "total": 1000, "completed": 400},
    {"status": "pulling 60e05f210007", "digest": "sha256:60e0", "total": 1000, "completed": 1000},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
]


def test_pull_shows_progress_and_installs() -> None:
    seen: list[tuple[str, int | None, int | None]] = []
    with FakeOllama(models=[], pull=PULL) as fake:
        server = OllamaServer(fake.url)
        server.pull("qwen3.5:9b", lambda *step: seen.append(step))
        assert [m["name"] for m in server.models()] == ["qwen3.5:9b"]
        model_choice.pull(server, "qwen3.5:4b", Console(file=io.StringIO()))
    assert seen[1] == ("pulling 60e05f210007", 400, 1000) and seen[-1] == ("success", None, None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([PULL[0], {"error": "pull model manifest: file does not exist"}], "file does not exist"),
        (PULL[:3], "ended before its end; run it again to resume"),
    ],
)
def test_a_pull_that_fails_says_why(lines: list[dict[str, Any]], message: str) -> None:
    with FakeOllama(models=[], pull=lines) as fake, pytest.raises(ProposerError, match=message):
        OllamaServer(fake.url).pull("no:such", lambda *_: None)


@pytest.mark.slow
def test_a_pull_takes_as_long_as_it_needs_but_not_without_a_byte() -> None:
    steps = [{**line, "pause_s": 0.15} for line in PULL]
    with FakeOllama(models=[], pull=steps) as fake:
        OllamaServer(fake.url, Timeouts(chunk_s=0.5, answer_s=0.4)).pull("a:1b", lambda *_: None)
        fake.pull_lines[2] = {**PULL[2], "pause_s": 1.0}
        with pytest.raises(ProposerError) as caught:
            OllamaServer(fake.url, Timeouts(chunk_s=0.3)).pull("b:1b", lambda *_: None)
    assert caught.value.reason == "timeout"


def test_a_pull_is_cancelled_from_another_thread() -> None:
    with FakeOllama(models=[], pull=[PULL[0], {**PULL[1], "pause_s": 2.0}]) as fake:
        server = OllamaServer(fake.url)
        threading.Timer(0.2, server.cancel).start()
        began = time.monotonic()
        with pytest.raises(ProposerError) as caught:
            server.pull("a:1b", lambda *_: None)
        assert caught.value.reason == "cancelled" and time.monotonic() - began < 1.5


def test_a_failure_of_the_caller_s_own_is_not_the_server_s() -> None:
    with FakeOllama(models=[], pull=PULL) as fake, pytest.raises(TypeError):
        OllamaServer(fake.url).pull("a:1b", lambda *_: len(None))  # type: ignore[arg-type]


def test_the_table_shows_each_model_with_its_card(tmp_path: Path) -> None:
    scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
    card = scorecard.card("ollama:qwen2.5-coder:7b")
    card.turns, card.seconds, card.decided, card.warmed_up, card.kept = 10, 250.0, 8, 6, 2
    card.formats["blocks"] = ReplyCounts(asked=20, parsed=15, applied=10)
    with FakeOllama(models=[MODEL, LARGE]) as fake:
        found = model_choice.installed(OllamaServer(fake.url), 16 * GIB, scorecard)
    console = Console(file=io.StringIO(), width=80)
    console.print(model_choice.table(found, scorecard))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split() for line in text.splitlines() if line.startswith("qwen")]
    assert rows[0] == ["qwen2.5-coder:7b", "4.4", "7.6B", "32768", "yes", "10", "50%", "75%", "25%", "25"]
    assert rows[1][:5] == ["qwen3.6:27b", "17.0", "27.4B", "32768", "no:"] and rows[1][-1] == "0"


def test_open_takes_a_running_server(tmp_path: Path) -> None:
    with FakeOllama() as fake:
        environ = {"OLLAMA_HOST": fake.url, "PATH": ""}
        proposer, line = model_choice.open_ollama(
            memory_bytes=16 * GIB, log_path=tmp_path / "log", scorecard=card(tmp_path), environ=environ
        )
        assert proposer is not None and proposer.name == "ollama:qwen2.5-coder:7b"
        assert line == f"local model: qwen2.5-coder:7b, the best of 1 installed for 16 GB ({fake.url})"
        proposer.close()
        none, line = model_choice.open_ollama(
            memory_bytes=16 * GIB, log_path=tmp_path / "log", scorecard=card(tmp_path), wanted="x:1b", environ=environ
        )
        assert none is None and "x:1b is not installed" in line


def test_open_without_a_server_says_so(tmp_path: Path) -> None:
    environ = {"OLLAMA_HOST": "127.0.0.1:9", "PATH": str(tmp_path)}
    none, line = model_choice.open_ollama(
        memory_bytes=16 * GIB, log_path=tmp_path / "log", scorecard=card(tmp_path), environ=environ
    )
    assert none is None and "no Ollama server answers and `ollama` is not installed" in line


def test_open_stops_a_server_of_its_own_that_has_no_model(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"script": [], "models": []}))
    install(tmp_path, script)
    environ = {"OLLAMA_HOST": "127.0.0.1:9", "PATH": str(tmp_path)}
    none, line = model_choice.open_ollama(
        memory_bytes=16 * GIB, log_path=tmp_path / "log", scorecard=card(tmp_path), environ=environ
    )
    assert none is None and "no model is installed. Run: ollama pull qwen3.5:9b" in line
    host = json.loads((tmp_path / "script.env.json").read_text())["OLLAMA_HOST"]
    with pytest.raises(ProposerError):
        OllamaServer(f"http://{host}").version()


def test_a_model_that_turns_out_too_large_gives_way_to_the_next(tmp_path: Path) -> None:
    """The estimate says that it fits; /api/ps, once it is loaded, says that it does not; another night knows."""
    small: dict[str, Any] = {**MODEL, "name": "qwen2.5-coder:3b", "size": 2 * GIB, "parameter_size": "3.1B"}
    with FakeOllama(models=[dict(THINKER), small], loaded_sizes={"qwen3.5:9b": 12 * GIB}) as fake:
        for loads in (["qwen3.5:9b", "qwen2.5-coder:3b"], []):
            fake.loads.clear()
            proposer, line = model_choice.open_ollama(
                memory_bytes=16 * GIB,
                log_path=tmp_path / "log",
                scorecard=card(tmp_path),
                environ={"OLLAMA_HOST": fake.url, "PATH": ""},
                measure=True,
            )
            assert proposer is not None and proposer.name == "ollama:qwen2.5-coder:3b"
            assert "the best of 2 installed" in line
            assert [name for name, _ in fake.loads] == loads and fake.listed() == {}
        rows = {
            m.name: (m.need, m.fits) for m in model_choice.installed(OllamaServer(fake.url), 16 * GIB, card(tmp_path))
        }
        fake.models["qwen3.5:9b"]["size"] = 3 * GIB  # pulled again, smaller: what was measured says nothing of it
        again = model_choice.installed(OllamaServer(fake.url), 16 * GIB, card(tmp_path))[0]
    assert rows["qwen3.5:9b"] == (12 * GIB, False)
    assert (again.name, again.fits) == ("qwen3.5:9b", True)


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
            scorecard=card(tmp_path),
            environ={"OLLAMA_HOST": fake.url, "PATH": ""},
            offer=lambda server, choice: model_choice.offer_pull(server, choice, console, ask),
        )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(asked) == 1 and "Download qwen3.5:9b" in asked[0] and "no model is installed." in text
    assert (proposer is not None) == installed
    assert ("qwen3.5:9b, as asked" if installed else "Run: ollama pull qwen3.5:9b") in line
    assert ("was not pulled" in text) == (answer == " YES ")


def test_a_question_does_not_wait_for_who_has_gone_to_bed(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours) as stdin:
        assert model_choice.ask_user("Now? ", stdin, wait_s=0.05) == ""
        os.write(theirs, b"y\n")
        assert model_choice.ask_user("Now? ", stdin, wait_s=5.0) == "y\n"
        os.close(theirs)
        assert model_choice.ask_user("Now? ", stdin, wait_s=5.0) == ""  # the terminal has gone
    assert "going on without" in capsys.readouterr().out
