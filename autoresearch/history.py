"""What has been tried, in few words: outcomes in sigmas, the values tried for each constant, and repeats. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from autoresearch import constants
from autoresearch.errors import EditError
from autoresearch.records import Trial

LEGEND = "* now, + kept, = within noise, - worse, x crashed"
MOST_CHANGES = 3  # constants: the effect of more at once says little about each
SIMILAR = 0.5  # sigmas that count as no difference
TITLE_CHARS = 79
REASON_CHARS = 100


def outcome(trial: Trial, sigma_bpb: float) -> str:
    """`+2.1s` (sigmas better than the incumbent of its time), or why there is no figure: `crash: memory`."""
    if trial.failure is not None:
        return f"crash: {trial.failure.kind}"
    sigmas = _sigmas(trial, sigma_bpb)
    return trial.verdict if sigmas is None else f"{sigmas:+.1f}s"


def line(trial: Trial, sigma_bpb: float) -> str:
    """A trial in a line: `#12 keep +2.1s learning_rate: Higher matrix rate (MATRIX_LR .04 -> .05)`."""
    if trial.failure is not None:
        reason = " ".join(trial.failure.message.split())[:REASON_CHARS]
        return f"#{trial.n} {outcome(trial, sigma_bpb)} ({reason}): {trial.title[:TITLE_CHARS]}"
    changes = ", ".join(f"{name} {_short(a)} -> {_short(b)}" for name, (a, b) in list(_changes(trial).items())[:4])
    told = f" ({changes})" if changes else ""
    return f"#{trial.n} {trial.verdict} {outcome(trial, sigma_bpb)} {trial.category}: {trial.title[:TITLE_CHARS]}{told}"


def values_tried(source: str, history: Sequence[Trial], sigma_bpb: float) -> list[str]:
    """The values tried for each constant of `source`, the constant tried last in the last row.

    -> ["DEPTH: 4- 6* 8=", "MATRIX_LR: .02- .03= .04* .06-"]
    """
    now = _read(source)
    tried: dict[str, dict[str, tuple[Any, str]]] = {}
    for trial in history:
        changes = _changes(trial)
        if 0 < len(changes) <= MOST_CHANGES and _same_code(trial.parent_source, trial.source):
            for name in [name for name in changes if name in now]:
                row = tried.pop(name, {})
                value = changes[name][1]
                tried[name] = {**row, _short(value): (value, _mark(trial, sigma_bpb))}
    for name, row in tried.items():
        row[_short(now[name])] = (now[name], "*")
    return [f"{name}: " + " ".join(text + mark for text, (_, mark) in _ordered(row)) for name, row in tried.items()]


def repeat_of(candidate: str, parent: str, history: Sequence[Trial]) -> Trial | None:
    """The trial that `candidate` would repeat: the same program, or one constant at the same value in the same code.

    Values are the same when they agree to two digits.
    """
    program = _normalised(candidate)
    for trial in history:
        if program == _normalised(trial.source):
            return trial
    step = _single_step(parent, candidate)
    for trial in history if step else ():
        if trial.verdict != "keep" and step == _single_step(trial.parent_source, trial.source):
            return trial
    return None


def _single_step(old: str, new: str) -> tuple[str, str, str | None] | None:
    """(constant, rounded value, code) where exactly one constant differs."""
    changes = _changed(old, new)
    if len(changes) != 1 or not _same_code(old, new):
        return None
    ((name, (_, value)),) = changes.items()
    return name, f"{value:.2g}" if isinstance(value, float) else repr(value), _structure(new)


def _changes(trial: Trial) -> dict[str, tuple[Any, Any]]:
    return _changed(trial.parent_source, trial.source)


def _changed(old: str, new: str) -> dict[str, tuple[Any, Any]]:
    a, b = _read(old), _read(new)
    return {name: (a[name], b[name]) for name in b if name in a and repr(a[name]) != repr(b[name])}


def _same_code(old: str, new: str) -> bool:
    return _structure(old) is not None and _structure(old) == _structure(new)


def _mark(trial: Trial, sigma_bpb: float) -> str:
    sigmas = _sigmas(trial, sigma_bpb)
    if trial.verdict == "keep":
        return "+"
    if trial.verdict == "crash" or sigmas is None:
        return "x"
    return "-" if sigmas < -SIMILAR else "="


def _sigmas(trial: Trial, sigma_bpb: float) -> float | None:
    sigma = trial.sigma_bpb or sigma_bpb
    return None if trial.delta_bpb is None or not sigma else trial.delta_bpb / sigma


def _ordered(row: dict[str, tuple[Any, str]]) -> list[tuple[str, tuple[Any, str]]]:
    """Numbers by size, other values as they came."""
    numbers = all(isinstance(value, int | float) for value, _ in row.values())
    return sorted(row.items(), key=lambda item: item[1][0]) if numbers else list(row.items())


def _short(value: Any) -> str:
    """A value in few characters: 0.04 -> ".04", (0.8, 0.95) -> "(.8,.95)"."""
    if isinstance(value, tuple | list):
        return "(" + ",".join(_short(element) for element in value) + ")"
    if isinstance(value, float):
        text = f"{value:.4g}"
        return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return str(value)[:40]


# A night's history is read again for every prompt; each of its sources is parsed once.


@lru_cache(maxsize=1024)
def _read(source: str) -> dict[str, Any]:
    try:
        return constants.read(source)
    except EditError:
        return {}


@lru_cache(maxsize=1024)
def _structure(source: str) -> str | None:
    try:
        return constants.structure(source)
    except EditError:
        return None


@lru_cache(maxsize=1024)
def _normalised(source: str) -> str | None:
    try:
        return constants.normalised(source)
    except EditError:
        return None
