"""No forgery of an example's number earns: it is refused, or it measures no better than the files as they are.

The forgeries are texts in the form of a reply (testbed/forgeries/), each for the example that its name begins with.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autoresearch.candidate import pack
from autoresearch.errors import EditError
from autoresearch.tasks.command.task import CommandTask
from testbed import examples
from testbed.declared import measured

FORGERIES = sorted(path.stem for path in examples.FORGERIES.glob("*.txt"))
RUNS_CODE = ("tests", "agent")  # examples whose experiments change programs, not texts that a judge reads
SLEEPS_S = 0.4  # that the suite spends in PAUSE_S at least, whatever its clock says


@pytest.fixture(scope="module")
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandTask]:
    """An example's task, with few data."""
    folder = examples.copied(request.param, tmp_path_factory.mktemp("examples"))
    examples.shrink(folder)
    yield CommandTask.open(folder, folder / ".autoresearch", lambda text: None, revision=None)


def forgeries() -> list[object]:
    marks = {name: pytest.mark.slow if name.startswith(RUNS_CODE) else () for name in FORGERIES}
    return [pytest.param(name.partition("-")[0], name, marks=marks[name], id=name) for name in FORGERIES]


def test_there_are_forgeries_of_many_kinds() -> None:
    assert len(FORGERIES) >= 30 and len({name.partition("-")[0] for name in FORGERIES}) == 7


@pytest.mark.parametrize(("task", "name"), forgeries(), indirect=["task"])
def test_no_forgery_earns(task: CommandTask, name: str) -> None:
    text = (examples.FORGERIES / f"{name}.txt").read_text()
    source = examples.source(task.folder)
    try:
        forged = examples.changed(source, text)
    except EditError:
        return
    if task.check(forged, source):
        return
    found = measured(task, pack.unpack(forged))
    if found.failure is None:
        assert not gained(task, found.score), found


def gained(task: CommandTask, score: float | None) -> bool:
    """Return whether a score is better than the baseline's."""
    assert score is not None
    if task.folder.name == "tests":
        return task.metric.value(score) < SLEEPS_S
    before = measured(task).score
    assert before is not None
    return score < before
