from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import TaskError
from autoresearch.tasks.command.declaration import read
from testbed.toy import ROOT

GOOD = """\
edit = ["a.py"]
run = "python run.py"
score = "python score.py"
timeout_s = 30
[metric]
name = "ms"
from = "score:json:ms"
"""


def test_defaults_and_given_values_are_read() -> None:
    declared = read(GOOD + '[[guard]]\nrun = "true"\n[knobs]\nx = [1, 10]\nkind = ["a", "b"]\n')
    assert declared.timeout_s == 30 and declared.metric.direction == "lower" and not declared.network
    assert declared.guard[0].when == "before" and declared.knobs["x"] == (1, 10)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("timeout_s", "timeuot_s", "line 4: `timeuot_s` is not a key of task.toml. Did you mean `timeout_s`?"),
        ("30", '"30"', "line 4: `timeout_s` has to be a number. For instance: timeout_s = 60"),
        ("30", "0", "line 4: `timeout_s` has to be greater than 0"),
        ("30", "inf", "line 4: `timeout_s`"),
        ('["a.py"]', "[]", "line 1: `edit`"),
        ('["a.py"]', '["../a.py"]', "line 1: `../a.py` leads out of the folder"),
        ('["a.py"]', '["/etc/passwd"]', "line 1: `/etc/passwd` leads out of the folder"),
        ("score:json:ms", "score.ms", "line 7: `score.ms` is not a source of a number. Write score:json:KEY"),
        ("score:json:ms", "run:line:ms", "line 7: `run:line:ms` is printed by what is edited, although a judge"),
        ('score = "python score.py"', "", "line 7: `score:json:ms` is printed by the judge, and there is none"),
        ("run.py", "run.py > log", "line 2: `>` is a shell's sign"),
        ("run.py", "run.py && true", "line 2: `&&` is a shell's sign"),
        ("run.py", "'run.py", "line 2: `python 'run.py` cannot be split into words: No closing quotation"),
        ('name = "ms"', "", "line 5: `name` is missing in [metric]. Add it: name = "),
        ('name = "ms"', 'name = "ms"\nscale = "exp"', "line 7: `metric.scale`"),
        ('name = "ms"', 'name = "ms"\ncases = "wall"', "line 7: `wall` cannot stand here. Write score:json:KEY"),
        ('name = "ms"', 'name = "ms"\nscatter = "exact"', "an exact metric has no noise"),
        ('name = "ms"', 'name = "a b"', "line 6: `metric.name`"),
        ("[metric]", "[metirc]", "line 5: `metirc` is not a key of task.toml. Did you mean `metric`?"),
        ("[metric]", '[[limit]]\nmetric = "wall"\n[metric]', "line 5: a limit has one of `max` and `max_ratio`"),
        ("[metric]", '[test]\nhide = ["a"]\n[metric]', "line 5: [test] changes nothing"),
        ("[metric]", "[knobs]\nx = [3, 2]\n[metric]", "line 6: x has the range 3 to 2"),
        ("[metric]", f"[knobs]\nx = [1, {10**400}]\n[metric]", "line 6: x has the value 1000000000000000000…, and"),
        ("[metric]", "[knobs]\nx = [[1], 2]\n[metric]", "`knobs.x.0` has to be a finite number, a text, true or"),
        ("[metric]", "[knobs]\nx = [2020-01-01]\n[metric]", "line 6: `knobs.x.0` has to be a finite number"),
        ("[metric]", "[guard]\nrun = 'x'\n[metric]", "line 5: `guard` has to be a list. For instance: [[guard]]"),
        ("[metric]", "[[metric]]", "line 5: `metric` has to be a table"),
        ("timeout_s", "edit", "is not TOML: Cannot overwrite a value (at line 4, column 10). A key stands once"),
        ("timeout_s = 30", "env = {'A=B' = 'x'}", "line 4: 'A=B' with 'x' cannot be a variable"),
        ("30", "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("python run.py", "X=1 python run.py", 'line 2: `X=1` is no program. Set variables by env = { X = "1" }'),
        ("python run.py", "'' run.py", "line 2: \"'' run.py\" begins with no program"),
        ('"python run.py"', '"""a\nb"""', "line 2: 'a\\nb' has to be one line of text"),
        ("python run.py", r"python \u0000", "has to be one line of text"),
        ('from = "score', 'run = "x"\nfrom = "score', "`run` is not a key of [metric]. Move it to the top"),
        ('name = "ms"', 'name = "ms"\nscatter = "counts"', "counts need successes and trials"),
        ("score:json:ms", "size:../a", "line 7: `../a` leads out of the folder"),
    ],
)
def test_a_problem_is_named_with_its_line_and_the_mend(old: str, new: str, said: str) -> None:
    with pytest.raises(TaskError) as error:
        read(GOOD.replace(old, new, 1))
    assert said in str(error.value)


def test_a_knob_may_be_named_as_toml_names_it() -> None:
    knobs = read(GOOD + '[knobs]\nserver.port = [1, 9]\n"a.toml:b" = [1, 2]\n[knobs.x.y]\nz = [true]\n').knobs
    assert knobs == {"server.port": (1, 9), "a.toml:b": (1, 2), "x.y.z": (True,)}


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(TaskError) as error:
        read(GOOD.replace('["a.py"]', '["../a"]').replace("run.py", "run.py | tee x").replace("score:json:ms", "wal"))
    assert len(str(error.value).splitlines()) == 3


def test_the_page_of_tasks_shows_every_key_and_every_kind_of_source() -> None:
    page = (ROOT / "docs/tasks.md").read_text()
    [block] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    shown = read(block)
    tables = (shown, shown.metric, shown.guard[0], shown.limit[0], shown.test)
    missing = {
        field.alias or name
        for table in tables
        for name, field in type(table).model_fields.items()
        if not re.search(rf"\b{field.alias or name}\b", page)
    }
    assert not missing
    for kind in ("score:json", "run:line", "run:regex", "wall", "cpu", "peak_rss", "size", "gzip"):
        assert f"`{kind}" in page


@given(st.text(alphabet='abc[]{}="\n.#1 \t', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(TaskError):
        read(text)
