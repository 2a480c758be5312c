"""Opening a night: it is begun, resumed or refused."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.errors import JournalError, UsageError
from autoresearch.loop.session import Options, open_night
from autoresearch.records import SearchReplace
from autoresearch.report.console import PlainView
from testbed.scripted import WORSE, Scripted, night
from testbed.toy import HONEST

pytestmark = [pytest.mark.usefixtures("toy_cache"), pytest.mark.slow]


LOOP = "    for step, (x, y) in enumerate(run.batches(16)):"


def test_the_same_command_goes_on(repository: Path) -> None:
    first = night(repository, Scripted(WORSE))
    again = Scripted(WORSE, ("the batch", (SearchReplace(LOOP, LOOP.replace("16", "4")),)))
    second = night(repository, again, experiments=1)
    assert second.experiments[0] == first.experiments[0]  # no second baseline
    assert [x.proposal.title for x in second.experiments.values()][2:] == ["the batch"]
    assert any("experiment 1 again" in turn.reason for turn in second.turns_failed)
    with (
        pytest.raises(JournalError, match=r"budget_s was 1\.0, is 2\.0"),
        open_night(
            repository, Options(time_budget_s=2.0, dataset="toy", profile="tiny"), PlainView(), lambda facts: Scripted()
        ),
    ):
        pass


def test_one_loop_a_machine(repository: Path, toy_data: Path) -> None:
    options = Options(dataset="toy", profile="tiny", time_budget_s=1.0)
    with open_night(repository, options, PlainView(), lambda facts: Scripted()):
        code = (
            "from pathlib import Path; from autoresearch.loop.session import Options, open_night\n"
            "from autoresearch.report.console import PlainView; from autoresearch.errors import LockedError\n"
            f"try:\n    open_night(Path({str(repository)!r}), Options(), PlainView(), None).__enter__()\n"
            "except LockedError as error: print(error)\n"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"process {os.getpid()}" in out


def test_work_that_is_not_committed_is_not_swept_up(repository: Path) -> None:
    (repository / "train_mlx.py").write_text(HONEST.read_text() + "# mine\n")
    with pytest.raises(UsageError, match="uncommitted changes"):
        night(repository, Scripted(WORSE))
    assert (repository / "train_mlx.py").read_text().endswith("# mine\n")


def test_a_target_ends_the_night_and_the_person_is_told(repository: Path, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    write = f"import sys; open({str(inbox)!r}, 'w').write(sys.argv[-1])"
    notify = shlex.join([sys.executable, "-c", write])
    done = night(repository, Scripted(WORSE), 5, target=100.0, notify=notify)
    assert len(done.experiments) == 1  # the baseline is as good as that
    assert inbox.read_text().endswith(": finished; 0 experiments (0 keep, 0 discard, 0 crash)")
