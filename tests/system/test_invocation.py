"""What hints call the program: the words of the person who started it."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from autoresearch.system import invocation
from testbed.toy import ROOT

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_a_hint_names_uv_where_uv_started_the_program() -> None:
    assert invocation.runner({"UV": "/opt/homebrew/bin/uv"}) == "uv run"
    assert invocation.command("loop.py status") == "uv run loop.py status"  # as conftest.py has it


def test_without_uv_it_names_the_python_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("on-path", "checkout/.venv/bin", "elsewhere"):
        python = tmp_path / folder / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\n")
        python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "on-path"))
    monkeypatch.chdir(tmp_path / "checkout")
    assert invocation.runner({}, str(tmp_path / "on-path/python")) == "python"
    assert invocation.runner({}, str(tmp_path / "checkout/.venv/bin/python")) == ".venv/bin/python"
    assert invocation.runner({}, str(tmp_path / "elsewhere/python")) == str(tmp_path / "elsewhere/python")


def test_a_program_beside_the_python_is_run_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV", "uv")
    assert invocation.program("hf auth login") == "uv run hf auth login"
    monkeypatch.delenv("UV")
    beside = Path(sys.executable).with_name("pytest")
    monkeypatch.setenv("PATH", str(beside.parent))
    assert invocation.program("pytest -q") == "pytest -q" and invocation.program("no-such -q") == "no-such -q"
    monkeypatch.setenv("PATH", "/nowhere")
    assert invocation.program("pytest -q") == f"{beside} -q"


def test_a_declared_task_is_named_wherever_the_person_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invocation.set_task(ROOT / "examples" / "sql")
    try:
        assert invocation.command("loop.py status --tag a") == "uv run loop.py status --tag a --task examples/sql"
        assert invocation.command("prepare.py") == "uv run prepare.py"
        monkeypatch.chdir(tmp_path)
        invocation.set_task(tmp_path)
        assert invocation.command("loop.py") == f"uv run --project {ROOT} {ROOT}/loop.py --task ."
    finally:
        invocation.set_task(None)
    assert invocation.command("loop.py new-task x") == f"uv run --project {ROOT} {ROOT}/loop.py new-task x"
    assert invocation.command("loop.py") == "uv run loop.py"


@pytest.mark.slow
def test_no_message_names_uv_by_itself() -> None:
    """Messages go through `command`; only what is told before the packages are there is another matter."""
    found = set()
    for path in (ROOT / "autoresearch").rglob("*.py"):
        tree = ast.parse(path.read_text())
        docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} - docs
        found |= {path.relative_to(ROOT).as_posix() for text in texts if isinstance(text, str) and "uv run" in text}
    assert found == {"autoresearch/__init__.py", "autoresearch/system/exits.py", "autoresearch/system/invocation.py"}


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == invocation.VERSION


@pytest.mark.slow
@pytest.mark.parametrize("argv", [("loop.py",), ("loop.py", "status"), ("prepare.py",), ("train_mlx.py",)])
def test_every_program_tells_its_version(argv: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, *argv, "--version"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{invocation.versions()}\n")
