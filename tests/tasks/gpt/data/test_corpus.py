"""Preparing data as a person does it: own text, the hub on good and bad days, kills, full disks, two at once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoresearch import jsonable
from autoresearch.errors import DataError, UsageError
from autoresearch.tasks.gpt.data import corpus, prepared, sources, tokenizer
from testbed.texts import TINY, copied, invented, refused, rows
from testbed.toy import ROOT, write_toy_data

pytestmark = pytest.mark.slow

# --- what is prepared ------------------------------------------------------------------------------------------------


def test_the_folder_is_what_it_says(own: tuple[Path, Path]) -> None:
    text, folder = own
    meta = prepared.verify(folder)
    assert folder.parent.name == meta.dataset == sources.folder_name(str(text))
    assert meta.dataset.startswith("my-text-")
    assert meta.argument == str(text)
    expected = {"version": 2, "profile": "tiny", "seq_len": 256, "vocab_size": 1024, "bos_id": 1020, "budget_s": 60}
    assert {key: getattr(meta, key) for key in expected} == expected
    assert meta.constants == TINY.constants
    for split in ("train", "val", "test"):
        data = rows(folder, split)
        assert data.shape == (meta.splits[split].rows, 257)
        assert (data[:, 0] == 1020).all()
        assert data.max() <= 1020
    assert meta.splits["val"].rows == meta.splits["test"].rows == meta.eval_tokens // 256
    assert meta.splits["val"].rows % meta.eval_rows == 0
    assert meta.eval_tokens <= 0.05 * (rows(folder, "train").size + rows(folder, "val").size)
    sizes = np.load(folder / "token_bytes.npy")
    assert sizes.dtype == np.int32
    assert np.array_equal(sizes, tokenizer.load(folder / "tokenizer.json").token_bytes())


def test_every_split_holds_its_own_documents_and_no_hidden_ones(own: tuple[Path, Path]) -> None:
    text, folder = own
    by_split: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for split, document in sources.find(str(text), 1).documents(tuple(by_split)):
        by_split[split].append(document)
    assert not any("hidden" in document for documents in by_split.values() for document in documents)
    encoding = tokenizer.load(folder / "tokenizer.json").encoding
    for split in by_split:
        own_text = "\n".join(by_split[split])
        found = 0
        for row in rows(folder, split):
            starts = [*np.flatnonzero(row == 1020), len(row)]
            for a, b in itertools.pairwise(starts):
                piece = encoding.decode(list(map(int, row[a + 1 : b])))
                assert piece in own_text
                found += len(piece)
        assert split != "train" or found > 0.99 * sum(map(len, by_split[split]))


def test_training_rows_are_shuffled_and_the_whole_repeats(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = own
    again = corpus.prepare(str(text), "tiny", cache=tmp_path, report=lambda line: None)
    first, second = prepared.load_meta(folder), prepared.load_meta(again)
    assert first.fingerprint == second.fingerprint
    assert first.splits == second.splits


def test_adding_text_moves_no_document(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, _ = own
    grown = tmp_path / "grown"
    subprocess.run(["cp", "-r", str(text), str(grown)], check=True)
    before = {document: split for split, document in sources.find(str(grown), 1).documents(("train", "val", "test"))}
    (grown / "a new one.txt").write_text("\n\n".join(invented(50, 9)))
    (grown / "more.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in invented(50, 10)))
    with (grown / "deep" / "er" / "records.jsonl").open("a") as file:
        file.write(json.dumps({"text": "a late record"}))
    after = {document: split for split, document in sources.find(str(grown), 1).documents(("train", "val", "test"))}
    assert len(after) > len(before) + 60
    assert set(before.values()) == {"train", "val", "test"}
    assert {document: after[document] for document in before} == before


# --- a second call, and damage ---------------------------------------------------------------------------------------


def test_a_second_call_does_nothing_quickly(own: tuple[Path, Path]) -> None:
    text, folder = own
    os.utime(folder / "meta.json", (0, 0))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "meta.json"}
    script = (
        "import sys, time; start = time.process_time()\n"
        "from pathlib import Path; from autoresearch.tasks.gpt.data import corpus\n"
        "corpus.prepare(sys.argv[1], 'tiny', cache=Path(sys.argv[2]))\n"
        "print(time.process_time() - start, [m for m in ('numpy', 'pyarrow', 'tiktoken', 'rich') if m in sys.modules])"
    )
    arguments = [sys.executable, "-c", script, str(text), str(folder.parents[2])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert "is ready" in lines[0]
    seconds, modules = lines[1].split(" ", 1)
    assert float(seconds) < 1
    assert modules == "[]"
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert after.pop(folder / "meta.json") > 0 and after == before  # it is what was prepared last from now on


@pytest.mark.parametrize("name", ["train.u16", "eval/val.u16", "eval/test.u16", "token_bytes.npy", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "changed"])
def test_damage_is_named_with_the_command_that_mends_it(
    own: tuple[Path, Path], tmp_path: Path, name: str, damage: str
) -> None:
    text, folder = copied(own, tmp_path)
    path = folder / name
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(raw[:-1] if damage == "short" else raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(DataError) as caught:
        prepared.verify(folder, quick=True)
    assert str(path) in str(caught.value)
    assert f"Run: uv run prepare.py --dataset '{text}' --profile tiny --force" in str(caught.value)


def test_a_changed_number_of_the_task_is_noticed_and_the_training_rows_are_read_only_where_they_were_written(
    own: tuple[Path, Path], tmp_path: Path
) -> None:
    _, folder = copied(own, tmp_path)
    meta, train = prepared.load_meta(folder), folder / "train.u16"
    os.utime(train, ns=(meta.train_mtime_ns,) * 2)
    bad = bytearray(train.read_bytes())
    bad[0] ^= 1
    train.write_bytes(bad)
    os.utime(train, ns=(meta.train_mtime_ns,) * 2)
    assert prepared.verify(folder, quick=True) == meta
    with pytest.raises(DataError, match=r"train\.u16 is corrupt: SHA-256"):
        prepared.verify(folder)
    (folder / "meta.json").write_bytes(jsonable.to_json(replace(meta, eval_rows=meta.eval_rows // 2)))
    with pytest.raises(DataError, match=r"meta\.json was changed: .* Run: uv run prepare\.py .* --force"):
        prepared.verify(folder, quick=True)


def test_text_that_has_changed_since_is_said(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("one\n")
    request = {"version": 2, "numbers": {}, **jsonable.plain(sources.find(str(text), 0).identity)}
    toy = prepared.load_meta(write_toy_data(tmp_path / "toy"))
    meta = replace(toy, argument=str(text), source="notes.txt", request=request)
    assert corpus.changed_source(meta) is None and corpus.changed_source(replace(meta, request={"shards": 2})) is None
    text.write_text("one and two\n")
    assert "notes.txt has changed since it was prepared" in (corpus.changed_source(meta) or "")
    text.unlink()
    assert corpus.changed_source(meta) is None


def test_preparing_mends_damage(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = copied(own, tmp_path)
    fingerprint = prepared.load_meta(folder).fingerprint
    (folder / "eval" / "val.u16").write_bytes(b"")
    said: list[str] = []
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert "val.u16 is corrupt: 0 bytes" in said[0]
    assert prepared.verify(folder).fingerprint == fingerprint
    (folder / "meta.json").write_text('{"version": 1')
    with pytest.raises(DataError, match=r"meta\.json is missing or corrupt"):
        prepared.load_meta(folder)
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert prepared.verify(folder).fingerprint == fingerprint


def test_changed_text_is_said_and_prepared_again_only_by_force(tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": t}) for t in invented(400, 5)))
    said: list[str] = []
    folder = corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert folder.parent.name.startswith("text-")
    first = prepared.load_meta(folder).fingerprint
    with text.open("a") as file:
        file.write("\n" + "\n".join(json.dumps({"text": t}) for t in invented(40, 6)))
    said.clear()
    corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert "the files changed. With --force" in said[-1]
    assert prepared.load_meta(folder).fingerprint == first
    corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append, force=True)
    assert prepared.load_meta(folder).fingerprint != first
    assert sorted(path.name for path in folder.parent.iterdir()) == [".tiny.lock", "tiny"]


def test_locate_by_path_by_name_and_not_at_all(own: tuple[Path, Path]) -> None:
    text, folder = own
    cache = folder.parents[2]
    assert corpus.locate(str(text), "tiny", cache) == folder
    assert corpus.locate(folder.parent.name, "tiny", cache) == folder
    assert corpus.locate(str(text), "mac", cache) is None
    assert corpus.locate("stdlib", "tiny", cache) is None
    assert corpus.locate("../../etc", "tiny", cache) is None


# --- text that cannot be used ----------------------------------------------------------------------------------------


def test_too_little_text_is_refused_with_numbers(tmp_path: Path) -> None:
    text = tmp_path / "small.jsonl"
    text.write_text("\n".join(json.dumps({"text": t}) for t in invented(60, 7)))
    message = refused(text, tmp_path)
    assert "small.jsonl" in message
    assert "about 51,200 tokens" in message
    text.write_text(json.dumps({"text": "one line"}))
    assert "yields a vocabulary of" in refused(text, tmp_path)


def test_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither climbmix, tinystories, stdlib, nor"):
        corpus.prepare(str(tmp_path / "nothing"), "tiny", cache=tmp_path)
    with pytest.raises(UsageError, match="one of mac, tiny"):
        corpus.prepare("stdlib", "huge", cache=tmp_path)
    with pytest.raises(UsageError, match="from 1 to 6,542"):
        corpus.prepare("climbmix", "tiny", shards=0, cache=tmp_path)


# --- the command line ------------------------------------------------------------------------------------------------


def test_command_line(
    own: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, folder = own
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(folder.parents[2]))
    assert corpus.command_line(["--dataset", str(text), "--profile", "tiny"]) == 0
    assert "is ready" in capsys.readouterr().out
    assert corpus.command_line(["--dataset", str(text), "--profile", "tiny", "--verify"]) == 0
    assert "is whole" in capsys.readouterr().out
    assert corpus.command_line(["--dataset", "stdlib", "--profile", "tiny", "--verify"]) == 1
    assert "uv run prepare.py --dataset stdlib --profile tiny" in capsys.readouterr().err
    assert corpus.command_line(["--dataset", "nowhere"]) == 2
