"""Strike real nights with incidents and measure what is lost: kills, a closed terminal, a full disk, a set clock.

The nights are real (children, git, journal, sandbox) on the tests' toy task, one second of training a run. After each
incident no decided result may be lost or changed, the journal must replay to one state however often it is read, the
repository must be sound, and tree and branch must agree; otherwise the benchmark ends with an AssertionError. "lost s
each" are seconds of runs that had to be made again, and of waiting. The full disk is a tmpfs and needs root; the clock
is set by libfaketime and needs that installed; Ollama is the tests' server, stopped and started; swapping is reported
to the loop in place of a Mac's `vm.swapusage`.
"""

from __future__ import annotations

import contextlib
import itertools
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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autoresearch.system import login
from benchmarks.cli import Row, parser, table
from benchmarks.nights.scene import LIMIT_S, TASK, TUNER, IncidentScene, lost_s, time_of
from testbed.fake_ollama import FakeOllama

FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
SMALL_DISK = 2**31  # bytes


def kills(folder: Path, count: int, rng: random.Random, latest_s: float = 12.0) -> Row:
    """Kill sessions by SIGKILL at random moments, from their first second on."""
    scene, wasted = IncidentScene(folder), 0.0
    for _ in range(count):
        began = time.time()
        process = scene.start()
        time.sleep(rng.uniform(0.3, latest_s))
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


def terminal(folder: Path, count: int, rng: random.Random) -> Row:
    """Close the terminal: SIGHUP to the group and a pty whose other end is gone. The loop has to carry on."""
    scene = IncidentScene(folder)
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
    assert log.read_text(), "the lines of a loop without a terminal are lost"
    scene.end()
    return {"incident": "terminal closed", "times": 1, "decided": len(scene.decided), "lost s each": lost,
            "goes on": "by itself, its lines in night.log"}  # fmt: skip


def reboot(folder: Path, count: int, rng: random.Random) -> Row:
    """Stop the machine in mid-run, then run the item that `install` wrote as a login would."""
    scene = IncidentScene(folder)
    argv = [sys.executable, str(scene.root / "loop.py"), "run", "--resume", *TUNER, *TASK, "1", "--experiments", "2"]
    login.install(scene.root, argv, home=folder, env=scene.env, system="Darwin")
    plist = plistlib.loads(login.login_item(scene.root, argv, home=folder, env=scene.env, system="Darwin").text)
    process = scene.start()
    scene.wait_decided(2)
    scene.wait_for(lambda: scene.night().running is not None, "a run")
    process.kill()
    process.wait()
    scene.check()
    unfinished = scene.events()[-1].get("n")
    before, began = len(scene.decided), time.time()
    with Path(plist["StandardOutPath"]).open("ab") as out:
        given = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "env": plist["EnvironmentVariables"]}
        subprocess.run(plist["ProgramArguments"], cwd=plist["WorkingDirectory"], check=True, timeout=LIMIT_S, **given)
    scene.check()
    assert len(scene.decided) > before
    first = next(e for e in scene.events() if e["type"] == "started" and time_of(e) > began)
    assert first["n"] == unfinished, "another experiment came first"
    login.uninstall(scene.root, home=folder, system="Darwin")
    scene.end()
    return {
        "incident": "reboot", "times": 1, "decided": len(scene.decided), "lost s each": time_of(first) - began,
        "goes on": "the LaunchAgent's command, by itself after login",
    }  # fmt: skip


def disk(folder: Path, count: int, rng: random.Random) -> Row | None:
    """Leave too little disk for a run, which the loop waits out; then none at all, which ends it with a message.

    Return None without root.
    """
    if os.geteuid() != 0:
        return None
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(small)], check=True)
    try:
        scene = IncidentScene(small)
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
    """Write so many bytes; with 0 fill the disk to the last byte, whatever else is written meanwhile."""
    with contextlib.suppress(OSError), path.open("wb") as file:
        for _ in range(size // 2**20 + 1):
            file.write(bytes(2**20))
            file.flush()
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while size == 0 or shutil.disk_usage(path.parent).free < 2**20:
            if file.write(bytes(4096)) < 4096 or shutil.disk_usage(path.parent).free == 0:
                break


def clock(folder: Path, count: int, rng: random.Random) -> Row | None:
    """Set the wall clock by hours in mid-run, forwards and back. Return None without libfaketime."""
    libraries = sorted(Path("/").glob(FAKETIME.lstrip("/")))
    if not libraries:
        return None
    scene = IncidentScene(folder)
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


def ollama(folder: Path, count: int, rng: random.Random) -> Row:
    """Stop the model's server for six experiments, then start it again."""
    scene = IncidentScene(folder)

    def script(body: dict[str, Any]) -> dict[str, Any]:
        fields = "TITLE: a step\nHYPOTHESIS: it helps\nCATEGORY: learning_rate"
        return {"reply": f"{fields}\nSET LR = {0.001 + rng.random() / 50:.5f}"}

    fake = FakeOllama(script)
    fake.start()
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
    back = FakeOllama(script, port=fake.port)
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


def swap(folder: Path, count: int, rng: random.Random) -> Row:
    """Report 700 MB of new swap during two runs, as a Mac's `vm.swapusage` would."""
    scene = IncidentScene(folder)
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


SCENES: Mapping[str, Callable[[Path, int, random.Random], Row | None]] = {
    "kills": kills,
    "terminal": terminal,
    "reboot": reboot,
    "disk": disk,
    "clock": clock,
    "ollama": ollama,
    "swap": swap,
}


def main(argv: Sequence[str]) -> int:
    options = parser("nights incidents", __doc__)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", default=",".join(SCENES), help="some of: " + ", ".join(SCENES))
    args = options.parse_args(argv)
    names, count = (["kills"], 2) if args.quick else (args.only.split(","), args.kills)
    if unknown := set(names) - set(SCENES):
        options.error(f"no incident {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    scenes = {**SCENES, "kills": partial(kills, latest_s=4.0)} if args.quick else SCENES
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            row = scenes[name](Path(folder), count, random.Random(args.seed))
        rows.append(row or {"incident": f"{name}: not possible here"})
        print(rows[-1], flush=True)
    print(f"\n{table(rows)}")
    return 0
