"""The loss curves as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter

from autoresearch.report.curves_csv import COLUMNS, curves_csv
from testbed import nights

NIGHT = nights.night(12)


def test_every_stored_point_is_a_row_and_the_last_has_the_score() -> None:
    rows = list(csv.DictReader(io.StringIO(curves_csv(NIGHT))))
    assert tuple(rows[0]) == COLUMNS
    runs = [(x, run) for x in NIGHT.experiments.values() for run in x.runs.values() if run.measurement]
    points = Counter((int(row["experiment"]), int(row["run"])) for row in rows)
    assert points == {(x.n, r.run + 1): len(r.measurement.loss_curve) for x, r in runs if r.measurement.loss_curve}
    scored = {(int(row["experiment"]), int(row["run"])): float(row["val_bpb"]) for row in rows if row["val_bpb"]}
    assert scored == {(x.n, r.run + 1): r.measurement.score for x, r in runs if r.measurement.score is not None}
