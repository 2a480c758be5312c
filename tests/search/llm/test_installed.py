"""The installed models: their tiers, needs, sizes, order, and what counts as too small."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.formats import GIB
from autoresearch.search.llm import installed
from autoresearch.search.llm.model_choice import choose_model
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.scorecard import ReplyCounts, Scorecard
from testbed.fake_ollama import MODEL, THINKER, FakeOllama

NAME = str(THINKER["name"])


def test_tiers_by_memory() -> None:
    assert installed.tier(8 * GIB).formats == ("set", "menu")
    assert installed.tier(16 * GIB).models[0] == "qwen3.5:9b"
    assert installed.tier(18 * GIB) is installed.tier(16 * GIB)
    assert installed.tier(64 * GIB).num_ctx == 32768
    assert installed.memory_limit(16 * GIB) == pytest.approx(10.7 * GIB, rel=0.01)


def test_the_need_counts_keys_and_values() -> None:
    """28 layers, 4 heads of 128 for keys and values, 16 bits, 16384 positions: 0.875 GiB."""
    with FakeOllama() as fake:
        (model,) = installed.installed(OllamaServer(fake.url), 16 * GIB)
    assert model.need - int(model.size * 1.05) - GIB // 2 == int(0.875 * GIB)
    assert (model.parameters_b, model.context) == (7.6, 32768)


def test_a_model_that_does_not_work_here_goes_to_the_end(tmp_path: Path) -> None:
    scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
    scorecard.card(f"ollama:{NAME}").formats["set"] = ReplyCounts(asked=20, parsed=4, applied=1)
    scorecard.save(f"ollama:{NAME}")
    with FakeOllama(models=[MODEL, THINKER]) as fake:
        found = installed.installed(OllamaServer(fake.url), 16 * GIB, scorecard)
    assert [m.name for m in found] == ["qwen2.5-coder:7b", "qwen3.5:9b"]
    only, asked = (choose_model(models, 16 * GIB, name).line for models, name in ((found[1:], None), (found, NAME)))
    assert "hardly any of its replies could be used here so far" in only and only.partition(";")[2] in asked
    assert "hardly" not in choose_model(found, 16 * GIB).line


@pytest.mark.parametrize(("size", "small"), [(200 * 2**20, True), (2 * GIB, False)])
def test_a_model_of_unknown_parameters_is_judged_by_its_file(size: int, small: bool) -> None:
    assert installed.InstalledModel("x:latest", size, None, None, size, True).small is small


@pytest.mark.parametrize(
    ("billions", "text"), [(0.13452, "135M"), (0.494, "494M"), (1.777, "1.8B"), (30.0, "30B"), (None, "")]
)
def test_sizes_as_people_write_them(billions: float | None, text: str) -> None:
    assert installed.size_text(billions) == text


@pytest.mark.parametrize(("memory_gb", "largest"), [(16, 32768), (6, None)])
def test_the_largest_context_is_what_model_and_memory_allow(memory_gb: int, largest: int | None) -> None:
    with FakeOllama() as fake:
        (model,) = installed.installed(OllamaServer(fake.url), memory_gb * GIB)
    assert model.largest == largest
