"""A child's events and its log, from bytes that arrive in any pieces."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.system.pipes import CappedLog, EventStream


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2), max_size=6), st.data())
def test_events_do_not_depend_on_how_the_pipe_cuts_them(events: list[dict[str, object]], data: st.DataObject) -> None:
    sent = b"".join(json.dumps(e).encode() + b"\n" for e in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
    stream = EventStream(os.open(os.devnull, os.O_RDONLY))
    with stream:
        for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            stream.feed(sent[a:b])
    assert [item[1] for item in iter(lambda: stream.get(0), None)] == events


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_bytes_are_fatal_and_a_good_line_after_them_arrives(chunks: list[bytes]) -> None:
    stream = EventStream(os.open(os.devnull, os.O_RDONLY))
    with stream:
        for chunk in chunks:
            stream.feed(chunk)
        stream.feed(b'\n{"type": "result"}')
    assert [item[1] for item in iter(lambda: stream.get(0), None)][-1] == {"type": "result"}


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(2, 60))
def test_a_capped_log_keeps_head_and_tail(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "capped"
    with CappedLog(path, limit) as log:
        for chunk in chunks:
            log.write(chunk)
    whole, kept = b"".join(chunks), path.read_bytes()
    if len(whole) <= limit:
        assert kept == whole
    else:
        middle = b"\n... %d bytes cut ...\n" % (len(whole) - limit)
        assert kept == whole[: limit // 2] + middle + whole[len(whole) - (limit - limit // 2) :]


@pytest.mark.parametrize("left", ["file", "link", "dangling", "pipe", "folder"])
def test_a_log_is_a_new_file_whatever_was_there(left: str, tmp_path: Path) -> None:
    path, outside = tmp_path / "train.log", tmp_path / "outside"
    outside.write_text("outside")
    make = {
        "file": lambda: path.write_text("old"),
        "link": lambda: path.symlink_to(outside),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
        "pipe": lambda: os.mkfifo(path),
        "folder": lambda: (path / "inner").mkdir(parents=True),
    }
    make[left]()
    with CappedLog(path, 100) as log:
        log.write(b"new")
    assert path.read_text() == "new" and path.is_file() and not path.is_symlink()
    assert outside.read_text() == "outside" and not (tmp_path / "nowhere").exists()
