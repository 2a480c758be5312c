"""Finding an Ollama server, starting one of our own, and ending it with its models, whatever ends the loop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import Question
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.own_server import OFFLINE, OwnServer, connect
from autoresearch.search.llm.transport import Timeouts
from testbed.fake_ollama import FakeOllama, install
from testbed.toy import ROOT

QUICK = Timeouts(connect_s=1, first_byte_s=2, token_s=0, chunk_s=1, answer_s=2, short_s=2, start_s=10, unload_s=0.6)
QUESTION = Question([{"role": "user", "content": "hello"}], max_tokens=200, temperature=0.8, seed=7)
LOOP = """\
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from autoresearch.search.llm.own_server import connect
server = connect(Path(sys.argv[1]), json.loads(sys.argv[2]))
print(server.url, flush=True)
time.sleep(120)
"""


def ask(server: OllamaServer) -> str:
    return server.chat("qwen2.5-coder:7b", QUESTION, num_ctx=8192, think=False, keep_alive="5m").text


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(ProposerError) as caught:
        call()
    return caught.value.reason


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


# --- where it is ------------------------------------------------------------------------------------------------------


def test_a_server_that_wants_a_password_gets_it_or_says_so(tmp_path: Path) -> None:
    """A 401 on this machine is told as what it is, and no other server is started beside it."""
    asked: list[str | None] = []

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            self.send_response(200 if asked[-1] == "Basic bWU6c2VjcmV0" else 401)
            self.end_headers()
            self.wfile.write(b'{"version": "0.14.2"}')

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    install(tmp_path, tmp_path / "script")
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        where, path = f"127.0.0.1:{http.server_port}", {"PATH": str(tmp_path)}
        server = connect(tmp_path / "log", {"OLLAMA_HOST": f"me:secret@{where}/v1", **path}, QUICK)
        assert server is not None and server.url == f"http://{where}"
        with pytest.raises(ProposerError) as caught:
            connect(tmp_path / "log", {"OLLAMA_HOST": where, **path}, QUICK)
        http.shutdown()
    assert asked == ["Basic bWU6c2VjcmV0", None] and caught.value.reason == "unauthorized"
    assert f"http://{where} wants a key or a password, or refuses the one given (HTTP 401)" in str(caught.value)


def test_an_address_or_a_proxy_that_makes_no_sense_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProposerError, match=r"^OLLAMA_HOST=localhost:port: the port"):
        connect(tmp_path / "log", {"OLLAMA_HOST": "localhost:port"})
    monkeypatch.setenv("HTTP_PROXY", "quic://127.0.0.1:9")
    with pytest.raises(ProposerError, match=r"HTTP_PROXY=quic://127\.0\.0\.1:9: a proxy of this kind cannot be used"):
        connect(tmp_path / "log", {"OLLAMA_HOST": "http://192.0.2.1"})


def test_a_proxy_in_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeOllama([{"reply": "hi"}]) as fake:
        assert OllamaServer(fake.url).version() == "0.0.0"
        assert ask(OllamaServer(fake.url)) == "hi"


def test_something_else_on_the_port_is_not_ollama(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        environ = {"OLLAMA_HOST": f"127.0.0.1:{port}", "PATH": ""}
        assert connect(tmp_path / "log", environ, QUICK) is None


def test_another_machine_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ProposerError, match=r"OLLAMA_HOST: http://ollama.invalid:11434 does not answer"):
        connect(tmp_path / "log", {"OLLAMA_HOST": "ollama.invalid", "PATH": ""}, QUICK)


# --- a server of our own ----------------------------------------------------------------------------------------------


def own(tmp_path: Path, **options: Any) -> dict[str, str]:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"script": [{"reply": "SET DEPTH = 6"}], "cycle": True, **options}))
    install(tmp_path, script)
    return {"PATH": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9", "OLLAMA_MODELS": "/models", "HOME": str(tmp_path)}


@pytest.mark.slow
def test_an_installed_server_is_started_offline_and_stopped(tmp_path: Path) -> None:
    server = connect(tmp_path / "logs" / "ollama.log", own(tmp_path, start_s=0.3), QUICK)
    assert server is not None and isinstance(server.own, OwnServer) and server.own.child is not None
    child = server.own.child
    assert ask(server) == "SET DEPTH = 6"
    environment = json.loads((tmp_path / "script.env.json").read_text())
    assert {name: environment[name] for name in OFFLINE} == OFFLINE
    assert environment["OLLAMA_MODELS"] == "/models"
    assert environment["OLLAMA_HOST"] != "127.0.0.1:9" and server.url.endswith(environment["OLLAMA_HOST"])
    server.close()
    assert child.returncode is not None
    assert reason(server.version) == "server_gone"


def test_a_server_of_our_own_that_has_died_is_started_again(tmp_path: Path) -> None:
    server = connect(tmp_path / "ollama.log", own(tmp_path), QUICK)
    assert server is not None and isinstance(server.own, OwnServer) and server.own.child is not None
    server.own.child.kill()
    assert reason(lambda: ask(server)) == "server_gone"
    server.ensure()
    assert ask(server) == "SET DEPTH = 6"
    server.close()


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ProposerError, match=r"does not answer; its log is .*ollama\.log") as caught:
        connect(tmp_path / "ollama.log", own(tmp_path, fails=True), QUICK)
    assert "could not create the models folder" in caught.value.detail


def test_the_fake_runs_as_a_process(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"script": [{"reply": "hello"}]}))
    command = [sys.executable, "-m", "testbed.fake_ollama", "--port", "0", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert ask(OllamaServer(process.stdout.readline().strip())) == "hello"
        process.terminate()


@pytest.mark.slow
def test_a_server_killed_in_an_answer_is_started_again(tmp_path: Path) -> None:
    server = connect(tmp_path / "ollama.log", own(tmp_path, script=[{"reply": "x" * 400, "pause_s": 2}]), QUICK)
    assert server is not None and isinstance(server.own, OwnServer) and server.own.child is not None
    (serve,) = psutil.Process(server.own.child.pid).children()
    threading.Timer(0.5, serve.kill).start()
    assert reason(lambda: ask(server)) == "cut_off"
    own(tmp_path)
    server.ensure()
    assert ask(server) == "SET DEPTH = 6"
    server.close()


@pytest.mark.slow
def test_a_loop_that_is_killed_leaves_neither_its_server_nor_the_models_process(tmp_path: Path) -> None:
    """The server alone would end at its next line of log, and leave the model's process with its memory."""
    environ = json.dumps(own(tmp_path, model_process=True))
    command = [sys.executable, "-c", LOOP, str(tmp_path / "ollama.log"), environ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as loop:
        assert loop.stdout is not None
        server = OllamaServer(loop.stdout.readline().strip(), QUICK)
        (guard,) = psutil.Process(loop.pid).children()
        family = [guard, *guard.children(recursive=True)]
        assert any("llama-server" in process.cmdline()[0] for process in family)
        os.kill(loop.pid, signal.SIGKILL)
    assert until(lambda: not any(process.is_running() for process in family))
    assert reason(server.version) == "server_gone"
