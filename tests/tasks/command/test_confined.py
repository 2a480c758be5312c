from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest

from autoresearch.errors import SandboxError
from autoresearch.system.sandbox import Bubblewrap, Network, Sandbox, Unconfined, select
from autoresearch.tasks.command.confined import PRINTED_BYTES, Call, Confinement, Ended, execute


def best() -> Sandbox:
    """Return this machine's sandbox where it has one."""
    try:
        return select(forks=True)
    except SandboxError:
        return Unconfined()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "out").mkdir(parents=True)
    return tmp_path


def python(place: Path, code: str, limit_s: float = 20.0) -> Ended:
    order = Call(
        argv=[sys.executable, "-c", code],
        cwd=place / "tree",
        scratch=place / "tmp",
        log=place / "run.log",
        limit_s=limit_s,
        write=(place / "tree" / "out",),
    )
    return execute(order, Confinement(sandbox=best()))


def test_output_code_and_use_are_observed(place: Path) -> None:
    code = "import sys; x = bytearray(64 * 2**20); print('out'); print('err', file=sys.stderr); sys.exit(3)"
    ended = python(place, code)
    assert (ended.code, ended.printed, ended.log, ended.ok) == (3, "out\n", "err\n", False)
    assert ended.how == "exited with 3" and "err" in ended.detail
    assert ended.wall_s and ended.cpu_s and ended.peak_rss_mb and 64 < ended.peak_rss_mb < 500


SPLIT = """
import os, time
ready, tell = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        held = bytearray(os.urandom(40 * 2**20))
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(0)
for _ in range(3):
    os.read(ready, 1)
time.sleep(3)
"""


@pytest.mark.slow
def test_memory_is_that_of_all_processes_together(place: Path) -> None:
    ended = python(place, SPLIT)
    assert ended.peak_rss_mb is not None and 120 < ended.peak_rss_mb < 400


@pytest.mark.slow
def test_a_command_past_its_limit_is_ended(place: Path) -> None:
    began = time.monotonic()
    ended = python(place, "import time; time.sleep(60)", limit_s=0.3)
    assert ended.late and ended.code is None and ended.how == "did not end within its 0.3 s"
    assert time.monotonic() - began < 30


def test_output_is_capped_and_its_end_kept(place: Path) -> None:
    ended = python(place, f"print('x' * {4 * PRINTED_BYTES}); print('the end')")
    assert len(ended.printed) < 1.1 * PRINTED_BYTES and ended.printed.endswith("the end\n")
    assert (place / "run.out").stat().st_size < 1.1 * PRINTED_BYTES


def test_a_command_that_cannot_start_has_no_use(place: Path) -> None:
    order = Call(argv=["no-such-program"], cwd=place, scratch=place / "tmp", log=place / "x.log", limit_s=5)
    ended = execute(order, Confinement(sandbox=Unconfined()))
    assert ended.code == 127 and ended.wall_s is None and "cannot start no-such-program" in ended.log


def test_a_command_may_write_to_the_devices_that_stand_for_its_output(place: Path) -> None:
    ended = python(place, "open('/dev/stdout', 'w').write('out'); open('/dev/stderr', 'w').write('err')")
    assert (ended.code, ended.printed, ended.log) == (0, "out", "err")


DETACHED = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while time.process_time() < 0.2:
            pass
        open("out/used", "w").close()
        time.sleep(0.5)
        open("out/late", "w").close()
    os._exit(0)
while not os.path.exists("out/used"):
    time.sleep(0.01)
"""


@pytest.mark.slow
def test_what_a_command_leaves_behind_is_ended_and_its_time_counts(place: Path) -> None:
    ended = python(place, DETACHED)
    time.sleep(0.6)
    assert ended.ok and not (place / "tree" / "out" / "late").exists()
    assert sys.platform != "linux" or (ended.cpu_s or 0) >= 0.2


@pytest.mark.skipif(isinstance(best(), Unconfined), reason="no sandbox here")
@pytest.mark.parametrize(
    "code",
    [
        "open('x', 'w')",
        "import socket; socket.create_connection(('127.0.0.1', 9), 1)",
        "import os; os.kill(os.getppid(), 0); open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
        "import os; p = f'/proc/{os.getppid()}/fd'; [os.open(f'{p}/{n}', os.O_WRONLY) for n in os.listdir(p)]",
    ],
)
def test_a_command_reaches_nothing_but_its_folder(place: Path, code: str) -> None:
    assert python(place, code).code == 1
    assert python(place, "open('out/x', 'w').write('1')").ok


ESCAPED = """
import os, sys, time
print("said", flush=True)
if os.fork() == 0:
    os.setsid()
    os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(9)"], {})
"""


def test_a_process_that_escapes_without_a_sandbox_does_not_hold_the_loop(place: Path) -> None:
    order = Call(
        argv=[sys.executable, "-c", ESCAPED], cwd=place, scratch=place / "tmp", log=place / "run.log", limit_s=20
    )
    began = time.monotonic()
    ended = execute(order, Confinement(sandbox=Unconfined()))
    assert ended.ok and ended.printed == "said\n" and time.monotonic() - began < 60


SOCKETS = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as own:
    socket.create_connection(own.getsockname(), 5).close()
print("own")
socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
print("others")
"""


@pytest.mark.skipif(not isinstance(best(), Bubblewrap), reason="a namespace of its own is Linux's")
@pytest.mark.parametrize(("network", "said"), [("none", ""), ("local", "own\n"), ("open", "own\nothers\n")])
def test_a_network_is_none_its_own_or_open(place: Path, network: Network, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = [sys.executable, "-c", SOCKETS, str(server.getsockname()[1])]
        order = Call(argv=argv, cwd=place / "tree", scratch=place / "tmp", log=place / "run.log", limit_s=30)
        around = Confinement(sandbox=select(network=network, forks=True))
        assert execute(order, around).printed == said
