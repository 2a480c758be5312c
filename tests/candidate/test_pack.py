from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.candidate.pack import is_packed, pack, readable, unpack, with_file
from autoresearch.errors import SourceError

PATHS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@given(st.dictionaries(PATHS, st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_packed_comes_out_as_it_was(files: dict[str, str]) -> None:
    source = pack(files)
    assert is_packed(source) and unpack(source) == files


@pytest.mark.slow
@given(st.text())
def test_any_other_text_is_refused_or_is_a_packed_source(text: str) -> None:
    for source in (text, f"=== autoresearch source, 1 file\n{text}"):
        try:
            files = unpack(source)
        except SourceError:
            continue
        assert unpack(pack(files)) == files


@pytest.mark.parametrize("cut", [1, 20, 40, 60, -1])
def test_a_packed_source_that_was_cut_is_refused(cut: int) -> None:
    with pytest.raises(SourceError):
        unpack(pack({"query.sql": "SELECT 1;\n", "indexes.sql": "-- none\n"})[:cut])


def test_one_file_is_replaced() -> None:
    assert unpack(with_file(pack({"a": "1", "b": "2"}), "b", "3")) == {"a": "1", "b": "3"}


def test_a_python_file_is_not_packed() -> None:
    assert not is_packed("### a comment\nDEPTH = 4\n")


def test_people_read_files_without_their_lengths() -> None:
    assert readable(pack({"a.sql": "SELECT 1;\n", "b.sql": ""})) == "### a.sql\nSELECT 1;\n### b.sql\n"
    assert readable("DEPTH = 4\n") == "DEPTH = 4\n"
