from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.errors import AutoresearchError
from autoresearch.records import Failure
from testbed.given import experimenter

pytestmark = pytest.mark.slow

TRACE = 'Traceback:\n  File "train_mlx.py", line 3, in train\n    x\n'


@pytest.mark.parametrize(
    ("above", "edited", "blamed"), [("", False, True), (TRACE, False, False), (TRACE, True, True)], ids=str
)
def test_an_error_of_the_harness_is_not_blamed_on_the_candidate(
    repository: Path, above: str, edited: bool, blamed: bool
) -> None:
    e = experimenter(repository, {})
    copy = e.notebook.layout.harness / "prepare.py"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((repository / "prepare.py").read_bytes() + b"x = y\n" * edited)
    trace = f'{above}  File "{copy}", line 21, in <module>\n    x = y\nNameError: y\n'
    e.runner.values[0] = [Failure("exited", "the process exited with 1", trace)]  # type: ignore[attr-defined]
    with pytest.raises(AutoresearchError, match=r"the baseline does not run \(exited\)") as caught:
        e.prepare()
    assert ("The error is in prepare.py, which measures every candidate" in str(caught.value)) == blamed
    assert ("commit it, and start again" in str(caught.value)) != blamed
