"""Judge one checkpoint, in a child of the harness that runs no line of the candidate.

The judge holds the rows, draws the probes and computes the cross-entropy. Two processes of the candidate's, one after
the other, turn tokens into logits for it (model_child.py): the first scores the rows, the second, which never sees a
whole row, altered copies of them (probes.py). On a CPU the judge computes with NumPy, whose exponential is about ten
times faster than MLX's there, and on a GPU with MLX.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic

import mlx.core as mx
import numpy as np

import prepare
from autoresearch.tasks.gpt.children import Reporter
from autoresearch.tasks.gpt.probes import Copier, Copies, changed_nats, cuts_needed
from autoresearch.tasks.gpt.wire import PLACES, Garbled, Gone, JudgesEnd, Sizes, inherited
from prepare import Failed, Task, evaluate_bpb, fixed_tokens

MOST_BPB = 1e4  # a higher val_bpb is a model's whose logits are out of all bounds
BLOCK = 2**18  # logits that NumPy works on at a time, within the processor's cache
FIXED_LOGIT = 0.25  # largest change of a logit of the fixed row since the train child computed it
FIXED_NATS = 1e-3  # largest mean change of that row's loss
FIXED_EVERY = 8  # positions of the fixed row from one whose logits the train child stores to the next

PROBES = {
    "probe_adapts": "the same batch scores otherwise later than before",
    "probe_rows": "a row's loss depends on the other rows of the batch",
    "probe_causality": "the loss depends on tokens that come after the target",
}


def main(args: argparse.Namespace, emit: Reporter) -> None:
    """Score the rows of standard input, probe the model, and send the event "result"."""
    this = prepare.task()
    rows = prepare.receive_rows(this.seq_len)
    if args.order is not None:
        rows = rows[np.random.default_rng(args.order).permutation(len(rows))]
    training = prepare.load_rows(args.train, this.seq_len)
    token_bytes = np.load(prepare.data_folder() / "token_bytes.npy")
    sizes = Sizes(args.rows or this.eval_rows, this.seq_len, this.vocab_size)
    first, second = (JudgesEnd(inherited(number), sizes) for number in range(2))
    emit.phase = "evaluate"
    try:
        judge(this, args, emit, rows.astype(np.int32), training, token_bytes, first, second)
    except Gone:
        raise Failed("exited", "the model's process left before it was dismissed") from None
    except Garbled as error:
        raise Failed("tampered", f"the model's process said {error}") from None


def judge(
    this: Task,
    args: argparse.Namespace,
    emit: Reporter,
    rows: np.ndarray,
    training: np.ndarray,
    token_bytes: np.ndarray,
    first: JudgesEnd,
    second: JudgesEnd,
) -> None:
    """Score `rows` (N, T + 1) with the first model's process, and altered copies of them with the second."""
    first.wait()
    emit("ready", judged_by="MLX on the GPU" if mx.default_device() == mx.gpu else "NumPy")
    check_fixed(first, this, args.seed, args.run / "fixed.safetensors")
    start = monotonic()
    nats = score(first, rows, emit)
    val_bpb, total, size = evaluate_bpb(nats, rows[:, 1:], token_bytes)
    if not 0 < val_bpb < MOST_BPB:
        raise Failed("nonfinite", f"val_bpb came out as {val_bpb}")
    first.close()
    seconds = monotonic() - start
    emit("scored")  # the parent ends the first process and starts the second
    second.wait()
    start = monotonic()
    count = cuts_needed(rows[:, 1:].size, size) if args.ceiling is None or val_bpb < args.ceiling else 1
    copier = Copier(np.random.default_rng(), rows[:, :-1], training, second.sizes.rows, this.vocab_size)
    largest = probe(second, copier, rows[:, 1:], nats, count, args.tolerance, emit)
    second.close()
    result = {"val_bpb": val_bpb, "nats": total, "bytes": size, "s": seconds}
    emit("result", **result, probes=count, probe_nats=largest, probe_s=monotonic() - start)


# --- scores ----------------------------------------------------------------------------------------------------------


def score(model: JudgesEnd, rows: np.ndarray, emit: Reporter) -> np.ndarray:
    """Return the nats of each target of `rows` (N, T + 1): (N, T) float32. The last batch is filled up with noise."""
    batch_rows, vocab_size = model.sizes.rows, model.sizes.vocab
    noise = np.random.default_rng().integers(0, vocab_size, (-len(rows) % batch_rows, rows.shape[1]), dtype=np.int32)
    whole = np.concatenate([rows, noise])
    blocks = [whole[start : start + batch_rows] for start in range(0, len(whole), batch_rows)]
    found = []
    for nats in scores(model, ((block[:, :-1], block[:, 1:]) for block in blocks), ahead=PLACES):
        found.append(nats)
        emit("evaluated", rows=min(len(found) * batch_rows, len(rows)), of=len(rows))
    return np.concatenate(found)[: len(rows)]


def scores(model: JudgesEnd, batches: Iterable[tuple[np.ndarray, np.ndarray]], ahead: int = 1) -> Iterator[np.ndarray]:
    """Yield the nats (B, T) of each batch of inputs and targets; up to `ahead` batches are under way at once."""
    waiting: deque[np.ndarray] = deque()
    for tokens, targets in batches:
        model.ask(tokens)
        waiting.append(targets)
        if len(waiting) == ahead:
            yield _scored(model, waiting.popleft())
    while waiting:
        yield _scored(model, waiting.popleft())


