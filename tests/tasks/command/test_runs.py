from __future__ import annotations

import math
from pathlib import Path

import pytest

from autoresearch.tasks.command.task import CommandTask
from testbed.declared import FILES, TOML, declare, measured, opened

pytestmark = pytest.mark.slow

NEGATIVE = "print('{\"loss\": %s}' % -float(open('out/x').read()))"
CLOCKED = """\
edit = ["work.py"]
run = "python work.py"
timeout_s = 20
[metric]
name = "seconds"
from = "wall"
scale = "log"
"""


def task(tmp_path: Path, toml: str = TOML, **changed: str) -> CommandTask:
    return opened(declare(tmp_path / "task", task_toml=toml, **changed))


def test_the_judges_number_is_the_score(tmp_path: Path) -> None:
    here = task(tmp_path)
    m = measured(here, {"config.toml": "x = 2\n"})
    assert m.failure is None and m.score == 4.0 and m.figures["loss"] == 4.0
    assert set(m.seconds) == {"run", "score", "overhead"} and m.figures["wall"] > 0
    left = sorted(path.name for path in (here.folder / ".autoresearch/runs/night/run-1").iterdir())
    assert left == ["run.log", "run.out", "score.log", "score.out"]


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"run_py": "raise SystemExit('broken')"}, "run", "`python run.py` exited with 1: broken"),
        ({"run_py": "import time\ntime.sleep(60)", "task_toml": TOML.replace("20", "0.3")}, "timeout", "0.3 s"),
        ({"run_py": "pass"}, "judge", "`python score.py` exited with 1"),
        ({"run_py": "import os\nos.symlink('../config.toml', 'out/x')"}, "output", "out/x is neither a file"),
        ({"score_py": "print('1')"}, "metric", "the judge printed no JSON object"),
        ({"score_py": "print('{\"loss\": NaN}')"}, "metric", "not a finite number: nan"),
        ({"task_toml": TOML + '[[guard]]\nrun = "false"\n'}, "guard", "`false` exited with 1"),
        ({"task_toml": TOML + '[[guard]]\nrun = "false"\nwhen = "after"\n'}, "guard", "`false` exited with 1"),
        ({"task_toml": 'build = "python -c 1/0"\n' + TOML}, "build", "`python -c 1/0` exited with 1"),
        (
            {"task_toml": 'build = "cp config.toml score.py"\n' + TOML},
            "tampered",
            "the build changed score.py, which it may only read",
        ),
        ({"task_toml": TOML + '[[limit]]\nmetric = "size:*.toml"\nmax = 5\n'}, "limit", "over the limit of 5"),
        ({"task_toml": TOML + 'scale = "log"\n', "config_toml": "x = 0"}, "metric", "no score on a log scale"),
        ({"task_toml": TOML + 'cases = "score:json:cases"\n'}, "metric", "the judge's JSON has no `cases`"),
    ],
)
def test_a_run_without_a_number_is_a_failure_of_its_kind(
    tmp_path: Path, changed: dict[str, str], kind: str, said: str
) -> None:
    m = measured(task(tmp_path, changed.pop("task_toml", TOML), **changed), role="baseline")
    assert m.score is None and m.failure is not None
    assert (m.failure.kind, said in m.failure.message) == (kind, True), m.failure


def test_a_size_needs_no_run(tmp_path: Path) -> None:
    toml = 'edit = ["config.toml"]\n[metric]\nname = "bytes"\nfrom = "size:*.toml"\nmin_gain = 1\n'
    m = measured(task(tmp_path, toml), {"config.toml": "x = 22\n"})
    assert m.score == 7 + len(toml) and m.figures["bytes"] == m.score


def test_cases_and_counts_come_with_the_number(tmp_path: Path) -> None:
    judge = 'print(\'{"rate": 0.5, "cases": [1, 0], "won": 1, "tried": 2}\')'
    toml = TOML.replace("loss", "rate") + 'direction = "higher"\ncases = "score:json:cases"\n'
    here = task(tmp_path, toml + 'counts = ["score:json:won", "score:json:tried"]\n', score_py=judge)
    m = measured(here)
    assert (m.score, m.cases) == (-0.5, (-1.0, 0.0))
    assert (m.figures["successes"], m.figures["trials"]) == (1.0, 2.0)
    here.case_count = 3
    assert "2 and 3 cases" in measured(here).failure.message


