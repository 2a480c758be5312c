"""A CPU's cores: work dealt to streams, the same numbers on one and on several, and who says how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

import prepare
from autoresearch.measure import experiment
from testbed.toy import HONEST, toy_bench
from testbed.trainer_support import TASK, ScriptedRun, arrays, tokens, trainer

on_a_cpu = pytest.mark.skipif(mx.default_device() == mx.gpu, reason="a GPU has one stream")


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    mx.disable_compile()

    def use(count: int) -> None:
        monkeypatch.setenv("AUTORESEARCH_CORES", str(count))
        prepare.streams.cache_clear()

    yield use
    prepare.streams.cache_clear()
    mx.enable_compile()


@on_a_cpu
@pytest.mark.parametrize(("count", "streams"), [(1, [1, 1, 1, 1, 1]), (2, [1, 2, 1, 2, 2]), (6, [1, 2, 5, 4, 6])])
def test_parts_are_shared_evenly(cores: Callable[[int], None], count: int, streams: list[int]) -> None:
    cores(count)
    assert [prepare.even_streams(parts) for parts in (1, 2, 5, 16, 12)] == streams


@on_a_cpu
def test_each_part_is_computed_on_the_stream_it_is_dealt_to(cores: Callable[[int], None]) -> None:
    cores(3)
    before = mx.default_stream(mx.default_device())
    dealt = prepare.parallel(lambda part: (part, mx.default_stream(mx.default_device())), "abcde")
    a, b, c = prepare.streams()
    assert dealt == [("a", a), ("b", b), ("c", c), ("d", a), ("e", b)]
    assert len({str(stream) for stream in (a, b, c)}) == 3
    assert mx.default_stream(mx.default_device()) == before
    with pytest.raises(KeyError):
        prepare.parallel({}.__getitem__, "ab")
    assert mx.default_stream(mx.default_device()) == before


@pytest.mark.slow
@on_a_cpu
def test_a_step_computes_the_same_on_one_core_and_on_several(cores: Callable[[int], None]) -> None:
    """With equal micro-batches every bit is equal, whichever stream is faster."""
    train_mlx = trainer(TOTAL_BATCH_SIZE=32 * 12)
    x, y = (mx.array(a) for a in tokens(12, 32))
    batches = list(zip(mx.split(x, 3), mx.split(y, 3), strict=True))
    found = []
    for count in (1, 3, 3, 3):
        cores(count)
        mx.random.seed(5)
        model = train_mlx.build_model(TASK)
        step = train_mlx.compiled_step(model, train_mlx.MuonAdamW(model))
        losses = [step(batches, train_mlx.hyperparameters(0.0, 0)).item() for _ in range(4)]
        found.append((losses, arrays(model.parameters())))
    (losses, params), *others = found
    for other_losses, other_params in others:
        assert other_losses == losses
        assert all(params[name].tobytes() == other_params[name].tobytes() for name in params)


@pytest.mark.slow
@on_a_cpu
def test_a_batch_keeps_its_size_whatever_the_cores(cores: Callable[[int], None]) -> None:
    for count, shape in ((1, (8, 2)), (2, (8, 2)), (3, (8, 2)), (4, (4, 4)), (5, (4, 4)), (16, (1, 16)), (64, (1, 16))):
        cores(count)
        assert trainer(TOTAL_BATCH_SIZE=512, DEVICE_BATCH_SIZE=8).batch_shape(32) == shape
    cores(2)
    train_mlx, run = trainer(TOTAL_BATCH_SIZE=32 * 6, DEVICE_BATCH_SIZE=6), ScriptedRun(8)
    train_mlx.train(train_mlx.build_model(TASK), run)
    assert set(run.shapes) == {(3, 32)} and len(run.shapes) == 8 and sorted(run.losses) == [0, 1, 2, 3]


@pytest.mark.slow
@on_a_cpu
def test_the_metric_is_the_same_on_one_core_and_on_several(toy_data: Path, tmp_path: Path) -> None:
    env = {"MLX_DISABLE_COMPILE": "1", "AUTORESEARCH_CORES": "1"}
    bench = toy_bench(toy_data, env=env)
    m = experiment.measure(bench, HONEST, tmp_path / "run", seed=1)
    bench = replace(bench, env={**env, "AUTORESEARCH_CORES": "4"})
    for rows in (None, 5, 6):  # 5 rows go to one stream, 6 to three
        again = experiment.evaluate(bench, HONEST, tmp_path / "run", 1, "val", rows=rows)
        assert again.score == pytest.approx(m.score, rel=1e-6)


@pytest.mark.slow
@on_a_cpu
def test_speed_is_of_all_cores(cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    cores(3)
    used, matmul = [], mx.matmul
    monkeypatch.setattr(mx, "matmul", lambda a, b, stream: used.append(stream) or matmul(a, b, stream=stream))
    assert 0 < prepare.matmul_tflops(seconds=0.01) < 100
    assert tuple(used[:3]) == prepare.streams() and len(used) % 3 == 0
