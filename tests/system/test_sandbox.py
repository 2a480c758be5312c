"""Confinement: what a child can and cannot do in the real sandbox of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from autoresearch.errors import SandboxError
from autoresearch.system import sandbox
from autoresearch.system.limits import environment, limits
from autoresearch.system.sandbox import Bubblewrap, Sandbox, Seatbelt, Unconfined, select
from testbed.confined import python
from testbed.toy import ROOT


def available() -> Sandbox:
    try:
        return select()
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture
def here() -> Sandbox:
    """Return the sandbox that works on this machine; skip the test, with the reason, where there is none."""
    return available()


TRY = """
import sys
def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"
def write(path):
    with open(path, "w") as file:
        file.write("x" * 100)
def read(path):
    with open(path) as file:
        return file.read()
"""


# --- the real sandbox of this machine --------------------------------------------------------------------------------


def test_the_self_test_passes_confined_and_fails_unconfined(here: Sandbox, tmp_path: Path) -> None:
    assert sandbox.self_test(here, sys.executable, tmp_path) == []
    failures = set(sandbox.self_test(Unconfined(), sys.executable, tmp_path))
    assert failures >= {
        "the network can be reached",
        "a socket of another program answers",
        "a hidden file can be read",
        "a file outside can be written",
    }
    assert all(failure.endswith("can be written") for failure in failures if failure.startswith(("/proc", "/sys")))
    assert list(tmp_path.iterdir()) == []


def test_the_self_test_says_why_it_does_not_run(tmp_path: Path) -> None:
    [failure] = sandbox.self_test(Bubblewrap("/no/such/bwrap"), sys.executable, tmp_path)
    assert "No such file" in failure


def test_a_sandbox_that_does_not_confine_is_refused(here: Sandbox, tmp_path: Path) -> None:
    class Broken(Bubblewrap):
        def prefix(self, write: Sequence[Path], hide: Sequence[Path] = (), read: Sequence[Path] = ()) -> list[str]:
            return []

    sandbox.prove(here, sys.executable, tmp_path)
    sandbox.prove(Unconfined(), sys.executable, tmp_path)
    with pytest.raises(SandboxError, match=r"network can be reached.*--no-sandbox"):
        sandbox.prove(Broken(), sys.executable, tmp_path)


def test_writing_stays_in_the_run_directory(here: Sandbox, run_dir: Path, tmp_path: Path) -> None:
    outside = [tmp_path / "x", ROOT / "x", Path.home() / "x", Path("/etc/x"), Path("/dev/x"), run_dir.parent / "x"]
    code = TRY + "print([attempt(lambda: write(p)) for p in sys.argv[1:]])"
    python(here.prefix([run_dir]), run_dir, code, *outside)
    assert not any(path.exists() for path in outside)
    done = python(here.prefix([run_dir]), run_dir, code, "inside", run_dir / "tmp" / "inside")
    assert done == "['done', 'done']" and (run_dir / "inside").read_text() == "x" * 100


def test_deleting_stays_in_the_run_directory(here: Sandbox, run_dir: Path, tmp_path: Path) -> None:
    (run_dir.parent / "journal.jsonl").write_text("kept")
    (run_dir / "checkpoint").write_text("its own")
    code = "import shutil, sys\nshutil.rmtree(sys.argv[1], ignore_errors=True)"
    python(here.prefix([run_dir], read=[tmp_path]), run_dir, code, tmp_path)
    assert (run_dir.parent / "journal.jsonl").read_text() == "kept"
    assert not (run_dir / "checkpoint").exists()


def test_hidden_files_cannot_be_read_and_the_most_specific_path_decides(
    here: Sandbox, run_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "cache" / "data"
    for path in (
        data / "train.u16",
        data / "eval" / "val.u16",
        tmp_path / "cache" / "other",
        run_dir.parent / "journal",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    (run_dir.parent / "harness").mkdir()
    (run_dir.parent / "harness" / "prepare.py").write_text("prepare.py")
    prefix = here.prefix(
        write=[run_dir],
        hide=[tmp_path / "cache", data / "eval", run_dir.parent],
        read=[data, run_dir.parent / "harness" / "prepare.py"],
    )
    paths = [data / "train.u16", run_dir.parent / "harness" / "prepare.py"]
    hidden = [data / "eval" / "val.u16", tmp_path / "cache" / "other", run_dir.parent / "journal"]
    assert (
        python(prefix, run_dir, TRY + "print([read(p) for p in sys.argv[1:]])", *paths) == "['train.u16', 'prepare.py']"
    )
    tried = python(prefix, run_dir, TRY + "print([attempt(lambda: read(p)) for p in sys.argv[1:]])", *hidden)
    assert "done" not in tried


def test_what_may_only_be_read_stays_so_inside_of_what_may_be_written(here: Sandbox, run_dir: Path) -> None:
    source = run_dir / "train_mlx.py"
    source.write_text("the source")
    code = TRY + (
        "import os\nprint([attempt(lambda: write(sys.argv[1])), attempt(lambda: os.unlink(sys.argv[1])),\n"
        "       attempt(lambda: os.rename(sys.argv[1], 'other'))], read(sys.argv[1]))"
    )
    out = python(here.prefix([run_dir], read=[source]), run_dir, code, source)
    assert "done" not in out and out.endswith("the source") and source.read_text() == "the source"


def test_a_hidden_file_and_a_link_to_one(here: Sandbox, run_dir: Path, tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", run_dir / "link"
    secret.write_text("secret")
    link.symlink_to(secret)
    prefix = here.prefix([run_dir], hide=[secret, tmp_path / "not there"], read=[tmp_path])
    assert "done" not in python(
        prefix, run_dir, TRY + "print([attempt(lambda: read(p)) for p in sys.argv[1:]])", secret, link
    )


def test_the_home_folder_is_hidden_but_for_what_may_be_read(
    here: Sandbox, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = run_dir.parent / "home"
    names = (".ssh/id_ed25519", ".netrc", ".a-tool-of-tomorrow/token", ".cache/data/meta.json")
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    monkeypatch.setenv("HOME", str(home))
    prefix = here.prefix([run_dir], read=[home / ".cache" / "data"])
    code = TRY + "print([attempt(lambda: read(p)) == 'done' for p in sys.argv[1:]])"
    assert python(prefix, run_dir, code, *(home / name for name in names)) == "[False, False, False, True]"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's kernel settings")
def test_no_setting_of_the_kernel_can_be_written_even_as_root(here: Sandbox, run_dir: Path) -> None:
    code = (
        "import os\nfound = []\n"
        "for top in ('/proc', '/sys'):\n"
        "    for folder, folders, files in os.walk(top):\n"
        "        if folder.split('/')[2:3] and folder.split('/')[2].isdigit():\n"
        "            folders.clear()\n"
        "            continue\n"
        "        folders[:] = folders if folder.count('/') < 6 else []\n"
        "        found += [f for f in files if os.access(f'{folder}/{f}', os.W_OK)]\n"
        "print(found)"
    )
    assert python(here.prefix([run_dir]), run_dir, code) == "[]"


@pytest.mark.skipif(sys.platform != "linux" or not sandbox.filters_calls(), reason="this kernel has no seccomp")
def test_calls_that_training_has_no_use_for_are_refused_and_end_nothing(here: Sandbox, run_dir: Path) -> None:
    code = (
        "import ctypes, os, socket, threading\n"
        "c = ctypes.CDLL(None, use_errno=True)\n"
        "def failed(*call):\n    ctypes.set_errno(0)\n    return c.syscall(*call) == -1 and ctypes.get_errno()\n"
        "numbers = {'x86_64': (101, 250, 321, 425, 272, 41, 310), 'aarch64': (117, 219, 280, 425, 97, 198, 270)}\n"
        "print({failed(n, 0x10000000, 0, 0, 0, 0, 0) for n in numbers[os.uname().machine]})\n"
        "thread = threading.Thread(target=print, args=('a thread',))\nthread.start()\nthread.join()\n"
        "status = os.waitpid(os.fork() or os._exit(3), 0)[1]\n"
        "print(socket.socketpair()[0].fileno() > 2, os.waitstatus_to_exitcode(status))"
    )
    assert python(here.prefix([run_dir]), run_dir, code).split("\n") == ["{1}", "a thread", "True 3"]


def test_there_is_no_network_and_no_socket_of_others(here: Sandbox, run_dir: Path) -> None:
    import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
        tempfile.TemporaryDirectory() as short,  # macOS's folder of a test is longer than a socket's address may be
    ):
        address = Path(short, "socket")
        local.bind(str(address))
        local.listen()
        code = TRY + (
            "import socket\n"
            "print([attempt(lambda: socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)),\n"
            "       attempt(lambda: socket.getaddrinfo('example.com', 80)),\n"
            "       attempt(lambda: socket.socket(socket.AF_UNIX).connect(sys.argv[2]))])"
        )
        assert "done" not in python(here.prefix([run_dir]), run_dir, code, server.getsockname()[1], address)


def test_other_processes_are_out_of_reach(here: Sandbox, run_dir: Path) -> None:
    victim = subprocess.Popen(["sleep", "60"])
    try:
        code = TRY + "import os\nprint(attempt(lambda: os.kill(int(sys.argv[1]), 9)))"
        assert python(here.prefix([run_dir]), run_dir, code, victim.pid) != "done"
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_mlx_works_with_its_temporary_files_in_the_run_directory(here: Sandbox, run_dir: Path) -> None:
    code = (
        "import mlx.core as mx, tempfile, os\n"
        "print((mx.ones((4, 4)) @ mx.ones((4, 4))).sum().item(), tempfile.gettempdir(), os.path.expanduser('~'))"
    )
    out = python(here.prefix([run_dir]), run_dir, code)
    assert out == f"64.0 {os.path.realpath(run_dir / 'tmp')} {run_dir}" or out == f"64.0 {run_dir / 'tmp'} {run_dir}"


def test_inherited_descriptors_and_the_environment_reach_the_child(here: Sandbox, run_dir: Path) -> None:
    reader, writer = os.pipe()
    try:
        env = environment(run_dir, {"LD_PRELOAD": "", "AUTORESEARCH_X": "y"})
        code = "import os, sys\nos.write(int(sys.argv[1]), (os.environ['AUTORESEARCH_X'] + os.getcwd()).encode())"
        python([*here.prefix([run_dir]), *limits()], run_dir, code, writer, env=env, pass_fds=(writer,))
        os.close(writer)
        writer = -1
        assert os.read(reader, 1000).decode() == "y" + os.path.realpath(run_dir)
        assert os.read(reader, 1000) == b"", "the pipe ends with the child"
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def test_a_linked_virtual_environment_is_seen(here: Sandbox, run_dir: Path, tmp_path: Path) -> None:
    """The checkout is under /tmp, and its .venv is a link to a folder elsewhere."""
    linked = tmp_path / ".venv"
    linked.symlink_to(sys.prefix)
    code = [str(linked / "bin" / "python"), "-c", "import mlx.core; print('here')"]
    done = subprocess.run([*here.prefix([run_dir], read=[linked]), *code], cwd=run_dir, capture_output=True, text=True)
    assert done.stdout == "here\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's")
def test_a_preloaded_library_is_loaded(here: Sandbox, run_dir: Path) -> None:
    libraries = sorted(Path("/lib").glob("*/libm.so.6")) + sorted(Path("/lib64").glob("libm.so.6"))
    code = (
        "print(any('libm.so.6' in line for line in open('/proc/self/maps')), 'LD_PRELOAD' in __import__('os').environ)"
    )
    inside = ["/usr/bin/env", f"LD_PRELOAD={libraries[0]}", *limits()]
    assert python([*here.prefix([run_dir]), *inside], run_dir, code) == "True True"
    outside = environment(run_dir, {"LD_PRELOAD": str(libraries[0])})
    assert python(here.prefix([run_dir]), run_dir, code, env=outside).endswith("False"), "bwrap hangs with OpenBLAS"


def test_exit_codes_and_signals_are_reported(here: Sandbox, run_dir: Path) -> None:
    def code_of(text: str) -> int:
        argv = [*here.prefix([run_dir]), *limits(), sys.executable, "-c", text]
        return subprocess.run(argv, cwd=run_dir, env=environment(run_dir), timeout=30).returncode

    assert code_of("raise SystemExit(3)") == 3
    assert code_of("import os; os.kill(os.getpid(), 11)") in (-11, 128 + 11)


def alive(mark: str) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])]


def wait_gone(mark: str) -> bool:
    deadline = time.monotonic() + 5
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(mark)


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap's own promises")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_everything_dies_with_the_group(number: int, here: Sandbox, run_dir: Path) -> None:
    """That includes a daemon that left its session and ignores SIGTERM."""
    mark = f"mark-{os.getpid()}-{number}"
    code = (
        "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n    os.setsid()\nelse:\n    print('ready', flush=True)\ntime.sleep(60)"
    )
    argv = [*here.prefix([run_dir]), sys.executable, "-c", code, mark]
    child = subprocess.Popen(
        argv, cwd=run_dir, env=environment(run_dir), stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    assert len(alive(mark)) >= 2
    os.killpg(child.pid, number)
    child.wait(5)
    child.stdout.close()
    assert wait_gone(mark)


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap's own promises")
def test_it_dies_when_its_starter_is_killed(here: Sandbox, run_dir: Path) -> None:
    mark = f"mark-{os.getpid()}-orphan"
    argv = [
        *here.prefix([run_dir]),
        sys.executable,
        "-c",
        "import time; print('ready', flush=True); time.sleep(60)",
        mark,
    ]
    starter = "import json, subprocess, sys; subprocess.run(json.loads(sys.argv[1]))"
    loop = subprocess.Popen([sys.executable, "-c", starter, json.dumps(argv)], stdout=subprocess.PIPE, cwd=run_dir)
    assert loop.stdout is not None and loop.stdout.readline() == b"ready\n"
    loop.kill()
    loop.wait()
    loop.stdout.close()
    assert wait_gone(mark)


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap's own promises")
def test_temporary_folders_outside_are_private_and_small(here: Sandbox, run_dir: Path) -> None:
    code = TRY + (
        "import os\nprint(os.listdir('/dev/shm'), os.listdir('/run'))\n"
        "def fill(path):\n    with open(path, 'wb') as file:\n        for _ in range(80): file.write(bytes(2**20))\n"
        "print([attempt(lambda: fill(p + '/autoresearch-test')) for p in sys.argv[1:]])"
    )
    folders = [p for p in ("/tmp", "/dev/shm", "/var/tmp", "/run", "/dev") if Path(p).is_dir()]
    out = python(here.prefix([run_dir]), run_dir, code, *folders)
    assert out.splitlines()[0] == "[] []" and "done" not in out
    assert not any((Path(p) / "autoresearch-test").exists() for p in folders)


# --- choosing --------------------------------------------------------------------------------------------------------


def test_without_a_sandbox_it_says_what_to_do() -> None:
    def refused(platform: str, problem: str) -> str:
        with pytest.raises(SandboxError) as caught:
            select(platform=platform, attempt=lambda s: problem)
        assert "--no-sandbox" in str(caught.value) and "\n" not in str(caught.value)
        return str(caught.value)

    assert "apt-get install bubblewrap" in refused("linux", "not found")
    assert "apparmor_restrict_unprivileged_userns" in refused("linux", "bwrap: setting up uid map: Permission denied")
    assert "already confined" in refused("darwin", "sandbox-exec: sandbox_apply: Operation not permitted")
    assert "not nest" not in refused("darwin", "sandbox-exec: syntax error")


def test_the_platform_decides() -> None:
    assert isinstance(select(platform="darwin", attempt=lambda s: None), Seatbelt)
    assert isinstance(select(platform="linux", attempt=lambda s: None), Bubblewrap)
    assert isinstance(select(allow_none=True), Unconfined)
    assert all("\n" not in s.describe() and s.describe() for s in (Seatbelt(), Bubblewrap(), Unconfined()))
    assert Unconfined().prefix([Path("/x")]) == []


def test_a_bubblewrap_that_is_not_there_is_noticed() -> None:
    with pytest.raises(SandboxError, match="not installed"):
        select(platform="linux", attempt=lambda s: sandbox._attempt(Bubblewrap("/no/such/bwrap")))
    with pytest.raises(SandboxError, match="fails"):
        select(platform="linux", attempt=lambda s: sandbox._attempt(Bubblewrap("false")))


# --- environment and limits ------------------------------------------------------------------------------------------


def test_several_threads_can_confine_at_once(here: Sandbox, tmp_path: Path) -> None:
    out: list[str] = []

    def go(name: str) -> None:
        folder = tmp_path / name
        (folder / "tmp").mkdir(parents=True)
        out.append(python(here.prefix([folder]), folder, "open('x', 'w').write('y'); print('written')"))

    threads = [threading.Thread(target=go, args=(str(i),)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out == ["written"] * 3
