"""The loop on a toy candidate in a real repository: verdicts, records, stops, resumption, kills."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoresearch.errors import AutoresearchError
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.records import SearchReplace, Set
from testbed.program import TASK, loop
from testbed.scripted import BROKEN, SLOWER, WORSE, Scripted, ScriptedIdea, night
from testbed.toy import HONEST, git

pytestmark = [pytest.mark.usefixtures("toy_cache"), pytest.mark.slow]


FORBIDDEN: ScriptedIdea = ("look around", (SearchReplace("import prepare", "import os\nimport prepare"),))


def test_a_night_leaves_a_record(repository: Path) -> None:
    (repository / "train_mlx.py").write_text(HONEST.read_text().replace("LR = 0.01", "LR = 0.0001"))
    git(repository, "commit", "-q", "-am", "a slow learner")
    (repository / "notes.txt").write_text("mine")
    git(repository, "add", "notes.txt")
    proposer = Scripted(("learn faster", (Set("LR", "0.01"),)), BROKEN, FORBIDDEN, SLOWER)
    seen = night(repository, proposer, experiments=4)

    verdicts = [(x.proposal.title, x.verdict) for x in seen.experiments.values()][1:]
    assert verdicts == [
        ("learn faster", "keep"),
        ("forget a bracket", "crash"),
        ("look around", "crash"),
        ("learn very slowly", "discard"),
    ]
    # git: the branch holds the keep and results.tsv, other candidates have refs, and the person's work is untouched.
    assert git(repository, "branch", "--show-current").startswith("autoresearch/")
    titles = git(repository, "log", "--format=%s", "main..HEAD").splitlines()
    assert titles[-1] == "learn faster" and titles[0].startswith("results of ")
    body = git(repository, "log", "--format=%b", "-1", "HEAD~1")
    assert "val_bpb" in body and "sigma" in body and "Machine: " in body and "worth a try" in body
    assert git(repository, "status", "--porcelain") == "A  notes.txt\n"
    assert "LR = 0.01" in (repository / "train_mlx.py").read_text()
    refs = git(repository, "for-each-ref", "--format=%(refname)", "refs/autoresearch").split()
    assert [ref.rpartition("/")[2] for ref in refs] == ["0002", "0003", "0004"]
    # results.tsv: the header and one row per experiment, in the usual format.
    rows = [line.split("\t") for line in (repository / "results.tsv").read_text().splitlines()]
    assert rows[0] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert [row[3] for row in rows[1:]] == ["keep", "keep", "crash", "crash", "discard"]
    assert rows[3][1] == "0.000000" and float(rows[2][1]) < float(rows[1][1])
    assert rows[1][4].startswith("baseline (")
    # The proposer was released before every training and was asked to mend its failures.
    assert proposer.released == sum(len(x.runs) for x in seen.experiments.values())
    assert [failure.kind for failure in proposer.failures] == ["warmup", "contract"]
    assert "Nothing" in proposer.failures[0].detail and "import os" in proposer.failures[1].message
    assert [trial.verdict for trial in proposer.contexts[-1].history] == ["keep", "crash", "crash"]
    # At the end of the session it is told the outcome of its last idea.
    assert proposer.told == [[], [1, 2, 3, 4]]


def test_what_fails_on_small_arrays_is_mended_within_its_turn(repository: Path) -> None:
    """The end of the traceback goes back to the proposer; what it gives then is the turn's one experiment."""
    fixed: ScriptedIdea = ("forget nothing", (SearchReplace("    opt = optim.Adam(LR)", "    opt = optim.AdamW(LR)"),))
    proposer = Scripted(BROKEN, repairs=[fixed])
    x = night(repository, proposer, experiments=1).experiments[1]
    assert x.proposal.title == "forget nothing" and x.scores and x.proposal.usage["preflight_s"] > 0
    assert [failure.kind for failure in proposer.failures] == ["warmup"]
    assert proposer.failures[0].detail.splitlines()[-2] == "    opt = optim.Nothing(LR)"


