"""Check the events of a child before they are used. No I/O.

A child that runs a candidate's code may say anything in the harness's name. An event that is not of the form below, or
a kind of failure that such a child cannot know, is the failure of that run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MaxLen

from autoresearch import jsonable
from autoresearch.failures import KINDS, sayable
from autoresearch.formats import printable, shortened
from autoresearch.records import Failure
from autoresearch.system.pipes import ChildEvent

TRUSTED = frozenset({"judge"})  # children whose word decides

MOST_MESSAGE, MOST_DETAIL = 600, 3000  # characters of a failure
MOST = 10**12  # of anything that is counted
_Count = Annotated[int, Ge(0), Le(MOST)]
_Amount = Annotated[float, Ge(0), Le(MOST)]  # seconds, megabytes
Nats = Annotated[float, Ge(-1e6), Le(1e6)]
Word = Annotated[str, MaxLen(64)]


class IllFormedError(ValueError):
    """An event is unknown or not of its form; the text says why in printable characters."""


@dataclass(frozen=True)
class Importing:
    """Start of importing the candidate's code. A failure before it is the machine's."""

    speed: _Amount | None = None  # TFLOP/s


@dataclass(frozen=True)
class Ready:
    """End of building the model."""

    num_params: _Count | None = None
    flops_per_token: Annotated[float, Ge(0), Le(1e18)] | None = None
    depth: Annotated[int, Ge(0), Le(10**6)] | None = None
    parameters: Word | None = None  # hash of the parameters as build_model made them
    judged_by: Word | None = None


@dataclass(frozen=True)
class WarmedUp:
    """End of the warm-up; the first batch comes next."""

    peak_memory_mb: _Amount
    warmup_step_s: _Amount


@dataclass(frozen=True)
class Step:
    step: _Count
    loss: Nats


@dataclass(frozen=True)
class Trained:
    steps: _Count
    peak_memory_mb: _Amount


@dataclass(frozen=True)
class Hashed:
    """The hash of the parameters with which training ended, which will be saved."""

    parameters: Word


@dataclass(frozen=True)
class Saved:
    speed: _Amount  # TFLOP/s in float32
    product: _Amount | None = None  # the same in the type that the candidate computes in


@dataclass(frozen=True)
class Scored:
    """Progress of scoring: rows evaluated or probed so far, of all."""

    rows: _Count
    of: Annotated[int, Gt(0), Le(MOST)]


@dataclass(frozen=True)
class JudgeResult:
    """The judge's result."""

    val_bpb: Annotated[float, Gt(0), Le(1e6)]
    nats: Annotated[float, Ge(0), Le(1e18)]
    bytes: _Count
    s: _Amount
    probes: _Count
    probe_nats: Nats
    probe_s: _Amount


@dataclass(frozen=True)
class Texts:
    """What a checkpoint wrote: token ids, a list a prompt."""

    texts: Annotated[list[Annotated[list[_Count], MaxLen(10_000)]], MaxLen(1000)]


@dataclass(frozen=True)
class Failed:
    kind: Annotated[str, MaxLen(40)]
    message: Annotated[str, MaxLen(MOST_MESSAGE)]
    detail: Annotated[str, MaxLen(MOST_DETAIL)] = ""


@dataclass(frozen=True)
class Mark:
    """An event without fields."""


EVENTS: Mapping[str, Mapping[str, type]] = {
    "preflight": {"importing": Importing, "ready": Ready, "warmed_up": WarmedUp, "result": Mark, "failed": Failed},
    "train": {
        "importing": Importing,
        "ready": Ready,
        "warmed_up": WarmedUp,
        "step": Step,
        "trained": Trained,
        "hashed": Hashed,
        "saved": Saved,
        "failed": Failed,
    },
    "judge": {
        "ready": Ready,
        "evaluated": Scored,
        "scored": Mark,
        "probed": Scored,
        "result": JudgeResult,
        "failed": Failed,
    },
    "model": {"importing": Importing, "ready": Ready, "failed": Failed},
    "sample": {"importing": Importing, "ready": Ready, "result": Texts, "failed": Failed},
}


def read(child: str, said: ChildEvent) -> ChildEvent:
    """Return an event of a child with the fields of its form and no others; absent ones are left out.

    Texts of a failure are made printable and cut. Raises IllFormedError.
    """
    name = said.get("event")
    form = EVENTS[child].get(name) if isinstance(name, str) else None
    if form is None:
        raise IllFormedError(f"an event `{_shown(name)}`, which the {child} child has not got")
    if form is Failed:
        said = {**said, **{key: _text(said.get(key), most, kept) for key, most, kept in _TEXTS}}
    try:
        fields = jsonable.plain(jsonable.from_plain(form, dict(said)))
    except (jsonable.MalformedError, RecursionError) as error:
        raise IllFormedError(f"an event `{name}` that is not of its form: {_shown(error)}") from None
    return {"event": name, **fields}


def failure(child: str, event: ChildEvent, *, imported: bool) -> Failure:
    """Return what a `failed` event, as `read` returns it, means.

    A kind that this child cannot know is itself the failure "tampered"; a child knows that the machine failed only as
    long as it has not `imported` a candidate.
    """
    kind = event["kind"]
    if sayable(kind, child) or (child in TRUSTED and kind in KINDS) or (kind == "machine" and not imported):
        return Failure(kind, event["message"], event["detail"])
    return Failure("tampered", f"the {child} child reported a failure `{_shown(kind)}`, which it cannot know")


_TEXTS = (("kind", 40, ""), ("message", MOST_MESSAGE, ""), ("detail", MOST_DETAIL, "\n"))


def _text(value: Any, most: int, kept: str) -> Any:
    return shortened(printable(value, kept), most) if isinstance(value, str) else value


def _shown(value: Any) -> str:
    """Return anything as a few printable characters."""
    try:
        return shortened(printable(str(value)), 120)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list nested as deep
        return type(value).__name__
