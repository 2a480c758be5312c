"""The stream tells every event of the journal once and in order, also after a break, and shows that it lives."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import UsageError
from autoresearch.record.journal import Journal
from autoresearch.records import Measurement
from autoresearch.serve import events
from autoresearch.serve.nights import NightReader
from testbed.night_builder import NightBuilder
from testbed.served import TAG, write_live, write_night


@pytest.fixture
def reader(tmp_path: Path) -> NightReader:
    write_night(tmp_path, 3)
    return NightReader(tmp_path)


def listen(
    reader: NightReader, since: tuple[str, int] | None, deeds: Any = (), looks: int = 3, heartbeat_s: float = 60.0
) -> list[tuple[str, str, Any]]:
    """Return (type, id, data) of what a listener hears while something is done at each look."""
    waiting, left = list(deeds), [looks + len(deeds)]

    async def stopping() -> bool:
        if waiting:
            waiting.pop(0)()
        left[0] -= 1
        return left[0] < 0

    async def hear() -> str:
        stream = events.stream(reader, since, stopping, look_s=0.001, heartbeat_s=heartbeat_s)
        return "".join([part async for part in stream])

    return [parsed(one) for one in asyncio.run(hear()).split("\n\n") if one]


def parsed(message: str) -> tuple[str, str, Any]:
    fields = dict(line.split(": ", 1) for line in message.splitlines() if not line.startswith(":"))
    return fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "null"))


def types(heard: list[tuple[str, str, Any]]) -> list[str]:
    return [type for type, _, _ in heard if type]


def test_it_begins_with_where_it_is_and_tells_what_comes(reader: NightReader) -> None:
    count, layout = len(reader.snapshot().lines), reader.layout()

    def measure() -> None:
        with Journal(layout) as journal:
            journal.append("started", n=0, run=3, seed=1, machine="m4", purpose="incumbent")
            m = Measurement(1, 1.5, None, loss_curve=((0.5, 3.0),), seconds={"training": 1.0})
            journal.append("measured", n=0, run=3, measurement=m)

    heard = listen(reader, None, [lambda: None, measure])
    assert [(type, id) for type, id, _ in heard if type] == [
        ("hello", f"{TAG}:{count}"),
        ("live", ""),
        ("started", f"{TAG}:{count + 1}"),
        ("measured", f"{TAG}:{count + 2}"),
    ]
    data = heard[-1][2]
    assert data["run"] == 4 and data["measurement"]["score"] == 1.5 and "loss_curve" not in data["measurement"]


def test_after_a_break_nothing_is_missing_and_nothing_comes_twice(reader: NightReader) -> None:
    count = len(reader.snapshot().lines)
    ids = [id for _, id, _ in listen(reader, (TAG, count - 3))]
    assert ids[1:5] == [f"{TAG}:{n}" for n in (count, count - 2, count - 1, count)]  # `hello` says where the end is
    assert types(listen(reader, (TAG, count))) == ["hello", "live"]
    assert types(listen(reader, (TAG, count + 99))) == ["hello", "live"]


def test_a_place_in_another_night_brings_the_whole_one(reader: NightReader) -> None:
    assert len(types(listen(reader, ("older", 3)))) == len(reader.snapshot().lines) + 2


def test_the_present_run_comes_when_it_changes_and_when_it_ends(reader: NightReader) -> None:
    layout = reader.layout()
    deeds = [lambda: write_live(layout), lambda: None, lambda: write_live(layout, over="done")]
    lives = [data for type, _, data in listen(reader, None, deeds) if type == "live"]
    assert [one["running"] for one in lives] == [True, False]
    assert lives[0]["title"] == "Halve the batch" and lives[0]["curve"][-1] == [0.5, 4.6] and lives[0]["run"] == 1


def test_a_night_that_begins_later_is_told(tmp_path: Path) -> None:
    reader = NightReader(tmp_path)
    heard = listen(reader, None, [lambda: None, lambda: NightBuilder(tag=TAG).write(tmp_path / "runs" / TAG)])
    assert types(heard) == ["hello", "live"]


def test_a_damaged_journal_is_told_once_and_that_it_is_whole_again(reader: NightReader) -> None:
    journal = reader.layout().journal
    whole = journal.read_bytes()
    journal.write_bytes(b"nonsense\nnonsense\n")
    heard = listen(reader, None, [lambda: None, lambda: None, lambda: journal.write_bytes(whole)])
    assert types(heard) == ["problem", "live", "hello"] and "line 1 is damaged" in heard[1][2]["error"]


def test_where_nothing_happens_a_comment_comes(reader: NightReader) -> None:
    quiet = listen(reader, None, looks=4, heartbeat_s=0.0)
    assert [type for type, _, _ in quiet][-1] == "" and len(quiet) > 3


@pytest.mark.parametrize("id", ["", "nov23", "nov23:", ":3", "nov23:-1", "nov23:1.5", "nov23:9999999999", "a" * 300])
def test_an_id_that_is_none_is_refused(id: str) -> None:
    with pytest.raises(UsageError, match="Last-Event-ID"):
        events.place(id)
    assert events.place("nov:23:7") == ("nov:23", 7) and events.place(None) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 9)), max_size=900), st.integers(2, 150))
def test_a_curve_keeps_its_ends(curve: list[tuple[float, float]], most: int) -> None:
    thin = events.thinned(curve, most)
    assert len(thin) <= most and bool(thin) == bool(curve)
    if curve:
        assert [thin[0], thin[-1]] == [[round(x, 4), round(y, 4)] for x, y in (curve[0], curve[-1])]
