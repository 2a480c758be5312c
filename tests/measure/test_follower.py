"""A scripted child's events, limits and end, and the outcomes that the follower makes of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from autoresearch.decide.early_stop import EarlyStopCheck
from autoresearch.measure.clock import Clock
from autoresearch.measure.follower import Follower
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.timekeeper import Timekeeper
from autoresearch.measure.workbench import RunSpec
from autoresearch.records import Failure
from autoresearch.system.process import Child
from testbed.toy import HONEST, toy_bench

TOKEN = "t"
LIMITS = {"start": 0.3, "clock_started": 0.6, "saved": 0.3}
LONG = dict.fromkeys(LIMITS, 2000.0)


def event(name: Any, **fields: Any) -> dict[str, Any]:
    return {"event": name, "token": TOKEN, **fields}


STEPS = [event("step", step=k, loss=3.0, ago=450.0 - 50 * k) for k in range(10)]  # up to half of 1000 s
HASHED = event("hashed", parameters="0" * 32)
READY, SAVED = event("ready"), event("saved", speed=1.0)
WARM, TRAINED = event("warmed_up", peak_memory_mb=1.0, warmup_step_s=0.1), event("trained", steps=9, peak_memory_mb=1.0)


class ScriptedChild:
    """Child that sends these events at once, and then ends with `returncode`, or never where that is None."""

    log_end = "the \x1b[1mlog's\nend"

    def __init__(self, *events: Mapping[str, Any], returncode: int | None = 0, rss: int = 0) -> None:
        self.events, self.returncode, self.rss = list(events), returncode, rss

    def __enter__(self) -> ScriptedChild:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def running(self) -> bool:
        return self.returncode is None

    def next_event(self, timeout: float) -> tuple[float, Mapping[str, Any]] | None:
        if self.events:
            said = self.events.pop(0)
            return time.monotonic() - said.get("ago", 0.0), said
        time.sleep(timeout if self.running else 0.0)
        return None

    def held_bytes(self) -> int:
        return self.rss

    def cpu_s(self) -> float:
        return 1.0


@pytest.fixture
def spec(toy_data: Path, tmp_path: Path) -> RunSpec:
    (tmp_path / "run").mkdir()
    return RunSpec.of(toy_bench(toy_data, memory_limit=2**20, swap_mb=lambda: 0), HONEST, tmp_path / "run", 1)


def follow(child: ScriptedChild, spec: RunSpec, limits: Mapping[str, float] = LIMITS, **settings: Any) -> Outcome:
    return Follower(cast(Child, child), TOKEN, spec, limits, **{"name": "train", **settings}).follow()


def keeper(spec: RunSpec, child: ScriptedChild, *, used_s: float, batches: int = 20, **facts: Any) -> Timekeeper:
    """Return the keeper of a clock that began `used_s` ago and has handed out some batches."""
    began = time.monotonic() - used_s
    clock = Clock(1000.0, 1000, began=began, batches=batches, tokens=64 * batches, **facts)
    return Timekeeper(clock, spec.bench, cast(Child, child))


def test_a_child_that_saves_and_ends_is_no_failure(spec: RunSpec) -> None:
    heard: list[str] = []
    child = ScriptedChild(READY, WARM, *STEPS, TRAINED, HASHED, SAVED)
    kept = keeper(spec, child, used_s=500.0)
    done = follow(child, spec, LONG, listen=lambda e: heard.append(e["event"]), timekeeper=kept)
    assert done.failure is None and not done.stopped
    assert heard == ["ready", "warmed_up", "clock_started", *["step"] * 10, "trained", "hashed", "saved"]
    assert done.curve[-1] == (pytest.approx(0.5, abs=0.05), 3.0) and done.started <= done.ended
    assert (done.get("trained", "tokens"), done.get("trained", "epochs")) == (1280, 1.28)


def test_lines_without_the_token_do_not_count(spec: RunSpec) -> None:
    done = follow(ScriptedChild({"event": "saved", "token": "guessed"}, {"event": "result"}), spec)
    assert not done.events and done.failure is not None and done.failure.kind == "exited"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("events", "kind"), [([], "startup"), ([WARM], "overrun"), ([WARM, TRAINED, HASHED, SAVED], "hang")]
)
def test_silence_past_a_limit_is_named_by_the_last_event(events: list[Any], kind: str, spec: RunSpec) -> None:
    child = ScriptedChild(*events, returncode=None)
    done = follow(child, spec, timekeeper=keeper(spec, child, used_s=0.0))
    assert done.failure is not None and done.failure.kind == kind


@pytest.mark.parametrize(("code", "how"), [(3, "exited with 3"), (-9, "killed by signal 9"), (139, "by signal 11")])
def test_an_end_without_a_result_says_how(code: int, how: str, spec: RunSpec) -> None:
    failure = follow(ScriptedChild(READY, returncode=code), spec).failure
    assert failure is not None and failure.kind == "exited" and how in failure.message
    assert failure.detail == "the  [1mlog's\nend"


def test_a_second_start_of_the_clock_is_tampering(spec: RunSpec) -> None:
    failure = follow(ScriptedChild(WARM, WARM), spec).failure
    assert failure is not None and failure.kind == "tampered"


def test_a_child_that_breaks_the_feeder_s_rules_is_tampering(spec: RunSpec) -> None:
    child = ScriptedChild(READY, returncode=None)
    kept = keeper(spec, child, used_s=0.0, refused="asked for 0 rows")
    assert follow(child, spec, timekeeper=kept).failure == Failure("tampered", "the child asked for 0 rows")


@pytest.mark.parametrize(
    "said",
    [
        event("step", step=1.5, loss=3.0),
        event("result", score=0.1),
        event("saved"),
        event([]),
    ],
)
def test_an_ill_formed_event_is_the_run_s_failure(said: Any, spec: RunSpec) -> None:
    heard: list[Any] = []
    done = follow(ScriptedChild(READY, said, SAVED), spec, listen=heard.append)
    assert done.failure is not None and done.failure.kind == "tampered" and done.failure.message.isprintable()
    assert list(done.events) == ["ready"] and len(heard) == 1


def test_a_child_blames_the_machine_only_before_it_imports_the_candidate(spec: RunSpec) -> None:
    said = event("failed", kind="machine", message="no GPU")
    kinds = [follow(ScriptedChild(*before, said), spec).failure for before in ([], [event("importing", speed=1.0)])]
    assert [failure and failure.kind for failure in kinds] == ["machine", "tampered"]


def test_a_failure_that_the_child_reports_is_printable(spec: RunSpec) -> None:
    reported = event("failed", kind="train", message="\x1b[1mno\x07", detail="line 1\nline\x1b 2")
    assert follow(ScriptedChild(reported), spec).failure == Failure("train", " [1mno ", "line 1\nline  2")


def test_a_failure_of_the_machine_is_named_so(spec: RunSpec) -> None:
    reported = event("failed", kind="train", message="[metal::malloc] too much", detail="")
    failure = follow(ScriptedChild(reported), spec).failure
    assert failure is not None and failure.kind == "memory"


@pytest.mark.slow
def test_memory_has_a_limit(spec: RunSpec) -> None:
    failure = follow(ScriptedChild(returncode=None, rss=2**30), spec, limits={"start": 60.0}).failure
    assert failure is not None and failure.kind == "memory" and "held 1.0 GB" in failure.message


@pytest.mark.slow
@pytest.mark.parametrize(("rss", "kind"), [(2**19, "machine"), (2**19 + 2**18, "memory")])
def test_swapping_is_the_run_s_fault_where_it_holds_most_of_the_memory(spec: RunSpec, rss: int, kind: str) -> None:
    swap = iter([0, 3 * 1024])
    swapping = replace(spec, bench=replace(spec.bench, swap_mb=lambda: next(swap)))
    failure = follow(ScriptedChild(returncode=None, rss=rss), swapping, limits={"start": 60.0}).failure
    assert failure is not None and failure.kind == kind and "swapped 3.0 GB" in failure.message


@pytest.mark.slow
def test_files_in_the_run_s_folder_have_limits(spec: RunSpec) -> None:
    (spec.folder / "large").write_bytes(b"x")
    limited = replace(spec, bench=replace(spec.bench, folder_limit=0))
    failure = follow(ScriptedChild(returncode=None), limited, limits={"start": 60.0}).failure
    assert failure is not None and failure.kind == "disk"


def test_the_judge_turns_an_event_into_a_failure(spec: RunSpec) -> None:
    slow = Failure("slow", "too few steps")
    done = follow(ScriptedChild(READY, SAVED), spec, judge=lambda e: slow)
    assert done.failure == slow and list(done.events) == ["ready"]


@pytest.mark.parametrize(
    ("limit_nats", "sample", "stopped"), [(0.5, False, True), (0.5, True, False), (2.0, False, False)]
)
def test_the_early_stop_ends_a_run_that_is_behind_at_half_the_budget(
    limit_nats: float, sample: bool, stopped: bool, spec: RunSpec
) -> None:
    incumbent = [(k / 20, 2.0) for k in range(1, 21)]
    check = EarlyStopCheck(incumbent, limit_nats, sample)
    child = ScriptedChild(READY, WARM, *STEPS, TRAINED, HASHED, SAVED)
    done = follow(child, spec, LONG, early_stop=check, timekeeper=keeper(spec, child, used_s=500.0))
    assert done.behind_nats == pytest.approx(1.0)
    assert done.stopped == stopped and done.failure is None
