"""The agent's model: a server's where one answers, else the scripted one, and each run says which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from testbed import examples

pytestmark = pytest.mark.slow


class Server(BaseHTTPRequestHandler):
    """An OpenAI-compatible server whose model gives every answer the same."""

    def do_GET(self) -> None:
        self.answer({"data": [{"id": "parrot"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["model"] == "parrot" and asked["messages"][0]["role"] == "system"
        self.answer({"choices": [{"message": {"content": "It is 369."}}]})

    def answer(self, told: object) -> None:
        data = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def prepared_and_run(folder: Path, url: str) -> tuple[str, dict[str, object]]:
    """Prepare and run the example with a server's address; return what the run said and the judge's figures."""
    env = {**os.environ, "AUTORESEARCH_AGENT_URL": url}
    said = ""
    for script in ("data.py", "run.py", "score.py"):
        done = subprocess.run([sys.executable, script], cwd=folder, env=env, capture_output=True, text=True, check=True)
        said += done.stdout
    return said, json.loads(done.stdout)


def test_a_server_that_answers_is_the_model(url: str, tmp_path: Path) -> None:
    said, figures = prepared_and_run(examples.copied("agent", tmp_path), url)
    assert "model: parrot\n" in said and figures["model"] == "parrot" and figures["calls"] == 1


def test_without_a_server_the_model_is_the_scripted_one(tmp_path: Path) -> None:
    said, figures = prepared_and_run(examples.copied("agent", tmp_path), "http://127.0.0.1:9")
    assert "model: scripted\n" in said and figures["model"] == "scripted"
