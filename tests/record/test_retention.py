"""What clean keeps and frees, on a night that the reducer itself has built from events."""

from __future__ import annotations

import itertools
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from autoresearch.paths import Layout
from autoresearch.record import retention
from autoresearch.record.codec import VERSION
from autoresearch.record.night import Night
from testbed.journals import night_of

T = "2026-11-23T23:00:00.000+00:00"


def event(type: str, **fields: Any) -> dict[str, Any]:
    return {"v": VERSION, "t": T, "type": type, **fields}


def opened() -> dict[str, Any]:
    return event("opened", tag="t", task={}, versions={}, machine={}, base_commit="b" * 40, options={})


def proposed(n: int, role: str = "candidate") -> dict[str, Any]:
    proposal = {
        "edits": [],
        "title": f"idea {n}",
        "hypothesis": "",
        "category": "other",
        "proposer": "tuner",
        "usage": {},
    }
    parent = None if role == "baseline" else 0
    return event("proposed", n=n, role=role, proposal=proposal, source_sha256="0", parent_n=parent, parent_commit="b")


def ran(n: int, run: int, val_bpb: float | None) -> list[dict[str, Any]]:
    failure = None if val_bpb else {"kind": "train", "message": "boom", "detail": ""}
    measurement = {"seed": run, "score": val_bpb, "failure": failure}
    started = event("started", n=n, run=run, seed=run, machine="m4", purpose="search" if run == 0 else "repeat")
    return [started, event("measured", n=n, run=run, measurement=measurement)]


def decided(n: int, verdict: str, estimate: float | None) -> dict[str, Any]:
    return event("decided", n=n, verdict=verdict, reason="", estimate=estimate)


def experiment(n: int, verdict: str, scores: list[float | None], role: str = "candidate") -> list[dict[str, Any]]:
    runs = itertools.chain.from_iterable(ran(n, run, bpb) for run, bpb in enumerate(scores))
    good = [bpb for bpb in scores if bpb is not None]
    return [proposed(n, role), *runs, decided(n, verdict, min(good) if good else None)]


@pytest.fixture
def night() -> Night:
    """Return a night of a baseline, a keep, five discards of falling quality, a crash, and an unfinished candidate."""
    discards = [experiment(n, "discard", [1.5 + n / 100]) for n in range(2, 7)]
    events = [
        opened(),
        *experiment(0, "keep", [1.6, 1.61, 1.59], "baseline"),
        *experiment(1, "keep", [1.5, 1.52]),
        *itertools.chain.from_iterable(discards),
        *experiment(7, "crash", [None]),
        proposed(8),
        *ran(8, 0, 1.4),
    ]
    return night_of(events)


def files(night: Night) -> dict[PurePosixPath, int]:
    found = {}
    for n, x in night.experiments.items():
        found[PurePosixPath(f"{n:04}/train_mlx.py")] = 20_000
        for run in x.runs:
            found |= {
                PurePosixPath(f"{n:04}/run-{run + 1}/{name}"): 10**6 for name in ("checkpoint.safetensors", "train.log")
            }
    return found


def paths(items: tuple[retention.Item, ...]) -> set[str]:
    return {str(item.path) for item in items}


def test_one_run_stays_of_baseline_keeps_and_the_best_three(night: Night) -> None:
    plan = retention.plan(night, files(night))
    assert {str(i.path.parent): i.why for i in plan.keep} == {
        "0000/run-3": "baseline",
        "0001/run-2": "keep",
        "0002/run-1": "top 3",
        "0003/run-1": "top 3",
        "0008/run-1": "undecided",
    }
    assert {str(i.path.parent): i.why for i in plan.free} == {
        "0000/run-1": "another run stays",
        "0000/run-2": "another run stays",
        "0001/run-1": "another run stays",
        "0004/run-1": "discard",
        "0005/run-1": "discard",
        "0006/run-1": "discard",
        "0007/run-1": "crash",
    }
    assert plan.freed == 7 * 10**6 and plan.kept == 5 * 10**6


def test_sources_and_logs_are_in_no_plan(night: Night) -> None:
    plan = retention.plan(night, files(night))
    assert not {p for p in paths(plan.free) | paths(plan.keep) if p.endswith((".log", ".py"))}


def test_what_a_candidate_wrote_for_itself_goes_even_from_a_kept_run(night: Night) -> None:
    own = {
        PurePosixPath(p): 5 for p in ("0001/run-2/tmp/mlx/kernel.so", "0001/run-2/deep/er/data.bin", "0099/run-1/x.bin")
    }
    plan = retention.plan(night, own)
    assert paths(plan.free) == {str(p) for p in own}
    assert {i.why for i in plan.free} == {"left over", "of no experiment"}


def test_files_beside_the_runs_are_left_alone(night: Night) -> None:
    beside = {
        PurePosixPath(p): 5 for p in ("journal.jsonl", "harness/prepare.py", "awake.log", "journal.torn-1", "notes.bin")
    }
    assert retention.plan(night, beside) == retention.Plan()


def test_where_the_newest_run_s_files_are_gone_an_older_one_stays(night: Night) -> None:
    left = {p: s for p, s in files(night).items() if "0001/run-2" not in str(p)}
    assert "0001/run-1/checkpoint.safetensors" in paths(retention.plan(night, left).keep)


def test_abandoned_experiments_lose_their_checkpoints(night: Night) -> None:
    stopped = night_of(
        [
            opened(),
            proposed(0),
            event("started", n=0, run=0, seed=1, machine="m4", purpose="search"),
            event("abandoned", n=0, run=0, why="stopped by Ctrl-C"),
        ]
    )
    plan = retention.plan(stopped, {PurePosixPath("0000/run-1/checkpoint.safetensors"): 3})
    assert [i.why for i in plan.free] == ["abandoned"]


def test_applying_frees_what_was_planned_and_nothing_else(night: Night, tmp_path: Path) -> None:
    layout = Layout(tmp_path, "t")
    folder = layout.folder
    for path, size in files(night).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x" * (size // 1000))
    (folder / "0004/run-1/tmp/mlx").mkdir(parents=True)
    (folder / "0004/run-1/tmp/mlx/kernel.so").write_bytes(b"x" * 10)
    (folder / "outside").mkdir()
    (folder / "0005/run-1/link.bin").symlink_to(folder / "outside")
    before = retention.scan(layout)
    plan = retention.plan(night, before)
    assert retention.tidy(layout, night) == plan.freed > 0
    assert set(retention.scan(layout)) == set(before) - {item.path for item in plan.free}
    assert not (folder / "0004/run-1/tmp").exists() and (folder / "outside").is_dir()
    assert retention.tidy(layout, night) == 0


def test_a_plan_says_what_it_does(night: Night) -> None:
    text = retention.plan(night, files(night)).describe()
    assert text.startswith("frees 7 MB in 7 files, keeps 5 MB: baseline 977 kB, keep 977 kB, top 3 2 MB")
