"""results.tsv in the layout of karpathy/autoresearch: its columns, this night's rows, and all other bytes."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import JournalError
from autoresearch.record.night import Experiment, Night, RunRecord
from autoresearch.record.results_tsv import header, render, row, update
from autoresearch.records import Failure, Measurement, Proposal

OTHERS = b"1111111\t0.997900\t44.0\tkeep\tbaseline\n2222222\t0.000000\t0.0\tcrash\tdouble width (oom)\n"


def experiment(n: int, verdict: str | None = "keep", **fields: Any) -> Experiment:
    bpb = None if verdict == "crash" else 1.25 + n / 100
    failure = Failure("oom", "out of memory") if verdict == "crash" else None
    measurement = Measurement(seed=1, score=bpb, failure=failure, peak_memory_mb=2048.0 + 100 * n)
    run = RunRecord(0, 1, "search", "m4", 0.0, "measured", measurement)
    known: dict[str, Any] = {
        "role": "candidate",
        "proposal": Proposal((), f"idea {n}", "", "other", "tuner"),
        "source_sha256": "s",
        "parent_n": 0,
        "parent_commit": "0" * 40,
        "status": "decided" if verdict else "measured",
        "runs": {0: run},
        "verdict": verdict,
        "estimate": bpb,
        "blob": f"b{n:039}",
        "commit": f"c{n:06}" + "f" * 33,
    }
    return Experiment(n, **{**known, **fields})


def night(*experiments: Experiment) -> Night:
    return Night(tag="t", experiments={e.n: e for e in experiments})


def text(*experiments: Experiment) -> list[str]:
    return render(night(*experiments), b"").decode().splitlines()


def test_the_columns() -> None:
    assert text(experiment(0), experiment(1, "discard"), experiment(2, "crash")) == [
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription",
        "c000000\t1.250000\t2.0\tkeep\tidea 0",
        "c000001\t1.260000\t2.1\tdiscard\tidea 1",
        "c000002\t0.000000\t0.0\tcrash\tidea 2 (oom)",
    ]


def test_undecided_experiments_have_no_row_and_quarantined_ones_are_crashes() -> None:
    quarantined = experiment(1, None, status="quarantined", reason="twice down", commit=None, blob=None)
    assert text(experiment(0, None), quarantined)[1:] == ["\t0.000000\t0.0\tcrash\tidea 1 (quarantined: twice down)"]


def test_absent_values_are_empty_and_zero_is_for_crashes_alone() -> None:
    stopped = experiment(0, "discard", estimate=None, runs={})
    assert text(stopped)[1] == "c000000\t\t\tdiscard\tidea 0"
    assert text(experiment(1, "discard", estimate=1e-9))[1].split("\t")[1] == ""


def test_the_estimate_of_the_decision_stands_and_the_largest_memory() -> None:
    measured = {k: Measurement(k, 1.5 + k, peak_memory_mb=k * 1024) for k in (1, 9, 2)}
    more = {k: RunRecord(k, k, "incumbent", "m4", 0.0, "measured", m) for k, m in measured.items()}
    assert text(experiment(0, "keep", estimate=1.23456789, runs=more))[1] == "c000000\t1.234568\t9.0\tkeep\tidea 0"


def test_a_baseline_stands_on_the_commit_it_was_measured_at() -> None:
    assert text(experiment(0, role="baseline", commit=None, parent_commit="abcdef0123"))[1].startswith("abcdef0\t")


@given(st.text(max_size=300))
def test_any_title_is_one_field_of_one_line(title: str) -> None:
    line = row(experiment(0, "crash", proposal=Proposal((), title, "", "other", "t")), "c000000").decode()
    assert line.count("\t") == 4
    assert line.endswith("\n")
    assert len(line[:-1].splitlines()) == 1
    assert len(line) < 260


# --- whose rows are whose -------------------------------------------------------------------------------------------


def test_rows_of_others_stay_where_they_are_and_ours_are_appended() -> None:
    rendered = render(night(experiment(0)), header() + OTHERS)
    assert rendered == header() + OTHERS + row(experiment(0), "c000000")


def test_ours_are_replaced_in_place_when_others_came_after_them() -> None:
    first = render(night(experiment(0), experiment(1, commit=None)), header() + OTHERS)
    assert b"b000000\t" in first
    merged = first + b"3333333\t1.0\t1.0\tkeep\tlater, elsewhere\n"
    again = render(night(experiment(0), experiment(1), experiment(2)), merged)
    ours = b"".join(row(experiment(n), f"c{n:06}") for n in range(3))
    assert again == header() + OTHERS + ours + b"3333333\t1.0\t1.0\tkeep\tlater, elsewhere\n"


def test_rows_doubled_by_a_union_merge_become_one() -> None:
    once = render(night(experiment(0), experiment(1)), header() + OTHERS)
    assert render(night(experiment(0), experiment(1)), once + row(experiment(0), "c000000")) == once


def test_another_night_does_not_take_our_rows() -> None:
    ours = render(night(experiment(0), experiment(1, "crash")), b"")
    other = night(experiment(0, commit="d" * 40), experiment(1, "crash", commit="e" * 40))
    assert render(other, ours).startswith(ours)
    assert render(night(experiment(0), experiment(1, "crash")), render(other, ours)) == render(other, ours)


def test_a_last_line_without_its_end_is_ended_before_ours() -> None:
    assert render(night(experiment(0)), OTHERS[:-1]) == OTHERS + row(experiment(0), "c000000")
    whole = render(night(experiment(0)), OTHERS)
    assert render(night(experiment(0)), whole[:-1]) == whole
    assert render(night(), OTHERS[:-1]) == OTHERS[:-1]


verdicts = st.sampled_from(["keep", "discard", "crash", None])


@given(st.binary(max_size=200), st.lists(verdicts, max_size=6), st.data())
def test_every_foreign_byte_survives_any_sequence_of_renderings(
    old: bytes, verdicts: list[str | None], data: st.DataObject
) -> None:
    experiments = [experiment(n, verdict) for n, verdict in enumerate(verdicts)]
    rendered = old
    for n in range(len(experiments) + 1):
        uncommitted = data.draw(st.booleans())
        known = [*experiments[: max(0, n - 1)]]
        if n:
            known.append(experiment(n - 1, verdicts[n - 1], commit=None) if uncommitted else experiments[n - 1])
        rendered = render(night(*known), rendered)
        assert render(night(*known), rendered) == rendered
    final = render(night(*experiments), rendered)
    rows = b"".join(row(e, e.commit or "") for e in experiments if e.verdict)
    before = old or header()
    assert final == (before if before.endswith(b"\n") or not rows else before + b"\n") + rows


def test_update_is_atomic_and_idle_when_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    path.write_bytes(header() + OTHERS)
    path.chmod(0o640)
    data = update(path, night(experiment(0)), header() + OTHERS)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o640
    inode = path.stat().st_ino
    assert update(path, night(experiment(0)), header() + OTHERS) == data
    assert path.stat().st_ino == inode
    assert [p.name for p in tmp_path.iterdir()] == ["results.tsv"]


def test_no_room_on_the_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    path.write_bytes(header() + OTHERS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(header() + OTHERS) + 3, limits[1]))
    try:
        with pytest.raises(JournalError, match=r"cannot write .*results\.tsv"):
            update(path, night(experiment(0)), header() + OTHERS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == header() + OTHERS
    assert [p.name for p in tmp_path.iterdir()] == ["results.tsv"]
