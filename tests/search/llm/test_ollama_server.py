"""An Ollama server over real HTTP: finding, starting, asking and unloading it, and its failures."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import Answer, Question
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.transport import Timeouts
from testbed.fake_ollama import CLOUD, MODEL, PULL, THINKER, FakeOllama

NAME = "qwen2.5-coder:7b"
QUICK = Timeouts(
    connect_s=1, first_byte_s=0.4, chunk_s=0.3, token_s=0, answer_s=1.0, short_s=2, start_s=10, unload_s=0.6
)


def ask(server: OllamaServer, content: str = "hello", model: str = NAME, **more: Any) -> Answer:
    sent = {"num_ctx": 8192, "think": False, "keep_alive": "5m"}
    limits = {"max_tokens": 200, "temperature": 0.8, "seed": 7} | {k: v for k, v in more.items() if k not in sent}
    question = Question([{"role": "user", "content": content}], **limits)
    return server.chat(model, question, **sent | {k: v for k, v in more.items() if k in sent})


@contextlib.contextmanager
def odd_server(status: int, body: bytes) -> Iterator[str]:
    """Run a server that answers every request in the same way."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(ProposerError) as caught:
        call()
    assert len(str(caught.value)) > 15
    return caught.value.reason


# --- asking -----------------------------------------------------------------------------------------------------------


def test_an_answer_with_its_counts_and_the_request_that_asked_for_it() -> None:
    reply = "TITLE: Größer\nSET DEPTH = 6\n"
    with FakeOllama([{"reply": reply, "chunks": 7}]) as fake:
        answer = ask(OllamaServer(fake.url), "x" * 400)
        (request,) = fake.chats()
    assert (answer.text, answer.thinking, answer.done_reason) == (reply, "", "stop")
    assert (answer.prompt_tokens, answer.answer_tokens) == (104, len(reply) // 4)
    assert answer.seconds > 0
    assert {k: request[k] for k in ("truncate", "shift", "think", "stream", "keep_alive")} == {
        "truncate": False, "shift": False, "think": False, "stream": True, "keep_alive": "5m"
    }  # fmt: skip
    assert request["options"] == {"num_ctx": 8192, "num_predict": 200, "temperature": 0.8, "seed": 7}


def test_thinking_is_kept_apart_and_zero_counts_are_absent() -> None:
    step = {"thinking": "Hm. " * 10, "reply": "SET DEPTH = 6", "prompt_eval_count": 0}
    with FakeOllama([step], models=[THINKER]) as fake:
        answer = ask(OllamaServer(fake.url), model="qwen3.5:9b", think=True)
    assert (answer.text, answer.thinking, answer.prompt_tokens) == ("SET DEPTH = 6", "Hm. " * 10, None)


def test_num_predict_ends_an_answer() -> None:
    with FakeOllama([{"reply": "word " * 1000}]) as fake:
        answer = ask(OllamaServer(fake.url), max_tokens=10)
    assert (len(answer.text), answer.done_reason) == (40, "length")


def test_a_prompt_that_does_not_fit_is_an_error_not_a_silent_cut() -> None:
    with FakeOllama([{"reply": "x"}]) as fake:
        assert reason(lambda: ask(OllamaServer(fake.url), "x" * 40_000)) == "too_long"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"status": 500, "error": "llama runner process has terminated: signal: killed"}, "runner"),
        ({"status": 500, "error": "model requires more system memory (9.1 GiB) than is available"}, "out_of_memory"),
        ({"status": 503, "error": "server busy, please try again.  maximum pending requests exceeded"}, "server_busy"),
        ({"status": 400, "error": "invalid options: num_ctx"}, "bad_request"),
        ({"error_after": 2, "error": "an error was encountered while running the model: unexpected EOF"}, "runner"),
        ({"error_after": 0, "error": "CUDA error: out of memory"}, "out_of_memory"),
        ({"reply": "SET DEPTH = 6", "cut": True}, "cut_off"),
        ({"reply": "SET DEPTH = 6", "cut": "reset"}, "cut_off"),
        ({"reply": "x", "die": True}, "cut_off"),
        ({"reply": "slow", "delay_s": 0.8}, "timeout"),
        ({"reply": "slow between chunks", "pause_s": 0.6}, "timeout"),
        ({"reply": "x" * 40, "chunks": 40, "pause_s": 0.05}, "timeout"),
    ],
)
def test_failures_of_a_chat_by_their_reason(step: dict[str, Any], expected: str) -> None:
    with FakeOllama([{"reply": "some words in four chunks", **step}]) as fake:
        assert reason(lambda: ask(OllamaServer(fake.url, QUICK))) == expected


