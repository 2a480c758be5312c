"""Preparing data as a person does it: own text, the hub on good and bad days, kills, full disks, two at once."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.candidate import constants
from autoresearch.errors import DataError, UsageError
from autoresearch.tasks.gpt.data import corpus, sources, tokenizer
from autoresearch.tasks.gpt.data.profiles import PROFILES
from testbed.fake_hub import FakeHub
from testbed.toy import ROOT

TINY = PROFILES["tiny"]
COMMAND = (
    "import sys; from autoresearch.tasks.gpt.data.corpus import command_line; "
    "raise SystemExit(command_line(sys.argv[1:]))"
)


def invented(count: int, seed: int, words: int = 200) -> list[str]:
    """Documents of words from a fixed vocabulary of 3,000."""
    spelling = random.Random(1)
    vocabulary = ["".join(spelling.choices("abcdefghijklmnoprstuvwy", k=spelling.randint(2, 8))) for _ in range(3000)]
    rng = random.Random(seed)
    return [" ".join(rng.choices(vocabulary, k=rng.randint(words // 4, 2 * words))) for _ in range(count)]


def parquet(texts: list[str], filler: int = 0) -> bytes:
    """A parquet file with a column `text`, and `filler` bytes of something else."""
    columns = {"text": texts}
    if filler:
        columns["filler"] = [random.Random(0).randbytes(filler // len(texts)) for _ in texts]
    raw = io.BytesIO()
    pq.write_table(pa.table(columns), raw, use_dictionary=False, compression="none")
    return raw.getvalue()


def write_own_text(folder: Path) -> Path:
    """A folder with every kind of file, and things to be left alone."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "book.txt").write_text("\n\n".join(invented(60, 1)))
    (folder / "deep" / "Notes.MD").write_text("\n\n".join(invented(60, 2)))
    lines = [json.dumps({"text": text, "other": 1}) for text in invented(150, 3)]
    (folder / "deep" / "er" / "records.jsonl").write_text("\n".join(lines) + "\n\n")
    (folder / "shard_06542.parquet").write_bytes(parquet([*invented(150, 4), "", "   "]))
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "secret.txt").write_text("hidden " * 1000)
    (folder / ".draft.md").write_text("hidden " * 1000)
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a folder of text, where its prepared data lies)."""
    root = tmp_path_factory.mktemp("own")
    text = write_own_text(root / "my text")
    return text, corpus.prepare(str(text), "tiny", cache=root / "cache", report=lambda line: None)


def copied(own: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same data in a cache of the test's own."""
    text, folder = own
    copy = tmp_path / "cache" / "data" / folder.parent.name / folder.name
    subprocess.run(["cp", "-r", str(folder.parent.parent.parent), str(tmp_path / "cache")], check=True)
    return text, copy


def rows(folder: Path, split: str) -> np.ndarray:
    meta = corpus.load_meta(folder)
    return np.fromfile(folder / meta["splits"][split]["file"], dtype="<u2").reshape(-1, meta["seq_len"] + 1)


def command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


# --- what is prepared ------------------------------------------------------------------------------------------------


def test_the_folder_is_what_it_says(own: tuple[Path, Path]) -> None:
    text, folder = own
    meta = corpus.verify(folder)
    assert folder.parent.name == meta["dataset"] == sources.folder_name(str(text))
    assert meta["dataset"].startswith("my-text-")
    assert meta["argument"] == str(text)
    expected = {"version": 2, "profile": "tiny", "seq_len": 256, "vocab_size": 1024, "bos_id": 1020, "budget_s": 60}
    assert {key: meta[key] for key in expected} == expected
    assert meta["constants"] == TINY.constants
    for split in ("train", "val", "test"):
        data = rows(folder, split)
        assert data.shape == (meta["splits"][split]["rows"], 257)
        assert (data[:, 0] == 1020).all()
        assert data.max() <= 1020
    assert meta["splits"]["val"]["rows"] == meta["splits"]["test"]["rows"] == meta["eval_tokens"] // 256
    assert meta["splits"]["val"]["rows"] % meta["eval_rows"] == 0
    assert meta["eval_tokens"] <= 0.05 * (rows(folder, "train").size + rows(folder, "val").size)
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
    first, second = corpus.load_meta(folder), corpus.load_meta(again)
    assert first["fingerprint"] == second["fingerprint"]
    assert first["splits"] == second["splits"]


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


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_pieces_add_up_and_stay_short(text: str) -> None:
    for size in (8, 50):
        parts = list(sources.pieces(text * 3, size))
        assert "".join(parts) == text * 3
        assert all(len(part) <= size for part in parts)


