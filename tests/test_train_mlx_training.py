"""The training loop: a warm-up without effect, one trace per run, accumulation, shorter rows, reported losses."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

import prepare
from autoresearch.tasks.gpt.contract import check
from testbed.feeding import fed
from testbed.trainer_support import (
    SOURCE,
    TASK,
    ScriptedRun,
    arrays,
    assert_close,
    frees_at_once,
    spread,
    tokens,
    trainer,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("uncompiled")]


@pytest.fixture
def compiled(uncompiled):
    mx.enable_compile()


class Bigram(nn.Module):
    """Smallest model that MuonAdamW trains: a table, one matrix under `h`, a head. `calls` counts forward passes."""

    def __init__(self, train_mlx, channels=8):
        super().__init__()
        self.config = SimpleNamespace(n_embd=channels)
        self.wte = train_mlx.Embedding(mx.random.normal((TASK.vocab_size, channels)))
        self.h = [train_mlx.Linear(mx.random.normal((channels, channels)))]
        self.lm_head = train_mlx.Linear(mx.random.normal((TASK.vocab_size, channels)))
        self.calls = 0

    def __call__(self, idx):
        self.calls += 1
        return self.lm_head(self.h[0](self.wte(idx, mx.float32)))

    def loss(self, idx, targets):
        return prepare.cross_entropy(self(idx), targets)


class CheckedRun(ScriptedRun):
    """Run that records the parameters when the clock starts, which is when the first batch is asked for."""

    def __init__(self, steps, model):
        super().__init__(steps)
        self.model = model

    def batches(self, rows, seq_len=None):
        self.at_start = arrays(self.model.parameters())
        yield from super().batches(rows, seq_len)


def same_bits(a, b):
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def trained(steps=4, **constants):
    train_mlx = trainer(**constants)
    mx.random.seed(5)
    model, run = train_mlx.build_model(TASK), ScriptedRun(steps)
    train_mlx.train(model, run)
    return arrays(model.parameters()), run


# --- warm-up ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_warm_up_teaches_nothing(micro_batches):
    train_mlx = trainer(TOTAL_BATCH_SIZE=128 * micro_batches)
    model = train_mlx.build_model(TASK)
    before, run = arrays(model.parameters()), CheckedRun(0, model)
    train_mlx.train(model, run)
    assert run.warmups >= 1
    assert same_bits(run.at_start, before)


def test_warm_up_leaves_the_optimizer_as_it_was():
    train_mlx = trainer()
    model = train_mlx.build_model(TASK)
    optimizer = train_mlx.MuonAdamW(model)
    before = arrays(optimizer.state)
    step = train_mlx.compiled_step(model, optimizer)
    train_mlx.warm_up(step, model, optimizer, ScriptedRun(0), 4, 32, 1)
    assert same_bits(arrays(optimizer.state), before)
    x, y = (mx.array(a) for a in tokens(4, 32))
    step([(x, y)], train_mlx.hyperparameters(0.0, 0))
    assert not same_bits(arrays(optimizer.state), before)


def test_training_without_warm_up_is_the_same():
    """The first real step starts from fresh moments: a run's losses are those of bare steps."""
    train_mlx = trainer()
    mx.random.seed(5)
    model, run = train_mlx.build_model(TASK), ScriptedRun(4)
    step = train_mlx.compiled_step(model, train_mlx.MuonAdamW(model))
    bare = {}
    for i, (x, y) in enumerate(run.batches(4, 32)):
        bare[i] = step([(x, y)], train_mlx.hyperparameters(run.progress, i)).item()
    assert trained(4)[1].losses == bare


# --- the compiled step ------------------------------------------------------------------------------------------------


def test_a_run_traces_its_step_once(compiled):
    """Learning rate, momentum and decay differ in every step, and none of them may trace the graph again."""
    train_mlx = trainer()
    model = Bigram(train_mlx)
    calls_at_start = []

    class Counted(ScriptedRun):
        def batches(self, rows, seq_len=None):
            calls_at_start.append(model.calls)
            yield from super().batches(rows, seq_len)

    run = Counted(20)
    train_mlx.train(model, run)
    assert len(run.losses) == 20
    assert 1 <= calls_at_start[0] <= 2  # the warm-up's
    assert model.calls == calls_at_start[0]


