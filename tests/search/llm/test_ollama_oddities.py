"""What real servers do and other servers leave out, over HTTP: counts, ends of answers, dead processes, lost fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import THINKING_TOKENS, Answer, Message, Question
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.fake_ollama_wire import BUSY, tokens
from testbed.proposer_kit import CONTEXT, GOOD, NAME, Make, proposer
from testbed.reply_cases import SOURCE

OPTION = {"status": 500, "error": 'option "num_ctx" must be of type integer'}
LIMITS: dict[str, Any] = {"max_tokens": 300, "temperature": 0.8, "seed": 1}
SCHEMA = {"type": "object", "properties": {"choice": {"type": "integer"}}}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(proposer, tmp_path)


def ask(make: Make, fake: FakeOllama, *beginning: str, **limits: Any) -> Answer:
    backend = make(fake).backend
    backend.window(2000, 1000)
    given: list[Message] = [{"role": "assistant", "content": text} for text in beginning]
    return backend.ask(Question([{"role": "user", "content": "Go."}, *given], **{**LIMITS, **limits}))


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(ProposerError) as caught:
        call()
    return caught.value.reason


@pytest.mark.slow
def test_a_refused_prompt_teaches_the_ratio_and_is_asked_once_more_in_a_context_that_fits(make: Make) -> None:
    long = SOURCE + "\n\ndef unused(x):\n" + "".join(f"    x = x + {i}  # a line of code\n" for i in range(2000))
    with FakeOllama([GOOD]) as fake:
        proposer = make(fake, most_context=32768)
        proposer.card.bytes_per_token = 12.0  # far too many: the first prompt is too long
        proposer.propose(replace(CONTEXT, source=long))
        contexts = [chat["options"]["num_ctx"] for chat in fake.chats()]
        assert len(contexts) == 2 and contexts[0] < contexts[1]
    assert proposer.card.bytes_per_token == pytest.approx(3.8, abs=0.1)


def test_an_answer_that_the_contexts_end_cuts_is_asked_for_in_a_larger_one(make: Make) -> None:
    """It has as many tokens as the context leaves, and not num_predict: a shorter answer is not the remedy."""
    long = {"reply": GOOD["reply"] + "\n" * 5000}
    with FakeOllama([GOOD, long, {"reply": "SET DEPTH = 4"}]) as fake:
        proposer = make(fake, formats=["set"], most_context=32768)
        proposer.propose(replace(CONTEXT, program="An instruction of the brief. " * 700))
        proposer.release()
        proposer.card.bytes_per_token = 12.0
        proposer.backend._num_ctx = tokens(fake.chats()[0]["messages"]) + 100
        proposer.propose(replace(CONTEXT, program="An instruction of the brief. " * 700))
        first, second = (chat["options"] for chat in fake.chats()[1:])
        assert first["num_ctx"] < second["num_ctx"] and first["num_predict"] == second["num_predict"]


def test_an_option_of_another_type_is_no_dead_runner(make: Make) -> None:
    with FakeOllama([OPTION, GOOD]) as fake:
        assert reason(lambda: ask(make, fake)) == "bad_request"
        assert len(fake.loads) == len(fake.chats()) == 1


@pytest.mark.parametrize("error", ["failed to parse grammar", "failed to load model vocabulary required for format"])
def test_a_schema_that_the_model_cannot_be_held_to_is_left_out(make: Make, error: str) -> None:
    with FakeOllama([{"status": 500, "error": error}, GOOD]) as fake:
        assert ask(make, fake, schema=SCHEMA).text == GOOD["reply"]
        assert ["format" in chat for chat in fake.chats()] == [True, False] and len(fake.loads) == 1


def test_a_model_that_thinks_without_saying_so_gets_room_for_it(make: Make) -> None:
    """A server may not list the capability, and not turn the thinking off."""
    aloud = {"reply": f"<think>{'Wait. ' * 100}</think>{GOOD['reply']}"}
    with FakeOllama([aloud, GOOD]) as fake:
        proposer = make(fake, formats=("set",))
        for turn in (1, 2):
            proposer.propose(replace(CONTEXT, turn=turn))
        first, second = (chat["options"]["num_predict"] for chat in fake.chats())
    assert second == first + THINKING_TOKENS


def test_its_broken_answer_goes_back_without_the_thinking_and_is_repaired_all_the_same(make: Make) -> None:
    """The room for thinking is more than the loaded context has left: one more load gives it."""
    broken = {"reply": f"<think>{'Wait. ' * 100}</think>I would lower the rate."}
    with FakeOllama([broken, GOOD, {**broken, "reply": "<think>Or"}, GOOD]) as fake:
        proposer = make(fake, formats=("set",), usual_context=16384)
        for turn in (1, 2):
            proposer.propose(replace(CONTEXT, turn=turn, program="Be careful. " * 1000))
        sent_back = [chat["messages"][-2]["content"] for chat in fake.chats() if len(chat["messages"]) > 2]
        assert sent_back == ["I would lower the rate.", "(empty)"] and len(fake.loads) == 2


def test_a_dead_runner_is_loaded_again_although_the_server_lists_it(make: Make) -> None:
    killed = {"reply": "TITLE: half of an answer", "kill_runner": True, "error_after": 2}
    with FakeOllama([killed, GOOD]) as fake:
        proposer = make(fake)
        assert len(proposer.propose(CONTEXT)) == 1
        assert len(fake.loads) == 2
        fake.kill_runner()
        assert list(fake.listed()) == [NAME]
        proposer.release()
        assert fake.listed() == {}


def test_a_model_that_is_deleted_in_a_night_is_named_with_the_command_that_brings_it(make: Make) -> None:
    with FakeOllama([GOOD]) as fake:
        proposer = make(fake)
        proposer.propose(CONTEXT)
        fake.models.clear()
        fake.resident.clear()
        with pytest.raises(ProposerError, match=f"Run: ollama pull {NAME}") as caught:
            proposer.propose(replace(CONTEXT, turn=6))
        proposer.release()
    assert caught.value.reason == "no_model"


def test_a_given_beginning_comes_once(make: Make) -> None:
    with FakeOllama([{"reply": " more steps\nSET DEPTH = 6"}]) as fake:
        assert ask(make, fake, "HYPOTHESIS:").text == "HYPOTHESIS: more steps\nSET DEPTH = 6"


@pytest.mark.parametrize("form", ["json", SCHEMA])
def test_a_bare_number_is_an_answer_in_json(make: Make, form: Any) -> None:
    """`format: "json"` admits it, and so does a server that drops the schema."""
    with FakeOllama([{"reply": "1"}]) as fake:
        assert ask(make, fake, schema=SCHEMA if form is SCHEMA else None).text == "1"


def test_a_last_chunk_without_done_ends_the_answer(make: Make) -> None:
    with FakeOllama([{**GOOD, "done": None}]) as fake:
        assert ask(make, fake).done_reason == "stop"


def test_a_server_that_leaves_out_fields_and_calls_has_ideas(make: Make) -> None:
    with FakeOllama([GOOD], models=[{**MODEL, "bare": True}], lists_loaded=False) as fake:
        proposer = make(fake)
        assert len(proposer.propose(CONTEXT)) == 1
        proposer.release()
        assert fake.listed() == {}


def test_one_inflated_count_leaves_the_prompts_as_they_are(make: Make) -> None:
    with FakeOllama([{**GOOD, "prompt_eval_count": 90_000}, {"reply": "SET DEPTH = 4"}]) as fake:
        proposer = make(fake)
        for turn in (1, 2):
            proposer.propose(replace(CONTEXT, turn=turn))
            proposer.release()
        assert [chat["options"]["num_ctx"] for chat in fake.chats()] == [8192, 8192]
    assert proposer.card.bytes_per_token == pytest.approx(3.8, abs=0.1)


def test_a_full_queue_says_so_once(make: Make) -> None:
    """The real server sends the same object twice in one body."""
    with FakeOllama([], max_queue=-1) as fake, pytest.raises(ProposerError) as caught:
        ask(make, fake)
    assert caught.value.reason == "server_busy" and str(caught.value).count(BUSY) == 1
