"""No forgery of an example's number earns: it is refused, or it measures no better than the files as they are.

The forgeries are texts in the form of a reply (testbed/forgeries/), each for the example that its name begins with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest

from autoresearch.candidate import pack
from autoresearch.errors import EditError
from autoresearch.tasks.command.task import CommandTask
from testbed import examples
from testbed.declared import measured

pytestmark = pytest.mark.slow

FORGERIES = sorted(path.stem for path in examples.FORGERIES.glob("*.txt"))
RUNS_CODE = ("tests", "agent")  # examples whose experiments change programs, not texts that a judge reads
SLEEPS_S = 0.4  # that the suite spends in PAUSE_S at least, whatever its clock says


@pytest.fixture(scope="module")
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandTask]:
    """An example's task, with few data."""
    folder = examples.copied(request.param, tmp_path_factory.mktemp("examples"))
    examples.shrink(folder)
    yield CommandTask.open(folder, folder / ".autoresearch", lambda text: None, revision=None)


@pytest.fixture(scope="module")
def before(task: CommandTask) -> Callable[[], float]:
    """The baseline's score: it is measured once, where a forgery's is compared with it."""

    @functools.cache
    def score() -> float:
        found = measured(task).score
        assert found is not None
        return found

    return score


def forgery(name: str) -> object:
    example = name.partition("-")[0]
    together = pytest.mark.xdist_group(f"forgeries-{example}")  # they share the task and its baseline
    return pytest.param(example, name, marks=() if example in RUNS_CODE else together, id=name)


def test_there_are_forgeries_of_many_kinds() -> None:
    assert len(FORGERIES) >= 30 and len({name.partition("-")[0] for name in FORGERIES}) == 7


@pytest.mark.parametrize(("task", "name"), [*map(forgery, FORGERIES)], indirect=["task"])
def test_no_forgery_earns(task: CommandTask, name: str, before: Callable[[], float]) -> None:
    text = (examples.FORGERIES / f"{name}.txt").read_text()
    source = examples.source(task.folder)
    try:
        forged = examples.changed(source, text)
    except EditError:
        return
    if task.check(forged, source):
        return
    found = measured(task, pack.unpack(forged))
    if found.failure is not None:
        return
    assert found.score is not None
    if task.folder.name == "tests":
        assert task.metric.value(found.score) >= SLEEPS_S, found
    else:
        assert found.score >= before(), found
