"""Tell what happens in a night as server-sent events: each event of the journal, and the state of the present run.

    id: nov27:123            the place after line 123 of the night's journal, for Last-Event-ID
    event: decided           the type of the journal's event
    data: {"n": 7, ...}

An event `live` has the state of the loop, at most once a second and without an id. `hello` comes first, and again when
a `problem` is over: a journal that could not be read. A comment comes every 15 s where nothing happens, so that a
connection that broke is noticed.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from autoresearch.errors import AutoresearchError, UsageError
from autoresearch.jsonable import plain
from autoresearch.report.live_state import LiveState
from autoresearch.serve.nights import NightReader, NoNightError, Snapshot

LOOK_S = 1.0  # between two looks at the files
HEARTBEAT_S = 15.0
RETRY_MS = 2000  # after which a browser connects again
LIVE_POINTS = 120  # of a loss curve
LEFT_OUT = ("v", "crc", "source_sha256", "blob", "options", "machine")
LEFT_OUT_INSIDE = ("edits", "usage", "loss_curve", "machine_before", "machine_after", "seconds", "detail")


def place(last_id: str | None) -> tuple[str, int] | None:
    """Return the night and the line that Last-Event-ID names: place("nov27:123") -> ("nov27", 123).

    Raises UsageError for anything else.
    """
    if last_id is None:
        return None
    found = re.fullmatch(r"(.{1,200}):([0-9]{1,9})", last_id)
    if found is None:
        raise UsageError(f"Last-Event-ID {last_id[:80]}: an id of this stream, such as nov27:123")
    return found[1], int(found[2])


async def stream(
    reader: NightReader,
    since: tuple[str, int] | None,
    stopping: Callable[[], Awaitable[bool]],
    look_s: float = LOOK_S,
    heartbeat_s: float = HEARTBEAT_S,
) -> AsyncIterator[str]:
    """Yield the events from `since` on, by default from now on, until `stopping`."""
    yield f"retry: {RETRY_MS}\n\n"
    stamp: Any = ()
    shown: LiveState | tuple[()] | None = ()
    said, greeted = time.monotonic(), False
    while not await stopping():
        parts: list[str] = []
        try:
            now, live = await asyncio.to_thread(lambda: (reader.stamp(), reader.live()))
            if now != stamp:
                seen = await asyncio.to_thread(reader.snapshot)
                if not greeted:
                    parts.append(message("hello", {"tag": seen.layout.tag}, seen.id))
                    greeted = True
                parts += list(journal_messages(seen, since))
                stamp, since = now, (seen.layout.tag, len(seen.lines))
            if live is not shown:
                shown = live
                parts.append(message("live", live_json(live)))
        except NoNightError:
            pass
        except (AutoresearchError, OSError) as error:  # a journal that is damaged, or replaced just now
            parts.append(message("problem", {"error": str(error)}))
            stamp, greeted = now, False
        if not parts and time.monotonic() - said > heartbeat_s:
            parts.append(": nothing new\n\n")
        if parts:
            said = time.monotonic()
            yield "".join(parts)
        await asyncio.sleep(look_s)


def message(type: str, data: Mapping[str, Any], id: str | None = None) -> str:
    """Return one event of the stream."""
    first = f"id: {id}\n" if id else ""
    return f"{first}event: {type}\ndata: {json.dumps(plain(data), separators=(',', ':'))}\n\n"


def journal_messages(seen: Snapshot, since: tuple[str, int] | None) -> Iterator[str]:
    """Yield the journal's events after the place `since`: all if it is of another night, none if it is None."""
    if since is None:
        return
    tag, count = since
    first = min(count, len(seen.lines)) if tag == seen.layout.tag else 0
    for number, line in enumerate(seen.lines[first:], start=first + 1):
        said = json.loads(line)
        yield message(str(said.get("type")), for_stream(said), f"{seen.layout.tag}:{number}")


def for_stream(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of the journal without its long parts; runs are counted from 1."""
    found = {name: _inside(value) for name, value in said.items() if name not in LEFT_OUT}
    if isinstance(found.get("run"), int):
        found["run"] += 1
    return found


def _inside(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _inside(entry) for name, entry in value.items() if name not in LEFT_OUT_INSIDE}


def live_json(state: LiveState | None) -> dict[str, Any]:
    """Return what the page shows of the running loop."""
    if state is None:
        return {"running": False}
    return {
        "running": True,
        "n": state.n,
        "run": state.run + 1,
        "title": state.title,
        "hypothesis": state.hypothesis,
        "category": state.category,
        "proposer": state.proposer,
        "phase": state.phase,
        "phase_s": time.monotonic() - state.since,
        "run_s": time.monotonic() - state.began,
        "usual_s": state.incumbent_run_s,
        "to_beat": None if state.incumbent_score is None else state.metric.text(state.incumbent_score),
        "progress": state.progress,
        "budget_s": state.budget_s,
        "step": state.step,
        "loss": state.loss,
        "tok_s": state.tok_s,
        "curve": thinned(state.curve),
        "incumbent_n": state.incumbent_n,
        "incumbent_curve": thinned(state.incumbent_curve),
        "incumbent_tok_s": state.incumbent_tok_s,
        "paused": state.paused_at is not None,
        "said": state.said,
    }


def thinned(curve: Any, most: int = LIVE_POINTS) -> list[list[float]]:
    """Return at most `most` points of a curve, the first and the last among them, rounded to what a picture shows."""
    step = max(1, -(-(len(curve) - 1) // (most - 1)) if len(curve) > 1 else 1)
    kept = [*curve[:-1:step], *curve[-1:]]
    return [[round(x, 4), round(y, 4)] for x, y in kept]