@pytest.mark.slow
@pytest.mark.parametrize("when", ["delay_s", "late_s"], ids=["before the headers", "after the headers"])
def test_the_first_chunk_may_take_longer_than_the_next_one(when: str) -> None:
    limits = Timeouts(first_byte_s=5, chunk_s=0.25, answer_s=0.4)
    with FakeOllama([{"reply": "in time", when: 0.5}, {"reply": "stalled", "pause_s": 3.0}]) as fake:
        server = OllamaServer(fake.url, limits)
        assert ask(server).text == "in time"
        began = time.monotonic()
        assert reason(lambda: ask(server)) == "timeout"
        assert time.monotonic() - began < 2


def test_unknown_models_and_thinking_that_cannot_be() -> None:
    with FakeOllama([{"reply": "x"}]) as fake:
        server = OllamaServer(fake.url)
        assert reason(lambda: ask(server, model="llama9")) == "no_model"
        assert reason(lambda: ask(server, think=True)) == "no_thinking"
        assert reason(lambda: server.show("llama9")) == "no_model"
        assert server.show(NAME)["capabilities"] == ["completion", "tools", "insert"]


def test_a_server_that_has_gone() -> None:
    fake = FakeOllama([])
    fake.start()
    fake.stop()
    server = OllamaServer(fake.url, QUICK)
    assert reason(lambda: ask(server)) == "server_gone"
    assert reason(server.models) == "server_gone"
    assert reason(server.ensure) == "server_gone"


@pytest.mark.parametrize(
    "body", [b"[]", b"5", b"null", b"{}", b'{"models": 5}', b"<html>", b'{"models": [{"size": []}]}']
)
def test_answers_of_another_shape_have_a_reason(body: bytes) -> None:
    with odd_server(200, body) as url:
        server = OllamaServer(url, QUICK)
        assert server.models() in ([], [{"size": []}]) if body != b"<html>" else reason(server.models) == "bad_request"
        assert server.loaded() == []
        assert server.show(NAME) == {} if body != b"<html>" else reason(lambda: server.show(NAME)) == "bad_request"


@pytest.mark.parametrize("body", [b'{"error": "no room"}', b"no room", b'{"error": {"message": "no room"}}', b"[1]"])
def test_errors_of_another_shape_have_a_reason(body: bytes) -> None:
    with odd_server(503, body) as url:
        server = OllamaServer(url, QUICK)
        assert reason(server.loaded) == reason(lambda: server.show(NAME)) == "server_busy"
        expected = "server_busy" if body != b"[1]" else "bad_request"  # by the official client
        assert reason(lambda: server.pull(NAME, lambda *_: None)) == expected


def test_cancel_from_another_thread_ends_the_call_and_the_request() -> None:
    """The call is cancelled before the first byte, where a model spends most of its time."""
    with FakeOllama([{"reply": "late", "delay_s": 1.0}]) as fake:
        server = OllamaServer(fake.url)
        threading.Timer(0.2, server.cancel).start()
        began = time.monotonic()
        assert reason(lambda: ask(server)) == "cancelled"
        assert time.monotonic() - began < 0.9


def test_leaving_a_stream_closes_the_connection() -> None:
    with FakeOllama([{"reply": "x" * 4000, "chunks": 1000, "pause_s": 0.005}]) as fake:
        lines = OllamaServer(fake.url).http.lines(
            "/api/chat", {"model": NAME, "messages": [{"role": "user", "content": "x"}]}
        )
        next(lines)
        lines.close()
        deadline = time.monotonic() + 3
        while not fake.disconnects and time.monotonic() < deadline:
            time.sleep(0.01)
        assert fake.disconnects == 1


# --- memory -----------------------------------------------------------------------------------------------------------


