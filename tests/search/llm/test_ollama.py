"""A model of an Ollama server as a proposer: thinking, context, servers in trouble, memory."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import ProposerError
from autoresearch.formats import GIB
from autoresearch.records import Set, Trial
from autoresearch.search.llm.backend import Question
from testbed.fake_ollama import MODEL, THINKER, FakeOllama
from testbed.proposer_kit import BAD, CONTEXT, GOOD, QUICK, Make, discarded, proposer, seen
from testbed.reply_cases import SOURCE


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return make(fake, model=..., formats=...), which returns a proposer with a scorecard of this test's."""
    return partial(proposer, tmp_path)


# --- thinking ---------------------------------------------------------------------------------------------------------


def test_thinking_is_always_said_and_off_unless_asked_for(make: Make) -> None:
    with FakeOllama([{**GOOD, "thinking": "hm"}], models=[THINKER]) as fake:
        make(fake, "qwen3.5:9b").propose(CONTEXT)
        assert fake.chats()[0]["think"] is False


def test_thinking_that_eats_the_answer_is_switched_off(make: Make) -> None:
    step = {"thinking": "Wait. " * 10_000, **GOOD}
    with FakeOllama([step, step], models=[THINKER]) as fake:
        (proposal,) = make(fake, "qwen3.5:9b", think=True).propose(CONTEXT)
        assert [chat["think"] for chat in fake.chats()] == [True, False]
    assert proposal.title == "DEPTH 8 -> 6"
    assert proposal.usage["answer_tokens"] > 4000  # the cost of thinking is counted


def test_gpt_oss_thinks_in_levels(make: Make) -> None:
    oss = {**THINKER, "name": "gpt-oss:20b", "architecture": "gptoss", "parameter_size": "20.9B"}
    with FakeOllama([{"reply": ""}, GOOD], models=[oss]) as fake:
        make(fake, "gpt-oss:20b").propose(CONTEXT)
        assert [chat["think"] for chat in fake.chats()] == ["low", "low"]


def test_a_model_that_cannot_think_is_not_asked_to(make: Make) -> None:
    with FakeOllama([GOOD]) as fake:
        make(fake, think=True).propose(CONTEXT)
        assert fake.chats()[0]["think"] is False


def test_a_server_that_denies_thinking_gets_the_request_without(make: Make) -> None:
    denied = {"status": 400, "error": '"qwen3.5:9b" does not support thinking'}
    with FakeOllama([denied, GOOD], models=[THINKER]) as fake:
        make(fake, "qwen3.5:9b", think=True).propose(CONTEXT)
        assert [chat["think"] for chat in fake.chats()] == [True, False]


# --- context ----------------------------------------------------------------------------------------------------------


def long_history(count: int) -> list[Trial]:
    title = "A title of some length " * 3
    return [discarded(n, Set("MATRIX_LR", f"0.{1000 + n}"), title=title) for n in range(1, count + 1)]


@pytest.mark.slow
def test_the_context_stays_the_same_while_the_history_grows(make: Make) -> None:
    trials = long_history(80)
    with FakeOllama(lambda _: {"reply": f"SET DEPTH = {next(depths)}"}) as fake:
        depths = itertools.count(9)
        proposer = make(fake)
        for turn in range(0, 80, 16):
            proposer.propose(replace(CONTEXT, history=trials[:turn], turn=turn))
        assert len(fake.loads) == 1
        assert len({chat["options"]["num_ctx"] for chat in fake.chats()}) == 1
        assert all(
            _tokens(chat) + chat["options"]["num_predict"] <= chat["options"]["num_ctx"] for chat in fake.chats()
        )


def test_a_turn_loads_the_model_once(make: Make) -> None:
    """The load and the chats of a turn ask for the same process; a chat with another `shift` would start a second."""
    with FakeOllama([BAD, GOOD, {"reply": "SET DEPTH = 4"}]) as fake:
        proposer = make(fake)
        for turn in (1, 2):
            proposer.propose(replace(CONTEXT, turn=turn))
            assert len(fake.loads) == turn and len(fake.chats()) == turn + 1
            proposer.release()


