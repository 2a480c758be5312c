"""Stand in for an Ollama server over real HTTP, with scripted answers. It keeps the contract that our client relies on.

In a test:       with FakeOllama([{"reply": "SET DEPTH = 6"}]) as fake: ... fake.url, fake.requests, fake.loads
As a process:    python -m testbed.fake_ollama --port 0 --script FILE        prints the URL
As `ollama`:     install(folder, FILE) writes an executable `ollama` whose `serve` listens on OLLAMA_HOST

FILE holds FakeOllama's arguments as JSON: {"script": [steps], "cycle": true, "load_s": 0.5}. As `ollama` it may also
hold "start_s" (seconds until the server listens), "fails" (it does not start) and "model_process" (a process named
llama-server runs beside it).

The same script also answers as an OpenAI-compatible endpoint under /v1.

A step of the script describes the answer to one chat request:
  reply, thinking      the texts; thinking is sent unless the request turns it off
  chunks               number of pieces in which the reply is sent (default 4)
  delay_s, pause_s     seconds before the first byte, and between chunks
  late_s               seconds between the headers and the first chunk, for servers that send headers at once
  status, error        an error before the first chunk, e.g. 500 and "llama runner process has terminated"
  error_after          send so many chunks, then an {"error"} line although the status was 200
  cut                  end the stream without its last chunk; with "reset", break the connection
  done_reason          overrides "stop" or "length"
  prompt_eval_count    overrides the count; a count of 0 is left out, as a real server does
  done                 null leaves `done` out of the last chunk
  kill_runner          the model's process dies with this request; with error_after, as the real server tells it
  die                  close the listening socket after this request, as if the server had died
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from testbed.fake_ollama_http import FakeServer, ScriptStep
from testbed.fake_ollama_wire import BYTES_PER_TOKEN, seconds

MODEL = {
    "name": "qwen2.5-coder:7b",
    "size": 4_683_087_332,
    "parameter_size": "7.6B",
    "architecture": "qwen2",
    "context_length": 32768,
    "capabilities": ["completion", "tools", "insert"],
}
SMALL = {**MODEL, "name": "qwen2.5-coder:1.5b", "parameter_size": "1.5B", "size": 986_061_892}
THINKER = {**MODEL, "name": "qwen3.5:9b", "parameter_size": "9.1B", "architecture": "qwen35"}
THINKER["capabilities"] = ["completion", "tools", "thinking"]
EMBEDDER = {**MODEL, "name": "nomic-embed-text:latest", "size": 274_302_450, "parameter_size": "137M"}
EMBEDDER["capabilities"] = ["embedding"]
CLOUD = {**MODEL, "name": "gpt-oss:120b-cloud", "size": 384, "remote_host": "https://ollama.com:443"}
LARGE = {**MODEL, "name": "qwen3.6:27b", "size": 17 * 2**30, "parameter_size": "27.4B"}
PULL: list[dict[str, Any]] = [  # the lines of a download
    {"status": "pulling manifest"},
    {"status": "pulling 60e05f210007", "digest": "sha256:60e0", "total": 1000, "completed": 400},
    {"status": "pulling 60e05f210007", "digest": "sha256:60e0", "total": 1000, "completed": 1000},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
]


class FakeOllama:
    """Server in a thread. `script` is a list of steps, or a function that returns the step for a request body."""

    def __init__(
        self,
        script: Sequence[ScriptStep] | Callable[[dict[str, Any]], ScriptStep] = (),
        *,
        models: Sequence[dict[str, Any]] = (MODEL,),
        cycle: bool = False,
        load_s: float = 0.0,
        unload_s: float = 0.0,
        stuck: bool = False,
        loaded_bytes: int | None = None,
        loaded_sizes: Mapping[str, int] | None = None,
        context_limit: int | None = None,
        counts_cached: bool = True,
        lists_loaded: bool = True,
        own_names_only: bool = False,
        max_queue: int | None = None,
        pull: Sequence[dict[str, Any]] = (),
        port: int = 0,
    ) -> None:
        """Prepare a server with these `models` installed, on a free port unless `port` is given.

        A loaded model takes `loaded_sizes` bytes by its name, else `loaded_bytes`; a `stuck` one never leaves memory.
        No request gets a context above `context_limit`. With `counts_cached` False, prompt_eval_count leaves out the
        tokens that the prompt cache holds, as some servers do. Without `lists_loaded` there is no /api/ps. With
        `own_names_only`, /v1 answers for installed models alone. With `max_queue`, one chat runs at a time, and so many
        wait.
        """
        self.script = script if callable(script) else list(script)
        self.models = {model["name"]: model for model in models}
        self.cycle, self.load_s, self.unload_s, self.stuck = cycle, load_s, unload_s, stuck
        self.loaded_sizes = dict(loaded_sizes or {})
        self.loaded_bytes, self.context_limit, self.pull_lines = loaded_bytes, context_limit, list(pull)
        self.counts_cached, self.lists_loaded, self.own_names_only = counts_cached, lists_loaded, own_names_only
        self.default_num_ctx = 4096  # what a machine with under 23 GiB of GPU memory gets
        self.read: list[int] = []  # tokens that each chat read anew, which the prompt cache did not hold
        self._cache = ""  # the text in the prompt cache
        self._max_queue, self._waiting, self._turn = max_queue, 0, threading.Lock()
        self.requests: list[tuple[str, dict[str, Any]]] = []  # (path, body) of every POST
        self.loads: list[tuple[str, int]] = []  # (model, num_ctx) of every start of a model's process
        self.disconnects = 0
        self.resident: dict[str, dict[str, Any]] = {}  # model -> asked, shift, num_ctx, expires, leaving, dead
        self.lock = threading.Lock()
        self.played = 0
        self._http = FakeServer(("127.0.0.1", port), self)
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeOllama:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def chats(self) -> list[dict[str, Any]]:
        return [body for path, body in self.requests if path in ("/api/chat", "/v1/chat/completions")]

    def next_step(self, body: dict[str, Any]) -> ScriptStep:
        with self.lock:
            number, self.played = self.played, self.played + 1
        if callable(self.script):
            return self.script(body)
        if self.cycle and self.script:
            return self.script[number % len(self.script)]
        over = {"status": 500, "error": f"the script has {len(self.script)} steps and this is request {number + 1}"}
        return self.script[number] if number < len(self.script) else over

    def reused(self, messages: Sequence[dict[str, Any]]) -> int:
        """Return how many tokens of a prompt the cache holds, those of its beginning, and replace the cache by it."""
        prompt = "".join(message["content"] for message in messages)
        pairs = zip(prompt, self._cache, strict=False)
        shared, self._cache = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)), prompt
        self.read.append((len(prompt) - shared) // BYTES_PER_TOKEN)
        return shared // BYTES_PER_TOKEN

    def remember(self, answer: str) -> None:
        """Keep an answer in the prompt cache, after its prompt."""
        self._cache += answer

    @contextlib.contextmanager
    def in_line(self) -> Iterator[bool]:
        """Yield when a chat's turn has come, with False at once where the queue is full."""
        if self._max_queue is None:
            yield True
            return
        with self.lock:
            full = self._waiting > self._max_queue
            self._waiting += not full
        if full:
            yield False
            return
        try:
            with self._turn:
                yield True
        finally:
            with self.lock:
                self._waiting -= 1

    # --- memory ---

    def asked_context(self, body: Mapping[str, Any]) -> int:
        """Return the num_ctx that a request gets."""
        asked = int((body.get("options") or {}).get("num_ctx") or self.default_num_ctx)
        asked = asked if asked > 0 else self.default_num_ctx
        return min(asked, self.context_limit or asked)

    def granted(self, model: Mapping[str, Any], num_ctx: int) -> int:
        """Return the context of a loaded model: no more than it was trained for."""
        return min(num_ctx, model["context_length"])

    def ensure_loaded(self, model: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
        """Load the model unless it is in memory with the same num_ctx and shift; return whether it was loaded."""
        name, options = model["name"], body.get("options") or {}
        asked = {"asked": options.get("num_ctx", self.default_num_ctx), "shift": body.get("shift", True)}
        num_ctx = self.asked_context(body)
        with self.lock:
            self._expire()
            known = self.resident.get(name)
            if known is not None and known | asked == known and not known["leaving"] and not known["dead"]:
                return False
            self.resident.clear()  # a server with OLLAMA_MAX_LOADED_MODELS=1 holds one model
            self.loads.append((name, num_ctx))
            self._cache = ""
        time.sleep(self.load_s)
        with self.lock:
            held = {"num_ctx": num_ctx, "expires": time.monotonic() + 300, "leaving": False, "dead": False}
            self.resident[name] = asked | held
        return True

    def kill_runner(self) -> None:
        """Let the processes of the loaded models die. The server goes on listing them, and loads them when asked."""
        with self.lock:
            for held in self.resident.values():
                held["dead"] = True

    def keep(self, name: str, keep_alive: Any) -> None:
        """Set how long a model stays in memory: for ever if `keep_alive` is negative, for `unload_s` if it is 0."""
        stay = seconds(keep_alive)
        with self.lock:
            if name in self.resident and not (self.stuck and stay == 0):
                after = self.unload_s if stay == 0 else (stay if stay > 0 else 1e9)
                self.resident[name].update(expires=time.monotonic() + after, leaving=stay == 0)

    def add(self, name: str) -> None:
        """Install a model, as the end of a pull does."""
        self.models[name] = {**MODEL, "name": name}

    def listed(self) -> dict[str, dict[str, Any]]:
        with self.lock:
            self._expire()
            return dict(self.resident)

    def _expire(self) -> None:
        now = time.monotonic()
        self.resident = {name: held for name, held in self.resident.items() if held["expires"] > now}


# --- as a process -----------------------------------------------------------------------------------------------------


def install(folder: Path, script: Path) -> Path:
    """Write an executable `ollama` into `folder` that serves `script`; put `folder` first on PATH."""
    executable = folder / "ollama"
    code = "import sys; from testbed import fake_ollama as f; sys.exit(f.serve_as_ollama(sys.argv[2:], sys.argv[1]))"
    command = shlex.join([sys.executable, "-c", code, str(script)])
    root = shlex.quote(str(Path(__file__).parents[1]))
    executable.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {command} "$@"\n')
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    return executable


def serve_as_ollama(argv: Sequence[str], script: str) -> int:
    """Serve on OLLAMA_HOST, as `ollama serve` does, and write the environment beside the script for tests to read."""
    if list(argv) != ["serve"]:
        print(f"unknown command {argv}", file=sys.stderr)
        return 1
    environment = {name: value for name, value in os.environ.items() if name.startswith("OLLAMA_")}
    Path(script).with_suffix(".env.json").write_text(json.dumps(environment))
    options = json.loads(Path(script).read_text())
    if delay := options.pop("start_s", 0):
        time.sleep(delay)
    if options.pop("fails", False):
        print("Error: could not create the models folder", file=sys.stderr)
        return 1
    if options.pop("model_process", False):
        start_model(Path(script).parent)
    return _serve(FakeOllama(**options, port=int(os.environ["OLLAMA_HOST"].rpartition(":")[2])))


def start_model(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that looks like a model's: `llama-server ... --model .../blobs/sha256-60e0...`."""
    executable = folder / "llama-server"
    if not executable.exists():
        executable.symlink_to(sys.executable)
    blob = folder / "blobs" / "sha256-60e05f2100071479f596b964f89f510f057ce397ea22f2833a0cfe029bfc2463"
    command = [executable, "-c", "import time; time.sleep(300)", "--model", blob]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _serve(fake: FakeOllama) -> int:
    fake.start()
    print(fake.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, required=True)
    arguments = parser.parse_args()
    options = json.loads(arguments.script.read_text())
    return _serve(FakeOllama(**options, port=arguments.port))


if __name__ == "__main__":
    raise SystemExit(main())
