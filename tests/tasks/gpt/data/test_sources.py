"""Where text comes from: files of every kind, in pieces, in an order that stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.tasks.gpt.data import sources
from testbed.texts import refused


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


@pytest.mark.slow
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