@pytest.mark.parametrize(
    ("shared_gb", "available_gb", "training_mb", "loads", "read"),
    [
        (64, 40, 8000, 1, "little"),
        (64, 12, 8000, 2, "all"),  # other programs hold memory: 1.5 times 8 GB and 2 GB do not fit
        (18, 40, 8000, 2, "all"),  # the GPU may not hold model and training together
        (64, 40, None, 2, "all"),  # what the training needs is not known yet
        (0, 40, 100, 2, "all"),
    ],
)
def test_the_model_stays_loaded_where_it_fits_beside_training(
    make: Make, shared_gb: int, available_gb: int, training_mb: float | None, loads: int, read: str
) -> None:
    with FakeOllama([GOOD, {"reply": "SET DEPTH = 4"}]) as fake:
        proposer = make(fake, shared_bytes=shared_gb * GIB)
        proposer.backend._available = lambda: available_gb * GIB
        for turn in (1, 2):
            proposer.propose(replace(CONTEXT, turn=turn))
            assert proposer.release(training_mb) == (loads == 1)
        assert len(fake.loads) == loads and bool(fake.listed()) == (loads == 1)
        assert (fake.read[1] < 0.1 * fake.read[0]) == (read == "little")
        proposer.close()
        assert fake.listed() == {}


def test_a_model_that_stays_is_asked_for_one_draft(make: Make) -> None:
    with FakeOllama([GOOD], cycle=True) as fake:
        proposer = make(fake, shared_bytes=64 * GIB)
        proposer.propose(CONTEXT)
        proposer.backend.load_s, proposer.card.seconds = 60.0, 60.0
        assert proposer.drafts_per_load() == 1
        proposer.release()
        assert proposer.drafts_per_load() == 4


