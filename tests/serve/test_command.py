"""`loop.py serve` starts and ends at any time, tells its token once, and costs nobody else anything."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from autoresearch.errors import UsageError
from autoresearch.paths import serve_token
from autoresearch.serve import command
from testbed.served import SERVE, write_night
from testbed.toy import ROOT

pytestmark = pytest.mark.slow

GOOD = {"title": "Shallower", "hypothesis": "More steps.", "category": "depth", "edits": "SET DEPTH = 3"}


@contextmanager
def started(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    """Start the command; yield its process, the lines that it prints first, and the address that is in them."""
    argv = [sys.executable, "-c", SERVE, str(root), "serve", "--port", "0", *options]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            lines = []
            while not lines or "Ctrl-C" not in lines[-1]:
                lines.append(process.stdout.readline())
                assert lines[-1], lines
            yield process, lines, re.findall(r"http://[\w.:-]+:\d+", lines[0])[0]
        finally:
            process.kill()


def test_it_is_killed_and_started_at_any_time_and_loses_nothing(tmp_path: Path) -> None:
    write_night(tmp_path)
    with started(tmp_path) as (process, lines, url):
        token = serve_token(tmp_path).read_text().strip()
        assert lines[0] == f"open {url}/?token={token}\n" and url.startswith("http://127.0.0.1:")
        headers = {"authorization": f"Bearer {token}"}
        id = httpx.post(f"{url}/hypotheses", json=GOOD, headers=headers, timeout=60).json()["id"]
        process.kill()
    with started(tmp_path) as (process, lines, url):
        assert token not in "".join(lines) and str(serve_token(tmp_path)) in lines[0]
        assert httpx.get(f"{url}/hypotheses/{id}", headers=headers, timeout=60).json()["status"] == "queued"
        with httpx.stream("GET", f"{url}/events", headers=headers, timeout=60) as answer:
            next(answer.iter_bytes())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        assert process.stdout is not None and process.stdout.read() == ""


def test_answers_are_not_held_back_for_more_to_send() -> None:
    with command.listening("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # asyncio sets TCP_NODELAY by it


def test_a_port_that_is_taken_is_named_with_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*serve --port {port + 1}"):
            command.listening("127.0.0.1", port)
    with pytest.raises(UsageError, match="--port 99999: ports are numbers from 0 to 65535"):
        command.listening("127.0.0.1", 99999)
    with pytest.raises(UsageError, match=r"--host no\.such\.host\.invalid"):
        command.listening("no.such.host.invalid", 0)


def test_it_greets_with_an_address_that_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "serve.token"
    assert command.greeting("127.0.0.1", 8765, "abc", path).startswith("open http://127.0.0.1:8765/?token=abc\n")
    assert command.greeting("::1", 80, None, path).startswith("serving http://[::1]:80 ")
    assert f"http://{socket.gethostname()}:80/" in command.greeting("0.0.0.0", 80, "abc", path)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    without = f"import sys; sys.modules['fastapi'] = None; {SERVE.removeprefix('import sys; ')}"
    argv = [sys.executable, "-c", without, str(tmp_path), "serve"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == f"error: {command.NEEDS}\n" and done.stdout == ""


def test_no_other_command_loads_it(tmp_path: Path) -> None:
    write_night(tmp_path, 1)
    both = "loop.main(['--help']); loop.main(['status']); print([m for m in sys.modules if 'fastapi' in m])"
    argv = [sys.executable, "-c", SERVE.replace("sys.exit(loop.main())", both), str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "serve" in done.stdout and done.stdout.endswith("[]\n"), done.stderr
