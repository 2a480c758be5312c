"""Files of text: plain, JSON lines and parquet, whole and odd."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import DataError
from autoresearch.tasks.gpt.data import files, sources
from autoresearch.tasks.gpt.data.files import Remarks
from testbed.texts import refused


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_pieces_add_up_and_stay_short(text: str) -> None:
    for size in (8, 50):
        parts = list(files.pieces(text * 3, size))
        assert "".join(parts) == text * 3
        assert all(len(part) <= size for part in parts)


def test_pieces_end_at_paragraphs_and_do_not_depend_on_what_follows() -> None:
    text = "\n\n".join(f"Paragraph {i}. " + "word " * 20 for i in range(200))
    parts = list(files.pieces(text, 1000))
    assert all(part.startswith("Paragraph") for part in parts)
    assert list(files.pieces(text + "\n\n" + text, 1000))[: len(parts) - 1] == parts[:-1]
    code = "".join(f"def f{i}():\n    x = {i}\n\n    return x\n\n\n" for i in range(200))
    assert all(part.startswith("def ") for part in files.pieces(code, 1000))


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
    assert "table.parquet has no column `text`; it has body, id. Name the one" in refused(table, tmp_path)
    pq.write_table(pa.table({"text": [1, 2]}), table)
    assert "holds int64, not strings" in refused(table, tmp_path)
    table.write_bytes(b"PAR1 not really")
    assert "table.parquet cannot be read as parquet" in refused(table, tmp_path)


def read(path: Path, content: bytes | None = None) -> tuple[list[str], list[str]]:
    """Write a file, and return its documents and the remarks on it."""
    if content is not None:
        path.write_bytes(content)
    remarks = Remarks()
    return list(files.read(path, remarks)), remarks.lines()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_with_a_mark_and_every_line_end_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    text = "A first paragraph of text.\n\nA second one – of “text”.\n" * 20
    raw = text.replace("\n", end).encode(encoding)
    assert read(tmp_path / "a.txt", raw) == ([text], [])
    rows = '{"text": "one"}\n\n{"text": "zwei ü"}\n'.replace("\n", end).encode(encoding)
    assert read(tmp_path / "a.jsonl", rows) == (["one", "zwei ü"], [])


def test_a_large_file_is_cut_as_a_whole_one_would_be(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {i}. " + "word " * (i % 90) for i in range(9000))
    assert len(text) > 2 * 2**20
    assert read(tmp_path / "a.txt", text.encode())[0] == list(files.pieces(text))


def test_what_is_lost_is_counted_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    assert read(path, "déjà vu".encode("latin-1")) == (
        ["d\ufffdj\ufffd vu"],
        [f"2 characters of 1 file cannot be read and count as \ufffd ({path})"],
    )
    (tmp_path / "more.txt").write_bytes(b"\xff\xff\xff zero \xff bytes")
    (tmp_path / "good.txt").write_text("good")
    source = sources.find(str(tmp_path), 1)
    list(source.documents(("train", "val", "test")))
    assert source.remarks() == [
        f"6 characters of 2 files cannot be read and count as \ufffd (4 in {tmp_path / 'more.txt'})"
    ]


def test_files_that_are_no_text_are_left_out_and_named(tmp_path: Path) -> None:
    with (tmp_path / "sparse.txt").open("wb") as sparse:
        sparse.truncate(3 * 2**30)
    (tmp_path / "picture.jsonl").write_bytes(b"\x89PNG\r\n\0\0\0")
    (tmp_path / "good.txt").write_text("good")
    source = sources.find(str(tmp_path), 1)
    assert [text for _, text in source.documents(("train", "val", "test"))] == ["good"]
    [said] = source.remarks()
    assert said.startswith("skipped, not a text file: ") and said.endswith("(it holds zero bytes), and 1 other file")
    assert read(tmp_path / "late.txt", b"text " * 20_000 + b"\0") == (
        list(files.pieces("text " * 20_000 + "\ufffd")),
        [f"1 character of 1 file cannot be read and count as \ufffd ({tmp_path / 'late.txt'})"],
    )


def test_a_data_set_without_any_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "rows.jsonl").write_text('{"text": null}\n')
    assert refused(tmp_path, tmp_path / "c") == f"{tmp_path} (2 files) holds no text to train on"


def test_rows_without_a_text_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = b'{"text": null}\n{"text": "one"}\nnull\n{"text": " "}\n{"text": "half \\ud800 a pair"}\n'
    assert read(path, rows) == (
        ["one", "half ? a pair"],
        [f"3 rows of 1 file hold no text and are skipped ({path})"],
    )
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", None, "", "two"]}), table)
    assert read(table) == (["one", "two"], [f"2 rows of 1 file hold no text and are skipped ({table})"])


@pytest.mark.parametrize("line", [b"[" * 100_000, b"{", b"7", b"[]", b'{"body": "x"}', b'{"text": ["x"]}', b"9" * 5000])
def test_a_line_that_is_no_document_is_named(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(DataError, match="line 2: ") as caught:
        read(tmp_path / "a.jsonl", b'{"text": "one"}\n' + line)
    assert len(str(caught.value)) < 400


TABLES = [pa.array(["one", "two"], pa.large_string()), pa.array(["one", "two"]).dictionary_encode()]


@pytest.mark.parametrize("column", TABLES)
def test_every_type_of_string_is_text(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (["one", "two"], [])


def test_a_parquet_whose_strings_are_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"d\xe9j\xe0", None], pa.binary())
    odd = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"text": odd}), tmp_path / "a.parquet")
    found, said = read(tmp_path / "a.parquet")
    assert found == ["fine", "d\ufffdj\ufffd"]
    assert said[0].startswith("2 characters of 1 file cannot be read") and said[1].startswith("1 row of 1 file")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("any.txt", "any.jsonl", "any.parquet"):
        try:
            found, _ = read(folder / name, content)
        except DataError:
            continue
        assert all(text.encode() and text.strip() for text in found)


def test_the_text_may_stand_in_another_column(tmp_path: Path) -> None:
    lines, table = tmp_path / "lines.jsonl", tmp_path / "table.parquet"
    lines.write_text('{"text": "no", "body": "one"}\n{"body": "two"}\n')
    pq.write_table(pa.table({"body": ["one", "two"], "id": [1, 2]}), table)
    for path in (lines, table):
        assert list(files.read(path, Remarks(), "body")) == ["one", "two"]
        with pytest.raises(DataError, match=r"it has .*id|body.*prepare\.py --text-column NAME"):
            list(files.read(path, Remarks(), "content"))
    found = sources.own_text(tmp_path, "body")
    assert [text for _, text in found.documents({"train", "val", "test"})] == ["one", "two"] * 2
    assert found.identity["column"] == "body" and "column" not in sources.own_text(tmp_path).identity