def test_repeats_give_their_median_and_alternate_with_the_incumbent(tmp_path: Path) -> None:
    # The judge's number grows with each call of this run, as on a machine that slows down.
    files = {**FILES, "run.py": "import tomllib\nopen('out/x', 'w').write(open('config.toml').read())\n"}
    judge = "import json, time\nx = float(open('out/x').read().split('=')[1])\n"
    judge += "print(json.dumps({'loss': x * (1 + time.time() % 1e6)}))"
    toml = TOML + 'scale = "log"\nrepeats = 3\ninterleave = true\n'
    here = opened(declare(tmp_path / "task", files, task_toml=toml, score_py=judge))
    m = measured(here, {"config.toml": "x = 1.5"}, beside=7.0)
    assert m.beside and not measured(here).beside
    assert m.score is not None
    assert m.score == pytest.approx(7.0 + math.log(0.5), abs=1e-4)
    assert m.figures["incumbent"] == pytest.approx(2 * m.figures["loss"], rel=1e-4)


def test_the_judge_and_the_guards_look_at_each_value(tmp_path: Path) -> None:
    """A candidate that does its work in only some of its runs would have the speed of the others."""
    toml = CLOCKED + 'repeats = 3\nwarmup = 1\n[[limit]]\nmetric = "score:json:loss"\nmax = 9\n'
    toml = 'score = "python score.py"\n' + toml + '[[guard]]\nrun = "python guard.py"\nwhen = "after"\n'
    count = "open({!r}, 'a').write('x')\n"
    score, guard = (str(tmp_path / name) for name in ("score", "guard"))
    judge = count.format(score) + "print('{\"loss\": 9}')\n"
    files = {**FILES, "work.py": "", "guard.py": count.format(guard), "score.py": judge}
    m = measured(opened(declare(tmp_path / "task", files, task_toml=toml)))
    assert m.failure is None and m.figures["score:json:loss"] == 9
    assert Path(score).read_text() == Path(guard).read_text() == "xxx"


def test_a_failure_of_the_incumbent_is_the_machines(tmp_path: Path) -> None:
    run = "import tomllib\nx = tomllib.load(open('config.toml', 'rb'))['x']\nassert x < 3\nopen('out/x','w').write('1')"
    here = task(tmp_path, TOML + "repeats = 2\ninterleave = true\n", run_py=run)
    m = measured(here, {"config.toml": "x = 1"}, beside=1.0)
    assert m.failure is not None and m.failure.kind == "machine"
    assert "the incumbent, measured beside it, failed" in m.failure.message


def test_a_ratio_limit_is_to_the_baseline(tmp_path: Path) -> None:
    here = task(tmp_path, TOML + '[[limit]]\nmetric = "size:config.toml"\nmax_ratio = 1.5\n')
    here.limit_candidates([measured(here, role="baseline")])
    assert measured(here, {"config.toml": "x = 333\n"}).ok
    m = measured(here, {"config.toml": "x = 3.14159\n"})
    assert m.failure is not None and m.failure.message == (
        "size:config.toml is 12, over the limit of 9, 1.5 times the baseline's"
    )


def test_a_ratio_to_a_negative_number_leaves_room_above_it(tmp_path: Path) -> None:
    here = task(tmp_path, TOML + '[[limit]]\nmetric = "score:json:loss"\nmax_ratio = 1.5\n', score_py=NEGATIVE)
    here.limit_candidates([measured(here, role="baseline")])
    assert measured(here).ok and measured(here, {"config.toml": "x = 2\n"}).ok
    m = measured(here, {"config.toml": "x = 1\n"})
    assert m.failure is not None and "score:json:loss is -1, over the limit of -1.5" in m.failure.message


def test_nothing_lasts_from_one_repeat_to_the_next(tmp_path: Path) -> None:
    work = "import os, pathlib\nfor p in ('out/x', os.environ['HOME'] + '/x', 'out/y'):\n"
    work += "    assert not pathlib.Path(p).exists(), p\n    pathlib.Path(p).write_text('cached')\n"
    toml = CLOCKED + "repeats = 2\nwarmup = 1\n"
    folder = declare(tmp_path / "task", {"task.toml": toml, "work.py": work})
    assert measured(opened(folder, confined=True), role="baseline").failure is None


def test_a_first_run_that_is_far_behind_takes_no_further_values(tmp_path: Path) -> None:
    here = task(tmp_path, TOML + "repeats = 4\n")
    m = measured(here, ceiling=4.0)
    assert m.score == 9.0 and m.figures["values"] == 2
    assert measured(here, {"config.toml": "x = 1"}, ceiling=4.0).figures["values"] == 4
