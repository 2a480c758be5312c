"""An OpenAI-compatible endpoint, streamed, through the same protocol."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import ProposerError, UsageError
from autoresearch.records import Context, Set, TaskFacts
from autoresearch.search.llm.backend import Answer, Question, Schema
from autoresearch.search.llm.openai import OpenAIBackend, OpenAIProposer, open_openai
from autoresearch.search.llm.transport import Timeouts
from autoresearch.search.scorecard import Scorecard
from testbed.fake_ollama import MODEL, THINKER, FakeOllama
from testbed.reply_cases import SOURCE

QUICK = Timeouts(connect_s=1, first_byte_s=1, token_s=0, chunk_s=1, answer_s=2, short_s=2, retry_s=0.05)
CONTEXT = Context(SOURCE, 1.2945, 0.004, "# Brief", TaskFacts(seq_len=256, vocab_size=1024, budget_s=60), "M4")
GOOD = {"reply": "TITLE: Shallower\nSET DEPTH = 6\n"}


def make(fake: FakeOllama, tmp_path: Path, **options: Any) -> OpenAIProposer:
    scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
    return OpenAIProposer(fake.url, "local-7b", scorecard, timeouts=QUICK, **options)


def ask(fake: FakeOllama, schema: Schema | None = None) -> Answer:
    backend = OpenAIBackend(fake.url, "m", timeouts=QUICK)
    return backend.ask(Question([{"role": "user", "content": "hello"}], 100, 0.8, 1, schema))


def test_a_turn_with_a_repair(tmp_path: Path) -> None:
    with FakeOllama([{"reply": "SET DEPHT = 6"}, GOOD]) as fake:
        proposer = make(fake, tmp_path)
        (proposal,) = proposer.propose(CONTEXT)
        request, again = fake.chats()
        proposer.release()
        proposer.close()
    assert proposal.edits == (Set("DEPTH", "6"),) and proposal.proposer == "openai:local-7b"
    assert (proposal.usage["repairs"], proposal.usage["answers"]) == (1, 2)
    assert proposal.usage["prompt_tokens"] > 500
    assert request["stream"] is True and request["model"] == "local-7b" and request["max_tokens"] >= 600
    assert "no such constant" in again["messages"][-1]["content"]


def test_thinking_is_kept_apart() -> None:
    with FakeOllama([{"thinking": "Hm. ", "reply": "SET DEPTH = 6", "chunks": 5}]) as fake:
        answer = ask(fake)
    assert (answer.text, answer.thinking, answer.done_reason) == ("SET DEPTH = 6", "Hm. ", "stop")


@pytest.mark.slow
def test_a_server_that_sends_headers_at_once_may_read_for_longer_than_between_chunks() -> None:
    with FakeOllama([{"reply": "SET DEPTH = 6", "late_s": 0.5}]) as fake:
        backend = OpenAIBackend(fake.url, "m", timeouts=replace(QUICK, first_byte_s=5, chunk_s=0.25))
        assert backend.ask(Question([{"role": "user", "content": "hello"}], 100, 0.8, 1)).text == "SET DEPTH = 6"


def test_an_answer_that_was_cut_says_length() -> None:
    with FakeOllama([{"reply": "word " * 500}]) as fake:
        assert ask(fake).done_reason == "length"


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"cut": True}, "cut_off"),
        ({"cut": "reset"}, "cut_off"),
        ({"error_after": 1, "error": "slot unavailable"}, "runner"),
        ({"status": 400, "error": "the request exceeds the available context size"}, "too_long"),
        ({"status": 401, "error": "no key"}, "unauthorized"),
        ({"status": 404, "error": "model not found"}, "no_model"),
        ({"status": 503, "error": "Loading model"}, "server_busy"),
        ({"delay_s": 1.5}, "timeout"),
        ({"late_s": 1.5}, "timeout"),
    ],
)
def test_failures_by_their_reason(step: dict[str, Any], reason: str) -> None:
    with FakeOllama([{"reply": "some words in chunks", **step}]) as fake, pytest.raises(ProposerError) as caught:
        ask(fake)
    assert caught.value.reason == reason


def test_a_server_that_has_gone(tmp_path: Path) -> None:
    with FakeOllama([]) as fake:
        proposer = make(fake, tmp_path)
    with pytest.raises(ProposerError) as caught:
        proposer.propose(CONTEXT)
    assert caught.value.reason == "server_gone"


def test_a_context_too_small_for_the_script_asks_for_constants(tmp_path: Path) -> None:
    with FakeOllama([GOOD]) as fake:
        make(fake, tmp_path, context_tokens=3000).propose(CONTEXT)
        assert "SEARCH" not in fake.chats()[0]["messages"][-1]["content"]


@pytest.mark.slow
def test_a_format_that_does_not_fit_costs_no_repairs(tmp_path: Path) -> None:
    longer = replace(CONTEXT, source=SOURCE + "\n\ndef unused(x):\n" + "    x = x + 1  # a line of code\n" * 300)
    with FakeOllama([{"reply": "Hm."}, {"reply": "SET DEPHT = 6"}, GOOD]) as fake:
        (proposal,) = make(fake, tmp_path, context_tokens=4096).propose(longer)
        assert all("def unused" not in str(chat["messages"]) for chat in fake.chats())
    assert (proposal.usage["answers"], proposal.usage["repairs"]) == (3, 2)


def test_a_context_too_small_for_anything_says_so(tmp_path: Path) -> None:
    with FakeOllama([GOOD]) as fake, pytest.raises(ProposerError, match="Shorten the brief") as caught:
        make(fake, tmp_path, context_tokens=800).propose(CONTEXT)
    assert caught.value.reason == "too_long"


def test_the_context_and_size_that_the_server_tells(tmp_path: Path) -> None:
    """A small model is asked for constants, in a prompt that leaves room for the answer."""
    with FakeOllama([GOOD], context_limit=32768) as fake:
        large = make(fake, tmp_path).backend
        large.prepare()
        assert large.largest_window() == 32768
    with FakeOllama([GOOD], context_limit=4096) as fake:
        proposer = make(fake, tmp_path)
        proposer.propose(CONTEXT)
        (request,) = fake.chats()
    assert (proposer.backend.largest_window(), proposer.backend.parameters_b) == (4096, 0.134515008)
    assert "SEARCH" not in request["messages"][-1]["content"]


@pytest.mark.slow
def test_a_server_that_goes_on_cutting_prompts_gets_no_more_long_ones(tmp_path: Path) -> None:
    """Only the first count shows a cut prompt, since later ones may leave out what the server's cache holds."""
    longer = replace(CONTEXT, source=SOURCE + "\n\ndef unused(x):\n" + "    x = x + 1  # a line of code\n" * 600)
    cut = {**GOOD, "prompt_eval_count": 2048}
    with FakeOllama([cut, GOOD, {"reply": "SET DEPTH = 4"}]) as fake:
        proposer = make(fake, tmp_path)
        for turn in (5, 6):
            proposer.propose(replace(longer, turn=turn))
        told = [str(chat["messages"]) for chat in fake.chats()]
    assert ["def unused" in text for text in told] == [True, False, False]