def _tokens(chat: dict[str, Any]) -> int:
    return sum(len(message["content"].encode()) // 4 for message in chat["messages"])


@pytest.mark.slow
def test_a_longer_script_gets_a_larger_context_and_what_never_fits_the_constants(make: Make) -> None:
    longer = SOURCE + "\n\ndef unused(x):\n" + "".join(f"    x = x + {i}  # a line of code\n" for i in range(1200))
    with FakeOllama([GOOD, {"reply": "SET DEPTH = 4"}, {"reply": "SET DEPTH = 2"}]) as fake:
        proposer = make(fake, most_context=24576)
        proposer.propose(CONTEXT)
        proposer.propose(replace(CONTEXT, source=longer))
        assert [num_ctx for _, num_ctx in fake.loads] == [8192, 24576]
        small = make(fake, most_context=8192)
        small.propose(replace(CONTEXT, source=longer))
        assert "def unused" not in seen(fake, 2) and "DEPTH = 8" in seen(fake, 2)


def test_bytes_a_token_are_learned_from_the_server(make: Make) -> None:
    with FakeOllama([GOOD]) as fake:
        proposer = make(fake)
        proposer.propose(CONTEXT)
    assert proposer.card.bytes_per_token == pytest.approx(3.8, abs=0.1)  # the fake counts 4; 5% are kept in reserve


@pytest.mark.slow
def test_a_prompt_that_the_server_finds_too_long_is_shortened(make: Make) -> None:
    refusal = {"status": 400, "error": "the input length exceeds the context length"}
    with FakeOllama([refusal, GOOD, {"reply": "SET DEPTH = 4"}]) as fake:
        proposer = make(fake, most_context=8192)
        proposer.card.bytes_per_token = 4.5
        proposer.propose(replace(CONTEXT, history=long_history(150)))
        proposer.propose(replace(CONTEXT, history=long_history(150), turn=6))
        first, second, later = (_tokens(chat) for chat in fake.chats())
        assert second < later  # once the server has counted one, prompts are as long as they may be
        assert second < first


def test_a_prompt_that_was_cut_silently_is_an_error(make: Make) -> None:
    """A cut prompt lacks the instructions, so a shorter one (only constants) is tried before the turn is given up."""
    with FakeOllama([{**GOOD, "prompt_eval_count": 40}] * 2) as fake, pytest.raises(ProposerError) as caught:
        make(fake).propose(CONTEXT)
    assert caught.value.reason == "truncated" and "the server read 40 tokens" in str(caught.value)


def test_a_server_that_counts_only_what_its_cache_lacks_is_not_taken_for_one_that_cuts(make: Make) -> None:
    with FakeOllama([BAD, GOOD, {"reply": "SET DEPTH = 4"}, GOOD], counts_cached=False) as fake:
        proposer = make(fake)
        proposer.propose(CONTEXT)
        learned = proposer.card.bytes_per_token
        proposer.propose(CONTEXT)
        make(fake).propose(replace(CONTEXT, turn=6))  # another loop, and the model still loaded
    assert proposer.card.bytes_per_token == learned == pytest.approx(3.8, abs=0.1)


def test_a_context_that_the_server_caps_is_respected(make: Make) -> None:
    with FakeOllama([GOOD], context_limit=6000) as fake:
        make(fake).propose(CONTEXT)
        (chat,) = fake.chats()
        assert chat["options"]["num_ctx"] == 6000
        assert _tokens(chat) + chat["options"]["num_predict"] <= 6000


# --- servers in trouble -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        [{"status": 500, "error": "llama runner process has terminated"}],
        [{"status": 503, "error": "server busy, please try again.  maximum pending requests exceeded"}] * 3,
        [{"reply": "TITLE: half", "cut": True}],
        [{"reply": "TITLE: half", "cut": "reset"}],
        [{"reply": "x" * 40, "error_after": 1, "error": "unexpected EOF"}],
    ],
)
def test_what_another_attempt_mends(make: Make, trouble: Sequence[dict[str, Any]]) -> None:
    with FakeOllama([*trouble, GOOD]) as fake:
        (proposal,) = make(fake).propose(CONTEXT)
        assert len(fake.chats()) == len(trouble) + 1
    assert proposal.usage["answers"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "reason", "chats"),
    [
        ({"status": 500, "error": "llama runner process has terminated"}, "runner", 2),
        ({"status": 500, "error": "model requires more system memory"}, "out_of_memory", 2),
        ({"status": 503, "error": "server busy"}, "server_busy", 4),
        ({"reply": "x", "cut": True}, "cut_off", 6),
        ({"reply": "x", "delay_s": 2.5}, "timeout", 1),
    ],
)
def test_what_it_does_not_mend_has_a_name(make: Make, step: dict[str, Any], reason: str, chats: int) -> None:
    with FakeOllama([step] * 9) as fake:
        with pytest.raises(ProposerError) as caught:
            make(fake).propose(CONTEXT, 3)
        assert len(fake.chats()) == chats
    assert caught.value.reason == reason
    assert "seconds" in caught.value.usage


def test_a_model_whose_process_died_is_loaded_and_measured_again(make: Make) -> None:
    with FakeOllama([{"status": 500, "error": "llama runner process has terminated"}, GOOD]) as fake:
        make(fake).propose(CONTEXT)
        assert [path for path, _ in fake.requests if path != "/api/show"] == ["/api/generate", "/api/chat"] * 2


def test_a_server_that_goes_away_and_returns(make: Make) -> None:
    with FakeOllama([GOOD]) as fake:
        proposer = make(fake)
        proposer.propose(CONTEXT)
    with pytest.raises(ProposerError) as caught:
        proposer.propose(CONTEXT)
    assert caught.value.reason == "server_gone"
    proposer.release()  # nothing to free where no server is
    with FakeOllama([{"reply": "SET DEPTH = 4"}], port=fake.port) as again:
        assert proposer.propose(CONTEXT)[0].edits == (Set("DEPTH", "4"),)
        assert len(again.loads) == 1


