"""The language-model proposer against a fake Ollama server: turns, repairs, fallbacks, memory, and what it learns."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_ollama import MODEL, THINKER, FakeOllama
from reply_cases import APPLIED, REFUSED, RELU, SOURCE, SQUARED

from autoresearch import edits
from autoresearch.errors import ProposerError
from autoresearch.proposers.ollama import OllamaProposer
from autoresearch.proposers.server import OllamaServer
from autoresearch.proposers.streams import Timeouts
from autoresearch.records import Context, Directive, Failure, Proposal, Proposer, Set, Trial
from autoresearch.scorecard import Scorecard, Tally

NAME = "qwen2.5-coder:7b"
QUICK = Timeouts(connect_s=1, first_byte_s=2, chunk_s=1, answer_s=3, short_s=2, unload_s=1, retry_s=0.05)
CONTEXT = Context(
    SOURCE, 1.2945, 0.004, "# Brief", {"seq_len": 256, "vocab_size": 1024, "budget_s": 60}, "M4", seed=3, turn=5
)
GOOD = {"reply": "HYPOTHESIS: More steps.\nCATEGORY: depth\nTITLE: Shallower\nSET DEPTH = 6\n"}
BAD = {"reply": "I would make the model shallower."}
BLOCK = {"reply": f"TITLE: Squared\n<<<<<<< SEARCH\n{RELU}\n=======\n{SQUARED}\n>>>>>>> REPLACE\n"}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., OllamaProposer]]:
    """make(fake, model=..., formats=...) -> a proposer that is closed at the end."""
    made: list[OllamaProposer] = []

    def build(fake: FakeOllama, model: str = NAME, timeouts: Timeouts = QUICK, **options: Any) -> OllamaProposer:
        scorecard = Scorecard(tmp_path / "scorecard.json", "mac")
        made.append(OllamaProposer(OllamaServer(fake.url, timeouts), model, scorecard, **options))
        return made[-1]

    yield build
    for proposer in made:
        proposer.close()


Make = Callable[..., OllamaProposer]


def seen(fake: FakeOllama, number: int) -> str:
    """The last message of a chat request."""
    return str(fake.chats()[number]["messages"][-1]["content"])


def turn_options(fake: FakeOllama) -> list[tuple[float, int]]:
    return [(chat["options"]["temperature"], chat["options"]["seed"]) for chat in fake.chats()]


# --- a turn -----------------------------------------------------------------------------------------------------------


def test_a_good_reply_is_a_proposal(make: Make) -> None:
    with FakeOllama([GOOD]) as fake:
        proposer: Proposer = make(fake)
        (proposal,) = proposer.propose(CONTEXT)
    assert proposal.edits == (Set("DEPTH", "6"),)
    assert (proposal.title, proposal.hypothesis, proposal.category) == ("Shallower", "More steps.", "depth")
    assert proposal.proposer == proposer.name == f"ollama:{NAME}"
    assert proposal.usage["prompt_tokens"] > 500 and proposal.usage["answer_tokens"] > 10
    assert (proposal.usage["answers"], proposal.usage["repairs"]) == (1, 0)
    assert proposal.usage["harness_s"] < 3


def test_one_load_serves_all_drafts_and_release_frees_it(make: Make) -> None:
    replies = [{"reply": f"TITLE: Idea {n}\nSET DEPTH = {n}"} for n in (4, 5, 6)]
    with FakeOllama(replies, unload_s=0.1) as fake:
        proposer = make(fake)
        drafts = proposer.propose(CONTEXT, 3)
        assert [draft.title for draft in drafts] == ["Idea 4", "Idea 5", "Idea 6"]
        assert len(fake.loads) == 1 and fake.listed()
        assert "Already proposed this turn: Idea 4; Idea 5." in seen(fake, 2)
        proposer.release()
        assert fake.listed() == {}
        assert len({seed for _, seed in turn_options(fake)}) == 3


def test_repairs_carry_the_exact_error_at_a_low_temperature(make: Make) -> None:
    wrong = {"reply": "TITLE: Shallower\nSET DEPHT = 6"}
    with FakeOllama([wrong, {"reply": "SET DEPTH = six"}, GOOD]) as fake:
        proposer = make(fake)
        (proposal,) = proposer.propose(CONTEXT)
        assert "SET DEPHT: there is no such constant. Did you mean DEPTH = 8" in seen(fake, 1)
        assert fake.chats()[1]["messages"][-2] == {"role": "assistant", "content": wrong["reply"]}
        assert "SET DEPTH = six: the value has to be a literal" in seen(fake, 2)
        assert "DEPHT" not in seen(fake, 2)  # the last error only
        assert [temperature for temperature, _ in turn_options(fake)] == [0.8, 0.2, 0.2]
    assert (proposal.usage["answers"], proposal.usage["repairs"]) == (3, 2)
    assert (proposer.card.saved, proposer.card.repairs) == (1, 2)


def test_after_two_repairs_a_fresh_sample_in_a_simpler_format(make: Make) -> None:
    with FakeOllama([BAD, BAD, BAD, GOOD]) as fake:
        (proposal,) = make(fake).propose(CONTEXT)
        assert "<<<<<<< SEARCH" in seen(fake, 0)
        assert "SEARCH" not in seen(fake, 3) and "DEPTH = 8  # layers" in seen(fake, 3)  # constants only
        assert len(fake.chats()[3]["messages"]) == 2
        assert turn_options(fake)[3][0] == 0.8 and turn_options(fake)[3][1] != turn_options(fake)[0][1]
    assert proposal.usage["answers"] == 4


def test_then_the_turn_is_given_up_with_its_reason(make: Make) -> None:
    with FakeOllama([BAD] * 4) as fake:
        proposer = make(fake)
        with pytest.raises(ProposerError, match="no usable reply in 4: The reply holds no edit") as caught:
            proposer.propose(CONTEXT)
    error = caught.value
    assert error.reason == "unparseable" and error.detail == BAD["reply"]
    assert (error.usage["answers"], error.usage["repairs"]) == (4, 2) and error.usage["prompt_tokens"] > 1000
    assert (proposer.card.turns, proposer.card.proposals) == (1, 0)


def test_a_failed_draft_does_not_lose_the_others(make: Make) -> None:
    with FakeOllama([GOOD, *[BAD] * 4, {"reply": "SET DEPTH = 4"}]) as fake:
        drafts = make(fake).propose(CONTEXT, 3)
    assert [draft.edits for draft in drafts] == [(Set("DEPTH", "6"),), (Set("DEPTH", "4"),)]


def test_an_answer_that_was_cut_is_not_taken_for_whole(make: Make) -> None:
    """`SET MATRIX_LR = 0.0` of `SET MATRIX_LR = 0.05` reads well and is wrong."""
    with FakeOllama([{"reply": "SET MATRIX_LR = 0.0", "done_reason": "length"}, GOOD]) as fake:
        (proposal,) = make(fake).propose(CONTEXT)
        assert "The answer was cut off after" in seen(fake, 1)
    assert proposal.edits == (Set("DEPTH", "6"),)


def test_a_whole_file_where_it_is_asked_for_only(make: Make) -> None:
    file = {"reply": "TITLE: File\n```python\n" + SOURCE.replace("= 8", "= 6") + "```"}
    with FakeOllama([file, GOOD]) as fake:
        make(fake, formats=("blocks",)).propose(CONTEXT)
        assert "A whole file was not asked for" in seen(fake, 1)
    with FakeOllama([file]) as fake:
        (proposal,) = make(fake, formats=("file",)).propose(CONTEXT)
        assert edits.apply(SOURCE, proposal.edits) == SOURCE.replace("= 8", "= 6")
        assert fake.chats()[0]["options"]["num_predict"] > len(SOURCE) / 4


def test_repeats_are_told_what_happened(make: Make) -> None:
    tried = edits.apply(SOURCE, [Set("DEPTH", "6")])
    trial = Trial(
        n=3, proposer="tuner", title="Six layers", hypothesis="", category="depth", edits=(Set("DEPTH", "6"),),
        source=tried, parent_source=SOURCE, verdict="discard", reason="2 sigma worse", delta_bpb=-0.008,
        sigma_bpb=0.004, val_bpb=1.3,
    )  # fmt: skip
    with FakeOllama([GOOD, {"reply": "SET DEPTH = 4"}]) as fake:
        (proposal,) = make(fake).propose(replace(CONTEXT, history=[trial]))
        assert 'That is experiment 3 again, "Six layers", which was discarded: 2 sigma worse' in seen(fake, 1)
    assert proposal.edits == (Set("DEPTH", "4"),)


def test_two_drafts_of_a_turn_differ(make: Make) -> None:
    with FakeOllama([GOOD, GOOD, BLOCK]) as fake:
        drafts = make(fake).propose(CONTEXT, 2)
        assert "already proposed this turn" in seen(fake, 2)
    assert [draft.title for draft in drafts] == ["Shallower", "Squared"]


def test_the_directive_rules_category_and_temperature(make: Make) -> None:
    directive = Directive("bold", "Be bold.", category="attention", temperature=1.1)
    with FakeOllama([GOOD]) as fake:
        make(fake).propose(replace(CONTEXT, directive=directive))
        assert turn_options(fake)[0][0] == 1.1
        assert "Be bold." in seen(fake, 0) and "has to be attention" in seen(fake, 0)


@pytest.mark.parametrize("habit", ["a block", "thinking tags", "a unified diff", "several matches", "a file cut off"])
def test_habits_end_as_the_table_says(make: Make, habit: str) -> None:
    case = next(case for case in (*APPLIED, *REFUSED) if case.habit == habit)
    with FakeOllama([{"reply": case.reply}, GOOD]) as fake:
        (proposal,) = make(fake, formats=("blocks", "set")).propose(CONTEXT)
        assert len(fake.chats()) == (1 if case.error is None else 2)
        assert case.error is None or case.error in seen(fake, 1) or "whole file" in seen(fake, 1)
    assert edits.apply(SOURCE, proposal.edits) != SOURCE


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
    assert proposal.title == "Shallower"
    assert proposal.usage["answer_tokens"] > 4000  # what the thinking cost is counted


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
    trials = []
    for n in range(1, count + 1):
        change = (Set("MATRIX_LR", f"0.{1000 + n}"),)
        trials.append(
            Trial(
                n=n, proposer="tuner", title="A title of some length " * 3, hypothesis="", category="learning_rate",
                edits=change, source=edits.apply(SOURCE, change), parent_source=SOURCE, verdict="discard", reason="",
                delta_bpb=-0.004, sigma_bpb=0.004, val_bpb=1.3,
            )
        )  # fmt: skip
    return trials


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


def _tokens(chat: dict[str, Any]) -> int:
    return sum(len(message["content"].encode()) // 4 for message in chat["messages"])


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


def test_a_prompt_that_the_server_finds_too_long_is_shortened(make: Make) -> None:
    refusal = {"status": 400, "error": "the input length exceeds the context length"}
    with FakeOllama([refusal, GOOD]) as fake:
        proposer = make(fake, most_context=8192)
        proposer.card.bytes_per_token = 4.5
        proposer.propose(replace(CONTEXT, history=long_history(150)))
        first, second = fake.chats()
        assert _tokens(second) < _tokens(first)


def test_a_prompt_that_was_cut_silently_is_an_error(make: Make) -> None:
    """The instructions would be lost: the constants alone are asked for next, and then the turn is given up."""
    with FakeOllama([{**GOOD, "prompt_eval_count": 40}] * 2) as fake, pytest.raises(ProposerError) as caught:
        make(fake).propose(CONTEXT)
    assert caught.value.reason == "truncated" and "the server read 40 tokens" in str(caught.value)


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
    """Before the first training of the next loop, whoever proposes."""
    with FakeOllama([]) as fake:
        fake.ensure_loaded(NAME, 8192)
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


# --- failures before training -----------------------------------------------------------------------------------------


def proposal_of(change: str) -> Proposal:
    parsed = edits.parse(change)
    return Proposal(parsed.edits, parsed.title, parsed.hypothesis, parsed.category, "ollama:m")


def test_a_failure_goes_back_once_with_the_relevant_lines(make: Make) -> None:
    failure = Failure("build", "NameError: name 'relu2' is not defined", "line 20, in __call__\n    x = relu2(x)")
    with FakeOllama([BLOCK]) as fake:
        mended = make(fake).repair(
            CONTEXT, proposal_of(BLOCK["reply"].replace(SQUARED, "        x = relu2(x)")), failure
        )
        (chat,) = fake.chats()
        assert "NameError: name 'relu2' is not defined" in seen(fake, 0) and "line 20, in __call__" in seen(fake, 0)
        assert "x = relu2(x)" in chat["messages"][-2]["content"] and "TITLE: Squared" in chat["messages"][-2]["content"]
        assert chat["options"]["temperature"] == 0.2
    assert mended is not None and edits.apply(SOURCE, mended.edits).count(SQUARED) == 1


def test_a_repair_that_cannot_be_read_is_mended_once_and_then_dropped(make: Make) -> None:
    failure = Failure("memory", "held 14.2 GB of memory (limit 12.0 GB)")
    with FakeOllama([BAD, GOOD, BAD, BAD]) as fake:
        proposer = make(fake)
        assert proposer.repair(CONTEXT, proposal_of("SET DEPTH = 60"), failure) is not None
        assert proposer.repair(CONTEXT, proposal_of("SET DEPTH = 60"), failure) is None
        assert len(fake.chats()) == 4


def test_a_repair_without_a_server_is_none(make: Make) -> None:
    with FakeOllama([]) as fake:
        proposer = make(fake)
    assert proposer.repair(CONTEXT, proposal_of("SET DEPTH = 60"), Failure("slow", "3 steps")) is None


# --- what it learns ---------------------------------------------------------------------------------------------------


def test_the_scorecard_counts_replies_by_format_and_outcomes(make: Make) -> None:
    with FakeOllama([BAD, GOOD, {"reply": "SET DEPTH = 4"}, {"reply": "SET DEPTH = 2"}]) as fake:
        proposer = make(fake)
        decided = []
        for n, verdict in enumerate(("keep", "crash"), start=1):
            (draft,) = proposer.propose(replace(CONTEXT, history=list(decided), turn=n))
            failure = Failure("warmup", "NaN") if verdict == "crash" else None
            decided.append(
                Trial(
                    n=n, proposer=proposer.name, title=draft.title, hypothesis="", category="depth", edits=draft.edits,
                    source=edits.apply(SOURCE, draft.edits), parent_source=SOURCE, verdict=verdict, reason="",
                    delta_bpb=None, sigma_bpb=0.004, val_bpb=None, failure=failure,
                )
            )  # fmt: skip
        proposer.propose(replace(CONTEXT, history=decided, turn=3))
        card = proposer.card
        assert card.formats["blocks"] == Tally(asked=4, parsed=3, applied=3)
        assert (card.turns, card.proposals, card.decided, card.warmed_up, card.kept) == (3, 3, 2, 1, 1)
        assert make(fake).card == card  # another night reads it from the cache


def test_a_model_that_cannot_edit_code_gets_simpler_questions(make: Make) -> None:
    """Six turns of text that no parser can read, and the card has had enough of blocks."""
    with FakeOllama([BAD], cycle=True) as fake:
        proposer = make(fake)
        for turn in range(4):
            with pytest.raises(ProposerError):
                proposer.propose(replace(CONTEXT, turn=turn))
        assert "<<<<<<< SEARCH" in seen(fake, 0)
        assert "<<<<<<< SEARCH" not in seen(fake, len(fake.chats()) - 1)


def test_slow_loading_asks_for_several_drafts(make: Make) -> None:
    with FakeOllama([GOOD], load_s=0.5) as fake:
        proposer = make(fake)
        assert proposer.drafts_per_load() == 1
        proposer.propose(CONTEXT)
        assert proposer.drafts_per_load() > 1


def test_a_full_disk_does_not_cost_the_proposal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with FakeOllama([GOOD]) as fake:
        scorecard = Scorecard(tmp_path / "file" / "scorecard.json", "mac")  # no folder can be made there
        proposer = OllamaProposer(OllamaServer(fake.url, QUICK), NAME, scorecard)
        assert proposer.propose(CONTEXT)
        proposer.close()


def test_size_of_a_model_decides_where_it_begins(make: Make) -> None:
    small = {**MODEL, "name": "qwen2.5-coder:3b", "parameter_size": "3.1B"}
    with FakeOllama([GOOD], models=[small]) as fake:
        make(fake, "qwen2.5-coder:3b").propose(CONTEXT)
        assert "SEARCH" not in seen(fake, 0)
