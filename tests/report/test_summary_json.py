"""The JSON of a night for scripts: the figures of the report, under the journal's names."""

from __future__ import annotations

import json
from dataclasses import replace

from autoresearch.report import analysis
from autoresearch.report.summary_json import experiment_json, night_json
from testbed import nights

NIGHT = nights.night(30)


def test_it_has_the_reports_figures_and_every_experiment() -> None:
    found = json.loads(json.dumps(night_json(NIGHT, running=False), allow_nan=False))
    h = analysis.headline(NIGHT)
    assert found["headline"]["baseline_score"] == h.baseline_score and found["headline"]["keeps"] == h.keeps
    assert found["headline"]["interval"]["rounds"] == h.interval.rounds if h.interval else True
    assert [x["n"] for x in found["experiments"]] == list(NIGHT.experiments)
    assert found["incumbent"] == NIGHT.incumbent_n and found["closed"] == NIGHT.closed
    assert "running" not in found


def test_an_experiment_has_its_runs() -> None:
    x = NIGHT.experiments[1]
    found = experiment_json(x)
    assert found["verdict"] == x.verdict and found["score"] == x.estimate
    assert [run["seed"] for run in found["runs"]] == [run.seed for run in x.runs.values()]
    assert [run["score"] for run in found["runs"] if run["purpose"] != "final"] == x.scores


def test_a_crash_says_why() -> None:
    crashed = next(x for x in NIGHT.experiments.values() if x.failure)
    assert crashed.failure is not None
    assert experiment_json(crashed)["runs"][0]["failure"]["kind"] == crashed.failure.kind


def test_a_running_night_names_its_run() -> None:
    x = NIGHT.experiments[1]
    open_run = replace(next(iter(x.runs.values())), ended=None)
    night = replace(NIGHT, closed=None, experiments={**NIGHT.experiments, 1: replace(x, runs={0: open_run})})
    assert night_json(night, running=True)["running"] == {"experiment": 1, "run": 1}
    assert "running" not in night_json(night, running=False)  # it was cut off
