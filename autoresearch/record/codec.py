"""Events and records as JSON lines and back. Pure; what the events mean is night.py's matter."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from numbers import Integral, Real
from typing import Any

from autoresearch.candidate import edits
from autoresearch.errors import JournalError
from autoresearch.records import Failure, MachineState, Measurement, Proposal

VERSION = 2  # of the schema; a reader of another version refuses

Event = Mapping[str, Any]


def encode(event: Event) -> bytes:
    """One line of ASCII, so that a cut never falls within a character; a number that is not finite becomes null."""
    return json.dumps(plain(event), separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """decode(b'{"v":1}') -> {"v": 1}; None for what is no JSON object: a torn line."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def plain(value: Any) -> Any:
    """`value` in JSON's own types: records by their fields, other libraries' numbers converted, the rest as text."""
    if isinstance(value, Proposal):
        return plain(proposal_to_json(value))
    if isinstance(value, Measurement):
        return plain(measurement_to_json(value))
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return str(value)


def proposal_to_json(proposal: Proposal) -> dict[str, Any]:
    said = {f.name: getattr(proposal, f.name) for f in fields(proposal)}
    return {**said, "edits": [edits.to_json(edit) for edit in proposal.edits]}


def proposal_from_json(obj: Mapping[str, Any]) -> Proposal:
    """Raises EditError for a kind of edit that this version does not know. Other unknown fields are left out."""
    known = {f.name: obj[f.name] for f in fields(Proposal) if f.name in obj}
    return Proposal(**{**known, "edits": tuple(edits.from_json(edit) for edit in obj["edits"])})


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    """What is absent is left out."""
    said = {f.name: getattr(measurement, f.name) for f in fields(measurement)}
    for name in ("failure", "machine_before", "machine_after"):
        said[name] = asdict(said[name]) if said[name] is not None else None
    return {name: value for name, value in said.items() if value is not None}


def measurement_from_json(obj: Mapping[str, Any]) -> Measurement:
    known = {f.name: obj[f.name] for f in fields(Measurement) if obj.get(f.name) is not None}
    if "failure" in known:
        failure = known["failure"]
        known["failure"] = Failure(failure["kind"], failure["message"], failure.get("detail", ""))
    for name in {"machine_before", "machine_after"} & known.keys():
        known[name] = MachineState(**known[name])
    curve = [(p, loss) for p, loss in known.get("loss_curve", ()) if p is not None and loss is not None]
    return Measurement(**{**known, "loss_curve": tuple(curve)})


def decode_all(data: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """The events of a journal's bytes, and the torn last line, which may be empty.

    A last line that lacks only its end counts. Raises JournalError, with the number of the line, for damage elsewhere.
    """
    *lines, last = data.split(b"\n")
    if not last and lines:
        last = lines.pop() + b"\n"
    events = [decode(line) for line in lines]
    if None in events:
        number = events.index(None) + 1
        raise JournalError(f"line {number} is damaged. Mend it, or begin another branch: uv run loop.py --tag NAME")
    final = decode(last)
    whole = [event for event in (*events, final) if event is not None]
    return whole, last if final is None else b""