def test_pieces_end_at_paragraphs_and_do_not_depend_on_what_follows() -> None:
    text = "\n\n".join(f"Paragraph {i}. " + "word " * 20 for i in range(200))
    parts = list(sources.pieces(text, 1000))
    assert all(part.startswith("Paragraph") for part in parts)
    assert list(sources.pieces(text + "\n\n" + text, 1000))[: len(parts) - 1] == parts[:-1]
    code = "".join(f"def f{i}():\n    x = {i}\n\n    return x\n\n\n" for i in range(200))
    assert all(part.startswith("def ") for part in sources.pieces(code, 1000))


def test_a_text_hash_is_for_ever() -> None:
    assert sources.text_hash("a document") == 8989495741563936255
    counts = [sources.split_of(f"document {i}") for i in range(20_000)]
    assert 700 < counts.count("val") < 900
    assert 700 < counts.count("test") < 900


def test_the_starting_constants_are_the_trainers() -> None:
    source = (ROOT / "train_mlx.py").read_text()
    for name, literal in TINY.constants.items():
        source = constants.assign(source, name, literal)
    values = constants.read(source)
    assert values["TOTAL_BATCH_SIZE"] == 4096
    assert -(-values["DEPTH"] * values["ASPECT_RATIO"] // values["HEAD_DIM"]) * values["HEAD_DIM"] == 128
    assert TINY.eval_tokens % (TINY.eval_rows * TINY.seq_len) == 0
    assert PROFILES["mac"].eval_tokens % (PROFILES["mac"].eval_rows * PROFILES["mac"].seq_len) == 0


# --- a second call, and damage ---------------------------------------------------------------------------------------


def test_a_second_call_does_nothing_quickly(own: tuple[Path, Path]) -> None:
    text, folder = own
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    script = (
        "import sys, time; start = time.perf_counter()\n"
        "from pathlib import Path; from autoresearch.tasks.gpt.data import corpus\n"
        "corpus.prepare(sys.argv[1], 'tiny', cache=Path(sys.argv[2]))\n"
        "print(time.perf_counter() - start, [m for m in ('numpy', 'pyarrow', 'tiktoken', 'rich') if m in sys.modules])"
    )
    arguments = [sys.executable, "-c", script, str(text), str(folder.parent.parent.parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert "is ready" in lines[0]
    seconds, modules = lines[1].split(" ", 1)
    assert float(seconds) < 1
    assert modules == "[]"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


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
    check = corpus.verify if damage == "changed" else corpus.load_meta
    with pytest.raises(DataError) as caught:
        check(folder)
    assert str(path) in str(caught.value)
    assert f"Run: uv run prepare.py --dataset '{text}' --profile tiny --force" in str(caught.value)


def test_preparing_mends_damage(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = copied(own, tmp_path)
    fingerprint = corpus.load_meta(folder)["fingerprint"]
    (folder / "eval" / "val.u16").write_bytes(b"")
    said: list[str] = []
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert "val.u16 is corrupt: 0 bytes" in said[0]
    assert corpus.verify(folder)["fingerprint"] == fingerprint
    (folder / "meta.json").write_text('{"version": 1')
    with pytest.raises(DataError, match=r"meta\.json is missing or corrupt"):
        corpus.load_meta(folder)
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert corpus.verify(folder)["fingerprint"] == fingerprint


def test_changed_text_is_said_and_prepared_again_only_by_force(tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": t}) for t in invented(400, 5)))
    said: list[str] = []
    folder = corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert folder.parent.name.startswith("text-")
    first = corpus.load_meta(folder)["fingerprint"]
    with text.open("a") as file:
        file.write("\n" + "\n".join(json.dumps({"text": t}) for t in invented(40, 6)))
    said.clear()
    corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert "the files changed. With --force" in said[-1]
    assert corpus.load_meta(folder)["fingerprint"] == first
    corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append, force=True)
    assert corpus.load_meta(folder)["fingerprint"] != first
    assert sorted(path.name for path in folder.parent.iterdir()) == [".tiny.lock", "tiny"]


def test_locate_by_path_by_name_and_not_at_all(own: tuple[Path, Path]) -> None:
    text, folder = own
    cache = folder.parent.parent.parent
    assert corpus.locate(str(text), "tiny", cache) == folder
    assert corpus.locate(folder.parent.name, "tiny", cache) == folder
    assert corpus.locate(str(text), "mac", cache) is None
    assert corpus.locate("stdlib", "tiny", cache) is None
    assert corpus.locate("../../etc", "tiny", cache) is None


# --- text that cannot be used ----------------------------------------------------------------------------------------


def refused(path: Path, tmp_path: Path) -> str:
    with pytest.raises(DataError) as caught:
        corpus.prepare(str(path), "tiny", cache=tmp_path / "cache", report=lambda line: None)
    return str(caught.value)


def test_too_little_text_is_refused_with_numbers(tmp_path: Path) -> None:
    text = tmp_path / "small.jsonl"
    text.write_text("\n".join(json.dumps({"text": t}) for t in invented(60, 7)))
    message = refused(text, tmp_path)
    assert "small.jsonl" in message
    assert "about 51,200 tokens" in message
    text.write_text(json.dumps({"text": "one line"}))
    assert "yields a vocabulary of" in refused(text, tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no text: expected .txt, .md, .jsonl, .parquet" in refused(empty, tmp_path)
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "fine"}\n{"content": "no"}\n')
    assert "lines.jsonl, line 2" in refused(lines, tmp_path)
    lines.write_text('{"text": "fine"}\n{"text": 7}\n')
    assert 'line 2: "text" is not a string but int' in refused(lines, tmp_path)
    lines.write_text('{"text": "fine"\n')
    assert "lines.jsonl, line 1" in refused(lines, tmp_path)
    table = tmp_path / "table.parquet"
    pq.write_table(pa.table({"body": ["a"], "id": [1]}), table)
    assert "table.parquet has no column `text`, only body, id" in refused(table, tmp_path)
    pq.write_table(pa.table({"text": [1, 2]}), table)
    assert "holds int64, not strings" in refused(table, tmp_path)
    table.write_bytes(b"PAR1 not really")
    assert "table.parquet cannot be read as parquet" in refused(table, tmp_path)


def test_half_a_surrogate_pair_and_broken_utf8_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "half \\ud800 a pair"}\n')
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfbroken \xff byte")
    texts = [text for _, text in sources.find(str(tmp_path), 1).documents(("train", "val", "test"))]
    assert sorted(texts) == ["broken \ufffd byte", "half ? a pair"]


def test_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither climbmix, tinystories, stdlib, nor"):
        corpus.prepare(str(tmp_path / "nothing"), "tiny", cache=tmp_path)
    with pytest.raises(UsageError, match="one of mac, tiny"):
        corpus.prepare("stdlib", "huge", cache=tmp_path)
    with pytest.raises(UsageError, match="from 1 to 6,542"):
        corpus.prepare("climbmix", "tiny", shards=0, cache=tmp_path)


def test_the_standard_library_is_text_of_this_python() -> None:
    source = sources.standard_library()
    names = {path.relative_to(source.root).as_posix() for path in source.paths}
    assert {"argparse.py", "json/decoder.py", "asyncio/tasks.py"} <= names
    assert not any(part in name.split("/") for name in names for part in ("test", "tests", "site-packages"))
    version = ".".join(map(str, sys.version_info[:3]))
    assert version in source.title
    assert version in source.identity["python"]
    characters = sum(len(text) for _, text in source.documents(("train", "val", "test")))
    assert characters > 5_000_000


# --- kills, neighbours, full disks -----------------------------------------------------------------------------------


def test_kill_at_any_moment_then_the_same_data(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = own
    fingerprint = corpus.load_meta(folder)["fingerprint"]
    rng = random.Random(0)
    start = time.monotonic()
    corpus.prepare(str(text), "tiny", cache=tmp_path / "once", report=lambda line: None)
    usual_s = 0.3 + time.monotonic() - start
    cache = tmp_path / "cache"
    for _ in range(5):
        process = command("--dataset", str(text), "--profile", "tiny", AUTORESEARCH_CACHE=str(cache))
        time.sleep(rng.uniform(0.2, usual_s))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = corpus.locate(str(text), "tiny", cache)
        assert found is None or corpus.verify(found)["fingerprint"] == fingerprint
        if found:
            subprocess.run(["rm", "-r", str(found)], check=True)
    ready = corpus.prepare(str(text), "tiny", cache=cache, report=lambda line: None)
    assert corpus.verify(ready)["fingerprint"] == fingerprint
    assert sorted(path.name for path in ready.parent.iterdir()) == [".tiny.lock", "tiny"]


def stop_after(stage: str, text: Path, cache: Path) -> None:
    """Prepares until a stage is reported, as a person does who then presses Ctrl-C."""

    def report(line: str) -> None:
        if line.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus.prepare(str(text), "tiny", cache=cache, report=report)


def test_finished_stages_are_kept(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = own
    for stage, kept in (("tokenizer", []), ("val, test", ["tokenizer"]), ("train", ["tokenizer", "held_out"])):
        stop_after(stage, text, tmp_path)
        state = tmp_path / "data" / folder.parent.name / ".tiny.partial" / "state.json"
        assert (list(json.loads(state.read_text())["stages"]) if state.exists() else []) == kept
    said: list[str] = []
    ready = corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert said[1] == "continuing after: tokenizer, held_out"
    assert corpus.verify(ready)["fingerprint"] == corpus.load_meta(folder)["fingerprint"]


def test_changed_text_does_not_continue_old_work(own: tuple[Path, Path], tmp_path: Path) -> None:
    text = tmp_path / "text"
    subprocess.run(["cp", "-r", str(own[0]), str(text)], check=True)
    stop_after("val, test", text, tmp_path / "cache")
    (text / "new.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in invented(30, 11)))
    said: list[str] = []
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert not any(line.startswith("continuing") for line in said)


def test_killed_between_the_last_stage_and_the_rename(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = copied(own, tmp_path)
    folder.rename(folder.with_name(".tiny.partial"))
    assert corpus.locate(str(text), "tiny", tmp_path / "cache") is None
    said: list[str] = []
    assert corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append) == folder
    assert "is ready" in said[0]
    folder.with_name(".tiny.partial").mkdir()  # a killed --force leaves it
    folder.with_name(".tiny.old").mkdir()
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".tiny.lock", "tiny"]


def test_two_at_once_prepare_once(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = own
    both = [command("--dataset", str(text), "--profile", "tiny", AUTORESEARCH_CACHE=str(tmp_path)) for _ in range(2)]
    ended = [finished(process) for process in both]
    assert [code for code, _, _ in ended] == [0, 0], ended
    outputs = sorted((out for _, out, _ in ended), key=len)
    assert "is ready" in outputs[0]
    assert "prepared in" in outputs[1]
    ready = corpus.locate(str(text), "tiny", tmp_path)
    assert ready is not None
    assert corpus.verify(ready)["fingerprint"] == corpus.load_meta(folder)["fingerprint"]


def test_a_full_disk_is_said_and_the_same_command_continues(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, _ = own
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    arguments = ["--dataset", str(text), "--profile", "tiny"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AUTORESEARCH_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", limit + COMMAND, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "File too large" in done.stderr
    assert "GB free. Make room" in done.stderr
    said: list[str] = []
    corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert said[1] == "continuing after: tokenizer, held_out"


# --- the hub ---------------------------------------------------------------------------------------------------------

CLIMBMIX = "karpathy/climbmix-400b-shuffle"


@pytest.fixture(scope="module")
def shards() -> dict[str, bytes]:
    return {f"shard_{i:05d}.parquet": parquet(invented(300, i)) for i in (0, 1, 6542)}


@pytest.fixture
def hub(shards: dict[str, bytes]) -> Iterator[FakeHub]:
    with FakeHub({CLIMBMIX: shards}) as server:
        yield server


def from_hub(hub: FakeHub, tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "AUTORESEARCH_CACHE": str(tmp_path)}
    return finished(command("--profile", "tiny", *arguments, **{**settings, **environment}))


def test_climbmix_then_offline_from_the_hubs_cache(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = from_hub(hub, tmp_path, "--shards", "2")
    assert code == 0, err
    assert [name for name, _ in hub.transfers] == [
        "shard_06542.parquet",
        "shard_00000.parquet",
        "shard_00001.parquet",
    ]
    folder = tmp_path / "data" / "climbmix" / "tiny"
    meta = corpus.verify(folder)
    assert meta["source"] == f"{CLIMBMIX}, 2 training shards"
    encoding = tokenizer.load(folder / "tokenizer.json").encoding
    held_out, train = " ".join(invented(300, 6542)), " ".join(invented(300, 0) + invented(300, 1))
    for split, expected in (("val", held_out), ("test", held_out), ("train", train)):
        beginning = encoding.decode(list(map(int, rows(folder, split)[0][1:40]))).split("<|bos|>")[0]
        assert beginning in expected
    code, _, err = from_hub(hub, tmp_path, "--shards", "2", "--force", HF_HUB_OFFLINE="1")
    assert code == 0, err
    assert len(hub.transfers) == 3
    assert corpus.load_meta(folder)["fingerprint"] == meta["fingerprint"]


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


def test_a_missing_shard_keeps_the_others(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = from_hub(hub, tmp_path, "--shards", "3")
    assert code == 1
    assert "3 of 4 files of karpathy/climbmix-400b-shuffle are in" in err
    assert "but not shard_00002.parquet: the hub answered 404 Not Found" in err
    assert "--dataset stdlib" in err
    assert len(hub.transfers) == 3


def test_without_a_hub_the_offline_data_set_is_named(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = from_hub(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 1
    assert "0 of 2 files" in err
    assert "the hub does not answer" in err
    assert "uv run prepare.py --dataset stdlib" in err


def test_a_damaged_download_is_named_with_the_command(hub: FakeHub, tmp_path: Path) -> None:
    hub.files[CLIMBMIX]["shard_00000.parquet"] = broken = b"PAR1 nothing else"
    hub.blobs.update({hashlib.sha256(broken).hexdigest(): broken})
    code, _, err = from_hub(hub, tmp_path)
    assert code == 1
    assert "shard_00000.parquet cannot be read as parquet" in err
    assert "Run: rm " in err


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
    assert not corpus.hub_reachable()
    assert hub.heads == 1
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not corpus.hub_reachable()
    hub.files.clear()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert not corpus.hub_reachable()


# --- the command line ------------------------------------------------------------------------------------------------


def test_command_line(
    own: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, folder = own
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(folder.parent.parent.parent))
    assert corpus.command_line(["--dataset", str(text), "--profile", "tiny"]) == 0
    assert "is ready" in capsys.readouterr().out
    assert corpus.command_line(["--dataset", str(text), "--profile", "tiny", "--verify"]) == 0
    assert "is whole" in capsys.readouterr().out
    assert corpus.command_line(["--dataset", "stdlib", "--profile", "tiny", "--verify"]) == 1
    assert "uv run prepare.py --dataset stdlib --profile tiny" in capsys.readouterr().err
    assert corpus.command_line(["--dataset", "nowhere"]) == 2
