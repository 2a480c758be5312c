"""The command line: its commands, its default, and the codes that the shell sees."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from unittest.mock import ANY

import pytest

import loop
from autoresearch.errors import UsageError
from autoresearch.loop.commands import COMMANDS, command, root_of
from autoresearch.system import invocation
from testbed.toy import ROOT

pytestmark = pytest.mark.slow


def program(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "loop.py", *args]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_command_of_the_help_has_its_function() -> None:
    (choices,) = [action.choices for action in loop.parser()._actions if action.dest == "what"]
    assert set(choices) == set(COMMANDS) == {name for group in loop.COMMANDS.values() for name in group}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_function_that_says_what_it_does_and_returns_its_exit_code(name: str) -> None:
    found = command(name)
    assert found.__doc__ and found.__annotations__ == {"root": "Path", "args": ANY, "return": "int"}


@pytest.mark.parametrize("args", [("--help",), ("status", "--tag", "no-such-night")])
def test_help_and_status_do_not_wait_for_what_training_needs(args: tuple[str, ...]) -> None:
    code = f"import sys, loop\ntry: loop.main({args!r})\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    heavy = {"matplotlib", "mlx", "optuna", "ollama", "tiktoken", "autoresearch.loop.session"}
    assert not heavy & set(done.stdout.split())


def test_the_help_says_what_each_command_does() -> None:
    done = program("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("columns", ["60", "80"])
def test_the_help_shows_a_nights_options_by_group_and_fits_the_terminal(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = loop.parser().format_help()
    groups = ("which night", "the task", "who has ideas", "when it ends")
    assert [line[:-1] for line in text.splitlines() if line[:-1] in groups] == list(groups)
    assert all(option in text for option in ("--hours", "--model", "--dataset", "--tag", "--findings", "--version"))
    assert max(map(len, text.splitlines())) <= int(columns)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        loop.parser().parse_args([command, "--help"])
    assert end.value.code == 0 and command in capsys.readouterr().out


def test_what_cannot_be_is_a_usage_error() -> None:
    done = program("status", "--tag", "no-such-night")
    assert done.returncode == 2 and "no-such-night" in done.stderr and "Traceback" not in done.stderr
    assert program("no-such-command").returncode == 2


def test_a_declared_task_keeps_its_nights_in_its_own_folder(tmp_path: Path) -> None:
    assert root_of(ROOT, Namespace(what="status", task=None)) == ROOT
    with pytest.raises(UsageError, match=r"has no task\.toml\. To write one: .*loop\.py new-task"):
        root_of(ROOT, Namespace(what="run", task=tmp_path))
    (tmp_path / "task.toml").touch()
    try:
        assert root_of(ROOT, Namespace(what="run", task=tmp_path)) == tmp_path.resolve() / ".autoresearch"
    finally:
        invocation.set_task(None)
    with pytest.raises(UsageError, match=r"--time-budget is for training a model; what a run of .* its task\.toml"):
        root_of(ROOT, Namespace(what="run", task=tmp_path, dataset=None, time_budget=3.0))
    with pytest.raises(UsageError, match="`transfer` is for training a model"):
        root_of(ROOT, Namespace(what="transfer", task=tmp_path))
