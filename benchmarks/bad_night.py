"""What does a bad night cost? Kills, a full disk, a set clock, a server that is gone, swapping, a closed terminal.

    uv run benchmarks/bad_night.py [--kills 50] [--seed 0] [--only kills,disk,...]

The nights are real (children, git, journal, sandbox) on the tests' toy task, a second or two of training a run. After
each incident: no decided result is lost or changed, the journal replays to one state however often it is read, the
repository is sound, tree and branch agree. "lost" is the time of runs that had to be made again, and of waiting. The
full disk is a tmpfs of its own and needs root; the clock is set by libfaketime where that is installed; Ollama is the
tests' server, stopped and started; swapping is told to the loop by the seam that a Mac's samples come through.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import plistlib
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from common import table
from kills import enrich, found

from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.system import login
from testbed.toy import make_repository, write_toy_data

TASK = ("--dataset", "toy", "--profile", "tiny", "--time-budget")
TUNER = ("--proposer", "tuner")
LIMIT_S = 300.0  # for anything that is waited for
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
FULL = 2**31  # bytes of the small disk


class Scene:
    """A repository, a cache and a loop in it; `check` after each incident."""

    def __init__(self, folder: Path, budget_s: float = 1.0) -> None:
        self.folder, self.budget_s = folder, budget_s
        write_toy_data(folder / "cache" / "data" / "toy" / "tiny")
        self.root = make_repository(folder / "repository")
        enrich(self.root)
        self.env = {**os.environ, "AUTORESEARCH_CACHE": str(folder / "cache")}
        self.decided: dict[int, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, who: tuple[str, ...] = TUNER, **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "loop.py", *who, *TASK, f"{self.budget_s:g}", *more]
        with (self.folder / "output").open("ab") as out:
            given = {
                "stdout": out,
                "stderr": subprocess.STDOUT,
                "stdin": subprocess.DEVNULL,
                "env": self.env,
                **options,
            }
            self.process = subprocess.Popen(command, cwd=self.root, **given)
        return self.process

    def run(self, *more: str, who: tuple[str, ...] = TUNER) -> int:
        return self.start(*more, who=who).wait(LIMIT_S)

    def interrupt(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def night(self) -> Night:
        paths = list((self.root / "runs").glob("*/journal.jsonl"))
        return journal.read(paths[0].parent) if paths else Night()

    def events(self) -> list[dict[str, Any]]:
        lines = [x for p in (self.root / "runs").glob("*/journal.jsonl") for x in p.read_text().splitlines()]
        return [json.loads(line) for line in lines if line.endswith("}")]

    def wait_for(self, reached: Callable[[], bool], what: str) -> float:
        """Seconds until it was."""
        began = time.monotonic()
        while not reached():
            ended = self.process is not None and self.process.poll() is not None
            assert not ended or reached(), f"the loop ended before: {what}\n{self.said()[-2000:]}"
            assert time.monotonic() - began < LIMIT_S, f"in vain: {what}\n{self.said()[-2000:]}"
            time.sleep(0.05)
        return time.monotonic() - began

    def wait_decided(self, count: int) -> float:
        return self.wait_for(lambda: len(self.night().decided) >= count, f"{count} decisions")

    def said(self) -> str:
        return (self.folder / "output").read_text(errors="replace") if (self.folder / "output").exists() else ""

    def check(self) -> None:
        self.decided, _ = found(self.root, self.decided)
        assert self.night() == self.night(), "the journal replays to two states"

    def end(self) -> None:
        """A last session in order; tree and branch agree."""
        before = len(self.night().decided)
        assert self.run("--experiments", "1") == 0, self.said()[-2000:]
        self.check()
        assert len(self.decided) > before
        clean = subprocess.run(["git", "status", "--porcelain"], cwd=self.root, capture_output=True, text=True).stdout
        assert not clean, clean


def lost_s(night: Night, events: list[dict[str, Any]]) -> float:
    """Seconds that runs took which did not count, up to what came next in the same session."""
    lost = 0.0
    for e, after in itertools.pairwise(events):
        runs = night.experiments[e["n"]].runs if e["type"] == "started" else {}
        if e["type"] == "started" and runs[e["run"]].ended != "measured" and after["type"] != "opened":
            lost += time_of(after) - time_of(e)
    return lost


def time_of(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["t"]).timestamp()


# --- the incidents --------------------------------------------------------------------------------------------------


def kills(folder: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """kill -9 at random moments of sessions, from their first second on."""
    scene, wasted = Scene(folder), 0.0
    for _ in range(count):
        began = time.time()
        process = scene.start()
        time.sleep(rng.uniform(0.3, 12.0))
        process.kill()
        process.wait()
        killed = time.time()
        scene.check()
        done = [time_of(e) for e in scene.events() if e["type"] in ("measured", "decided")]
        wasted += killed - max([began, *done])  # what was measured before counts
    scene.end()
    night = scene.night()
    set_aside = sum(x.status == "quarantined" for x in night.experiments.values())
    return {
        "incident": "kill -9", "times": count, "decided": len(night.decided), "set aside": set_aside,
        "lost s each": wasted / count, "goes on": "the same command",
    }  # fmt: skip


def terminal(folder: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """The terminal is closed: SIGHUP to the group and a pty whose other end is gone. The loop goes on by itself."""
    scene = Scene(folder)
    scene.run("--experiments", "1")
    before = len(scene.night().decided)
    master, slave = pty.openpty()
    process = scene.start(stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    scene.wait_decided(before + 1)
    os.killpg(process.pid, signal.SIGHUP)
    os.close(master)
    scene.wait_decided(before + 3)
    assert scene.interrupt() == 130
    scene.check()
    lost = lost_s(scene.night(), scene.events()[:-2])  # but for the run that we interrupted
    (log,) = (scene.root / "runs").glob("*/night.log")
    assert "the terminal went away" in log.read_text()
    scene.end()
    return {"incident": "terminal closed", "times": 1, "decided": len(scene.decided), "lost s each": lost,
            "goes on": "by itself, its lines in night.log"}  # fmt: skip


def reboot(folder: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """The machine goes down in mid-run; after login the item that `install` wrote runs, in a login's environment."""
    scene = Scene(folder)
    argv = [sys.executable, str(scene.root / "loop.py"), "run", "--resume", *TUNER, *TASK, "1", "--experiments", "2"]
    login.install(scene.root, argv, home=folder, env=scene.env, system="Darwin")
    plist = plistlib.loads(login.login_item(scene.root, argv, home=folder, env=scene.env, system="Darwin").text)
    process = scene.start()
    scene.wait_decided(2)
    scene.wait_for(lambda: scene.night().running is not None, "a run")
    process.kill()
    process.wait()
    scene.check()
    before, began = len(scene.decided), time.time()
    with Path(plist["StandardOutPath"]).open("ab") as out:
        given = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "env": plist["EnvironmentVariables"]}
        subprocess.run(plist["ProgramArguments"], cwd=plist["WorkingDirectory"], check=True, timeout=LIMIT_S, **given)
    assert "going on with it" in Path(plist["StandardOutPath"]).read_text()
    scene.check()
    assert len(scene.decided) > before
    first = next(time_of(e) for e in scene.events() if e["type"] == "started" and time_of(e) > began)
    login.uninstall(scene.root, home=folder, system="Darwin")
    scene.end()
    return {
        "incident": "reboot", "times": 1, "decided": len(scene.decided), "lost s each": first - began,
        "goes on": "the LaunchAgent's command, by itself after login",
    }  # fmt: skip