def test_a_failure_that_cost_no_training_goes_back_once(repository: Path) -> None:
    """The proposer may mend an early failure (out of memory, NaN in the first steps), but not a second time."""
    memory = SearchReplace("    opt = optim.Adam(LR)", "    opt = optim.Adam(LR)\n    bytes(1 << 46)")
    nowhere = SearchReplace("    opt = optim.Adam(LR)", "    opt = optim.Nowhere(LR)")
    nan = SearchReplace("run.log(step - 1, previous)", "run.log(step - 1, previous * float('nan' if step > 2 else 1))")
    nan = SearchReplace(f"            {nan.search}", f"            {nan.replace}")
    proposer = Scripted(("much", (memory,)), ("nan", (nan,)), repairs=[("a name", (nowhere,)), WORSE])
    seen = night(repository, proposer, experiments=4)
    ends = [(x.proposal.title, x.failure.kind if x.failure else x.verdict) for x in seen.experiments.values()]
    assert ends[1:] == [("much", "memory"), ("a name", "crash"), ("nan", "diverged"), (WORSE[0], "discard")]
    assert [failure.kind for failure in proposer.failures] == ["memory", "diverged"]


def test_a_baseline_that_does_not_run_is_said(repository: Path) -> None:
    (repository / "train_mlx.py").write_text(HONEST.read_text().replace("optim.Adam(LR)", "optim.Nothing(LR)"))
    git(repository, "commit", "-q", "-am", "broken")
    with pytest.raises(AutoresearchError, match=r"the baseline does not run .*Nothing"):
        night(repository, Scripted(WORSE))


def test_without_ideas_the_night_ends_and_says_so(repository: Path) -> None:
    with pytest.raises(AutoresearchError, match="no more lines"):
        night(repository, Scripted())


# --- the command line, as a person and as an outside agent use it ----------------------------------------------------


def test_ctrl_c_ends_cleanly_and_the_idea_is_not_lost(repository: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "loop.py", "--proposer", "tuner", *TASK],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "#1 run 1" in line)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(20) == 130, rest
    assert "run the same command to resume" in rest and "experiments" in rest
    folder = next((repository / "runs").glob("*/journal.jsonl")).parent
    left = journal.read(Layout.of(folder))
    assert left.closed == "stopped by Ctrl-C" and left.experiments[1].status == "abandoned"
    done = loop(repository, "--proposer", "tuner", "--experiments", "1", *TASK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert journal.read(Layout.of(folder)).experiments[1].verdict is not None


def test_kill_9_at_any_moment_loses_no_decision(repository: Path) -> None:
    rng, decided = random.Random(7), {}
    for n in range(4):
        process = subprocess.Popen(
            [sys.executable, "loop.py", "--proposer", "tuner", *TASK],
            cwd=repository,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while n == 0 and process.poll() is None and not has_decided(repository):
            time.sleep(0.05)
        time.sleep(rng.uniform(0.1, 4.0))
        process.kill()
        process.wait()
        decided = check_consistent(repository, decided)
    done = loop(repository, "--proposer", "tuner", "--experiments", "1", *TASK)
    assert done.returncode == 0, done.stdout + done.stderr
    check_consistent(repository, decided)
    assert git(repository, "status", "--porcelain") == ""


def has_decided(root: Path) -> bool:
    return any(journal.read(Layout.of(path.parent)).decided for path in (root / "runs").glob("*/journal.jsonl"))


def check_consistent(root: Path, before: dict[int, str]) -> dict[int, str]:
    """Check that decisions stand, that the repository is sound, and that the working file is the branch's."""
    for path in (root / "runs").glob("*/journal.jsonl"):
        now = {x.n: f"{x.verdict} {x.estimate}" for x in journal.read(Layout.of(path.parent)).decided}
        assert before.items() <= now.items()
        lines = path.read_text().splitlines()
        assert all(json.loads(line) for line in lines[:-1])
        git(root, "fsck", "--no-dangling")
        return now
    return before
