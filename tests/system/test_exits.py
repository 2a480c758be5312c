"""How the three programs end: exit codes and last words, of real processes in a copy of the checkout."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.toy import ROOT

pytestmark = pytest.mark.slow

PROGRAMS = {  # a command, and a function that it calls: file and definition up to the body
    "loop.py status": ("autoresearch/loop/commands/reading.py", "def status(root, args): return broken()"),
    "prepare.py": ("autoresearch/tasks/gpt/data/corpus.py", "def prepare(*args, **options): broken()"),
    "train_mlx.py": ("autoresearch/tasks/gpt/by_hand.py", "def _run(source, harness): broken()"),
}


def checkout(folder: Path, command: str, body: str) -> list[str]:
    """Copy the checkout with `body` in place of what `command` does, and return the command's arguments."""
    for name in ("loop.py", "prepare.py", "train_mlx.py"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "autoresearch", folder / "autoresearch")
    file, definition = PROGRAMS[command]
    with (folder / file).open("a") as module:
        module.write(f"\n\ndef broken():\n    {body}\n\n\n{definition}\n")
    return [sys.executable, *command.split()]


def run(folder: Path, argv: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("command", PROGRAMS)
def test_an_unexpected_exception_is_two_lines_and_a_log_in_the_cache(tmp_path: Path, command: str) -> None:
    cache = tmp_path / "cache"
    ended = run(tmp_path, checkout(tmp_path, command, "{}['lost']"), AUTORESEARCH_CACHE=str(cache))
    (log,) = cache.glob("errors/autoresearch-2*.log")
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == [
        "unexpected error: KeyError: 'lost'",
        f"The traceback is in {log}: please report it. To try again, run the same command.",
    ]
    assert command in log.read_text() and "in broken\n" in log.read_text()


def test_a_checkout_that_cannot_be_imported_is_an_unexpected_error_too(tmp_path: Path) -> None:
    argv = checkout(tmp_path, "loop.py status", "pass")
    (tmp_path / "autoresearch" / "records.py").write_text("def broken(:\n")
    ended = run(tmp_path, argv, AUTORESEARCH_CACHE=str(tmp_path / "cache"))
    assert ended.returncode == 3 and ended.stderr.startswith("unexpected error: ") and "records.py" in ended.stderr


@pytest.mark.slow
def test_without_a_cache_the_log_is_a_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    argv = checkout(tmp_path, "loop.py status", "1 / 0")
    ended = run(tmp_path, argv, AUTORESEARCH_CACHE=str(tmp_path / "file" / "cache"), TMPDIR=str(tmp_path))
    (log,) = tmp_path.glob("autoresearch-2*.log")
    assert ended.returncode == 3 and str(log) in ended.stderr


def test_without_any_place_for_a_log_the_traceback_is_printed(tmp_path: Path) -> None:
    code = "import tempfile; from autoresearch.system import exits; tempfile.tempdir = '/dev/null/no'; "
    code += "raise SystemExit(exits.exit_code(lambda: 1 // 0, 'stopped'))"
    ended = run(ROOT, [sys.executable, "-c", code], AUTORESEARCH_CACHE="/dev/null/no")
    assert ended.returncode == 3 and "Traceback" in ended.stderr


@pytest.mark.parametrize(("error", "code"), [("DataError", 1), ("UsageError", 2)])
@pytest.mark.parametrize("command", PROGRAMS)
def test_an_expected_error_is_its_message(tmp_path: Path, command: str, error: str, code: int) -> None:
    body = f"from autoresearch import errors; raise errors.{error}('the disk is full. Run: df')"
    ended = run(tmp_path, checkout(tmp_path, command, body))
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "error: the disk is full. Run: df\n")


@pytest.mark.slow
def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    ended = run(tmp_path, checkout(tmp_path, "loop.py status", "import no_such_package"))
    expected = "error: the package no_such_package is not installed here. Run: uv run loop.py status"
    assert ended.returncode == 1 and ended.stderr.startswith(expected) and ended.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["loop.py status", "loop.py doctor", "prepare.py --dataset stdlib"])
