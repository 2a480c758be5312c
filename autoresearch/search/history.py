"""Summarise the trials of a night for a prompt: their outcomes, and the values tried for each constant. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from autoresearch.candidate import constants
from autoresearch.candidate.versions import trial_version, version
from autoresearch.metrics import Metric
from autoresearch.records import TITLE_CHARS, Context, HintLine, Trial

VALUES_HEADING = "Values tried, against the script now (* now, + better, = within noise, - worse, x crashed):"
VALUES_OF_ANY = VALUES_HEADING.replace("the script", "the version")  # in a declared task
TRIALS_HEADING = "Experiments, oldest first (s: sigmas better than the script of that time):"
TRIALS_OF_ANY = (
    "Experiments, oldest first ({name}, and in brackets the gain over the version of that time, + is better):"
)
MOST_CHANGES = 3  # constants: a trial that changed more says little about each of them
MOST_LISTED = 4  # constants in a trial's line
HINTS_HEADING = "Found on other machines, not measured on this one; it may be otherwise here:"
SIMILAR = 0.5  # sigmas: a smaller difference is marked as within noise
REASON_CHARS = 100


def lines(context: Context) -> list[str]:
    """Describe each trial of the night in a line."""
    metric = context.task.metric if context.brief is not None else None
    return [line(trial, context.sigma_score, metric) for trial in context.history]


def trials_heading(context: Context) -> str:
    """Return the heading of `lines`."""
    return TRIALS_HEADING if context.brief is None else TRIALS_OF_ANY.format(name=context.task.metric.name)


def values_heading(context: Context) -> str:
    """Return the heading of `values_tried`."""
    return VALUES_HEADING if context.brief is None else VALUES_OF_ANY


def line(trial: Trial, sigma_score: float, metric: Metric | None = None) -> str:
    """Describe a trial in one line, with its gain over the incumbent of its time, or why there is none.

    `#12 keep +2.1s learning_rate: Higher matrix rate (MATRIX_LR .04 -> .05)`
    `#13 crash: memory (held 14.2 GB): Wider`
    `#14 keep 11.2 ms (+12.3%) index: By date`

    Gains are in sigmas, or those of the `metric` of a declared task, behind its value.
    """
    title, sigmas = trial.title[:TITLE_CHARS], _sigmas(trial, sigma_score)
    if trial.failure is not None:
        return f"#{trial.n} crash: {trial.failure.kind} ({_one_line(trial.failure.message)}): {title}"
    if metric is not None and trial.score is not None and trial.delta_score is not None:
        gain = f" {metric.shown(trial.score)} ({metric.signed(trial.delta_score)})"
    elif metric is None and sigmas is not None:
        gain = f" {sigmas:+.1f}s"
    else:
        gain = f" ({_one_line(trial.reason)})" if trial.reason else ""
    changed = dict(islice(_changes(trial).items(), MOST_LISTED))
    told = " -> " in title and all(name in title for name in changed)  # as titles of constants alone do
    changes = "" if told else _listed(changed)
    return f"#{trial.n} {trial.verdict}{gain} {trial.category}: {title}" + (f" ({changes})" if changes else "")


def values_tried(source: str, history: Sequence[Trial], sigma_score: float, now_score: float) -> list[str]:
    """List the values tried for each constant of `source` with the marks of VALUES_HEADING, the latest constant last.

    The marks compare with `now_score`: a value that was kept is marked worse once the script is better than it was.

    -> ["DEPTH: 4- 6* 8=", "MATRIX_LR: .02- .03= .04* .06-"]
    """
    now = version(source).constants
    tried: dict[str, dict[str, tuple[Any, str]]] = {}
    for trial in history:
        changes = _changes(trial)
        if 0 < len(changes) <= MOST_CHANGES and _same_code(trial):
            for name in [name for name in changes if name in now]:
                row = tried.pop(name, {})
                value = changes[name][1]
                tried[name] = {**row, _compact(value): (value, _mark(trial, sigma_score, now_score))}
    for name, row in tried.items():
        row[_compact(now[name])] = (now[name], "*")
    return [f"{name}: " + " ".join(text + mark for text, (_, mark) in _ordered(row)) for name, row in tried.items()]


def hint_lines(hints: Sequence[HintLine]) -> list[str]:
    """List hints under a heading that says where they are from. Empty if there are none.

    The lines are texts of strangers: they are for a language model without tools.
    """
    return [HINTS_HEADING, *(f"- {hint.text}" for hint in hints)] if hints else []


def hint_numbers(hints: Sequence[HintLine], source: str) -> list[str]:
    """List hints as constants of `source` and numbers only, without any text that a stranger wrote.

    An agent that runs with the user's rights gets this form, since a text could give it instructions.

    -> [HINTS_HEADING, "- MATRIX_LR .04 -> .06: +4.1s"]
    """
    known, lines = constants.read(source), []
    for hint in hints:
        if hint.constants and hint.constants.keys() <= known.keys():
            form = "+.1f" if hint.unit in ("s", "%") else "+.3g"
            gains = ", ".join(f"{gain:{form}}{hint.unit}" for gain in hint.gains[:8])
            lines.append(f"- {_listed(hint.constants)}: {gains}")
    return [HINTS_HEADING, *lines] if lines else []


def _one_line(text: str) -> str:
    return " ".join(text.split())[:REASON_CHARS]


def _changes(trial: Trial) -> dict[str, tuple[Any, Any]]:
    """Return the constants that the trial changed, as name -> (old, new)."""
    new, old = trial_version(trial), version(trial.parent_source)
    values = new.changed_from(old)
    return {name: (old.constants[name], value) for name, value in values.items() if name in old.constants}


def _same_code(trial: Trial) -> bool:
    return trial_version(trial).structure == version(trial.parent_source).structure


def _listed(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """List changes: {"MATRIX_LR": (0.04, 0.05)} -> "MATRIX_LR .04 -> .05"."""
    return ", ".join(f"{name} {_compact(old)} -> {_compact(new)}" for name, (old, new) in changes.items())


def _mark(trial: Trial, sigma_score: float, now_score: float) -> str:
    if trial.verdict == "crash":
        return "x"
    sigma = trial.sigma_score or sigma_score
    if trial.score is None:  # stopped halfway, since it was far behind
        return "-"
    ahead = now_score - trial.score
    ahead = ahead / sigma if sigma else math.copysign(math.inf, ahead) if ahead else 0.0
    return "=" if abs(ahead) <= SIMILAR else "+" if ahead > 0 else "-"


def _sigmas(trial: Trial, sigma_score: float) -> float | None:
    sigma = trial.sigma_score or sigma_score
    return None if trial.delta_score is None or not sigma else trial.delta_score / sigma


def _ordered(row: dict[str, tuple[Any, str]]) -> list[tuple[str, tuple[Any, str]]]:
    """Sort numbers by size; keep other values in the order in which they were tried."""
    numbers = all(isinstance(value, int | float) for value, _ in row.values())
    return sorted(row.items(), key=lambda item: item[1][0]) if numbers else list(row.items())


def _compact(value: Any) -> str:
    """Format a value in few characters: 0.04 -> ".04", (0.8, 0.95) -> "(.8,.95)"."""
    if isinstance(value, tuple | list):
        return "(" + ",".join(_compact(element) for element in value) + ")"
    if isinstance(value, float):
        text = f"{value:.4g}"
        return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return str(value)[:40]