def _scored(model: JudgesEnd, targets: np.ndarray) -> np.ndarray:
    flat, nats = targets.reshape(-1), np.empty(targets.size, np.float32)
    for start, logits in model.chunks(len(targets)):
        nats[start : start + len(logits)] = cross_entropies(logits, flat[start : start + len(logits)])
    prepare.raise_what_failed()
    if not np.isfinite(nats).all():
        raise Failed("nonfinite", "the model returns logits that are not finite")
    return nats.reshape(targets.shape)


def cross_entropies(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the nats of targets (n,) under logits (n, V), which are float32 or the bits of bfloat16: (n,) float32."""
    if mx.default_device() == mx.gpu:
        x = mx.array(logits)
        x = x if logits.dtype == np.float32 else x.view(mx.bfloat16)
        return np.array(prepare.cross_entropy(x, mx.array(targets), "none"))
    step = max(1, BLOCK // logits.shape[1])
    parts = [_cross_entropies(logits[s : s + step], targets[s : s + step]) for s in range(0, len(logits), step)]
    return np.concatenate(parts)


def _cross_entropies(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    x = widened(logits)
    with np.errstate(invalid="ignore", over="ignore"):  # logits that are not finite give nats that are not
        x = x - x.max(axis=1, keepdims=True)
        target = x[np.arange(len(x)), targets]
        nats: np.ndarray = np.log(np.exp(x, out=x).sum(axis=1)) - target
    return nats


def widened(logits: np.ndarray) -> np.ndarray:
    """Return logits, float32 or the bits of bfloat16, as float32."""
    return logits if logits.dtype == np.float32 else (logits.astype(np.uint32) << 16).view(np.float32)


# --- probes ----------------------------------------------------------------------------------------------------------


def probe(
    model: JudgesEnd,
    copier: Copier,
    targets: np.ndarray,
    scored: np.ndarray,
    count: int,
    tolerance: float,
    emit: Reporter,
) -> float:
    """Return the largest change of a target's nats, in `count` altered copies of the rows that `scored` (N, T) is of.

    Raises Failed where it is above `tolerance`.
    """
    largest, done = 0.0, 0
    for copies in copier.batches(count):
        nats = answer(model, copies, targets)
        found = changed_nats(copies, nats, scored)
        largest, done = max(largest, float(found.max())), done + int((copies.rows >= 0).sum())
        if largest > tolerance:
            raise diagnosed(model, copier, copies, targets, nats, float(found.max()), tolerance)
        emit("probed", rows=done, of=count)
    return largest


def answer(model: JudgesEnd, copies: Copies, targets: np.ndarray) -> np.ndarray:
    """Return the nats of the true targets of copies: (B, T)."""
    return next(scores(model, [(copies.tokens, targets[copies.rows])]))


def diagnosed(
    model: JudgesEnd,
    copier: Copier,
    copies: Copies,
    targets: np.ndarray,
    nats: np.ndarray,
    found: float,
    tolerance: float,
) -> Failed:
    """Name the simplest cause of a change: a model that adapts, or that sees other rows, seems to look ahead as well.

    Half of the copies are scored again beside other rows, and then all of them again as they were.
    """
    others = np.flatnonzero(copies.rows >= 0)[1::2]
    rows, tokens = copies.rows.copy(), copies.tokens.copy()
    rows[others] = -1
    tokens[others] = copier.rng.integers(0, copier.vocab_size, tokens[others].shape)
    beside = Copies(rows, copies.cuts, tokens)
    moved = _moved(beside, answer(model, beside, targets), nats)
    again = _moved(copies, answer(model, copies, targets), nats)
    causes = {"probe_adapts": again, "probe_rows": moved, "probe_causality": found}
    kind = next(kind for kind, change in causes.items() if change > tolerance)
    return Failed(kind, f"{PROBES[kind]}: a target's loss moved by {causes[kind]:.3g} nats (limit {tolerance:.2g})")


def _moved(copies: Copies, nats: np.ndarray, before: np.ndarray) -> float:
    return float(np.where(copies.kept, np.abs(nats - before), 0.0).max())


# --- state outside parameters() --------------------------------------------------------------------------------------


def check_fixed(model: JudgesEnd, this: Task, seed: int, path: Path) -> None:
    """Raise Failed where the model does not compute the logits of a fixed row that the train child stored."""
    tokens = np.array(fixed_tokens(this, seed))
    model.ask(tokens)
    whole = np.concatenate([widened(logits) for _, logits in model.chunks(1)])
    stored = np.array(mx.load(str(path))["logits"]).reshape(-1, this.vocab_size)
    again, targets = whole[::FIXED_EVERY], tokens[0, ::FIXED_EVERY]
    if again.shape != stored.shape or not np.isfinite(again).all():
        raise Failed("nonfinite", "the model returns logits that are not finite")
    logit = float(np.abs(again - stored).max())
    nats = float(np.abs(cross_entropies(again, targets) - cross_entropies(stored, targets)).mean())
    if not (logit <= FIXED_LOGIT and nats <= FIXED_NATS):
        raise Failed(
            "checkpoint",
            "the restored model computes other logits than the trained one: there is state outside parameters(): a "
            f"logit moved by {logit:.3g}, the loss by {nats:.3g} nats a token (limits {FIXED_LOGIT} and {FIXED_NATS})",
        )
