"""Make one run of a declared task: every phase, the number, and its limits. A candidate's failure never raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

from autoresearch.measure import run_folder
from autoresearch.measure.follower import Listener
from autoresearch.metrics import Metric
from autoresearch.records import Failure, Measurement
from autoresearch.tasks.command.keys import LimitTable, metric_kind
from autoresearch.tasks.command.metric import MissingError, Observed, cases, figures, source_number
from autoresearch.tasks.command.phases import Bench, FailedError, Side, needs_run
from autoresearch.tasks.task import RunOrder

Files = Mapping[str, bytes]
T = TypeVar("T")


def measure(
    bench: Bench,
    metric: Metric,
    order: RunOrder,
    files: Files,
    incumbent: Files | None = None,
    *,
    baseline: Mapping[str, float] | None = None,
    case_count: int | None = None,
    listen: Listener = lambda event: None,
) -> Measurement:
    """Measure a version once, beside the incumbent where the task alternates the two.

    `baseline` are the figures that limits compare with, `case_count` the number of cases that the baseline has.
    """
    began = time.monotonic()
    folder = order.folder
    run_folder.tidy(folder, ())
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(bench, metric, order, listen)
    failure: Failure | None = None
    try:
        run.begin(files, incumbent)
        run.repeat()
        run.finish(baseline or {}, case_count)
    except FailedError as error:
        failure = error.failure
    _tidy(folder)
    total_s = time.monotonic() - began
    seconds = dict(run.seconds)
    seconds["overhead"] = total_s - sum(seconds.values())
    return Measurement(
        order.seed,
        score=run.score if failure is None else None,
        failure=failure,
        total_s=total_s,
        seconds={name: round(s, 3) for name, s in seconds.items()},
        peak_memory_mb=run.figures.get("peak_rss"),
        figures=run.figures,
        cases=run.cases if failure is None else (),
        beside=bool(run.beside),
    )


class _Run:
    """One run while it is made."""

    def __init__(self, bench: Bench, metric: Metric, order: RunOrder, listen: Listener) -> None:
        self.bench, self.metric, self.order, self.listen = bench, metric, order, listen
        self.declared = bench.declared
        self.sides: list[Side] = []
        self.seen: list[Observed] = []
        self.beside: list[float] = []  # scores of the incumbent, one for each of the candidate's
        self.scores: list[float] = []
        self.score: float | None = None
        self.cases: tuple[float, ...] = ()
        self.figures: dict[str, float] = {}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by phase, of both versions."""
        names = dict.fromkeys(name for side in self.sides for name in side.seconds)
        return {name: sum(side.seconds.get(name, 0.0) for side in self.sides) for name in names}

    def begin(self, files: Files, incumbent: Files | None) -> None:
        """Plant the trees, check what has to hold before a run, and build."""
        self.sides = [self._side("candidate", files)]
        self.sides[0].guard("before")
        self.sides[0].build()
        if incumbent is not None and self.declared.metric.interleave and self.order.incumbent_score is not None:
            beside = self._side("incumbent", incumbent)
            self.sides.append(beside)
            self._blameless(beside.build)

    def repeat(self) -> None:
        """Take the values, each version's in turn, so that both meet the machine in the same state."""
        table = self.declared.metric
        for _ in range(table.warmup if needs_run(self.declared) else 0):
            for side in self.sides:
                self._observe(side)
        for i in range(table.repeats if needs_run(self.declared) else 1):
            turn = self.sides if i % 2 == 0 else self.sides[::-1]
            for side in turn:
                self._take(side)
            if i and self._is_hopeless():
                break

    def finish(self, baseline: Mapping[str, float], case_count: int | None) -> None:
        """Check the limits, and compute the score."""
        self._note_figures()
        for limit in self.declared.limit:
            self._check(limit, baseline)
        if (source := self.declared.metric.cases) is not None:
            self.cases = self._cases(source, case_count)
        self.score = self._so_far()

    # --- parts ---

    def _so_far(self) -> float:
        """Return the score by the values taken until now; beside the incumbent, by how far the two are apart."""
        differences = [ours - theirs for ours, theirs in zip(self.scores, self.beside, strict=False)]
        if differences and self.order.incumbent_score is not None:
            return self.order.incumbent_score + median(differences)
        return median(self.scores)

    def _is_hopeless(self) -> bool:
        """Return whether a first run is so far behind that further values cannot make it a keep."""
        order = self.order
        return order.purpose == "search" and order.ceiling_score is not None and self._so_far() > order.ceiling_score

    def _side(self, name: str, files: Files) -> Side:
        def tell(phase: str) -> None:
            self.listen({"event": "phase", "phase": phase})

        order = self.order
        return Side(self.bench, order.folder, name, files, seed=order.seed, purpose=order.purpose, listen=tell)

    def _observe(self, side: Side) -> Observed:
        """Run a version once, with its judge where that says the number."""
        judged = metric_kind(self.declared.metric) == "score:json"
        return self._of(side, lambda: replace(side.run(), judged=side.score()) if judged else side.run())

    def _take(self, side: Side) -> None:
        """Take one value of a version. Judge and guards look at each of the candidate's, since any may be false."""
        seen = self._observe(side)
        score = self._of(side, lambda: self._score(seen))
        if side is self.sides[0]:
            if seen.judged is None:
                seen = replace(seen, judged=side.score())
            side.guard("after")
            self.seen.append(seen)
            self.scores.append(score)
        else:
            self.beside.append(score)

    def _score(self, seen: Observed) -> float:
        try:
            return self.metric.score(source_number(self.declared.metric.source, seen))
        except (MissingError, ValueError) as error:
            raise FailedError(Failure("metric", str(error), (seen.judged or seen.printed or "")[-1500:])) from None

    def _of(self, side: Side, action: Callable[[], T]) -> T:
        return action() if side is self.sides[0] else self._blameless(action)

    def _blameless(self, action: Callable[[], T]) -> T:
        """Turn a failure of the incumbent, which ran beside the candidate, into one of the machine."""
        try:
            return action()
        except FailedError as error:
            said = error.failure
            raise FailedError(
                Failure("machine", f"the incumbent, measured beside it, failed: {said.message}", said.detail)
            ) from None

    def _note_figures(self) -> None:
        """Note the medians of what was observed, and what the judge printed last."""
        self.figures |= figures(self.seen[-1])
        for name, values in {
            "wall": [s.wall_s for s in self.seen],
            "cpu": [s.cpu_s for s in self.seen],
            "peak_rss": [s.peak_rss_mb for s in self.seen],
        }.items():
            known = [value for value in values if value is not None]
            if known:
                self.figures[name] = median(known)
        self.figures["values"] = len(self.scores)
        self.figures[self.metric.name] = self.metric.value(median(self.scores))
        if self.beside:
            self.figures["incumbent"] = self.metric.value(median(self.beside))
        for name, source in zip(("successes", "trials"), self.declared.metric.counts or (), strict=False):
            self.figures[name] = self._number(source, self.seen)
        if self.declared.metric.counts is not None:
            won, tried = self.figures["successes"], self.figures["trials"]
            if not (0 <= won <= tried and tried > 0):
                raise FailedError(Failure("metric", f"{won:g} successes in {tried:g} trials make no rate"))

    def _number(self, source: str, seen: Sequence[Observed]) -> float:
        try:
            return median(source_number(source, each) for each in seen)
        except MissingError as error:
            raise FailedError(Failure("metric", str(error))) from None

    def _check(self, limit: LimitTable, baseline: Mapping[str, float]) -> None:
        """Raise FailedError where the version is past a limit; a ratio is to the baseline's, on the same data."""
        found = self.figures[limit.metric] = self._number(limit.metric, self.seen)
        most = limit.max
        if limit.max_ratio is not None and limit.metric in baseline and self.order.purpose != "final":
            before = baseline[limit.metric]
            most = before + (limit.max_ratio - 1) * abs(before)  # also above a negative one
        if most is not None and found > most:
            of = f", {limit.max_ratio:g} times the baseline's" if limit.max_ratio is not None else ""
            raise FailedError(Failure("limit", f"{limit.metric} is {found:,.5g}, over the limit of {most:,.5g}{of}"))

    def _cases(self, source: str, count: int | None) -> tuple[float, ...]:
        """Return the score of each case, its mean over the repeats."""
        try:
            found = [tuple(map(self.metric.score, cases(source, seen))) for seen in self.seen]
        except (MissingError, ValueError) as error:
            raise FailedError(Failure("metric", str(error))) from None
        lengths = {len(each) for each in found} | ({count} if count and self.order.purpose != "final" else set())
        if len(lengths) > 1:
            listing = " and ".join(map(str, sorted(lengths)))
            raise FailedError(Failure("metric", f"the judge gave {listing} cases; every run has the same ones"))
        return tuple(fmean(values) for values in zip(*found, strict=True))


def _tidy(folder: Path) -> None:
    """Remove the trees and keep the logs."""
    run_folder.tidy(folder, [path.name for path in folder.iterdir() if path.suffix in (".log", ".out")])