def test_a_model_that_was_removed(make: Make) -> None:
    with FakeOllama([GOOD]) as fake, pytest.raises(ProposerError) as caught:
        make(fake, "gone:7b").propose(CONTEXT)
    assert caught.value.reason == "no_model"


def test_a_model_too_large_once_loaded_is_unloaded_and_named(make: Make) -> None:
    with FakeOllama([GOOD], loaded_bytes=12 * 2**30) as fake:
        with pytest.raises(ProposerError, match=r"takes 12\.0 GB once loaded; this machine has 10\.0 GB") as caught:
            make(fake, memory_limit=10 * 2**30).propose(CONTEXT)
        assert caught.value.reason == "too_large" and fake.chats() == [] and fake.listed() == {}


def test_a_model_that_a_killed_loop_left_in_memory_is_unloaded(make: Make) -> None:
    """It is unloaded before the first training of the next loop, whichever proposer that loop has."""
    with FakeOllama([]) as fake:
        fake.ensure_loaded(MODEL, {"options": {"num_ctx": 8192}})
        make(fake).release()
        assert fake.listed() == {}


def test_release_waits_for_the_memory_itself(make: Make) -> None:
    free = [10.0e9]
    with FakeOllama([GOOD]) as fake:
        proposer = make(fake)
        proposer.backend._available = lambda: int(free[0])
        proposer.propose(CONTEXT)
        free[0] = 5.0e9
        threading.Timer(0.4, lambda: free.__setitem__(0, 9.5e9)).start()
        began = time.monotonic()
        proposer.release()
        assert 0.3 < time.monotonic() - began < 5


def test_cancel_ends_a_turn(make: Make) -> None:
    with FakeOllama([{**GOOD, "delay_s": 1.5}]) as fake:
        proposer = make(fake)
        threading.Timer(0.3, proposer.cancel).start()
        with pytest.raises(ProposerError) as caught:
            proposer.propose(CONTEXT, 3)
    assert caught.value.reason == "cancelled"


def test_cancel_ends_a_turn_that_waits_for_another_attempt(make: Make) -> None:
    with FakeOllama([{"status": 503, "error": "server busy"}] * 4) as fake:
        proposer = make(fake, timeouts=replace(QUICK, retry_s=5.0))
        threading.Timer(0.3, proposer.cancel).start()
        with pytest.raises(ProposerError) as caught:
            proposer.propose(CONTEXT)
        assert caught.value.reason == "cancelled" and len(fake.chats()) == 1


# --- answers in a form ------------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"choice": {"type": "integer"}, "because": {"type": "string"}}}
MENU = {"reply": '{"choice": 2, "because": "more steps"}'}


def asked(make: Make, fake: FakeOllama, beginning: str = "") -> str:
    """Return the text of an answer under SCHEMA, with its beginning given."""
    backend = make(fake).backend
    backend.window(2000, 1000)
    given = [{"role": "assistant", "content": beginning}] if beginning else []
    messages = [{"role": "user", "content": "Choose."}, *given]
    return backend.ask(Question(messages, 100, 0.8, 1, SCHEMA)).text


def test_a_schema_is_sent_and_its_keys_come_in_alphabetical_order(make: Make) -> None:
    with FakeOllama([MENU]) as fake:
        assert list(json.loads(asked(make, fake))) == ["because", "choice"]
        assert fake.chats()[0]["format"] == SCHEMA


def test_a_schema_that_the_server_refuses_is_left_out(make: Make) -> None:
    with FakeOllama([{"status": 400, "error": "JSON schema conversion failed"}, MENU]) as fake:
        assert json.loads(asked(make, fake))["choice"] == 2
        assert ["format" in chat for chat in fake.chats()] == [True, False]
