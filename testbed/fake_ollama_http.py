"""Answer HTTP requests for the fake Ollama server: routes, streams, and the limits that a real server keeps.

fake_ollama.FakeOllama holds the loaded models and chooses the next step of the script.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Step = dict[str, Any]
BYTES_PER_TOKEN = 4
DEFAULT_NUM_CTX = 4096  # what a machine with under 23 GiB of GPU memory gets
UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], fake: Any) -> None:
        super().__init__(address, Handler)
        self.fake = fake

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Count a client that hangs up, which the contract allows; report any other error."""
        if isinstance(sys.exc_info()[1], BrokenPipeError | ConnectionResetError):
            self.fake.disconnects += 1
        else:
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing among the output of a test."""

    @property
    def fake(self) -> Any:
        return self.server.fake

    # --- routes ---

    def do_GET(self) -> None:
        routes = {
            "/": lambda: self._send(200, b"Ollama is running", "text/plain; charset=utf-8"),
            "/api/version": lambda: self._json(200, {"version": "0.14.2"}),
            "/api/tags": lambda: self._json(200, {"models": [_tag(model) for model in self.fake.models.values()]}),
            "/api/ps": lambda: self._json(200, {"models": self._processes()}),
            "/v1/models": lambda: self._json(
                200, {"object": "list", "data": [self._listed(n) for n in self.fake.models]}
            ),
        }
        routes.get(self.path, lambda: self._json(404, {"error": "404 page not found"}))()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(length) or b"{}")
        except ValueError as error:
            self._json(400, {"error": str(error)})
            return
        self.fake.requests.append((self.path, body))
        routes = {
            "/api/show": self._show,
            "/api/pull": self._pull,
            "/api/chat": self._chat,
            "/api/generate": self._generate,
            "/v1/chat/completions": self._completions,
        }
        routes.get(self.path, lambda _: self._json(404, {"error": "404 page not found"}))(body)

    def _listed(self, name: str) -> dict[str, Any]:
        """Describe a model as llama-server does if there is a context_limit, else by its name alone, as others do."""
        limit = self.fake.context_limit
        return {"id": name} | ({"meta": {"n_ctx": limit, "n_params": 134_515_008}} if limit else {})

    def _processes(self) -> list[dict[str, Any]]:
        rows = []
        for name, held in self.fake.listed().items():
            model = self.fake.models[name]
            size = self.fake.loaded_sizes.get(name) or self.fake.loaded_bytes or int(model["size"] * 1.2)
            expires = datetime.now(UTC) + timedelta(seconds=held["expires"] - time.monotonic())
            context = min(held["num_ctx"], self.fake.context_limit or held["num_ctx"])
            facts = {"size": size, "size_vram": size, "expires_at": expires.isoformat(), "context_length": context}
            rows.append({**_tag(model), **facts})
        return rows

    def _show(self, body: dict[str, Any]) -> None:
        model = self._model(body)
        if model is not None:
            architecture = model["architecture"]
            info = {
                "general.architecture": architecture,
                f"{architecture}.context_length": model["context_length"],
                f"{architecture}.block_count": 28,
                f"{architecture}.attention.head_count": 28,
                f"{architecture}.attention.head_count_kv": 4,
                f"{architecture}.embedding_length": 3584,
            }
            tag = _tag(model)
            self._json(200, {"details": tag["details"], "model_info": info, "capabilities": model["capabilities"]})

    def _pull(self, body: dict[str, Any]) -> None:
        self._begin("application/x-ndjson")
        for line in self.fake.pull_lines:
            time.sleep(line.get("pause_s", 0))
            if line.get("status") == "success":  # a server reports it once the model is installed
                self.fake.add(body["model"])
            self._line(line)
        self._end()

    def _generate(self, body: dict[str, Any]) -> None:
        """Answer an empty prompt, which loads or unloads a model."""
        model = self._model(body)
        if model is None:
            return
        keep_alive = body.get("keep_alive", "5m")
        unload = seconds(keep_alive) == 0
        if not unload:
            self.fake.ensure_loaded(model["name"], self._num_ctx(body))
        self.fake.keep(model["name"], keep_alive)
        last = {**_chunk(model), "response": "", "done": True, "done_reason": "unload" if unload else "load"}
        if body.get("stream", True):
            self._begin("application/x-ndjson")
            self._line(last)
            self._end()
        else:
            self._json(200, last)

    def _chat(self, body: dict[str, Any]) -> None:
        model = self._model(body)
        if model is None:
            return
        think, capable = body.get("think"), "thinking" in model["capabilities"]
        if think and not capable:
            self._json(400, {"error": f"{json.dumps(model['name'])} does not support thinking"})
            return
        num_ctx = self._num_ctx(body)
        self.fake.ensure_loaded(model["name"], num_ctx)
        self.fake.keep(model["name"], body.get("keep_alive", "5m"))
        prompt_tokens = _tokens(body["messages"])
        if prompt_tokens > num_ctx:
            if body.get("truncate") is False:
                self._json(400, {"error": "the input length exceeds the context length"})
                return
            prompt_tokens = 4 + num_ctx // 2  # the server keeps the first 4 tokens and the last half
        prompt_tokens -= self.fake.cached_tokens(body["messages"])
        step = self.fake.next_step(body)
        thinking = step.get("thinking", "") if capable and think is not False else ""
        self._play(body, model, step, thinking, prompt_tokens)

    def _play(self, body: dict[str, Any], model: dict[str, Any], step: Step, thinking: str, prompt_tokens: int) -> None:
        if not self._started(step, "application/x-ndjson"):
            return
        num_predict = body.get("options", {}).get("num_predict", -1)
        text, thought, cut = _limited(in_format(step.get("reply", ""), body.get("format")), thinking, num_predict)
        pieces = [{"role": "assistant", "content": "", "thinking": part} for part in _pieces(thought, 2)]
        pieces += [{"role": "assistant", "content": part} for part in _pieces(text, step.get("chunks", 4))]
        for number, message in enumerate(pieces):
            if step.get("error_after") == number:
                self._line({"error": step.get("error", "an error was encountered while running the model")})
                self._end()
                return
            self._line({**_chunk(model), "message": message, "done": False})
            time.sleep(step.get("pause_s", 0.0))
        if self._ended_early(step):
            return
        counts = {
            "prompt_eval_count": step.get("prompt_eval_count", prompt_tokens),
            "eval_count": (len(text) + len(thought)) // BYTES_PER_TOKEN,
            "total_duration": 1_000_000,
            "load_duration": 1000,
        }
        last = {"message": {"role": "assistant", "content": ""}, "done": True}
        last["done_reason"] = step.get("done_reason", "length" if cut else "stop")
        self._line({**_chunk(model), **last, **{k: v for k, v in counts.items() if v}})
        self._end()

    def _completions(self, body: dict[str, Any]) -> None:
        """Answer a chat in OpenAI's form, by server-sent events."""
        step = self.fake.next_step(body)
        if not self._started(step, "text/event-stream"):
            return
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        reply = in_format(step.get("reply", ""), schema)
        text, thought, cut = _limited(reply, step.get("thinking", ""), body.get("max_tokens", -1))
        deltas = [{"reasoning_content": part} for part in _pieces(thought, 2)]
        deltas += [{"content": part} for part in _pieces(text, step.get("chunks", 4))]
        for number, delta in enumerate(deltas):
            if step.get("error_after") == number:
                self._event({"error": {"message": step.get("error", "failed"), "code": 500}})
                self._end()
                return
            self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            time.sleep(step.get("pause_s", 0.0))
        if self._ended_early(step):
            return
        reason = step.get("done_reason", "length" if cut else "stop")
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        usage = {"prompt_tokens": step.get("prompt_eval_count", _tokens(body["messages"]))}
        usage["completion_tokens"] = (len(text) + len(thought)) // BYTES_PER_TOKEN
        if body.get("stream_options", {}).get("include_usage"):
            self._event({"choices": [], "usage": usage})
        self._write(b"data: [DONE]\n\n")
        self._end()

    # --- what both forms share ---

    def _started(self, step: Step, content_type: str) -> bool:
        """Wait and send the head; return False where the step has an error instead of chunks."""
        time.sleep(step.get("delay_s", 0.0))
        if step.get("die"):
            self.fake.stop()
            self._hang_up()
            return False
        if "status" in step:
            self._json(step["status"], {"error": step.get("error", "failed")})
            return False
        self._begin(content_type)
        return True

    def _ended_early(self, step: Step) -> bool:
        if step.get("cut") == "reset":
            self._hang_up()
        elif step.get("cut"):
            self._end()
        return bool(step.get("cut"))

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _model(self, body: dict[str, Any]) -> dict[str, Any] | None:
        name = body.get("model", "")
        name = name if ":" in name else f"{name}:latest"
        model = self.fake.models.get(name)
        if model is None:
            self._json(404, {"error": f"model '{body.get('model')}' not found"})
        return model

    def _num_ctx(self, body: dict[str, Any]) -> int:
        asked = int(body.get("options", {}).get("num_ctx") or DEFAULT_NUM_CTX)
        return min(asked, self.fake.context_limit or asked)

    def _json(self, status: int, content: Any) -> None:
        self._send(status, json.dumps(content).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, data: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _line(self, content: Any) -> None:
        self._write(json.dumps(content).encode() + b"\n")

    def _event(self, content: Any) -> None:
        self._write(b"data: " + json.dumps(content).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _tag(model: dict[str, Any]) -> dict[str, Any]:
    details = {
        "parent_model": "",
        "format": "gguf",
        "family": model["architecture"],
        "families": [model["architecture"]],
        "parameter_size": model["parameter_size"],
        "quantization_level": "Q4_K_M",
    }
    tag = {
        "name": model["name"],
        "model": model["name"],
        "modified_at": "2026-08-01T10:00:00.123456789+02:00",
        "size": model["size"],
        "digest": "2b0496514337a3d5901f1d253d01726c890b721e891335a56d6e08cedf3e2cb0",
        "details": details,
    }
    return tag | ({"remote_host": model["remote_host"]} if "remote_host" in model else {})


def _chunk(model: dict[str, Any]) -> dict[str, Any]:
    return {"model": model["name"], "created_at": datetime.now(UTC).isoformat()}


def _tokens(messages: Sequence[dict[str, Any]]) -> int:
    return sum(len(message["content"].encode()) // BYTES_PER_TOKEN + 4 for message in messages)


def _limited(text: str, thinking: str, num_predict: int) -> tuple[str, str, bool]:
    """Cut thinking and text to num_predict tokens. Thinking comes first and can use them up."""
    room = num_predict * BYTES_PER_TOKEN if num_predict and num_predict > 0 else sys.maxsize
    thought = thinking[:room]
    answer = text[: room - len(thought)]
    return answer, thought, len(thought) + len(answer) < len(thinking) + len(text)


def in_format(reply: str, wanted: Any) -> str:
    """Return the reply as a server writes it under a JSON schema: JSON with its keys in alphabetical order."""
    try:
        found = json.loads(reply)
    except ValueError:
        return reply
    return json.dumps(found, indent=2, sort_keys=True) if isinstance(wanted, dict) else reply


def _pieces(text: str, count: int) -> list[str]:
    size = max(1, -(-len(text) // max(1, count)))
    return [text[i : i + size] for i in range(0, len(text), size)]


def seconds(keep_alive: Any) -> float:
    """Return seconds, from a number or from a Go duration: 5 -> 5, "5m" -> 300, "1h30m" -> 5400, 0 -> 0."""
    if isinstance(keep_alive, int | float):
        return float(keep_alive)
    parts = re.findall(r"(-?\d+(?:\.\d+)?)(ms|s|m|h)", str(keep_alive))
    return sum(float(number) * UNIT_S[unit] for number, unit in parts)
