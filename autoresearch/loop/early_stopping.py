"""Calibrate the early stop before each candidate's first run, and note when it is switched on or off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.decide import early_stop
from autoresearch.decide.early_stop import EarlyStopCheck, Example
from autoresearch.loop.notebook import Notebook
from autoresearch.record.night import Experiment
from autoresearch.tasks.gpt.comparable import comparable


@dataclass
class EarlyStopping:
    """The early stop of a running night. `earlier` are examples from other nights on this machine and task."""

    notebook: Notebook
    earlier: Sequence[Example] = ()
    stops_losers: bool = True  # False: every run is looked at, and none is ended
    limit_nats: float | None = None  # as last said

    def check_for(self, x: Experiment) -> EarlyStopCheck | None:
        """Return the check of a candidate's first run, or None where its loss curve does not compare."""
        notebook, night, incumbent = self.notebook, self.notebook.night, self.notebook.incumbent
        if not comparable(notebook.source_of(incumbent.n), notebook.source_of(x.n)):
            return None
        rule = early_stop.calibrate([*self.earlier, *early_stop.examples(night)]) if self.stops_losers else None
        limit = rule.limit_nats if rule else None
        if (limit is None) != (self.limit_nats is None):
            notebook.note(f"early stop: {rule or 'off: no limit stops losers and spares all that end no worse'}")
        self.limit_nats = limit
        audit = early_stop.audit_due(early_stop.past_limit(night))
        return EarlyStopCheck(early_stop.curve(incumbent), limit, audit)
