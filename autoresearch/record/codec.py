"""Convert events to lines of the journal and back. No I/O.

>>> line = encode({"v": VERSION, "t": "2026-11-23T22:00:00+00:00", "type": "note", "text": "it rains"})
>>> decode(line)
Note(t=datetime.datetime(2026, 11, 23, 22, 0, tzinfo=...), text='it rains')
>>> decode(line[:20]) is None  # torn by a power cut
True
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoresearch.errors import JournalError
from autoresearch.invocation import command
from autoresearch.jsonable import MalformedError, from_json, to_json
from autoresearch.record.events import TYPES, Event
from autoresearch.records import Measurement

VERSION = 2  # of the schema; a reader of another version refuses


def encode(fields: Mapping[str, Any]) -> bytes:
    """Write an event's `v`, `t`, `type` and fields as one line of ASCII, so that a cut never splits a character.

    Values may be records or plain data. Points of a loss curve whose loss is NaN or infinite are left out.
    """
    measurement = fields.get("measurement")
    if isinstance(measurement, Measurement):
        curve = tuple(point for point in measurement.loss_curve if all(map(math.isfinite, point)))
        fields = {**fields, "measurement": replace(measurement, loss_curve=curve)}
    return to_json(fields) + b"\n"


def decode(line: bytes) -> Event | None:
    """Read one line; None for what is no JSON object, i.e. a torn line. A type that is not known gives a bare Event.

    Raises JournalError for another version of the schema, and for an event whose fields do not have their types.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    if (version := said.get("v")) != VERSION:
        newer = isinstance(version, int) and version > VERSION
        mend = "Update it: git pull" if newer else f"Begin another night: {command('loop.py --tag NAME')}"
        raise JournalError(f"the journal has schema version {version}; this program reads {VERSION}. {mend}")
    try:
        return from_json(TYPES.get(str(said.get("type")), Event), line)
    except MalformedError as error:
        raise JournalError(f"the event `{said.get('type')}` of {said.get('t')} makes no sense: {error}") from None


def decode_all(data: bytes) -> tuple[list[Event], bytes]:
    """Read a journal: its events, and the bytes of a torn last line (empty where there is none).

    A last line that lacks nothing but its line feed counts. Raises JournalError as `decode`, and with the number of
    the line for one before the last that is damaged.
    """
    *lines, last = data.split(b"\n")
    if not last and lines:
        last = lines.pop() + b"\n"
    events = [decode(line) for line in lines]
    if None in events:
        number = events.index(None) + 1
        raise JournalError(
            f"line {number} is damaged. Repair it, or begin another branch: {command('loop.py --tag NAME')}"
        )
    final = decode(last)
    whole = [event for event in (*events, final) if event is not None]
    return whole, last if final is None else b""
