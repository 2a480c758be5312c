"""results.tsv files of other programs, as they are found in public, with and without the git history beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import BundleError
from autoresearch.findings import bundle, compare, foreign
from testbed.toy import git

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
# Two machines in one file, as in forks that keep the rows of the port they came from.
TWO_MACHINES = HEADER + (
    "383abb4\t2.667000\t26.9\tkeep\tbaseline (AdamW, default config)\n"
    "c67ad2a\t2.695369\t26.9\tdiscard\tlower weight decay to 0.1\n"
    "5efc7aa\t1.807902\t20.7\tkeep\treduce depth from 8 to 4\n"
    "53f4bcc\t1.804532\t20.7\tkeep\tapr20 baseline (this hardware)\n"
    "23175aa\t1.595840\t20.7\tkeep\thalve batch size to 2^15\n"
    "65669ab\t0.000000\t0.0\tcrash\tdouble model width (OOM)\n"
    "38acd33\t1.616715\t20.7\tdiscard\tSiLU activation\twith a tab\n"
)
MORE_COLUMNS = (
    "commit\tval_bpb\tmemory_gb\tmfu\tstatus\tdescription\n3087aeb\t2.335670\t5.5\t58.1\tkeep\tbaseline d12\n"
)
NOTES = HEADER + (
    "b40743e\t1.865391\t1.8\tbaseline\tDEPTH=4, 114 steps\n"
    "9c8aa04\t1.782007\t7.7\tbest\tan unknown status is never a keep\n"
    "9c8aa05\t\t\tdiscard\tstopped early\n"
    "2026-08-04\twd_020\t1.861823\t156\tNEW BEST\n"
    "\n================\nColumns: date, tag, val_bpb\n"
    "a1b2c3d\tnan\t1.3\tkeep\tno number\n"
    "d4e5f6a\t-1.0\t1.3\tkeep\tbelow zero\n"
)


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.tsv").write_text(text)
    return folder


def test_each_baseline_begins_a_night(tmp_path: Path) -> None:
    first, second = foreign.read(written(tmp_path / "fork", TWO_MACHINES))
    assert [f.score for f in first.findings] == [2.667, 2.695369, 1.807902]
    assert [f.verdict for f in second.findings] == ["keep", "keep", "crash", "discard"]
    assert [f.role for f in second.findings] == ["baseline", "candidate", "candidate", "candidate"]
    assert second.findings[-1].title == "SiLU activation with a tab" and second.best == 1
    assert second.machine.chip == "fork: apr20 baseline (this hardware)"
    gain = second.findings[1].effect
    assert gain is not None and gain.gain_score == pytest.approx(1.804532 - 1.595840) and gain.low_score is None
    assert second.findings[2].score is None and second.findings[2].effect is None
    assert second.sigma_score is None and second.kind == "imported"


def test_other_columns_and_other_lines(tmp_path: Path) -> None:
    (found,) = foreign.read(written(tmp_path / "a", MORE_COLUMNS))
    assert found.findings[0].title == "baseline d12" and found.findings[0].score == 2.33567
    (found,) = foreign.read(written(tmp_path / "b", NOTES))
    assert [(f.verdict, f.score) for f in found.findings] == [
        ("keep", 1.865391),
        ("discard", 1.782007),
        ("discard", None),
    ]


def test_it_is_compared_and_marked(tmp_path: Path) -> None:
    nights = foreign.read(written(tmp_path / "fork", TWO_MACHINES))
    found = compare.compare(nights)
    assert any(w.startswith("A B: imported: one run each, without sigma and intervals") for w in found.warnings)
    assert found.nights[1].gain_percent == pytest.approx(100 * (1.804532 - 1.595840) / 1.804532)
    assert found.nights[1].gain_sigma is None and found.nights[1].crashes == 1
    assert [bundle.loads(bundle.dump(night)) for night in nights] == nights


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with a baseline, a kept change, and a discard that was reset away, an hour apart."""
    root = tmp_path / "autoresearch"
    root.mkdir()
    git(root, "init", "-q")
    git(root, "config", "user.name", "A Person")
    git(root, "config", "user.email", "person@example.com")
    rows = []
    for i, (source, bpb, status, told) in enumerate([
        ("DEPTH = 8\nLR = 0.04\n", 1.60, "keep", "baseline"),
        ("DEPTH = 4\nLR = 0.04\n", 1.50, "keep", "halve the depth"),
        ("DEPTH = 4\nLR = 0.40\n", 1.70, "discard", "ten times the rate"),
    ]):  # fmt: skip
        (root / "train.py").write_text(source)
        git(root, "add", "train.py")
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-03-08T0{i + 1}:00:00Z")
        git(root, "commit", "-q", "-m", told)
        rows.append(f"{git(root, 'rev-parse', 'HEAD')[:7]}\t{bpb}\t4.0\t{status}\t{told}\n")
    git(root, "reset", "-q", "--hard", "HEAD~1")
    return written(root, HEADER + "".join(rows))


