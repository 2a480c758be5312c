"""The fake server says what a real one said: every recorded request is sent to it and the answers are compared."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoresearch.search.llm.transport import error_of
from testbed import recorded
from testbed.fake_ollama import MODEL, FakeOllama

CASES: dict[str, dict[str, Any]] = json.loads((recorded.FOLDER / "ollama.json").read_text())
AT_ONCE = {"o_busy", "w_queue_full"}  # cases whose requests were sent at the same time
SMALL = {**MODEL, "name": "qwen2.5-coder:1.5b", "size": 1_117_320_919}
NO_HOST = {"error": CASES["n_pull"]["exchanges"][0]["last"]["error"]}


@dataclass(frozen=True)
class Said:
    """An answer as it came: status, content type, and the first and the last object of its body."""

    status: int | None = None
    type: str | None = None
    allow: str | None = None
    first: Any = None
    last: Any = None
    error: str | None = None  # class of the client's exception


def fake(**options: Any) -> FakeOllama:
    return FakeOllama(models=[SMALL], pull=[{"status": "pulling manifest"}, NO_HOST], own_names_only=True, **options)


def expanded(value: Any) -> Any:
    """Write out the long prompts, which the recordings abbreviate: "<'word ' x 3>" and "<word x 3>"."""
    if isinstance(value, dict):
        return {key: expanded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [expanded(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"<(?:'(.*?)'|(\w+)) x (\d+)>", lambda m: (m[1] or f"{m[2]} ") * int(m[3]), value)
    return value


def step(exchange: dict[str, Any]) -> dict[str, Any]:
    """Return the step of a script that ends as the recorded answer did."""
    body, last = exchange["request"].get("body") or {}, exchange.get("last")
    last = last if isinstance(last, dict) else {}
    if exchange.get("error") or exchange.get("client"):
        return {"reply": "The numbers from", "chunks": 3, "cut": "reset"}
    if "error" in last and exchange["status"] == 200:
        return {"reply": "The numbers from", "chunks": 3, "kill_runner": True, "error_after": 2}
    schema = body.get("format") or body.get("response_format", {}).get("json_schema", {}).get("schema")
    named = schema.get("properties", {}) if isinstance(schema, dict) else {}
    reply = json.dumps(dict.fromkeys(named, 1)) if named else "1" if schema else "Yes."
    cut = last.get("done_reason") == "length" or "length" in json.dumps(last.get("choices", ""))
    return {"reply": "1, 2, 3, " * 1000 if cut and not named else reply, "chunks": 3}


def send(url: str, request: dict[str, Any]) -> Said:
    """Send a recorded request and return what came."""
    content = request["raw"] if "raw" in request else json.dumps(expanded(request["body"])) if "body" in request else ""
    text = ""
    try:
        with httpx.stream(request["method"], url + request["path"], content=content, trust_env=False) as response:
            head = (response.status_code, response.headers.get("content-type"), response.headers.get("allow"))
            for piece in response.iter_text():
                text += piece
    except httpx.HTTPError as error:
        return Said(error=type(error).__name__)
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line and line != "data: [DONE]"]
    streamed = head[1] in ("application/x-ndjson", "text/event-stream")
    return Said(*head, parsed(lines[0]) if streamed else None, parsed(lines[-1] if streamed else text))


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text or None


def shape(value: Any) -> Any:
    """Return keys and types of JSON, and of texts nothing but their type."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def kind(said: Any) -> tuple[str, str] | None:
    """Return an error's text without its numbers, and the reason that the program takes it for."""
    error = said.get("error") if isinstance(said, dict) else None
    text = error["message"] if isinstance(error, dict) else error
    return (re.sub(r"\d+", "N", text), error_of(text, 400).reason) if text else None


def full(said: Any, request: dict[str, Any]) -> bool:
    """Return whether an answer ended at the context's end."""
    counted = said.get("prompt_eval_count", 0) + said.get("eval_count", 0) if isinstance(said, dict) else 0
    return bool(counted) and counted == request["body"]["options"].get("num_ctx")


def compare(recorded: dict[str, Any], said: Said) -> None:
    request, last = recorded["request"], recorded.get("last")
    if recorded.get("error") or recorded.get("client"):
        assert said.error == recorded.get("error", "RemoteProtocolError")
        return
    assert (said.status, said.type, said.allow) == (recorded["status"], recorded["type"], recorded.get("allow"))
    assert shape(said.first) == shape(recorded.get("first")) and shape(said.last) == shape(last)
    assert kind(said.last) == kind(last)
    if not isinstance(last, dict):
        assert said.last == last  # a plain text
    elif "done" in last:
        assert said.last.get("done_reason") == last.get("done_reason")
        assert full(said.last, request) == full(last, request)
    messages = (request.get("body") or {}).get("messages")
    if isinstance(messages, list) and messages and messages[-1]["role"] == "assistant":  # it is continued
        beginning = messages[-1]["content"]
        assert all(first["message"]["content"].startswith(beginning) for first in (said.first, recorded["first"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CASES) - AT_ONCE))
def test_a_recorded_request_gets_the_same_kind_of_answer(name: str) -> None:
    case = CASES[name]
    server = fake()
    server.start()
    if loaded := case.get("loaded"):
        server.ensure_loaded(SMALL, {"options": {"num_ctx": loaded["num_ctx"]}, "shift": loaded.get("shift", True)})
    for exchange in case["exchanges"]:
        if "server" in exchange.get("before", ""):
            server = fake()
            server.start()
        elif "before" in exchange:
            server.kill_runner()
        server.script = [step(exchange)]
        server.played, loads = 0, len(server.loads)
        compare(exchange, send(server.url, exchange["request"]))
        if exchange.get("loads") is not None:
            assert len(server.loads) - loads == exchange["loads"], exchange["request"]
        if "then" in exchange:
            server.stop()
    if "then" not in case["exchanges"][-1]:
        server.stop()


def test_requests_beyond_the_queue_are_refused_at_once() -> None:
    exchanges = CASES["w_queue_full"]["exchanges"]
    refused = threading.Event()

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        refused.wait(5)
        return {"reply": "1, 2, 3, " * 100}

    with fake(max_queue=1) as server, ThreadPoolExecutor(6) as pool:
        server.script = answer
        sent = [pool.submit(send, server.url, exchange["request"]) for exchange in exchanges]
        while sum(future.done() for future in sent) < 4 and not refused.wait(0.01):
            pass
        refused.set()
        said = sorted((future.result() for future in sent), key=lambda one: -(one.status or 0))
    for exchange, one in zip(exchanges, said, strict=True):
        compare(exchange, one)


def test_requests_wait_in_line() -> None:
    exchanges = CASES["o_busy"]["exchanges"]
    with fake(max_queue=512) as server, ThreadPoolExecutor(4) as pool:
        server.script = step(exchanges[0]), *[step(exchange) for exchange in exchanges[1:]]
        sent = [pool.submit(send, server.url, exchange["request"]) for exchange in exchanges]
        for exchange, future in zip(exchanges, sent, strict=True):
            compare(exchange, future.result())


def test_the_recordings_hold_nothing_of_a_machine() -> None:
    text = (Path(recorded.FOLDER) / "ollama.json").read_text()
    assert not re.search(r"/(?:home|root|Users|tmp|work)/|https?://(?!<)", text)
