"""Data sets from the hub, on good and bad days."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.tasks.gpt.data import corpus, prepared, sources, tokenizer
from testbed.fake_hub import FakeHub
from testbed.texts import command, finished, invented, parquet, rows
from testbed.toy import ROOT

CLIMBMIX = "karpathy/climbmix-400b-shuffle"


@pytest.fixture(scope="session")
def shards() -> dict[str, bytes]:
    return {f"shard_{i:05d}.parquet": parquet(invented(300, i)) for i in (0, 1, 6542)}


@pytest.fixture
def hub(shards: dict[str, bytes]) -> Iterator[FakeHub]:
    with FakeHub({CLIMBMIX: shards}) as server:
        yield server


def from_hub(hub: FakeHub, tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "AUTORESEARCH_CACHE": str(tmp_path)}
    return finished(command("--profile", "tiny", *arguments, **{**settings, **environment}))


@pytest.mark.slow
def test_climbmix_then_offline_from_the_hubs_cache(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = from_hub(hub, tmp_path, "--shards", "2")
    assert code == 0, err
    assert [name for name, _ in hub.transfers] == [
        "shard_06542.parquet",
        "shard_00000.parquet",
        "shard_00001.parquet",
    ]
    folder = tmp_path / "data" / "climbmix" / "tiny"
    meta = prepared.verify(folder)
    assert meta.source == f"{CLIMBMIX}, 2 training shards"
    encoding = tokenizer.load(folder / "tokenizer.json").encoding
    held_out, train = " ".join(invented(300, 6542)), " ".join(invented(300, 0) + invented(300, 1))
    for split, expected in (("val", held_out), ("test", held_out), ("train", train)):
        beginning = encoding.decode(list(map(int, rows(folder, split)[0][1:40]))).split("<|bos|>")[0]
        assert beginning in expected
    code, _, err = from_hub(hub, tmp_path, "--shards", "2", "--force", HF_HUB_OFFLINE="1")
    assert code == 0, err
    assert len(hub.transfers) == 3
    assert prepared.load_meta(folder).fingerprint == meta.fingerprint


@pytest.mark.slow
def test_a_transfer_that_breaks_off_is_resumed_and_a_refused_one_repeated(tmp_path: Path) -> None:
    chunk = 10 * 2**20  # what the hub's client writes at a time
    files = {
        "shard_06542.parquet": parquet(invented(300, 1), filler=chunk),
        "shard_00000.parquet": parquet(invented(300, 0)),
    }
    with FakeHub({CLIMBMIX: files}) as hub:
        hub.cut = [chunk + 1000]
        hub.refuse = [503]
        code, out, err = from_hub(hub, tmp_path)
        assert code == 0, err
        assert "shard_06542.parquet: the hub answered 503 Service Unavailable; trying again in 1 s" in out
        assert hub.transfers == [
            ("shard_06542.parquet", 0),
            ("shard_06542.parquet", 0),
            ("shard_06542.parquet", chunk),
            ("shard_00000.parquet", 0),
        ]


@pytest.mark.slow
def test_a_missing_shard_keeps_the_others(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = from_hub(hub, tmp_path, "--shards", "3")
    assert code == 1
    assert "3 of 4 files of karpathy/climbmix-400b-shuffle are in" in err
    assert "but not shard_00002.parquet: the hub answered 404 Not Found" in err
    assert "--dataset stdlib" in err
    assert len(hub.transfers) == 3


@pytest.mark.slow
def test_without_a_hub_the_offline_data_set_is_named(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = from_hub(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 1
    assert "0 of 2 files" in err
    assert "the Hugging Face hub does not answer (HF_ENDPOINT=http://127.0.0.1:9)" in err
    assert "uv run prepare.py --dataset stdlib" in err


@pytest.mark.slow
def test_a_damaged_download_is_named_with_the_command(hub: FakeHub, tmp_path: Path) -> None:
    hub.files[CLIMBMIX]["shard_00000.parquet"] = broken = b"PAR1 nothing else"
    hub.blobs.update({hashlib.sha256(broken).hexdigest(): broken})
    code, _, err = from_hub(hub, tmp_path)
    assert code == 1
    assert "shard_00000.parquet cannot be read as parquet" in err
    assert "Run: rm " in err


FETCH = """
import sys
from autoresearch.tasks.gpt.data.hub import download
try:
    for path in download(sys.argv[1], ["shard_06542.parquet"], print):
        print(path)
except Exception as error:
    print(type(error).__name__, error)
"""


def fetched(hub: FakeHub, tmp_path: Path, **environment: str) -> str:
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT), **environment}
    argv = [sys.executable, "-c", FETCH, CLIMBMIX]
    return subprocess.run(argv, env={**os.environ, **settings}, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("hf_expired", "HF_TOKEN is refused by the hub (401); the data is public, and is asked for without it"),
        ("hf_schlüssel", "HF_TOKEN cannot be sent; the data is public, and is asked for without it"),
    ],
)
def test_a_token_that_the_hub_refuses_is_named_and_left_out(
    hub: FakeHub, tmp_path: Path, token: str, said: str
) -> None:
    hub.knows_no_token = True
    out = fetched(hub, tmp_path, HF_TOKEN=token)
    assert out.splitlines()[0] == said and out.rstrip().endswith("shard_06542.parquet")
    assert len(out.splitlines()) == 2


@pytest.mark.slow
def test_odd_proxies_do_not_reach_the_hubs_client(hub: FakeHub, tmp_path: Path) -> None:
    odd = {"ALL_PROXY": "socks://127.0.0.1:9", "NO_PROXY": "[::1],10.0.0.0/8", "HTTP_PROXY": "quic://x"}
    assert fetched(hub, tmp_path, **odd).rstrip().endswith("shard_06542.parquet")
    elsewhere = fetched(hub, tmp_path / "b", HF_ENDPOINT="http://hub.example.org", **odd)
    assert elsewhere.startswith("DataError 0 of 1 files") and "HTTP_PROXY=quic://x: a proxy of this kind" in elsewhere


def test_tinystories_keeps_the_publishers_split(tmp_path: Path) -> None:
    stories = [f"{i} {text}" for i, text in enumerate(invented(22_000, 8, words=12))]
    with FakeHub({"karpathy/tinystories-gpt4-clean": {"tinystories_gpt4_clean.parquet": parquet(stories)}}) as hub:
        source = sources.TinyStories()
        source.path = tmp_path / "stories.parquet"
        source.path.write_bytes(hub.files["karpathy/tinystories-gpt4-clean"]["tinystories_gpt4_clean.parquet"])
        by_split: dict[str, list[str]] = {"test": [], "val": [], "train": []}
        for split, text in source.documents(tuple(by_split)):
            by_split[split].append(text)
        assert [by_split[s] for s in by_split] == [stories[:10_000], stories[10_000:20_000], stories[20_000:]]
        assert [text for _, text in source.documents(("val",))] == by_split["val"]


def test_hub_reachable(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert corpus.hub_reachable()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not corpus.hub_reachable() and corpus.hub_problem() == "HF_HUB_OFFLINE is set"
    assert hub.heads == 1
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "127.0.0.1:9")
    assert corpus.hub_problem() == "the Hugging Face hub does not answer (HF_ENDPOINT=https://127.0.0.1:9)"
    hub.files.clear()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert not corpus.hub_reachable()
