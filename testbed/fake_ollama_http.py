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
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from testbed import fake_ollama_wire as wire
from testbed.fake_openai import OpenAIRoutes, ScriptStep

JSON, BARE_JSON, NDJSON = "application/json; charset=utf-8", "application/json", "application/x-ndjson"
HEADED = ("/", "/api/version", "/api/tags")  # routes that answer HEAD


class FakeServer(ThreadingHTTPServer):
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


class Handler(OpenAIRoutes, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing among the output of a test."""

    @property
    def fake(self) -> Any:
        return self.server.fake

    # --- routes ---

    @property
    def _gets(self) -> Mapping[str, Any]:
        return {
            "/": lambda: self._send(200, b"Ollama is running", "text/plain; charset=utf-8"),
            "/api/version": lambda: self.send_json(200, {"version": "0.0.0"}),
            "/api/tags": lambda: self.send_json(200, {"models": [wire.tag(m) for m in self.fake.models.values()]}),
            "/api/ps": self._ps,
            "/v1/models": self.v1_models,
        }

    @property
    def _posts(self) -> Mapping[str, Any]:
        return {
            "/api/show": self._show,
            "/api/pull": self._pull,
            "/api/copy": lambda body: self.send_json(404, {"error": f'model "{body["source"]}" not found'}),
            "/api/chat": self._chat,
            "/api/generate": self._generate,
            "/v1/chat/completions": self.completions,
        }

    def do_GET(self) -> None:
        self._routed(self._gets, lambda route: route())

    def do_HEAD(self) -> None:
        self._routed({path: self._gets[path] for path in HEADED}, lambda route: route())

    def do_POST(self) -> None:
        self._routed(self._posts, self._posted)

    def do_DELETE(self) -> None:
        body = json.loads(self._body())
        self.send_json(404, {"error": f"model '{body['model']}' not found"})

    def _routed(self, routes: Mapping[str, Any], call: Any) -> None:
        """Answer by the path's route; an unknown path is a 404 and another method a 405, both in plain text."""
        if self.path in routes:
            call(routes[self.path])
            return
        self._body()
        allowed = "HEAD, GET" if self.path in HEADED else "GET" if self.path in self._gets else "POST"
        if self.path in self._gets or self.path in self._posts:
            self._send(405, b"405 method not allowed", "text/plain", Allow=allowed)
        else:
            self._send(404, b"404 page not found", "text/plain")

    def _posted(self, route: Any) -> None:
        body = wire.parsed(self._body())
        refused = body if isinstance(body, tuple) else wire.malformed(body)
        if isinstance(body, dict):
            self.fake.requests.append((self.path, body))
        if isinstance(refused, tuple) and self.path != "/api/copy":
            self._refuse(refused)
        else:
            route(body)

    def _ps(self) -> None:
        if self.fake.lists_loaded:
            self.send_json(200, {"models": self._processes()})
        else:  # as servers that imitate Ollama do
            self._send(404, b"404 page not found", "text/plain")

    def _processes(self) -> list[dict[str, Any]]:
        rows = []
        for name, held in self.fake.listed().items():
            model = self.fake.models[name]
            size = self.fake.loaded_sizes.get(name) or self.fake.loaded_bytes or int(model["size"] * 1.2)
            expires = datetime.now(UTC) + timedelta(seconds=held["expires"] - time.monotonic())
            rows.append(wire.process(model, size, expires, self.fake.granted(model, held["num_ctx"])))
        return rows

    def _show(self, body: dict[str, Any]) -> None:
        if (model := self._model(body)) is not None:
            self.send_json(200, wire.show(model))

    def _pull(self, body: dict[str, Any]) -> None:
        if not re.fullmatch(r"[\w.:/-]+", body["model"]):
            self.send_json(400, {"error": "invalid model name"})
            return
        failed = next((line for line in self.fake.pull_lines if "error" in line), None)
        if failed and body.get("stream") is False:
            self.send_json(500, failed, BARE_JSON)
            return
        self._begin(NDJSON)
        for line in self.fake.pull_lines:
            time.sleep(line.get("pause_s", 0))
            if line.get("status") == "success":  # a server reports it once the model is installed
                self.fake.add(body["model"])
            self._line(line)
        self.end()

    def _generate(self, body: dict[str, Any]) -> None:
        """Answer a prompt that is too long, or an empty one, which loads or unloads a model."""
        model = self._model(body)
        if model is None or self._refused(wire.wrong_option(body)):
            return
        num_ctx = self.fake.asked_context(body)
        tokens = len(body.get("prompt", "").encode()) // wire.BYTES_PER_TOKEN
        if tokens > num_ctx:
            self._refuse(wire.too_long(tokens, num_ctx), BARE_JSON)
        else:
            self._hold(body, model, {"response": ""})

    def _hold(self, body: dict[str, Any], model: dict[str, Any], empty: dict[str, Any]) -> None:
        """Load or unload a model, and tell it at once, streamed or not."""
        unload = wire.seconds(body.get("keep_alive", "5m")) == 0
        if not unload:
            self.fake.ensure_loaded(model, body)
        self.fake.keep(model["name"], body.get("keep_alive", "5m"))
        self.send_json(200, {**wire.chunk(model), **empty, "done": True, "done_reason": "unload" if unload else "load"})

    def _chat(self, body: dict[str, Any]) -> None:
        model = self._model(body)
        if model is None or self._refused(wire.wrong_option(body)):
            return
        if body.get("think") and "thinking" not in model["capabilities"]:
            self.send_json(400, {"error": f"{json.dumps(model['name'])} does not support thinking"})
        elif not body.get("messages"):
            self._hold(body, model, {"message": {"role": "assistant", "content": ""}})
        else:
            with self.fake.in_line() as admitted:
                if admitted:
                    self._answer(body, model)
                else:
                    self._send(503, 2 * wire.dumped({"error": wire.BUSY}).encode(), JSON)  # it comes twice

    def _answer(self, body: dict[str, Any], model: dict[str, Any]) -> None:
        """Answer a chat with the next step of the script."""
        loaded = self.fake.ensure_loaded(model, body)
        self.fake.keep(model["name"], body.get("keep_alive", "5m"))
        num_ctx = self.fake.asked_context(body)
        messages = body["messages"]
        if body.get("truncate") is not False:
            messages = wire.shortened(messages, num_ctx)
        prompt_tokens = wire.tokens(messages)
        if body.get("_debug_render_only"):
            debug = {"message": {"role": "", "content": ""}, "done": False}
            rendered = "".join(f"<|{m['role']}|>{m['content']}" for m in messages)
            self.send_json(200, {**wire.chunk(model), **debug, "_debug_info": {"rendered_template": rendered}})
            return
        if prompt_tokens > num_ctx:
            self._refuse(wire.too_long(prompt_tokens, num_ctx), BARE_JSON)
            return
        if self._refused(wire.wrong_format(body), BARE_JSON):
            return
        reused = self.fake.reused(messages)
        step = self.fake.next_step(body)
        text, thought, cut = self._texts(body, model, step, num_ctx - prompt_tokens)
        written = wire.written(text, thought)
        counted = prompt_tokens - (0 if self.fake.counts_cached else reused)
        counts = {"prompt_eval_count": step.get("prompt_eval_count", counted), "eval_count": written}
        counts |= wire.durations(loaded, prompt_tokens - reused, written)
        reason = step.get("done_reason", "length" if cut else "stop")
        if body.get("stream") is False:
            message = {"role": "assistant", "content": text}
            last = {"message": message, "done": True, "done_reason": reason, **counts}
            self.send_json(200, {**wire.chunk(model), **last})
            return
        if not self.started(step, NDJSON):
            return
        said = wire.pieces(text, step.get("chunks", 4))
        if said and messages[-1]["role"] == "assistant":  # the answer's beginning was given, and comes again
            said[0] = messages[-1]["content"] + said[0]
        pieces = [{"role": "assistant", "content": "", "thinking": part} for part in wire.pieces(thought, 2)]
        pieces += [{"role": "assistant", "content": part} for part in said]
        self._play(model, step, pieces, reason, counts)

    def _texts(self, body: dict[str, Any], model: dict[str, Any], step: ScriptStep, left: int) -> tuple[str, str, bool]:
        """Return text and thinking, cut to num_predict, or to what is `left` of a context that may not shift."""
        thinks = "thinking" in model["capabilities"] and body.get("think") is not False
        thinking = step.get("thinking", "") if thinks else ""
        room = (body.get("options") or {}).get("num_predict") or -1
        if body.get("shift") is False:
            room = min(room, max(1, left)) if room > 0 else max(1, left)
        return wire.limited(wire.in_format(step.get("reply", ""), body.get("format")), thinking, room)

    def _play(
        self,
        model: dict[str, Any],
        step: ScriptStep,
        pieces: Sequence[dict[str, str]],
        reason: str,
        counts: dict[str, int],
    ) -> None:
        """Send the chunks of an answer that has begun."""
        for number, message in enumerate(pieces):
            if step.get("error_after") == number:
                self._line({"error": step.get("error", wire.RUNNER_KILLED)})
                self.end()
                return
            self._line({**wire.chunk(model), "message": message, "done": False})
            time.sleep(step.get("pause_s", 0.0))
        if self.ended_early(step):
            return
        self.fake.remember("".join(piece["content"] for piece in pieces))
        last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": reason}
        if step.get("done", True) is None:  # as servers that imitate Ollama do
            del last["done"]
        self._line({**wire.chunk(model), **last, **{name: count for name, count in counts.items() if count}})
        self.end()

    # --- what both forms share ---

    def started(self, step: ScriptStep, content_type: str) -> bool:
        """Wait and send the head; return False where the step has an error instead of chunks."""
        time.sleep(step.get("delay_s", 0.0))
        if step.get("die"):
            self.fake.stop()
            self._hang_up()
            return False
        if step.get("kill_runner"):
            self.fake.kill_runner()
        if "status" in step:
            self.send_json(step["status"], {"error": step.get("error", "failed")})
            return False
        self._begin(content_type)
        time.sleep(step.get("late_s", 0.0))
        return True

    def ended_early(self, step: ScriptStep) -> bool:
        if step.get("cut") == "reset":
            self._hang_up()
        elif step.get("cut"):
            self.end()
        return bool(step.get("cut"))

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _model(self, body: dict[str, Any]) -> dict[str, Any] | None:
        name = body["model"] if ":" in body["model"] else f"{body['model']}:latest"
        model: dict[str, Any] | None = self.fake.models.get(name)
        if model is None:
            self.send_json(404, {"error": f"model '{body['model']}' not found"})
        return model

    def _refused(self, refusal: wire.Refusal | None, content_type: str = JSON) -> bool:
        if refusal:
            self._refuse(refusal, content_type)
        return refusal is not None

    def _refuse(self, refusal: wire.Refusal, content_type: str = JSON) -> None:
        self.send_json(refusal[0], {"error": refusal[1]}, content_type)

    # --- bytes ---

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send_json(self, status: int, content: Any, content_type: str = JSON) -> None:
        self._send(status, wire.dumped(content).encode(), content_type)

    def _send(self, status: int, data: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _line(self, content: Any) -> None:
        self.write(wire.dumped(content).encode() + b"\n")

    def event(self, content: Any) -> None:
        self.write(b"data: " + wire.dumped(content).encode() + b"\n\n")

    def write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
