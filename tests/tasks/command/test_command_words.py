"""Which files a command names, and which it runs: what a judge runs may not be edited."""

from __future__ import annotations

import pytest

from autoresearch.tasks.command.command_words import named_files, programs, script_of

FILES = (
    "score.py",
    "score.sh",
    "query.sql",
    "judge/score.py",
    "my judge.py",
    "conftest.py",
    "hook.js",
    "judge.js",
    "data.js",
    "package.json",
    "Makefile",
)


@pytest.mark.parametrize(
    ("command", "run", "named"),
    [
        ("python -I ./score.py query.sql", ["score.py"], ["score.py", "query.sql"]),
        ("python -m judge.score --db=query.sql", ["judge/score.py"], ["judge/score.py", "query.sql"]),
        ("./score.py x", ["score.py"], ["score.py"]),
        ("node score.py", ["score.py"], ["score.py"]),
        ("true", [], []),
        ("env X=1 python score.py", ["score.py"], ["score.py"]),
        ("python -W ignore score.py", ["score.py"], ["score.py"]),
        (".venv/bin/python -I score.py query.sql", ["score.py"], ["score.py", "query.sql"]),
        ("node --require ./hook.js judge.js data.js", ["hook.js", "judge.js"], ["hook.js", "judge.js", "data.js"]),
        ("bash -x score.sh query.sql", ["score.sh"], ["score.sh", "query.sql"]),
        ("sh -c 'cat out/x; python score.py'", ["score.py"], []),
        ("python 'my judge.py'", ["my judge.py"], ["my judge.py"]),
        ("make score", ["Makefile"], []),
        ("grep -q def score.py", [], ["score.py"]),
        ("sqlite3 -init query.sql x.db", [], ["query.sql"]),
        ("python query.sql", ["query.sql"], ["query.sql"]),
        ("python -m pytest -q", ["conftest.py", "judge/score.py", "my judge.py", "score.py"], []),
        ("uv run pytest", ["conftest.py", "judge/score.py", "my judge.py", "score.py"], []),
        ("npm test", ["data.js", "hook.js", "judge.js", "package.json"], []),
    ],
)
def test_a_command_runs_some_of_the_files_that_it_names(command: str, run: list[str], named: list[str]) -> None:
    assert sorted(programs(command, FILES)) == sorted(run)
    assert named_files(command, FILES) == named


def test_the_script_of_a_python_command() -> None:
    assert [script_of(c) for c in ("python -I a/b.py x", "node b.js", "python -c pass")] == ["a/b.py", None, None]