def disk(folder: Path, count: int, rng: random.Random) -> dict[str, Any] | None:
    """First too little for a run, which the loop waits out; then none at all, which ends it with a message."""
    if os.geteuid() != 0:
        return None
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={FULL}", "tmpfs", str(small)], check=True)
    try:
        scene = Scene(small)
        scene.run("--experiments", "1")
        before = len(scene.night().decided)
        scene.start()
        scene.wait_for(lambda: scene.night().running is not None, "a run")
        filler = small / "filler"
        fill(filler, shutil.disk_usage(small).free - 2**29)
        began = time.monotonic()
        scene.wait_for(lambda: "of disk are left" in scene.said(), "the disk is noticed")
        filler.unlink()
        scene.wait_decided(before + 1)
        waited = time.monotonic() - began
        fill(filler, shutil.disk_usage(small).free)
        assert scene.process is not None
        code = scene.process.wait(LIMIT_S)
        filler.unlink()
        scene.check()
        scene.end()
        return {"incident": "disk full", "times": 2, "decided": len(scene.decided), "lost s each": waited,
                "goes on": f"waits under 1 GB; at 0 it ends (exit {code}), then the same command"}  # fmt: skip
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def fill(path: Path, size: int) -> None:
    """To the last byte, whatever else is written meanwhile."""
    with contextlib.suppress(OSError), path.open("wb") as file:
        for _ in range(size // 2**20 + 1):
            file.write(bytes(2**20))
            file.flush()
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while size == 0 or shutil.disk_usage(path.parent).free < 2**20:
            if file.write(bytes(4096)) < 4096 or shutil.disk_usage(path.parent).free == 0:
                break


def clock(folder: Path, count: int, rng: random.Random) -> dict[str, Any] | None:
    """The wall clock is set by hours in mid-run, forwards and back."""
    libraries = sorted(Path("/").glob(FAKETIME.lstrip("/")))
    if not libraries:
        return None
    scene = Scene(folder)
    offset = folder / "offset"
    offset.write_text("+0")
    scene.env |= {
        "LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
    }  # fmt: skip
    scene.start()
    jumps = ["+3h", "-2h", "+30d", "+0"]
    for i, jump in enumerate(jumps):
        scene.wait_decided(1 + i)
        scene.wait_for(lambda: scene.night().running is not None, "a run")
        offset.write_text(jump)
    scene.wait_decided(2 + len(jumps))
    scene.interrupt()
    scene.check()
    night = scene.night()
    stamps = [time_of(e) for e in scene.events()]
    assert max(abs(b - a) for a, b in itertools.pairwise(stamps)) > 3600, "the clock was not set"
    runs = [r for x in night.experiments.values() for r in x.runs.values()]
    again = sum(r.ended != "measured" for r in runs) - 1  # but for the one that we interrupted
    del scene.env["LD_PRELOAD"]
    scene.end()
    return {"incident": "clock set by 2 h to 30 d", "times": len(jumps), "decided": len(scene.decided),
            "lost s each": max(0, again) * scene.budget_s / len(jumps), "goes on": "by itself"}  # fmt: skip


def ollama(folder: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """The server is gone for a good part of the night (60 runs of a Mac are 60 here) and comes back."""
    from testbed.fake_ollama import FakeOllama

    scene = Scene(folder)
    step = {"reply": "TITLE: a step\nHYPOTHESIS: it helps\nCATEGORY: learning_rate\nSET LR = 0.02"}

    def script(body: dict[str, Any]) -> dict[str, Any]:
        value = 0.001 + rng.random() / 50
        return {"reply": step["reply"].replace("0.02", f"{value:.5f}")}

    fake = FakeOllama(script)
    fake.start()
    port = fake.port
    scene.env |= {"OLLAMA_HOST": fake.url.removeprefix("http://")}
    who = ("--proposer", "hybrid")
    scene.start(who=who)
    scene.wait_decided(4)
    fake.stop()
    gone = time.monotonic()
    before = len(scene.night().decided)
    scene.wait_decided(before + 6)
    away = time.monotonic() - gone
    failed = len(scene.night().turns_failed)
    back = FakeOllama(script, port=port)
    back.start()
    played = scene.wait_for(lambda: bool(back.chats()), "the model is asked again")
    scene.wait_decided(len(scene.night().decided) + 1)
    scene.interrupt()
    back.stop()
    scene.check()
    scene.end()
    goes_on = f"the tuner had 6 experiments in {away:.0f} s, {failed} turns were empty; "
    goes_on += f"the model was asked again {played:.0f} s after it was back"
    return {
        "incident": "Ollama gone", "times": 1, "decided": len(scene.decided), "lost s each": 0.0, "goes on": goes_on,
    }  # fmt: skip


SWAPPING = """
import sys
from dataclasses import replace
sys.path.insert(0, {root!r})
from autoresearch.system import machine
real, calls = machine.sample, [0]
def sample(*args):
    calls[0] += 1
    return replace(real(*args), swap_mb=512 + (700 if calls[0] in {when!r} else 0))
machine.sample = sample
import loop
sys.argv = ["loop.py", *sys.argv[1:]]
raise SystemExit(loop.main())
"""


def swap(folder: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """Swap grows by 700 MB during two runs, as a Mac's `vm.swapusage` would say."""
    scene = Scene(folder)
    program = folder / "swapping.py"
    program.write_text(SWAPPING.format(root=str(scene.root), when=(12, 18)))
    command = [sys.executable, str(program), *TUNER, *TASK, "1", "--experiments", "6"]
    with (folder / "output").open("wb") as out:
        subprocess.run(command, cwd=scene.root, env=scene.env, stdout=out, stderr=subprocess.STDOUT, check=True)
    scene.check()
    spoiled = scene.said().count("swap grew by 700 MB")
    lost = lost_s(scene.night(), scene.events()) / max(1, spoiled)
    scene.end()
    return {"incident": "swapping", "times": spoiled, "decided": len(scene.decided), "lost s each": lost,
            "goes on": "the run is made again"}  # fmt: skip


SCENES: dict[str, Callable[[Path, int, random.Random], dict[str, Any] | None]] = {
    "kills": kills,
    "terminal": terminal,
    "reboot": reboot,
    "disk": disk,
    "clock": clock,
    "ollama": ollama,
    "swap": swap,
}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SCENES), help="some of: " + ", ".join(SCENES))
    args = parser.parse_args()
    rows = []
    for name in args.only.split(","):
        with scratch() as folder:
            row = SCENES[name](folder, args.kills, random.Random(args.seed))
        rows.append(row or {"incident": f"{name}: not possible here"})
        print(rows[-1], flush=True)
    print(f"\n{table(rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
