"""The early stop in a night: what its journal teaches, what was saved, and what the samples showed. Pure."""

from __future__ import annotations

from statistics import fmean

from autoresearch.decide.early_stop import AT, Curve, Finished
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Measurement

LATEST = 3  # runs of the incumbent whose curves count: the machine of an hour ago was another one


def finished(night: Night) -> list[Finished]:
    """What the rule is calibrated on: first runs that were looked at halfway, and how their experiments ended."""
    found = []
    for x in night.decided:
        m = _first(x)
        if m is not None and m.ok and m.behind_nats is not None and x.delta_bpb is not None:
            found.append(Finished(m.behind_nats, x.delta_bpb, m.stop_limit_nats))
    return found


def curve(incumbent: Experiment) -> Curve:
    """The losses of the incumbent's latest runs, all in one."""
    runs = [m for m in incumbent.measurements if m.ok][-LATEST:]
    return [point for m in runs for point in m.loss_curve]


def past_limit(night: Night) -> int:
    """Experiments so far for which the early stop was, those included that ran on as a sample."""
    return sum(m.past_limit for x in night.experiments.values() if (m := _first(x)))


def reason(m: Measurement) -> str:
    """Why a run was stopped, for a person: its loss against the incumbent's, and the limit."""
    assert m.behind_nats is not None and m.stop_limit_nats is not None
    return (
        f"stopped at {AT:.0%} of the budget: its loss was {m.behind_nats:.3f} nats above the incumbent's"
        f" (limit {m.stop_limit_nats:.3f})"
    )


def saved_s(night: Night) -> float:
    """Seconds that the stopped runs would have taken beyond their own, by the mean of the runs that ended."""
    ended = [m.total_s for x in night.decided for m in x.measurements if m.ok]
    stopped = [x.stopped.total_s for x in night.decided if x.stopped]
    return sum(max(0.0, fmean(ended) - s) for s in stopped) if ended else 0.0


def text(night: Night) -> str | None:
    """What the early stop came to, in a line; None where it never was for anything."""
    if not past_limit(night):
        return None
    stopped = sum(x.stopped is not None for x in night.decided)
    samples = [(m, x) for x in night.decided if (m := _first(x)) and m.past_limit and m.ok]
    wrong = sum((x.delta_bpb or 0.0) >= 0 for _, x in samples)
    saved = saved_s(night)
    share = saved / (night.elapsed_s + saved) if saved else 0.0
    return (
        f"early stop: {stopped} of {sum(x.role == 'candidate' for x in night.decided)} experiments ended at {AT:.0%} of"
        f" their budget, {saved:.0f} s saved ({share:.0%} of the night); {len(samples)} more ran on as samples,"
        f" {wrong} of them no worse than the incumbent in the end"
    )


def _first(x: Experiment) -> Measurement | None:
    """The run that the early stop looks at."""
    return next((r.measurement for r in x.runs.values() if r.purpose == "search" and r.measurement), None)
