"""The message of an experiment's commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoresearch.paths import Layout
from autoresearch.record.commit_message import commit_message
from autoresearch.record.journal import Journal
from autoresearch.records import TaskFacts
from testbed.night_builder import NightBuilder, set_to


def test_it_says_what_was_tried_what_it_brought_and_where(tmp_path: Path) -> None:
    made = NightBuilder()
    made.candidate(set_to("DEPTH", 3), 0.05, "keep")
    made.write(tmp_path / "runs" / "night")
    night = Journal(Layout(tmp_path, "night")).night
    x = replace(night.experiments[1], estimate=1.55, delta_score=0.05, sigma_score=0.004, reason="12 sigma better")
    lines = commit_message(night, x, "Apple M4 Pro").splitlines()
    assert lines[0] == x.proposal.title and lines[1] == ""
    assert f"val_bpb 1.600000 -> 1.550000 over {len(x.scores)} runs, sigma 0.0040 bpb" in lines
    assert "keep: 12 sigma better" in lines
    assert lines[-5:] == [
        "Experiment: nov23/0001",
        f"Proposer: {x.proposal.proposer}",
        f"Category: {x.proposal.category}",
        "Task: climbmix/mac 0123456789abcdef, 300 s",
        "Machine: Apple M4 Pro",
    ]


def test_without_a_value_it_says_the_verdict_alone(tmp_path: Path) -> None:
    made = NightBuilder()
    made.crash(set_to("DEPTH", 3))
    made.write(tmp_path / "runs" / "night")
    night = Journal(Layout(tmp_path, "night")).night
    text = commit_message(night, night.experiments[1], "m")
    assert "val_bpb" not in text and "crash: memory: held 9.1 GB" in text


def test_it_names_a_declared_task(tmp_path: Path) -> None:
    made = NightBuilder()
    made.candidate(set_to("DEPTH", 3), 0.05, "keep")
    made.write(tmp_path / "runs" / "night")
    night = Journal(Layout(tmp_path, "night")).night
    night = replace(night, task=TaskFacts(dataset="sql", name="sql", fingerprint="0123456789abcdef"))
    assert "\nTask: sql 0123456789abcdef, val_bpb\n" in commit_message(night, night.experiments[1], "m")
