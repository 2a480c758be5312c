"""Replay the recorded output of a Mac's tools: `replay(name)` answers from testbed/recordings/NAME."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoresearch.system import machine

FOLDER = Path(__file__).parent / "recordings"
MACHINES = sorted(path.name for path in FOLDER.iterdir() if (path / "sysctl.txt").is_file())
FILES = {
    machine.SYSCTL: "sysctl.txt",
    machine.SYSCTL_MEMORY: "sysctl_memory.txt",
    machine.GPU: "ioreg.txt",
    machine.PROFILER: "system_profiler.json",
    machine.BATTERY: "pmset_batt.txt",
    machine.POWER: "pmset.txt",
    machine.THERMAL: "notifyutil.txt",
    machine.OLLAMA: "ollama.txt",
}


def replay(name: str, extra: Mapping[tuple[str, ...], str] | None = None) -> Callable[[Sequence[str]], str]:
    """Return the `run` of a recorded machine. `extra` answers further commands, or replaces recorded answers."""
    answers = {argv: (FOLDER / name / file).read_text() for argv, file in FILES.items()} | dict(extra or {})
    return lambda argv: answers[tuple(argv)]