def test_compiled_and_uncompiled_steps_agree(compiled):
    train_mlx = trainer()
    found = []
    for switch in (mx.enable_compile, mx.disable_compile):
        switch()
        mx.random.seed(5)
        model, run = Bigram(train_mlx), ScriptedRun(12)
        train_mlx.train(model, run)
        found.append((list(run.losses.values()), arrays(model.parameters())))
    (losses, params), (plain_losses, plain_params) = found
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-5)
    assert_close(params, plain_params, 1e-4)


@pytest.mark.parametrize(
    "bytes_at_once", [1, 48 * 4 * 10, 2**22]
)  # a token, ten (of 128: the last chunk is short), all
def test_the_loss_in_chunks_is_the_loss_of_the_logits(bytes_at_once, monkeypatch):
    monkeypatch.setattr(prepare.ops, "CPU_LOGITS", bytes_at_once)
    model = trainer(LOSS_CHUNK=bytes_at_once).build_model(TASK)
    spread(model)
    x, y = (mx.array(a) for a in tokens(4, 32))
    whole, expected = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))(x, y)
    loss, gradients = nn.value_and_grad(model, lambda x, y: 3 * model.loss(x, y))(x, y)
    assert loss.item() == pytest.approx(3 * whole.item(), rel=1e-6)
    assert_close(arrays(gradients), {name: 3 * g for name, g in arrays(expected).items()}, 1e-5)


@frees_at_once
def test_training_never_holds_all_logits(monkeypatch):
    """4096 tokens by 1024 words are 16 MiB, and autodiff keeps several such arrays."""
    monkeypatch.setattr(prepare.ops, "CPU_LOGITS", 2**17)
    C, V = 8, 1024
    x, weight, y = mx.random.normal((4, 1024, C)), mx.random.normal((V, C)), mx.zeros((4, 1024), dtype=mx.int32)
    head = trainer().head

    def peak_mib(loss):
        mx.eval(x, weight, y)
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        mx.eval(mx.value_and_grad(loss, argnums=(0, 1))(x, weight))
        return (mx.get_peak_memory() - before) / 2**20

    whole = peak_mib(lambda x, w: prepare.cross_entropy(head(x, w), y))
    assert whole > 32
    assert peak_mib(lambda x, w: prepare.chunked_cross_entropy(head, x, w, y)) < whole / 2


# --- batches ----------------------------------------------------------------------------------------------------------


def test_accumulation_equals_the_one_batch_step():
    train_mlx = trainer()
    x, y = (mx.array(a) for a in tokens(8, 32))
    found = []
    for pieces in (1, 2, 4):
        model = train_mlx.build_model(TASK)
        spread(model)
        step = train_mlx.compiled_step(model, train_mlx.MuonAdamW(model))
        for i in range(3):
            loss = step(
                list(zip(mx.split(x, pieces), mx.split(y, pieces), strict=True)), train_mlx.hyperparameters(0.0, i)
            )
        found.append((loss.item(), arrays(model.parameters())))
    for loss, params in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert_close(params, found[0][1], 1e-4)


@frees_at_once
@pytest.mark.slow
def test_accumulation_does_not_keep_every_micro_batch_alive():
    train_mlx = trainer(DEPTH=2)

    def peak_bytes(micro_batches):
        model = train_mlx.GPT(train_mlx.GPTConfig(128, 48, 2, 2, 2, 32))
        step = train_mlx.compiled_step(model, train_mlx.MuonAdamW(model))
        x, y = (mx.array(a) for a in tokens(8, 128))
        mx.eval(model.parameters(), x, y)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        loss = step([(x, y)] * micro_batches, train_mlx.hyperparameters(0.0, 0))
        mx.eval(loss, model.parameters())
        return mx.get_peak_memory() - before

    assert peak_bytes(4) < 1.3 * peak_bytes(1)


@pytest.mark.parametrize(
    ("constants", "expected"),
    [
        ({"TOTAL_BATCH_SIZE": 4096, "DEVICE_BATCH_SIZE": 16}, (16, 8)),
        ({"TOTAL_BATCH_SIZE": 4096, "DEVICE_BATCH_SIZE": 4096}, (128, 1)),
        ({"TOTAL_BATCH_SIZE": 512, "DEVICE_BATCH_SIZE": 12}, (8, 2)),  # two times 8 rows, not 12 and 4
        ({"TOTAL_BATCH_SIZE": 16, "DEVICE_BATCH_SIZE": 12}, (1, 1)),  # at least one row
    ],
)
def test_a_batch_is_rounded_to_whole_rows(constants, expected):
    assert trainer(**constants).batch_shape(32) == expected


