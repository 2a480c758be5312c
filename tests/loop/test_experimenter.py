"""A candidate's way from its source to its record, with a runner that returns given values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from autoresearch.candidate import edits
from autoresearch.decide import validation
from autoresearch.errors import AutoresearchError
from autoresearch.loop.experimenter import Experimenter
from autoresearch.record.journal import read
from autoresearch.record.night import Experiment
from autoresearch.records import Candidate, Failure, Proposal, Set
from autoresearch.report import page, status
from autoresearch.tasks.gpt import contract
from testbed.given import experimenter
from testbed.toy import git

pytestmark = pytest.mark.slow

IDEA = Proposal((Set("LR", "0.02"),), "learn faster", "more of each step", "learning_rate", "tuner")


def candidate_of(e: Experimenter, *change: Set) -> Candidate:
    parent = e.notebook.incumbent.n
    source = edits.apply(e.notebook.source_of(parent), change)
    return Candidate(source, IDEA, parent, e.violations(source))


def test_a_kept_candidate_is_a_commit_of_the_branch(repository: Path) -> None:
    e = experimenter(repository, {1: [1.56, 1.56]})
    e.prepare()
    x = e.try_out(candidate_of(e, Set("LR", "0.02")))
    assert x.verdict == "keep" and x.ref == "refs/heads/autoresearch/nov23"
    assert "LR = 0.02" in git(repository, "show", "HEAD:train_mlx.py")
    assert git(repository, "log", "-1", "--format=%s") == "learn faster\n"
    assert e.notebook.incumbent.n == 1 and e.notebook.counters.decided == 1
    assert "keep" in e.notebook.layout.results.read_text()


def test_the_commands_of_the_report_print_the_kept_changes_alone(repository: Path) -> None:
    e = experimenter(repository, {1: [1.56, 1.56], 2: [1.9]})
    e.branch.commit({"train_mlx.py": e.branch.read("train_mlx.py") + b"FITTED = 1\n"}, "Fit to this machine")
    e.prepare()
    e.try_out(candidate_of(e, Set("LR", "0.02")))
    e.try_out(candidate_of(e, Set("LR", "0.03")))
    e.branch.commit({"results.tsv": b"rows\n"}, "results of nov23")
    night = experimenter(repository, {}).notebook.night  # a second session begins at another commit
    log, diff = re.findall(r"git (?:log|diff) [^<\n]*", page.reproduce(night))
    assert git(repository, "log", "--format=%s", *log.split()[2:]) == "learn faster\n"
    changed = [line for line in git(repository, *diff.split()[1:]).splitlines() if line[:1] in "+-"]
    assert [line.partition("  ")[0] for line in changed[2:]] == ["-LR = 0.01", "+LR = 0.02"]


@pytest.mark.parametrize(("scored_again", "verdict"), [(1.2001, "keep"), (1.6, "crash"), (None, "crash")])
def test_an_implausible_gain_is_scored_again(repository: Path, scored_again: float | None, verdict: str) -> None:
    e = experimenter(repository, {1: [1.2, 1.2]})
    e.runner.task.scored_again = scored_again  # type: ignore[attr-defined]
    e.prepare()
    x = e.try_out(candidate_of(e, Set("LR", "0.02")))
    assert x.verdict == verdict and (verdict == "keep" or x.reason.startswith("implausible: 1.200000 became "))
    assert bool(e.notebook.night.notes) == (verdict == "keep")


def test_a_candidate_that_breaks_the_contract_is_recorded_and_never_run(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = experimenter(repository, {})
    e.prepare()
    check, checked = contract.check, []
    monkeypatch.setattr(contract, "check", lambda *given: checked.append(given) or check(*given))
    source = "import os\n" + e.notebook.source_of(0)
    x = e.try_out(Candidate(source, IDEA, 0, e.violations(source)))
    assert x.verdict == "crash" and x.reason.startswith("contract: ") and "os" in x.reason and not x.runs
    assert x.ref == "refs/autoresearch/nov23/0001"
    assert len(checked) == 1  # nothing checks it again after the gate


def test_a_candidate_of_an_earlier_session_is_checked_again_and_finished(repository: Path) -> None:
    e = experimenter(repository, {1: [1.9]})
    e.prepare()
    source = edits.apply(e.notebook.source_of(0), [Set("LR", "0.02")])
    e._propose("candidate", Candidate(source, IDEA, 0))
    forbidden = Candidate("import os\n" + source, IDEA, 0)  # as if somebody had put it there between two sessions
    e._propose("candidate", forbidden)
    e.prepare()
    night = e.notebook.night
    assert night.experiments[1].verdict == "discard"
    assert night.experiments[2].verdict == "crash" and not night.experiments[2].runs


def test_a_baseline_is_measured_once_and_its_failure_ends_the_night(repository: Path) -> None:
    e = experimenter(repository, {})
    e.prepare()
    e.prepare()
    assert [x.role for x in e.notebook.night.decided] == ["baseline"]
    assert e.notebook.baseline.reason == "the baseline, 3 runs"
    again = experimenter(repository, {1: [Failure("slow", "3 steps")]})
    again.versions = {"mlx": "2", "harness": "h"}
    with pytest.raises(AutoresearchError, match=r"the baseline does not run \(slow\)[^$]*--time-budget S"):
        again.prepare()


def test_a_baseline_that_failed_and_was_mended_is_passed_over_everywhere(repository: Path) -> None:
    e = experimenter(repository, {0: [Failure("warmup", "no such optimizer")], 1: [1.6, 1.61, 1.59], 2: [1.9]})
    with pytest.raises(AutoresearchError, match="the baseline does not run"):
        e.prepare()
    for night in (e.notebook.night, read(e.notebook.layout)):
        assert "0 experiments" in status.text(night) and validation.baseline_of(night) is None
    (repository / "train_mlx.py").write_text((repository / "train_mlx.py").read_text() + "MENDED = 1\n")
    git(repository, "commit", "-qam", "mended")
    e.prepare()
    e.try_out(candidate_of(e, Set("LR", "0.02")))
    night = e.notebook.night
    assert [(x.role, x.verdict) for x in night.decided] == [
        ("baseline", "crash"),
        ("baseline", "keep"),
        ("candidate", "discard"),
    ]
    assert e.notebook.baseline.n == 1 == night.experiments[2].parent_n
    assert "val_bpb 1.600000, the baseline" in status.text(night)
    assert e.notebook.view.state.baseline_score == pytest.approx(1.6)
    assert "Only the baseline" not in page.render(night, e.notebook.source_of)


def test_a_resumed_night_shows_what_it_has_before_it_finishes_an_experiment(repository: Path) -> None:
    e = experimenter(repository, {1: [1.9], 2: [1.9]})
    e.prepare()
    e.try_out(candidate_of(e, Set("LR", "0.02")))
    e._propose("candidate", candidate_of(e, Set("LR", "0.03")))
    again = experimenter(repository, {2: [1.9]})
    run, shown = again.runner.run, []

    def look(*args: Any) -> Experiment:
        state = again.notebook.view.state
        shown.append((len(state.results), state.counts["discard"], state.baseline_score, state.incumbent_n))
        return run(*args)

    again.runner.run = look  # type: ignore[method-assign]
    again.prepare()
    assert shown == [(1, 1, pytest.approx(1.6), 0)]
