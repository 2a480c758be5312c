"""Write the loss curves of a night as CSV, for a spreadsheet, pandas or a plot of one's own: `export --curves FILE`."""

from __future__ import annotations

import csv
import io

from autoresearch.record.night import Night

COLUMNS = ("experiment", "title", "verdict", "run", "seed", "purpose", "budget_used", "train_loss_nats", "val_bpb")


def curves_csv(night: Night) -> str:
    """Return a row for each stored point of each run's curve; `budget_used` is from 0 to 1.

    The run's val_bpb stands in its last row, where it has one.
    """
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for x in night.experiments.values():
        for run in x.runs.values():
            m = run.measurement
            if m is None:
                continue
            named = (x.n, x.proposal.title, x.verdict or x.status, run.run + 1, run.seed, run.purpose)
            last = len(m.loss_curve) - 1
            for i, (used, loss) in enumerate(m.loss_curve):
                rows.writerow([*named, used, loss, m.score if i == last and m.score is not None else ""])
    return out.getvalue()
