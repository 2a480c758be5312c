"""What a batch costs: rows gathered from the memory-mapped array, against packing and tokenizing on the fly.

    uv run benchmarks/data.py [--dataset stdlib] [--profile tiny] [--tokens 16384]

Prepares the data set where it is missing. Prints milliseconds a batch (median, and the slowest of 100) and what a
training step of 100 ms would lose to it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch.tasks.gpt.data import corpus, tokenizer
from autoresearch.tasks.gpt.data.packing import pack
from autoresearch.tasks.gpt.data.profiles import PROFILES, default_profile

STEP_MS = 100.0  # a training step to compare with
BATCHES = 100
TEXTS = 3000  # documents to tokenize again and again


def mapped(data: np.ndarray, count: int) -> Callable[[], np.ndarray]:
    """Random rows of the memory-mapped array as int32, as training reads them."""
    order = iter(chain.from_iterable(map(np.random.default_rng(0).permutation, repeat(len(data)))))
    return lambda: data[np.fromiter(islice(order, count), dtype=np.int64)].astype(np.int32)


def packed(rows: Iterator[np.ndarray], count: int) -> Callable[[], np.ndarray]:
    return lambda: np.stack(list(islice(rows, count))).astype(np.int32)


def texts(data: np.ndarray, tokens: tokenizer.Tokenizer) -> list[str]:
    """Documents of about the training data's lengths, decoded from its rows."""
    ids = data[:TEXTS].reshape(-1)
    bounds = np.flatnonzero(ids == tokens.bos_id)
    return [tokens.encoding.decode(part[1:].tolist()) for part in np.split(ids, bounds) if len(part) > 1]


def milliseconds(batch: Callable[[], np.ndarray]) -> np.ndarray:
    batch()  # the first fills buffers
    took = []
    for _ in range(BATCHES):
        start = time.perf_counter()
        batch()
        took.append(1000 * (time.perf_counter() - start))
    return np.array(took)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="stdlib")
    parser.add_argument("--profile", default=default_profile(), choices=PROFILES)
    parser.add_argument("--tokens", type=int, default=16384, help="tokens a batch (default: 16384)")
    args = parser.parse_args()
    folder = corpus.prepare(args.dataset, args.profile)
    meta = corpus.load_meta(folder)
    tokens, length = tokenizer.load(folder / "tokenizer.json"), meta["seq_len"] + 1
    data = np.memmap(folder / "train.u16", dtype="<u2", mode="r").reshape(-1, length)
    count = max(1, args.tokens // meta["seq_len"])
    documents = texts(data, tokens)
    encoded = list(tokens.encode(documents))
    ways = {
        "memory-mapped rows": mapped(data, count),
        "packing tokens on the fly": packed(pack(chain.from_iterable(repeat(encoded)), length), count),
        "tokenizing and packing": packed(pack(tokens.encode(chain.from_iterable(repeat(documents))), length), count),
    }
    print(f"{count} rows of {length} tokens a batch")
    print(f"{'':28}{'median ms':>10}{'slowest ms':>12}{'mean ms':>9}{'share of a step':>17}")
    for name, batch in ways.items():
        took = milliseconds(batch)
        share = took.mean() / (STEP_MS + took.mean())
        print(f"{name:28}{np.median(took):10.3f}{took.max():12.2f}{took.mean():9.3f}{share:17.2%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