def test_load_options_that_stay_load_once() -> None:
    with FakeOllama([{"reply": "a"}, {"reply": "b"}, {"reply": "c"}]) as fake:
        server = OllamaServer(fake.url)
        server.load(NAME, num_ctx=8192, keep_alive="5m")
        ask(server)
        ask(server, temperature=0.2, seed=8, max_tokens=50)
        assert fake.loads == [(NAME, 8192)]
        (loaded,) = server.loaded()
        assert (loaded.name, loaded.context_length) == (NAME, 8192)
        ask(server, num_ctx=16384)
        assert fake.loads == [(NAME, 8192), (NAME, 16384)]


@pytest.mark.slow
def test_unload_returns_when_the_memory_is_free() -> None:
    """The server answers at once and frees the memory later."""
    with FakeOllama([{"reply": "a"}], unload_s=0.4) as fake:
        server = OllamaServer(fake.url)
        ask(server)
        began = time.monotonic()
        server.unload(NAME)
        assert 0.35 < time.monotonic() - began < 2 and fake.listed() == {}
        server.unload(NAME)
        server.unload("never-seen")


@pytest.mark.slow
def test_a_model_that_stays_in_memory_is_an_error() -> None:
    with FakeOllama([{"reply": "a"}], stuck=True) as fake:
        server = OllamaServer(fake.url, QUICK)
        ask(server)
        with pytest.raises(ProposerError, match=f"Run: ollama stop {NAME}") as caught:
            server.unload(NAME)
        assert caught.value.reason == "not_unloaded"


def test_a_server_that_is_gone_holds_no_memory() -> None:
    fake = FakeOllama([{"reply": "a"}])
    fake.start()
    server = OllamaServer(fake.url, QUICK)
    ask(server)
    fake.stop()
    server.unload(NAME)


def test_tags_list_everything() -> None:
    with FakeOllama(models=[MODEL, CLOUD]) as fake:
        assert [m["name"] for m in OllamaServer(fake.url).models()] == [NAME, "gpt-oss:120b-cloud"]


def test_pull_reports_every_step_and_installs() -> None:
    seen: list[tuple[str, int | None, int | None]] = []
    with FakeOllama(models=[], pull=PULL) as fake:
        server = OllamaServer(fake.url)
        server.pull("qwen3.5:9b", lambda *step: seen.append(step))
        assert [m["name"] for m in server.models()] == ["qwen3.5:9b"]
    assert seen[1] == ("pulling 60e05f210007", 400, 1000) and seen[-1] == ("success", None, None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([PULL[0], {"error": "pull model manifest: file does not exist"}], "file does not exist"),
        (PULL[:3], "is incomplete; run it again to resume"),
    ],
)
def test_a_pull_that_fails_says_why(lines: list[dict[str, Any]], message: str) -> None:
    with FakeOllama(models=[], pull=lines) as fake, pytest.raises(ProposerError, match=message):
        OllamaServer(fake.url).pull("no:such", lambda *_: None)


@pytest.mark.slow
def test_a_pull_takes_as_long_as_it_needs_but_not_without_a_byte() -> None:
    steps = [{**line, "pause_s": 0.15} for line in PULL]
    with FakeOllama(models=[], pull=steps) as fake:
        OllamaServer(fake.url, Timeouts(chunk_s=0.5, answer_s=0.4)).pull("a:1b", lambda *_: None)
        fake.pull_lines[2] = {**PULL[2], "pause_s": 1.0}
        with pytest.raises(ProposerError) as caught:
            OllamaServer(fake.url, Timeouts(chunk_s=0.3)).pull("b:1b", lambda *_: None)
    assert caught.value.reason == "timeout"


def test_a_pull_is_cancelled_from_another_thread() -> None:
    with FakeOllama(models=[], pull=[PULL[0], {**PULL[1], "pause_s": 2.0}]) as fake:
        server = OllamaServer(fake.url)
        threading.Timer(0.2, server.cancel).start()
        began = time.monotonic()
        with pytest.raises(ProposerError) as caught:
            server.pull("a:1b", lambda *_: None)
        assert caught.value.reason == "cancelled" and time.monotonic() - began < 1.5


def test_a_failure_of_the_caller_s_own_is_not_the_server_s() -> None:
    with FakeOllama(models=[], pull=PULL) as fake, pytest.raises(TypeError):
        OllamaServer(fake.url).pull("a:1b", lambda *_: len(None))  # type: ignore[arg-type]