def test_a_python_without_the_packages_is_told_in_a_sentence(command: str) -> None:
    ended = run(ROOT, [sys.executable, "-S", "-E", *command.split()])
    assert ended.returncode == 1 and "is not installed here. Run: uv run " + command in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_old_python_is_told_in_a_sentence() -> None:
    code = "import sys; sys.version_info = (3, 9, 6); sys.argv = ['loop.py']; import runpy; runpy.run_path('loop.py')"
    ended = run(ROOT, [sys.executable, "-c", code])
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1
    assert "this needs Python 3.11, and " in ended.stderr and "is 3.9.6. Run: uv run loop.py" in ended.stderr


def test_an_old_python_can_read_what_it_runs_before_it_is_told() -> None:
    for name in ("loop.py", "autoresearch/__init__.py"):
        ast.parse((ROOT / name).read_text(), feature_version=(3, 7))


@pytest.mark.slow
@pytest.mark.parametrize("command", PROGRAMS)
def test_ctrl_c_ends_with_130(tmp_path: Path, command: str) -> None:
    wait = "[time.sleep(0.05) for _ in range(1200)]"  # a signal just before one long sleep would wait for its end
    argv = checkout(tmp_path, command, f"import time; print('ready', flush=True); {wait}")
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=30)
    assert program.returncode == 130 and said.strip().startswith("stopped") and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("body", ["print('line\\\\n' * 100_000)", "print('line')"], ids=["much", "little"])
def test_output_that_nobody_reads_ends_the_program_without_a_word(tmp_path: Path, body: str) -> None:
    wait = "input(); "  # until the reading end is closed
    argv = checkout(tmp_path, "loop.py status", f"{wait}{body}; return 0")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(argv, cwd=tmp_path, **pipes, text=True) as program:  # type: ignore[call-overload]
        program.stdout.close()
        program.stdout = None
        _, said = program.communicate("\n", timeout=30)
    assert (program.returncode, said) == (141, "")


@pytest.mark.slow
def test_another_broken_pipe_is_an_unexpected_error(tmp_path: Path) -> None:
    argv = checkout(tmp_path, "loop.py status", "raise BrokenPipeError('of a child')")
    assert run(tmp_path, argv, AUTORESEARCH_CACHE=str(tmp_path)).returncode == 3


@pytest.mark.slow
def test_a_program_without_an_output_ends_all_the_same(tmp_path: Path) -> None:
    argv = checkout(tmp_path, "loop.py status", "print('line'); return 10")
    ended = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *argv], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (10, "")


@pytest.mark.slow
def test_closed_streams_are_not_taken_by_files_of_ours(tmp_path: Path) -> None:
    body = "print('lost'); print(sys.stdin.read(), open('a', 'w').fileno(), file=open('b', 'w')); return 0"
    argv = checkout(tmp_path, "loop.py status", f"import sys; {body}")
    ended = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *argv], cwd=tmp_path)
    assert ended.returncode == 0 and int((tmp_path / "b").read_text()) > 2 and not (tmp_path / "a").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_a_terminal_without_a_character_gets_a_question_mark(tmp_path: Path, settings: dict[str, str]) -> None:
    argv = checkout(tmp_path, "loop.py status", "print('a – \\udc80 b'); return 0")
    ended = run(tmp_path, argv, **settings)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "a ? ? b\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["0", "²", "-5", "1e3", "99999999"])
def test_a_width_that_no_terminal_has_is_not_used(columns: str) -> None:
    code = (
        "from autoresearch.system import exits; exits.mend_streams(); "
        "from rich.console import Console; print(Console().width)"
    )
    assert run(ROOT, [sys.executable, "-c", code], COLUMNS=columns).stdout == "80\n"


@pytest.mark.slow
def test_help_that_nobody_reads_ends_without_a_word() -> None:
    argv = ["sh", "-c", '{ sleep 0.2; "$@"; echo $? >&2; } | true', "sh", sys.executable, "loop.py", "--help"]
    ended = subprocess.run(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert ended.stderr in ("141\n", "0\n")  # argparse ignores a failed write where Python does not buffer