def test_thinking_that_eats_the_answer_is_switched_off_and_then_given_room(tmp_path: Path) -> None:
    steps = [{"thinking": "Wait. " * 10_000, **GOOD}, GOOD, {"reply": "SET DEPTH = 4"}]
    with FakeOllama(steps) as fake:
        proposer = make(fake, tmp_path)
        (proposal,) = proposer.propose(CONTEXT)
        proposer.propose(replace(CONTEXT, turn=6))
        first, again, later = fake.chats()
    assert proposal.usage["answers"] == 1 and proposal.usage["answer_tokens"] > 1000
    assert "chat_template_kwargs" not in first
    assert again["chat_template_kwargs"] == {"enable_thinking": False}
    assert later["max_tokens"] == first["max_tokens"] + 4096


def test_a_key_is_sent_only_where_it_is_given() -> None:
    assert "Authorization" not in OpenAIBackend("localhost:1", "m").http.headers
    assert OpenAIBackend("localhost:1", "m", api_key="k").http.headers == {"Authorization": "Bearer k"}


def test_the_only_model_of_a_server_is_taken_under_its_own_name(tmp_path: Path) -> None:
    scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
    with FakeOllama([GOOD], models=[MODEL]) as fake:
        proposer, line = open_openai(fake.url, "local-7b", scorecard, timeouts=QUICK)
        proposer.propose(CONTEXT)
        assert fake.chats()[0]["model"] == MODEL["name"]
        _, named = open_openai(fake.url, MODEL["name"], scorecard, timeouts=QUICK)
        assert open_openai(fake.url, None, scorecard, timeouts=QUICK)[1] == named
    assert proposer.name == f"openai:{MODEL['name']}" and "the only model there, and not local-7b" in line
    assert named == f"{MODEL['name']} at {fake.url}/v1 (it stays in that server's memory)"
    with FakeOllama(models=[MODEL, THINKER]) as fake:
        proposer, line = open_openai(fake.url, "local-7b", scorecard, timeouts=QUICK)
        with pytest.raises(UsageError, match=f"It lists .*{THINKER['name']}.*Add --model openai:NAME"):
            open_openai(fake.url, None, scorecard, timeouts=QUICK)
    assert proposer.name == "openai:local-7b" and "does not list" in line and THINKER["name"] in line
    with pytest.raises(UsageError, match="names no model now"):
        open_openai("127.0.0.1:9", None, scorecard, timeouts=QUICK)


def test_cancel_ends_a_turn(tmp_path: Path) -> None:
    with FakeOllama([{**GOOD, "delay_s": 0.8}]) as fake:
        proposer = make(fake, tmp_path)
        threading.Timer(0.2, proposer.cancel).start()
        with pytest.raises(ProposerError) as caught:
            proposer.propose(CONTEXT)
    assert caught.value.reason == "cancelled"


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("qwen2.5-coder-7b-instruct", 7.0),
        ("gemma-3-0.5B", 0.5),
        ("smollm2-135m", 0.135),
        ("default", None),
        ("8bit", None),
        ("q4_k_m", None),
    ],
)
def test_the_size_is_read_from_the_name(name: str, billions: float | None) -> None:
    assert OpenAIBackend("localhost:1", name).parameters_b == billions


SCHEMA = {"type": "object", "properties": {"choice": {"type": "integer"}}}


def test_a_schema_goes_along_as_the_response_format() -> None:
    with FakeOllama([{"reply": '{"choice": 2, "because": "x"}'}]) as fake:
        assert list(json.loads(ask(fake, SCHEMA).text)) == ["because", "choice"]
        assert fake.chats()[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_server_without_schemas_is_asked_without_one() -> None:
    with FakeOllama([{"status": 400, "error": "response_format is not supported"}, GOOD]) as fake:
        assert ask(fake, SCHEMA).text == GOOD["reply"]
        assert ["response_format" in chat for chat in fake.chats()] == [True, False]
