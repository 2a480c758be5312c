"""Write folders that declare a task, in a git repository of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoresearch.errors import SandboxError
from autoresearch.records import Measurement, Purpose, Role
from autoresearch.tasks.command.task import CommandTask
from autoresearch.tasks.task import RunOrder
from testbed.toy import git

TOML = """\
edit = ["config.toml"]
run = "python run.py"
score = "python score.py"
timeout_s = 20
[metric]
name = "loss"
from = "score:json:loss"
"""
FILES = {
    "task.toml": TOML,
    "config.toml": "x = 3\n",
    "run.py": "import tomllib\nx = tomllib.load(open('config.toml', 'rb'))['x']\nopen('out/x', 'w').write(str(x))\n",
    "score.py": "import json\nprint(json.dumps({'loss': float(open('out/x').read()) ** 2}))\n",
}


def declare(folder: Path, files: Mapping[str, str] = FILES, **changed: str) -> Path:
    """Write a task and commit it. `changed` are files by their names, with `_` for the dot: task_toml="..."."""
    folder.mkdir(parents=True)
    named = {name.replace("_toml", ".toml").replace("_py", ".py"): text for name, text in changed.items()}
    for path, text in {**files, **named}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")
    return folder


def opened(folder: Path, said: list[str] | None = None, *, confined: bool = False) -> CommandTask:
    """Open a task, with its state where a night has it; `confined` in this machine's sandbox, if there is one."""
    say = said.append if said is not None else lambda text: None
    state = folder / ".autoresearch"
    try:
        return CommandTask.open(folder, state, say, no_sandbox=not confined)
    except SandboxError:
        return CommandTask.open(folder, state, say, no_sandbox=True)


def measured(
    task: CommandTask,
    changed: Mapping[str, str] | None = None,
    *,
    purpose: Purpose = "search",
    role: Role = "candidate",
    beside: float | None = None,
    seed: int = 1,
    ceiling: float | None = None,
) -> Measurement:
    """Measure a version with some files `changed`; with `beside`, next to the unchanged one of that score."""
    night = task.folder / ".autoresearch" / "runs" / "night"
    night.mkdir(parents=True, exist_ok=True)
    base = task.read(lambda path: task.base.edited[path])
    source = task.read(
        lambda path: (changed or {})[path].encode() if path in (changed or {}) else task.base.edited[path]
    )
    (night / "source").write_text(source)
    (night / "incumbent").write_text(base)
    order = RunOrder(
        source=night / "source",
        folder=night / "run-1",
        seed=seed,
        purpose=purpose,
        role=role,
        incumbent=night / "incumbent" if beside is not None else None,
        incumbent_score=beside,
        ceiling_score=ceiling,
    )
    return task.measure(order)