def test_git_gives_sources_times_and_changes(history: Path) -> None:
    (found,) = foreign.read(history)
    assert found.created == "2026-03-08" and found.hours == 2.0
    assert [f.hour for f in found.findings] == [0.0, 1.0, 2.0]
    kept, reset = found.findings[1:]
    assert kept.change is not None and kept.change.constants == {"DEPTH": ("8", "4")}
    assert reset.change is not None and reset.change.set == {"LR": "0.40"}  # its commit is still in the repository
    assert found.source(kept) == "DEPTH = 4\nLR = 0.04\n"
    (row,) = compare.compare([found]).constants
    assert (row.name, row.cells) == ("DEPTH", (("8", "4"),))


def test_a_repository_runs_nothing(history: Path, tmp_path: Path) -> None:
    """No pager, monitor, filter, alias or signature program that the repository's configuration names is run."""
    mark = tmp_path / "mark"
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\ntouch {mark}\n")
    tool.chmod(0o755)
    for key in ("core.pager", "core.fsmonitor", "diff.external", "gpg.program", "alias.show", "core.editor"):
        git(history, "config", key, f"!{tool}" if key.startswith("alias") else str(tool))
    git(history, "config", "log.showSignature", "true")
    git(history, "config", "diff.x.textconv", str(tool))
    git(history, "config", "filter.x.smudge", str(tool))
    (history / ".gitattributes").write_text("*.py diff=x filter=x\n")
    partial = {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "protocol.file.allow": "always",
    }
    remote = {"promisor": "true", "url": str(history), "uploadpack": f"{tool};"}  # that of the commits it lacks
    for key, value in {**partial, **{f"remote.origin.{key}": value for key, value in remote.items()}}.items():
        git(history, "config", key, value)
    with (history / "results.tsv").open("a") as table:
        table.write(f"{'ab' * 20}\t1.0\t4.0\tkeep\tin no repository\n")
    assert foreign.read(history)[0].hours == 2.0
    assert not mark.exists()


def test_a_commit_is_never_an_option(tmp_path: Path) -> None:
    text = HEADER + f"--output={tmp_path / 'mark'}\t1.5\t2.0\tkeep\tbaseline\n"
    (found,) = foreign.read(written(tmp_path / "x", text))
    assert found.findings[0].source is None and os.listdir(tmp_path) == ["x"]  # noqa: PTH208


@given(st.text(max_size=300))
def test_no_table_makes_it_stumble(text: str) -> None:
    for entry in foreign.parse(HEADER + text) + foreign.parse(text):
        assert entry.score is None or 0 < entry.score < 1e6


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no results: a header with val_bpb and status"):
        foreign.read(
            written(tmp_path / "x", "commit\tval_rmse\tstatus\tdescription\nc2450ad\t343.88\tkeep\tbaseline\n")
        )
    with pytest.raises(BundleError, match="cannot read"):
        foreign.read(tmp_path / "nothing")
    with (tmp_path / "results.tsv").open("wb") as file:
        file.truncate(foreign.MOST_TABLE_BYTES + 1)
    with pytest.raises(BundleError, match="refused: more than 4 MB"):
        foreign.read(tmp_path / "results.tsv")
