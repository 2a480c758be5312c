"""The cases for a Mac's GPU are steps that the trainer can take on any machine."""

from __future__ import annotations

import pytest

import prepare
from autoresearch.search.llm.ollama_server import OllamaServer
from benchmarks.mac import IDLE_PAIRS, Case, cases, idle_cost, idle_rows
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.trainer_support import TASK, trainer


@pytest.mark.slow
@pytest.mark.parametrize("quick", [True, False])
def test_the_cases_of_a_gpu_are_whole_steps_of_the_trainer(quick: bool) -> None:
    found = [case for case in cases("gpu", quick, display=True) if isinstance(case, Case)]
    fallbacks = [case for case in found if "MLX_SDPA_VJP_FALLBACK" in case.env]
    assert len(fallbacks) == (4 if quick else 12)
    assert {case.env["MLX_SDPA_VJP_FALLBACK"] for case in fallbacks} == {"0", "1"}
    assert {"float32", "not compiled", "Newton-Schulz matrix by matrix"} < {case.what for case in found}
    for case in found:
        train_mlx = trainer(**{"DEPTH": 4, "ASPECT_RATIO": 64, "HEAD_DIM": 128, **case.constants})
        assert train_mlx.batch_shape(case.T) == (case.tokens // case.T, 1)
        task = prepare.Task(**{**vars(TASK), "seq_len": case.T})
        assert train_mlx.build_model(task).config.n_embd == 256


def test_what_a_cpu_lacks_is_said() -> None:
    found = list(cases("cpu", quick=True, display=False))
    assert [case.what for case in found if isinstance(case, Case)] == ["baseline", "Newton-Schulz matrix by matrix"]
    assert any("no fused attention" in text for text in found if isinstance(text, str))


def test_pairs_of_steps_alternate_without_and_with_the_loaded_model() -> None:
    with FakeOllama() as fake:

        def run(what: str) -> dict[str, object]:
            return {"what": what, "tok_s": 98.0 if fake.listed() else 100.0}

        rows = idle_rows(MODEL["name"], OllamaServer(fake.url), run)
        assert len(fake.loads) == IDLE_PAIRS and fake.listed() == {}
    assert [row["tok_s"] for row in rows] == [100.0, 98.0] * IDLE_PAIRS
    assert idle_cost(rows) == 0.02
    assert idle_cost([*rows, {"failed": "no memory"}, {"tok_s": 1.0}]) is None and idle_cost([]) is None
