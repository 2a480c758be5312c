"""Follow the README as a newcomer does and time each part, from the clone to the first experiment's result.

The newcomer has a fresh home, a fresh clone, no git identity, no Hugging Face hub and no Ollama server, so the night
takes Python's standard library and the built-in tuner. `--install` also times the virtual environment and its packages,
by uv where it is installed and by the Makefile elsewhere; without it the packages of this Python are used. The budget
of a run is short, since its seconds are not what is asked. The quick form has a text of its own and ends when that is
prepared.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cli import Row, parser, report
from testbed.texts import invented
from testbed.toy import ROOT

NOWHERE = "http://127.0.0.1:9"
# The parts of a night's beginning, by the line that ends each.
LINES = {
    "the loop starts, and gives the hub up": r"data: ",
    "the data is prepared (text, tokenizer, rows)": r"prepared in ",
    "sandbox, branch and profile": r"fit: |\d\d:\d\d:\d\d  #0 run",
    "the fit to the machine": r"\d\d:\d\d:\d\d  #0 run",
    "the baseline's three runs": r"\d\d:\d\d:\d\d  #1 run",
    "the first experiment": r"\d\d:\d\d:\d\d  #1 (KEEP|DISCARD|CRASH)",
    "the end of the night": r"stopped: ",
}


def main(argv: Sequence[str]) -> int:
    arguments = parser("nights newcomer", __doc__)
    arguments.add_argument("--install", action="store_true", help="time the installation, too; needs the network")
    arguments.add_argument("--time-budget", type=float, default=20.0, metavar="S", help="of training a run (20)")
    arguments.add_argument("--json", type=Path, metavar="FILE")
    args = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="newcomer-") as name:
        folder = Path(name)
        rows = list(_parts(folder, args.install, args.quick, args.time_budget))
    rows.append({"part": "together", "s": sum(float(row["s"]) for row in rows), "CPU s": ""})
    return report(rows, args)


def _parts(folder: Path, install: bool, quick: bool, budget_s: float) -> Iterator[Row]:
    home, clone, python = folder / "home", folder / "autoresearch-metal", sys.executable
    home.mkdir()
    env = environment(home)
    with _timed("git clone", row := {}):
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], env=env, check=True)
    yield row
    if install:
        how = ["uv", "sync"] if shutil.which("uv") else ["make", ".venv/.installed"]
        with _timed(f"the packages ({' '.join(how)})", row := {}):
            subprocess.run(how, cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
        yield row
        python = str(clone / ".venv" / "bin" / "python")
    with _timed("loop.py --help", row := {}):
        subprocess.run([python, "loop.py", "--help"], cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
    yield row
    night = [python, "loop.py", "--profile", "tiny", "--experiments", "1", "--time-budget", f"{budget_s:g}"]
    if quick:
        (folder / "text.txt").write_text("\n\n".join(invented(300, 1)))
        night += ["--dataset", str(folder / "text.txt")]
    yield from _night(night, clone, env, "prepared in " if quick else None)
    if not quick:
        with _timed("loop.py status", row := {}):
            subprocess.run([python, "loop.py", "status"], cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
        yield row


def environment(home: Path) -> dict[str, str]:
    """Return a newcomer's environment: nothing of ours but where programs are."""
    servers = {"HF_ENDPOINT": NOWHERE, "OLLAMA_HOST": NOWHERE}
    git = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": tempfile.gettempdir(), **servers, **git}


def _night(argv: Sequence[str], root: Path, env: Mapping[str, str], last: str | None) -> Iterator[Row]:
    """Run the loop and yield the seconds of each part; end it after a line that begins with `last`."""
    began, parts, said = time.monotonic(), dict(LINES), []
    with subprocess.Popen(argv, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as loop:
        assert loop.stdout is not None
        for line in loop.stdout:
            said.append(line)
            ended = next((part for part, pattern in parts.items() if re.match(pattern, line)), None)
            if ended is not None:
                now = time.monotonic()
                yield {"part": ended, "s": now - began, "CPU s": ""}
                began = now
                parts = dict(list(parts.items())[list(parts).index(ended) + 1 :])
            if last is not None and line.startswith(last):
                loop.send_signal(signal.SIGINT)
                last = None
        code = loop.wait()
    if code not in (0, 130):
        raise AssertionError(f"the newcomer's night ended with {code}:\n{''.join(said[-20:])}")


@contextmanager
def _timed(part: str, row: dict[str, object]) -> Iterator[None]:
    """Fill a row with the wall clock's seconds and the processor's (user and system) of the block's processes."""
    began, before = time.monotonic(), os.times()
    yield
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    row.update({"part": part, "s": time.monotonic() - began, "CPU s": cpu})
