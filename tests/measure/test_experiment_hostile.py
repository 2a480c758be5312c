"""Hostile and broken candidates: none gets a number it has not earned, outlives its limit, or touches others' files.

The files of testbed/hostile/ say what each tries and what must come of it. Each goes through the contract, and then, as
if the contract had let it pass, through the real measurement.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from autoresearch.records import Measurement
from autoresearch.system.process import MARK
from autoresearch.tasks.gpt import contract
from testbed.hostile import HostileCandidate, read_all
from testbed.hostile.bench import HostileBench, measured, outcome, runnable, sandbox_here
from testbed.toy import HONEST

pytestmark = pytest.mark.xdist_group("hostile")  # one worker measures them all, a few at a time
CANDIDATES = {c.name: c for c in read_all()}
SANDBOX = sandbox_here()
# Measured here are those whose defence is not the contract, some of each kind. The benchmark measures all.
MEASURED = (
    *("honest", "logs_once_and_trains_on", "hoards_its_batches", "trains_lazily", "trains_in_build_model"),
    *("hangs_while_building", "hangs_when_scored", "draws_its_parameters_anew", "learns_from_warm_up", "forges_events"),
    *("lies_about_itself", "logs_numpy_numbers", "fails_with_half_a_character", "talks_in_escapes", "prints_gigabytes"),
    *("looks_ahead", "looks_one_token_ahead_a_little", "looks_ahead_where_the_future_is_natural", "mixes_rows"),
    *("replays_its_answers", "trains_when_scored", "hides_state", "acts_as_the_judge", "scribbles_over_the_tokens"),
    *("allocates_memory", "returns_nan", "writes_many_files", "signals_everybody", "makes_a_user_namespace"),
    *("asks_docker", "patches_a_generator_in_a_list", "finds_getattr_in_numpy"),
)


@pytest.fixture(scope="module")
def night(request: pytest.FixtureRequest) -> Iterator[tuple[HostileBench, dict[str, Future[Measurement]]]]:
    """Yield the bench and the futures of the measurements of those candidates whose tests were selected."""
    own = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    chosen = {item.callspec.params.get("name") for item in own}
    with tempfile.TemporaryDirectory() as folder:
        bench = HostileBench(Path(folder).resolve(), SANDBOX)
        with measured([CANDIDATES[name] for name in MEASURED if name in chosen], bench) as results:
            yield bench, results


def test_there_are_enough_and_each_says_what_is_expected() -> None:
    assert len(CANDIDATES) >= 200 and set(MEASURED) <= set(CANDIDATES)
    for c in CANDIDATES.values():
        assert c.tries.endswith(".") and (c.by_contract or c.outcomes), c.name


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_contract_refuses_what_it_must_and_nothing_else(name: str) -> None:
    found = contract.check(CANDIDATES[name].source, HONEST.read_text())
    assert bool(found) == CANDIDATES[name].by_contract, found


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_without_the_contract_it_gets_nothing_unearned(
    name: str, night: tuple[HostileBench, dict[str, Future[Measurement]]]
) -> None:
    bench, results = night
    candidate = CANDIDATES[name]
    if not runnable(candidate, SANDBOX):
        pytest.skip("needs a sandbox or a kernel that this machine has not got")
    m = results[name].result(timeout=300)
    assert outcome(m) in candidate.outcomes, m
    assert (m.score is None) == (m.failure is not None)
    assert (
        m.training_s is None
        or m.failure
        or m.training_s < bench.bench.budget_s + bench.limited(candidate).overtime_s + 1
    )
    json.dumps(asdict(m), allow_nan=False, ensure_ascii=False).encode()  # as the journal and the report write it
    assert m.failure is None or m.failure.message.isprintable()  # the message reaches terminals and commits
    assert {p.name for p in (bench.runs / name / "run").iterdir()} <= {
        *("checkpoint.safetensors", "fixed.safetensors", "train.log", "judge.log", "evaluate.log", "probe.log")
    }
    assert all(p.stat().st_size < 4 * 2**20 for p in (bench.runs / name / "run").glob("*.log"))


@pytest.mark.slow
def test_nothing_was_touched_and_nothing_survived(night: tuple[HostileBench, dict[str, Future[Measurement]]]) -> None:
    """After all candidates have run, the files that none may touch are unchanged, and no process is left."""
    bench, results = night
    finished: list[HostileCandidate] = [CANDIDATES[name] for name, result in results.items() if result.result()]
    assert bench.touched(finished) == []
    for folder in ("/tmp", "/var/tmp", "/dev/shm", bench.data.parents[2], bench.runs):
        assert not (Path(folder) / "autoresearch-memory").exists()
    left = []
    for process in psutil.process_iter():
        try:
            if str(bench.runs) in process.environ().get("HOME", "") and MARK in process.environ():
                left.append(process)
        except psutil.Error:
            continue  # the process has ended, or belongs to another user
    assert left == []


@pytest.mark.slow
def test_what_a_candidate_says_of_itself_is_checked(night: tuple[HostileBench, dict[str, Future[Measurement]]]) -> None:
    results = night[1]
    if "lies_about_itself" not in results:
        pytest.skip("its measurement was not selected")
    m = results["lies_about_itself"].result()
    assert m.depth is None and m.mfu_percent is None
    assert m.num_steps is not None and m.total_tokens is not None and m.num_steps <= m.total_tokens // (16 * 64)
