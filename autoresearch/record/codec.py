"""Convert events to lines of the journal and back. No I/O.

Each line ends with a checksum of itself and of the line before it, so that a line that was changed, lost, doubled or
moved is noticed. A line without one is read as it is.

>>> line = encode({"v": VERSION, "t": "2026-11-23T22:00:00+00:00", "type": "note", "text": "it rains"})
>>> decode(line)
Note(t=datetime.datetime(2026, 11, 23, 22, 0, tzinfo=...), text='it rains')
>>> decode(line[:20]) is None  # torn by a power cut
True
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoresearch.errors import JournalError
from autoresearch.jsonable import MalformedError, from_json, to_json
from autoresearch.record.events import TYPES, Event
from autoresearch.records import Measurement
from autoresearch.system.invocation import command

VERSION = 2  # of the schema; a reader of another version refuses
CHECKSUM = re.compile(rb',"crc":"([0-9a-f]{8})"}$')


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
    """Read one line; None for what is not a JSON object, i.e. a torn line. A type that is not known gives a bare Event.

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


def seal(line: bytes, before: bytes) -> bytes:
    """Add the checksum to a line that `encode` made; `before` is the line before it, b"" where it is the first."""
    body = line.rstrip(b"\n").removesuffix(b"}")
    return b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body, zlib.crc32(before)))


def _follows(line: bytes, before: bytes) -> bool:
    """Return whether a line is what `seal` made behind `before`, as far as it says so."""
    found = CHECKSUM.search(line)
    return found is None or int(found[1], 16) == zlib.crc32(line[: found.start()], zlib.crc32(before))


def decode_all(data: bytes) -> tuple[list[Event], bytes]:
    """Read a journal: its events, and the bytes of a torn last line (empty where there is none).

    A last line that lacks nothing but its line feed counts. Raises JournalError as `decode`, and with the number of the
    line for one that is damaged or does not follow the one before it.
    """
    *lines, last = data.split(b"\n")
    if not last and lines:
        last = lines.pop() + b"\n"
    final = decode(last)
    events = []
    whole = lines if final is None else [*lines, last.rstrip(b"\n")]
    for number, (before, line) in enumerate(zip([b"", *whole], whole, strict=False), start=1):
        try:
            event = decode(line)
        except JournalError as error:
            raise JournalError(f"line {number}: {error}") from None
        if event is None:
            raise JournalError(f"line {number} is damaged. {mend(number)}")
        if not _follows(line, before):
            where = f"line {number} is not what was written behind line {number - 1}" if number > 1 else "line 1"
            raise JournalError(f"{where}: lines were changed, lost, doubled or moved. {mend(number)}")
        events.append(event)
    return events, last if final is None else b""


def mend(number: int) -> str:
    """Return what to do about a journal whose line `number` is wrong."""
    earlier = f"cut it before that line (head -n {number - 1})" if number > 1 else ""
    ways = ["Bring the file back from a backup", earlier, f"begin another night: {command('loop.py --tag NAME')}"]
    return ", or ".join(filter(None, ways))
