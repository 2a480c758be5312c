"""A transfer from the command line: its options, and a whole night of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import BundleError, UsageError
from autoresearch.findings import bundle
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import Finding, SharedMetric
from autoresearch.loop import sharing, transfer_night
from autoresearch.loop.session import Options
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.records import SearchReplace, Set
from testbed.night_builder import TASK, NightBuilder, shared
from testbed.toy import HONEST, git
from testbed.transfers import SHARP, THERE, idea


def test_options_come_from_the_findings() -> None:
    chosen = transfer_night.options_for(THERE, Options(deadline=9.0))
    assert (chosen.tag, chosen.dataset, chosen.profile, chosen.time_budget_s, chosen.deadline) == (
        f"transfer-{THERE.id[:8]}", "climbmix", "mac", 300.0, 9.0,
    )  # fmt: skip
    mine = transfer_night.options_for(THERE, Options(tag="t", dataset="stdlib", profile="tiny", time_budget_s=20.0))
    assert (mine.tag, mine.dataset, mine.profile, mine.time_budget_s) == ("t", "stdlib", "tiny", 20.0)
    with pytest.raises(BundleError, match=r"its profile '\.\./\.\./etc' is not known here; there are mac, tiny"):
        transfer_night.options_for(replace(THERE, task=replace(THERE.task, profile="../../etc")), Options())
    for budget_s in (1e-300, 1e15):
        with pytest.raises(BundleError, match=r"its budget is 1e.*--time-budget SECONDS"):
            transfer_night.options_for(replace(THERE, task=replace(THERE.task, budget_s=budget_s)), Options())
    own_text = replace(THERE, task=replace(THERE.task, dataset="own text"))
    assert transfer_night.options_for(own_text, Options()).dataset is None


def test_nothing_to_transfer_is_said(tmp_path: Path) -> None:
    bundle.save(shared(NightBuilder()), tmp_path / "nothing.json")
    with pytest.raises(UsageError, match="has no kept changes to transfer"):
        transfer_night.transfer(tmp_path, tmp_path / "nothing.json", Options())
    other = replace(THERE, task=replace(THERE.task, metric=SharedMetric(name="error", unit="")))
    bundle.save(other, tmp_path / "other.json")
    with pytest.raises(UsageError, match="a task that 'error' judged, and `transfer` is for training"):
        transfer_night.transfer(tmp_path, tmp_path / "other.json", Options(profile="tiny"))


# --- a whole night ---


def toy_findings(path: Path) -> Bundle:
    """Return findings for the toy: one change that helps, one that harms, and two that cannot run here."""
    source = HONEST.read_text()
    made = NightBuilder(task={**TASK, "profile": "tiny", "budget_s": 1.0}, sigma_score=SHARP, source=source)
    made.candidate(idea(Set("LR", "0.03"), title="learn faster"), 0.4, "keep")
    forbidden = SearchReplace("import prepare", "import os\nimport prepare")
    made.candidate(idea(forbidden, title="look around"), 0.3, "keep")
    rate = "        opt.learning_rate = LR * (1 - run.progress)"
    made.candidate(idea(SearchReplace(rate, f"{rate} * 1e-4"), title="hardly learn"), 0.2, "keep")
    missing = idea(SearchReplace("WIDTH = 32  # channels", "WIDTH = 32\nSCALE = 1.0"), title="first step")
    made.candidate(missing, 0.01, "discard")
    found = shared(made)
    bundle.save(found, path)
    return found


@pytest.fixture
def toy(repository: Path, toy_cache: Path) -> Path:
    """Return a repository with a slow learner."""
    (repository / "train_mlx.py").write_text(HONEST.read_text().replace("LR = 0.01", "LR = 0.0003"))
    git(repository, "commit", "-q", "-am", "a slow learner")
    return repository


@pytest.mark.slow
def test_a_transfer_from_start_to_end(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "theirs.json"
    theirs = toy_findings(file)
    options = Options(dataset="toy", profile="tiny", time_budget_s=1.0, experiments=1)
    tag = f"transfer-{theirs.id[:8]}"

    transfer_night.transfer(toy, file, options)  # stopped by its limit after one
    said = capsys.readouterr().out
    assert "2 not tried yet; run the same command to resume" in said and "Of 1 change: 1 transferred." in said
    assert "baseline: 2 runs of the same files, which show how far runs differ" in said
    assert all(f"#0 run {run}: val_bpb " in said for run in (1, 2))  # a baseline's values, as they come
    assert "sigma over 1 run; one run proves nothing, so it runs again" in said
    assert "learn faster: holds here, too. " in said and "bpb better here (95% interval +" in said
    assert "the baselines differ, there → here: LR 0.01 → 0.0003" in said and "fingerprint was" in said
    transfer_night.transfer(toy, file, replace(options, experiments=None))
    said = capsys.readouterr().out
    assert "stopped: every change that applies was tried" in said and "not tried yet" not in said

    own = bundle.load(toy / "runs" / tag / "findings.json")
    assert own.kind == "transfer" and own.transfer is not None and own.transfer.id == theirs.id
    rows = {row.title: row for row in own.transfer.rows}
    assert {title: row.verdict for title, row in rows.items()} == {
        "learn faster": "transfers",
        "look around": "cannot run",
        "hardly learn": "reverses",
    }
    faster = rows["learn faster"]
    assert faster.here is not None and faster.here.low_score is not None and faster.here.low_score > 0
    assert faster.there == theirs.findings[1].effect and faster.experiment == 1
    assert "contract: " in rows["look around"].reason and "os" in rows["look around"].reason
    of: list[Finding] = [f for f in own.findings if f.of is not None]
    assert [f.of for f in of] == [1, 2, 3]

    # It is a night like any other: on its branch, in its journal, the kept change a commit.
    night = journal.read(Layout(toy, tag))
    assert [x.verdict for x in night.decided] == ["keep", "keep", "crash", "discard"]
    assert "LR = 0.03" in git(toy, "show", f"autoresearch/{tag}:train_mlx.py")
    assert "transfer:" in git(toy, "log", "--format=%b", f"autoresearch/{tag}")
    exported = sharing.bundle_of(Layout(toy, tag))
    assert exported == own  # `export` of such a night keeps the matrix

    other = replace(theirs, created="2026-01-01")
    bundle.save(other, tmp_path / "other.json")
    with pytest.raises(BundleError, match="replays other findings"):
        transfer_night.transfer(toy, tmp_path / "other.json", replace(options, tag=tag))
