"""The tokenizer: lossless on any text, honest about bytes, the same after a round through its file."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import DataError
from autoresearch.tasks.gpt.data import tokenizer as bpe
from autoresearch.tasks.gpt.data.tokenizer import Tokenizer, load, train

pytestmark = pytest.mark.slow


def prose(characters: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyzäß", k=rng.randint(2, 9))) for _ in range(2000)]
    return [" ".join(rng.choices(words, k=100)) for _ in range(characters // 600)]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return train(prose(200_000), 600)


def text_of(tokenizer: Tokenizer, ids: np.ndarray) -> str:
    assert ids[0] == tokenizer.bos_id
    return tokenizer.encoding.decode(list(map(int, ids[1:])))


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",))), max_size=5))
def test_any_text_comes_back(trained: Tokenizer, texts: list[str]) -> None:
    encoded = list(trained.encode(texts, threads=2))
    assert [text_of(trained, ids) for ids in encoded] == texts
    lengths = trained.token_bytes()
    assert [int(lengths[ids].sum()) for ids in encoded] == [len(text.encode()) for text in texts]


def test_the_vocabulary(trained: Tokenizer) -> None:
    assert trained.vocab_size == 600 == trained.encoding.n_vocab
    assert trained.bos_id == 596
    lengths = trained.token_bytes()
    assert lengths.shape == (600,)
    assert lengths.dtype == np.int32
    assert list(np.flatnonzero(lengths == 0)) == [596, 597, 598, 599]
    assert lengths[:256].tolist() == [1] * 256
    assert set(trained.ranks[:256]) == {bytes([i]) for i in range(256)}


def test_training_compresses_and_repeats(trained: Tokenizer) -> None:
    text = prose(60_000)[0]
    assert len(text.encode()) / (len(next(trained.encode([text]))) - 1) > 1.5
    assert train(prose(200_000), 600) == trained


def test_the_names_of_special_tokens_are_only_text(trained: Tokenizer) -> None:
    [ids] = trained.encode(["<|bos|> and <|reserved_1|>"])
    assert (ids[1:] < 596).all()
    assert text_of(trained, ids) == "<|bos|> and <|reserved_1|>"


def test_the_file_gives_the_same_tokenizer(trained: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(trained.to_json())
    assert load(path) == trained
    stored = json.loads(path.read_text())
    assert set(stored) == {"pattern", "special", "ranks"}
    assert stored["special"] == {"<|bos|>": 596, "<|reserved_1|>": 597, "<|reserved_2|>": 598, "<|reserved_3|>": 599}
    [before], [after] = trained.encode(["the same"]), load(path).encode(["the same"])
    assert np.array_equal(before, after)


@pytest.mark.parametrize("character", [" ", "\n", "a", "=", "é"])
def test_long_runs_of_one_character(trained: Tokenizer, character: str) -> None:
    text = "x" + character * 1_500_000 + "y"
    [ids] = trained.encode([text])
    assert text_of(trained, ids) == text


def test_documents_across_batches_stay_in_order(trained: Tokenizer) -> None:
    texts = ["one", "=" * bpe.BATCH_CHARACTERS, "two", "", "three"]
    assert [text_of(trained, ids) for ids in trained.encode(texts)] == texts


def test_training_reads_only_the_beginning_of_a_document() -> None:
    texts = prose(200_000)
    long = [text + " " * (bpe.TRAINING_DOCUMENT_CHARACTERS - len(text)) + "zqzqzqzq " * 10_000 for text in texts]
    assert not any(b"zq" in token for token in train(long, 600).ranks)


def test_text_without_enough_variety_is_refused() -> None:
    with pytest.raises(DataError, match=r"vocabulary of 2\d\d tokens, the profile needs 1,024"):
        train(["abc " * 1000], 1024)
