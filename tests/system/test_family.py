"""What a process and its descendants hold, use and hear."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from autoresearch.system import family

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_family_is_counted_together_and_can_be_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            assert {p.pid for p in family.family(parent.pid)} == {parent.pid, child}
            before, deadline = family.cpu_s(parent.pid), time.monotonic() + 60
            while family.cpu_s(parent.pid) < before + 0.05:  # so that the child runs Python, and is not just begun
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert family.held_bytes(parent.pid) > family.held_bytes(child) > 2**20
        finally:
            family.signal_group(parent.pid, signal.SIGKILL)
    assert (family.family(parent.pid), family.held_bytes(parent.pid), family.cpu_s(parent.pid)) == ([], 0, 0.0)
    family.signal_group(parent.pid, signal.SIGKILL)


def test_signalling_the_gone_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        members = family.family(process.pid)
        family.signal_each(members, signal.SIGKILL)
    family.signal_each(members, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
