"""The choice of a model among those installed, and the proposer that is opened with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import ProposerError
from autoresearch.formats import GIB
from autoresearch.search.llm import installed, model_choice
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.scorecard import Card, Scorecard
from testbed.fake_ollama import CLOUD, EMBEDDER, LARGE, MODEL, THINKER, FakeOllama, install

STRANGER: dict[str, Any] = {**MODEL, "name": "someone/finetune:8b", "size": 5 * GIB, "parameter_size": "8.0B"}


def card(folder: Path) -> Scorecard:
    return Scorecard(folder / "scorecard.json", "mac")


def test_the_best_installed_model_that_fits(tmp_path: Path) -> None:
    remote = {**CLOUD, "name": "deepseek:671b-cloud", "size": 6 * GIB}
    with FakeOllama(models=[MODEL, THINKER, LARGE, EMBEDDER, CLOUD, remote, STRANGER]) as fake:
        server = OllamaServer(fake.url)
        found = installed.installed(server, 16 * GIB)
        assert [(m.name, m.fits) for m in found] == [
            ("qwen3.5:9b", True),
            ("qwen2.5-coder:7b", True),
            ("someone/finetune:8b", True),
            ("qwen3.6:27b", False),
        ]
        choice = model_choice.choose_model(found, 16 * GIB)
        assert choice.model == "qwen3.5:9b" and "the best of 4 installed for 16 GB" in choice.line
        assert model_choice.choose_model(installed.installed(server, 48 * GIB), 48 * GIB).model == "qwen3.6:27b"


TINY: dict[str, Any] = {**MODEL, "name": "smollm2:135m", "size": 270_898_672, "parameter_size": "134.52M"}


def test_a_model_under_half_a_billion_is_taken_by_name_only() -> None:
    with FakeOllama(models=[TINY, EMBEDDER]) as fake:
        found = installed.installed(OllamaServer(fake.url), 16 * GIB)
    choice = model_choice.choose_model(found, 16 * GIB)
    assert (choice.model, choice.pull) == (None, "qwen3.5:9b")
    assert choice.line == (
        "the built-in tuner is better than a model under 0.5B: smollm2:135m (135M). Run: ollama pull qwen3.5:9b"
    )
    asked = model_choice.choose_model(found, 16 * GIB, "smollm2:135m")
    assert asked.model == "smollm2:135m" and "the built-in tuner is better" in asked.line


def test_a_small_model_comes_after_any_other_that_fits() -> None:
    with FakeOllama(models=[TINY, MODEL, LARGE]) as fake:
        found = installed.installed(OllamaServer(fake.url), 16 * GIB)
    assert [m.name for m in found] == ["qwen2.5-coder:7b", "smollm2:135m", "qwen3.6:27b"]
    assert model_choice.choose_model(found, 16 * GIB).model == "qwen2.5-coder:7b"


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("nomic-embed-text:latest", "nomic-bert"), ("all-minilm:22m", "bert"), ("bge-m3:latest", "x"), ("a:1b", "bert")],
)
def test_a_model_of_embeddings_is_known_without_capabilities(name: str, architecture: str) -> None:
    """Some servers do not tell capabilities."""
    silent = {**MODEL, "name": name, "architecture": architecture, "capabilities": None}
    with FakeOllama(models=[silent, {**MODEL, "capabilities": None}]) as fake:
        found = installed.installed(OllamaServer(fake.url), 16 * GIB)
    assert [m.name for m in found] == [MODEL["name"]]
    line = model_choice.choose_model(found, 16 * GIB, name, [name]).line
    assert line == f"{name} writes no text on this machine: it makes embeddings, or runs elsewhere"


@pytest.mark.parametrize(
    ("says", "idle_cost", "stays"),
    [("", None, True), ("", 0.004, True), ("", 0.03, False), ("1", 0.03, True), ("no", None, False)],
)
def test_the_model_goes_where_it_slows_training_or_a_person_says_so(
    monkeypatch: pytest.MonkeyPatch, says: str, idle_cost: float | None, stays: bool
) -> None:
    monkeypatch.setenv("AUTORESEARCH_KEEP_MODEL", says)
    together = model_choice.shared_bytes(64 * GIB, Card(idle_cost=idle_cost))
    assert together == (installed.memory_limit(64 * GIB) if stays else 0)


def test_what_is_asked_for_is_taken_or_named() -> None:
    with FakeOllama(models=[MODEL, LARGE]) as fake:
        found = installed.installed(OllamaServer(fake.url), 16 * GIB)
    assert model_choice.choose_model(found, 16 * GIB, "qwen2.5-coder:7b").model == "qwen2.5-coder:7b"
    large = model_choice.choose_model(found, 16 * GIB, "qwen3.6:27b")
    assert large.model == "qwen3.6:27b" and "more than this machine has" in large.line
    missing = model_choice.choose_model(found, 16 * GIB, "llama5:8b")
    assert (missing.model, missing.pull) == (None, "llama5:8b")
    assert "(installed: qwen2.5-coder:7b, qwen3.6:27b)" in missing.line
    for close in ("qwen2.5-coder", "Qwen2.5-Coder:7B"):
        taken = model_choice.choose_model(found, 16 * GIB, close)
        assert taken.model == "qwen2.5-coder:7b" and taken.line == f"qwen2.5-coder:7b, the only installed {close}"
    assert model_choice.choose_model(found, 16 * GIB, "qwen2.5-coder:14b").model is None
    assert "Run: ollama pull llama5:8b" in missing.line


def test_nothing_that_fits_offers_a_pull() -> None:
    embeds = model_choice.choose_model([], 16 * GIB, others=["nomic-embed-text:latest"])
    assert embeds.line.startswith("no installed model writes text here: nomic-embed-text:latest. Run: ollama pull")
    none = model_choice.choose_model([], 16 * GIB)
    assert (none.model, none.pull) == (None, "qwen3.5:9b") and "no model is installed" in none.line
    with FakeOllama(models=[LARGE]) as fake:
        found = installed.installed(OllamaServer(fake.url), 16 * GIB)
    assert "the installed model does not fit. Run: ollama pull" in model_choice.choose_model(found, 16 * GIB).line


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
    """The estimate says that the model fits, and /api/ps after loading that it does not; later nights know that."""
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
        rows = {m.name: (m.need, m.fits) for m in installed.installed(OllamaServer(fake.url), 16 * GIB, card(tmp_path))}
        fake.models["qwen3.5:9b"]["size"] = 3 * GIB  # another file with this tag
        again = installed.installed(OllamaServer(fake.url), 16 * GIB, card(tmp_path))[0]
    assert rows["qwen3.5:9b"] == (12 * GIB, False)
    assert (again.name, again.fits) == ("qwen3.5:9b", True)