def test_micro_batches_make_one_step():
    _, run = trained(7, TOTAL_BATCH_SIZE=256, DEVICE_BATCH_SIZE=4)
    assert len(run.shapes) == 7
    assert sorted(run.losses) == [0, 1, 2]  # a seventh batch, cut off by the clock, makes no step


def test_training_rows_can_be_shorter_than_the_context():
    params, run = trained(3, TRAIN_ROW_PIECES=2, DEVICE_BATCH_SIZE=8, WINDOW_PATTERN="SL")
    assert set(run.shapes) == {(8, 16)}
    assert sorted(run.losses) == [0, 1, 2]
    assert all(np.isfinite(value).all() for value in params.values())


# --- the clock --------------------------------------------------------------------------------------------------------


def test_the_last_step_ends_within_a_step_of_the_budget():
    """However long a step takes here, the last one began within the budget."""
    task = prepare.Task(**{**vars(TASK), "budget_s": 0.3})
    data = np.random.default_rng(0).integers(0, TASK.vocab_size, (64, 33)).astype("<u2")
    with fed(data, budget_s=0.3) as (feed, clock):
        run, ends = prepare.Run(task, 0, Bigram(trainer()), feed, lambda *a, **k: None), []
        for step, _ in enumerate(run.batches(4)):
            ends = ends or [time.monotonic()]
            time.sleep(0.01)
            run.log(step, mx.array(1.0))
            ends.append(time.monotonic())
    longest = max(np.diff(ends))
    assert ends[-1] - ends[0] <= 0.3 + longest
    assert len(ends) > 1 and run.progress > 0 and clock.batches == len(ends) - 1


# --- evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [1, 3, 16])
def test_evaluation_finds_the_same_number_in_other_batches(batch_rows):
    model = trainer(QUERY_BLOCK=12, WINDOW_PATTERN="SL").build_model(TASK)
    spread(model)
    rows = np.random.default_rng(0).integers(0, TASK.vocab_size, (16, 33)).astype("<u2")
    token_bytes = np.arange(TASK.vocab_size) % 5

    def bpb(batch_rows):
        score = mx.compile(lambda x, y: prepare.cross_entropy(model(x), y, "none"), inputs=model.state)
        blocks = [mx.array(rows[i : i + batch_rows].astype(np.int32)) for i in range(0, len(rows), batch_rows)]
        nats = np.concatenate([np.array(score(b[:, :-1], b[:, 1:])) for b in blocks])
        return prepare.evaluate_bpb(nats, rows[:, 1:], token_bytes)[0]

    assert bpb(batch_rows) == pytest.approx(bpb(8), rel=1e-6)


# --- what the harness is told -----------------------------------------------------------------------------------------


def test_each_loss_is_logged_once_in_order():
    _, run = trained(5)
    assert list(run.losses) == [0, 1, 2, 3, 4]
    assert all(np.isfinite(loss) for loss in run.losses.values())


def test_no_batch_means_no_step():
    params, run = trained(0)
    assert run.losses == {}
    assert np.isfinite(params["wte.weight"]).all()


def test_a_diverged_loss_ends_the_run_a_step_later():
    class Strict(ScriptedRun):
        def log(self, step, loss):
            super().log(step, loss)
            if step == 2:
                raise prepare.Diverged("at step 2")

    train_mlx, run = trainer(), Strict(50)
    with pytest.raises(prepare.Diverged, match="at step 2"):
        train_mlx.train(train_mlx.build_model(TASK), run)
    assert len(run.shapes) == 4  # step 3 was under way


def test_training_learns():
    """A constant token stream is learnt in a few steps."""

    class Constant(ScriptedRun):
        def batch(self, seed, rows, seq_len):
            x, y = super().batch(seed, rows, seq_len)
            return mx.full(x.shape, 7, dtype=mx.int32), mx.full(y.shape, 7, dtype=mx.int32)

    train_mlx, run = trainer(), Constant(12)
    train_mlx.train(train_mlx.build_model(TASK), run)
    assert run.losses[0] == pytest.approx(np.log(48), abs=0.1)
    assert run.losses[11] < 0.5


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_keeps_its_own_contract_and_size():
    source = SOURCE.read_text()
    assert len(source.encode()) <= 22_000
    assert len(source.splitlines()) < 550
    assert check(source, source) == []


def test_importing_does_nothing():
    code = "import mlx.core as mx, train_mlx; print(mx.get_peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], cwd=SOURCE.parent, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
