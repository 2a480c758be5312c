"""Train a byte-level BPE tokenizer with rustbpe, store it as JSON, and encode text with it through tiktoken."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoresearch import jsonable
from autoresearch.errors import DataError

if TYPE_CHECKING:
    import tiktoken

PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
SPECIAL = ("<|bos|>", "<|reserved_1|>", "<|reserved_2|>", "<|reserved_3|>")  # the last token ids; the first is BOS
TRAINING_CHARACTERS = 10**9  # most characters that training reads
TRAINING_DOCUMENT_CHARACTERS = 10_000  # of each document
WINDOW = 100_000  # characters encoded at once: a run of a million spaces overflows the pattern's backtracking stack
BATCH_CHARACTERS = 4_000_000  # characters given to the encoding threads at a time

Tokens = NDArray[np.uint16]


@dataclass(frozen=True)
class _Stored:
    """A tokenizer as JSON: the bytes of the ranks in base64."""

    pattern: str
    special: Mapping[str, int]
    ranks: Sequence[str]


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary: token i stands for the bytes ranks[i]; the special tokens follow after the last rank."""

    pattern: str
    ranks: tuple[bytes, ...]
    special: Mapping[str, int]  # name -> id

    @property
    def vocab_size(self) -> int:
        return len(self.ranks) + len(self.special)

    @property
    def bos_id(self) -> int:
        return self.special[SPECIAL[0]]

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        import tiktoken

        ranks = {token: rank for rank, token in enumerate(self.ranks)}
        return tiktoken.Encoding(
            "autoresearch", pat_str=self.pattern, mergeable_ranks=ranks, special_tokens=dict(self.special)
        )

    def token_bytes(self) -> NDArray[np.int32]:
        """Count the UTF-8 bytes of each token: (vocab_size,) int32, 0 for special tokens."""
        return np.array([len(token) for token in self.ranks] + [0] * len(self.special), dtype=np.int32)

    def encode(self, texts: Iterable[str], threads: int | None = None) -> Iterator[Tokens]:
        """Yield the texts as tokens, in order, each beginning with BOS; what follows BOS decodes to the text."""
        for batch in _batches(texts):
            windows = [[text[i : i + WINDOW] for i in range(0, len(text), WINDOW)] for text in batch]
            encoded = iter(
                self.encoding.encode_ordinary_batch(
                    list(chain.from_iterable(windows)), num_threads=threads or os.cpu_count() or 1
                )
            )
            for parts in windows:
                ids = chain([self.bos_id], *islice(encoded, len(parts)))
                yield np.fromiter(ids, dtype=np.uint16)

    def to_json(self) -> str:
        ranks = [base64.b64encode(token).decode() for token in self.ranks]
        return jsonable.to_json(_Stored(self.pattern, self.special, ranks)).decode()


def load(path: Path) -> Tokenizer:
    """Read a tokenizer from a file that holds what `to_json` returned."""
    stored = jsonable.from_json(_Stored, path.read_bytes())
    return Tokenizer(stored.pattern, tuple(map(base64.b64decode, stored.ranks)), stored.special)


def train(documents: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a tokenizer of `vocab_size` tokens, special ones included. Raises DataError where the text yields fewer."""
    import rustbpe

    trained = rustbpe.Tokenizer()
    merges = vocab_size - len(SPECIAL)
    trained.train_from_iterator(training_text(documents), merges, pattern=PATTERN)
    ranks = tuple(bytes(token) for token, _ in sorted(trained.get_mergeable_ranks(), key=lambda item: item[1]))
    if len(ranks) < merges:
        raise DataError(
            f"the training text yields a vocabulary of {len(ranks) + len(SPECIAL):,} tokens, the profile needs"
            f" {vocab_size:,}: it is too short or too repetitive"
        )
    return Tokenizer(PATTERN, ranks, {name: merges + i for i, name in enumerate(SPECIAL)})


def training_text(documents: Iterable[str]) -> Iterator[str]:
    """Yield the beginnings of the documents, up to TRAINING_CHARACTERS in all."""
    characters = 0
    for text in documents:
        yield text[:TRAINING_DOCUMENT_CHARACTERS]
        characters += min(len(text), TRAINING_DOCUMENT_CHARACTERS)
        if characters >= TRAINING_CHARACTERS:
            return


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
