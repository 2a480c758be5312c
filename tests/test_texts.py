"""Text as people save it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch import texts
from autoresearch.errors import SourceError
from testbed.toy import ROOT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@given(text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"), max_size=30))
def test_what_is_saved_with_a_mark_is_read_back(encoding: str, text: str) -> None:
    if text[:1] != "\ufeff":
        assert texts.decode(text.encode(encoding)) == text


def test_utf16_without_a_mark_is_told_by_its_zeros() -> None:
    text = "Some lines of text,\nas Windows saves them.\n" * 3
    for encoding in ("utf-16-le", "utf-16-be"):
        assert texts.decode(text.encode(encoding)) == text


@given(st.binary(max_size=200))
def test_any_bytes_become_text_that_can_be_written(data: bytes) -> None:
    text = texts.decode(data)
    text.encode()
    assert "\0" not in text and "\r" not in text


def test_what_is_lost_is_counted_with_its_first_line() -> None:
    text = texts.decode("one\r\ntwo é\r\nthree é\r\n".encode("latin-1"))
    assert text == "one\ntwo \ufffd\nthree \ufffd\n"
    said = texts.complaint(text, "program.md")
    assert said == "2 characters of program.md cannot be read, the first in line 2. Save it as UTF-8"
    assert texts.complaint("fine", "program.md") is None


def test_a_source_is_utf8_with_or_without_a_mark() -> None:
    assert texts.source(b"\xef\xbb\xbfDEPTH = 8\r\n", "a.py") == "DEPTH = 8\n"
    assert texts.source("X = '\ufffd'\n".encode(), "a.py") == "X = '\ufffd'\n"
    for data in ("# é\n".encode("latin-1"), b"X = 1\0\n", b"\x89PNG\0\0"):
        with pytest.raises(SourceError, match=r"of a\.py cannot be read, the first in line 1"):
            texts.source(data, "a.py")


def test_lines_and_blocks_are_those_of_the_whole_text(tmp_path: Path) -> None:
    text = "".join(f"line {i} – ü\n" for i in range(200_000))
    (tmp_path / "a").write_bytes(text.replace("\n", "\r\n").encode())
    assert "".join(texts.blocks(tmp_path / "a")) == text
    assert list(texts.lines(tmp_path / "a")) == text.split("\n")[:-1]
    (tmp_path / "a").write_bytes(b"\0" * 1000)
    with pytest.raises(texts.NotText):
        list(texts.blocks(tmp_path / "a"))


@pytest.mark.slow
def test_no_text_is_read_or_written_in_the_locales_encoding() -> None:
    wrong = set()
    for path in [*(ROOT / "autoresearch").rglob("*.py"), ROOT / "loop.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                given = {keyword.arg for keyword in node.keywords}
                least = {"read_text": 1, "write_text": 2}.get(node.func.attr)
                if least is not None and len(node.args) < least and "encoding" not in given:
                    wrong.add(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


def test_a_missing_brief_is_empty(tmp_path: Path) -> None:
    assert texts.brief(tmp_path / "program.md") == ""
    (tmp_path / "program.md").write_bytes("try — less\n".encode())
    assert texts.brief(tmp_path / "program.md") == "try — less\n"
