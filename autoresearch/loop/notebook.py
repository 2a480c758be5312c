"""Answer what every part of the loop asks of the night: its incumbent, its baseline, its estimates, its sources."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoresearch.decide import estimates, validation
from autoresearch.decide.noise import Noise
from autoresearch.metrics import Metric
from autoresearch.paths import Layout
from autoresearch.record.journal import Journal
from autoresearch.record.night import Experiment, Night
from autoresearch.report.console import View


@dataclass
class Counters:
    """Counts of this session, from which the keep rule tells when the incumbent or the baseline is due for a re-run."""

    decided: int = 0  # candidates
    single_run_discards: int = 0  # in a row, since a candidate came near or the incumbent ran
    since_baseline: int = 0  # candidates decided since the baseline's last run

    def count_decided(self, x: Experiment) -> None:
        """Count a decided candidate. A crash without a value does not show whether the candidate came near."""
        self.decided += 1
        self.since_baseline += 1
        if len(x.scores) == 1 or x.stopped is not None:
            self.single_run_discards += 1
        elif x.scores:
            self.single_run_discards = 0

    def count_rerun(self, x: Experiment) -> None:
        """Count one more run of the incumbent or the baseline."""
        self.single_run_discards = 0
        if x.role == "baseline":
            self.since_baseline = 0


@dataclass(frozen=True)
class Notebook:
    """The night of a running loop: its journal, the paths of its files, and the view that shows it."""

    layout: Layout
    journal: Journal
    view: View
    prior: Noise | None = None  # sigma of earlier nights on this machine and task
    counters: Counters = field(default_factory=Counters)

    @property
    def night(self) -> Night:
        return self.journal.night

    @property
    def metric(self) -> Metric:
        """The number that the night's task is judged by."""
        return self.night.task.metric

    @property
    def estimates(self) -> estimates.Estimates:
        """Sigma, drift and the estimates of this moment, with what earlier nights knew of sigma."""
        return estimates.read(self.night, self.prior)

    @property
    def incumbent(self) -> Experiment:
        """The best known version; `Experimenter.prepare` has to come first."""
        incumbent = self.night.incumbent
        assert incumbent is not None, "a baseline is measured first"
        return incumbent

    @property
    def baseline(self) -> Experiment:
        """The baseline that the incumbent descends from; `Experimenter.prepare` has to come first."""
        baseline = validation.baseline_of(self.night)
        assert baseline is not None, "a baseline is measured first"
        return baseline

    def source_of(self, n: int) -> str:
        """Return the source of experiment n, read and verified once a process. Raises JournalError."""
        return self.journal.source_of(n)

    def run_s(self) -> float:
        """Return the seconds that one run takes here, by the incumbent's slowest."""
        return max(m.total_s for m in self.incumbent.measurements if m.ok)

    def note(self, text: str) -> None:
        """Put a remark into the journal and say it."""
        self.journal.append("note", text=text)
        self.view.say(text)

    def show(self) -> None:
        """Bring the live view up to date."""
        self.view.state.take(self.night, self.estimates, self.counters.decided)
