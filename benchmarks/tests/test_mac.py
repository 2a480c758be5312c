"""The cases for a Mac's GPU are steps that the trainer can take on any machine."""

from __future__ import annotations

import pytest

from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.tasks.gpt.roofline import Roofline
from benchmarks.mac import IDLE_PAIRS, cases, idle_cost, idle_rows, with_mfu
from benchmarks.trainer.cases import CaseTimer, StepCase
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.trainer_support import trainer


@pytest.mark.slow
def test_the_cases_of_a_gpu_are_whole_steps_of_the_trainer() -> None:
    found = [case for case in cases("gpu", quick=False) if isinstance(case, StepCase)]
    alone = [case for case in found if case.kind == "attention"]
    asked = {(case.constants["HEAD_DIM"], case.T, case.env["MLX_SDPA_VJP_FALLBACK"]) for case in alone}
    assert asked == {(D, T, f) for D in (64, 128) for T in (512, 1024, 2048) for f in "01"}
    assert {"float32", "not compiled", "a table of bigrams", "loss in chunks of 2^28 bytes"} < {c.what for c in found}
    for case in (case for case in found if case.kind == "step"):
        train_mlx = trainer(**{"DEPTH": 4, "ASPECT_RATIO": 64, "HEAD_DIM": 128, **case.constants})
        rows, micro_batches = train_mlx.batch_shape(case.T)
        assert rows * micro_batches * case.T == case.constants["TOTAL_BATCH_SIZE"]
        assert rows == case.constants["DEVICE_BATCH_SIZE"]


def test_what_a_cpu_lacks_is_said() -> None:
    found = list(cases("cpu", quick=True))
    steps = ["baseline", "no table of bigrams", "Newton-Schulz matrix by matrix", "baseline again, for the heat"]
    assert [case.what for case in found if isinstance(case, StepCase)] == steps
    assert any("no fused attention" in text for text in found if isinstance(text, str))


def test_the_arithmetic_is_compared_with_the_product_of_the_type_that_trains() -> None:
    best = Roofline("gpu", {"float32": 4.0, "bfloat16": 16.0}, 150.0)
    rows = [{"what": "a", "type": dtype, "tflops": 2.0} for dtype in ("float32", "bfloat16")]
    assert [with_mfu(row, best)["mfu_percent"] for row in rows] == [50.0, 12.5]
    assert with_mfu({"what": "a", "failed": "no memory"}, best) == {"what": "a", "failed": "no memory"}


def test_a_case_that_fails_or_finds_no_time_is_a_row_with_the_reason() -> None:
    bench = CaseTimer(seconds=60.0)
    assert (
        "must be bfloat16 or float32"
        in bench.measure(StepCase("broken", 64, 512, 64, {"COMPUTE_DTYPE": "int8"}))["failed"]
    )
    bench.ends = 0.0
    assert (
        bench.measure(StepCase("late", 64, 512, 64)) == {"what": "late", "failed": "no time was left"} and bench.failed
    )


def test_pairs_of_steps_alternate_without_and_with_the_loaded_model() -> None:
    with FakeOllama() as fake:

        def run(what: str) -> dict[str, object]:
            return {"what": what, "tok_s": 98.0 if fake.listed() else 100.0}

        rows = idle_rows(MODEL["name"], OllamaServer(fake.url), run)
        assert len(fake.loads) == IDLE_PAIRS and fake.listed() == {}
    assert [row["tok_s"] for row in rows] == [100.0, 98.0] * IDLE_PAIRS
    assert idle_cost(rows) == 0.02
    assert idle_cost([*rows, {"failed": "no memory"}, {"tok_s": 1.0}]) is None and idle_cost([]) is None
