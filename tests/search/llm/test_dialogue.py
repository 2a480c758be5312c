"""The protocol with a model: turns, repairs, fallbacks, the errors sent back, and the counts of the scorecard."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autoresearch.candidate import edits
from autoresearch.errors import ProposerError
from autoresearch.records import Directive, Failure, Proposer, Set
from autoresearch.search.llm.ollama import OllamaProposer
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.scorecard import ReplyCounts, Scorecard
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.proposer_kit import BAD, BLOCK, CONTEXT, GOOD, NAME, QUICK, Make, discarded, proposal_of, proposer, seen
from testbed.reply_cases import APPLIED, REFUSED, SOURCE, SQUARED
from testbed.tuning import SMALL


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return make(fake, model=..., formats=...), which returns a proposer with a scorecard of this test's."""
    return partial(proposer, tmp_path)


def turn_options(fake: FakeOllama) -> list[tuple[float, int]]:
    return [(chat["options"]["temperature"], chat["options"]["seed"]) for chat in fake.chats()]


# --- a turn -----------------------------------------------------------------------------------------------------------


def test_a_good_reply_is_a_proposal(make: Make) -> None:
    with FakeOllama([GOOD]) as fake:
        proposer: Proposer = make(fake)
        (proposal,) = proposer.propose(CONTEXT)
    assert proposal.edits == (Set("DEPTH", "6"),)
    assert (proposal.title, proposal.hypothesis, proposal.category) == ("DEPTH 8 -> 6", "More steps.", "depth")
    assert proposal.proposer == proposer.name == f"ollama:{NAME}"
    assert proposal.usage["prompt_tokens"] > 500 and proposal.usage["answer_tokens"] > 10
    assert (proposal.usage["answers"], proposal.usage["repairs"]) == (1, 0)
    assert proposal.usage["harness_s"] < 3


def test_one_load_serves_all_drafts_and_release_frees_it(make: Make) -> None:
    replies = [{"reply": f"TITLE: Idea {n}\nSET DEPTH = {n}"} for n in (4, 5, 6)]
    with FakeOllama(replies, unload_s=0.1) as fake:
        proposer = make(fake)
        drafts = proposer.propose(CONTEXT, 3)
        assert [draft.title for draft in drafts] == ["DEPTH 8 -> 4", "DEPTH 8 -> 5", "DEPTH 8 -> 6"]
        assert len(fake.loads) == 1 and fake.listed()
        assert "Already proposed this turn: DEPTH 8 -> 4; DEPTH 8 -> 5." in seen(fake, 2)
        proposer.release()
        assert fake.listed() == {}
        assert len({seed for _, seed in turn_options(fake)}) == 3


def test_repairs_carry_the_exact_error(make: Make) -> None:
    wrong = {"reply": "TITLE: Shallower\nSET DEPHT = 6"}
    with FakeOllama([wrong, {"reply": "SET DEPTH = six"}, GOOD]) as fake:
        proposer = make(fake)
        (proposal,) = proposer.propose(CONTEXT)
        assert "SET DEPHT: there is no such constant. Did you mean DEPTH = 8" in seen(fake, 1)
        assert fake.chats()[1]["messages"][-2] == {"role": "assistant", "content": wrong["reply"]}
        assert "SET DEPTH = six: the value has to be a literal" in seen(fake, 2)
        assert "DEPHT" not in seen(fake, 2)  # only the last error is sent back
        assert [temperature for temperature, _ in turn_options(fake)] == [0.8, 0.5, 0.5]
    assert (proposal.usage["answers"], proposal.usage["repairs"]) == (3, 2)
    assert (proposer.card.saved, proposer.card.repairs) == (1, 2)


def test_after_two_repairs_a_fresh_sample_in_a_simpler_format(make: Make) -> None:
    with FakeOllama([BAD, BAD, BAD, GOOD]) as fake:
        (proposal,) = make(fake).propose(CONTEXT)
        assert "<<<<<<< SEARCH" in seen(fake, 0)
        assert "SEARCH" not in seen(fake, 3) and "DEPTH = 8  # layers" in seen(fake, 3)  # only the constants
        assert len(fake.chats()[3]["messages"]) == 2
        assert turn_options(fake)[3][0] == 0.8 and turn_options(fake)[3][1] != turn_options(fake)[0][1]
    assert proposal.usage["answers"] == 4


def test_then_the_turn_is_given_up_with_its_reason(make: Make) -> None:
    with FakeOllama([BAD] * 4) as fake:
        proposer = make(fake)
        with pytest.raises(ProposerError, match="no usable reply in 4: The reply holds no edit") as caught:
            proposer.propose(CONTEXT)
    error = caught.value
    assert (
        error.reason == "unparseable" and error.detail == BAD["reply"] and f'begins "{BAD["reply"][:-1]}' in str(error)
    )
    assert (error.usage["answers"], error.usage["repairs"]) == (4, 2) and error.usage["prompt_tokens"] > 1000
    assert (proposer.card.turns, proposer.card.proposals) == (1, 0)


def test_a_failed_draft_does_not_lose_the_others(make: Make) -> None:
    with FakeOllama([GOOD, *[BAD] * 4, {"reply": "SET DEPTH = 4"}]) as fake:
        drafts = make(fake).propose(CONTEXT, 3)
    assert [draft.edits for draft in drafts] == [(Set("DEPTH", "6"),), (Set("DEPTH", "4"),)]


def test_an_answer_that_was_cut_is_not_taken_for_whole(make: Make) -> None:
    """`SET MATRIX_LR = 0.0`, cut from `SET MATRIX_LR = 0.05`, would parse and be wrong."""
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
    trial = discarded(3, Set("DEPTH", "6"), title="Six layers", reason="2 sigma worse")
    with FakeOllama([GOOD, {"reply": "SET DEPTH = 4"}]) as fake:
        (proposal,) = make(fake).propose(replace(CONTEXT, history=[trial]))
        assert 'That is experiment 3 again, "Six layers", which was discarded: 2 sigma worse' in seen(fake, 1)
    assert proposal.edits == (Set("DEPTH", "4"),)


def test_two_drafts_of_a_turn_differ(make: Make) -> None:
    with FakeOllama([GOOD, GOOD, BLOCK]) as fake:
        drafts = make(fake).propose(CONTEXT, 2)
        assert "already proposed this turn" in seen(fake, 2)
    assert [draft.title for draft in drafts] == ["DEPTH 8 -> 6", "Squared"]


def test_the_directive_rules_category_and_temperature(make: Make) -> None:
    directive = Directive("bold", "Be bold.", category="attention", temperature=1.1)
    with FakeOllama([GOOD, GOOD]) as fake:
        make(fake).propose(replace(CONTEXT, directive=directive))
        assert turn_options(fake)[0][0] == 1.1
        assert "Be bold." in seen(fake, 0) and "has to be attention" in seen(fake, 0)


OTHER = {"reply": "CATEGORY: attention\nTITLE: Squared\n" + BLOCK["reply"].partition("\n")[2]}


def test_a_change_of_another_category_is_sent_back_once(make: Make) -> None:
    wanted = replace(CONTEXT, directive=Directive("new category", "Something else.", category="attention"))
    with FakeOllama([GOOD, OTHER]) as fake:
        maker = make(fake)
        (proposal,) = maker.propose(wanted)
        assert "a change of the category depth. This turn is for one of the category attention" in seen(fake, 1)
    assert (proposal.title, proposal.category, proposal.usage["answers"]) == ("Squared", "attention", 2)
    assert (maker.card.repairs, maker.card.saved) == (0, 0)


@pytest.mark.parametrize("second", [GOOD, BAD, {"status": 500}], ids=["the same", "no edits", "an error"])
def test_but_it_is_better_than_none(make: Make, second: dict[str, Any]) -> None:
    wanted = replace(CONTEXT, directive=Directive("new category", "Something else.", category="attention"))
    with FakeOllama([GOOD, second, second]) as fake:
        (proposal,) = make(fake, timeouts=replace(QUICK, retry_s=0.0)).propose(wanted)
    assert (proposal.title, proposal.category) == ("DEPTH 8 -> 6", "depth")


def test_what_only_sets_constants_has_their_category_whatever_it_says(make: Make) -> None:
    with FakeOllama([{"reply": "CATEGORY: attention\nTITLE: Shallower\nSET DEPTH = 6"}]) as fake:
        (proposal,) = make(fake).propose(CONTEXT)
    assert proposal.category == "depth"


@pytest.mark.parametrize(
    "habit", ["a block", "thinking tags", "a diff of another value", "several matches", "a file cut off"]
)
def test_habits_end_as_the_table_says(make: Make, habit: str) -> None:
    case = next(case for case in (*APPLIED, *REFUSED) if case.habit == habit)
    with FakeOllama([{"reply": case.reply}, GOOD]) as fake:
        (proposal,) = make(fake, formats=("blocks", "set")).propose(CONTEXT)
        assert len(fake.chats()) == (1 if case.error is None else 2)
        assert case.error is None or case.error in seen(fake, 1) or "whole file" in seen(fake, 1)
    assert edits.apply(SOURCE, proposal.edits) != SOURCE


# --- failures before training -----------------------------------------------------------------------------------------


def test_a_failure_goes_back_once_with_the_relevant_lines(make: Make) -> None:
    failure = Failure("build", "NameError: name 'relu2' is not defined", "line 20, in __call__\n    x = relu2(x)")
    with FakeOllama([BLOCK]) as fake:
        mended = make(fake).repair(
            CONTEXT, proposal_of(BLOCK["reply"].replace(SQUARED, "        x = relu2(x)")), failure
        )
        (chat,) = fake.chats()
        assert "NameError: name 'relu2' is not defined" in seen(fake, 0) and "line 20, in __call__" in seen(fake, 0)
        assert "x = relu2(x)" in chat["messages"][-2]["content"] and "TITLE: Squared" in chat["messages"][-2]["content"]
        assert chat["options"]["temperature"] == 0.5
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
            change = draft.edits[0]
            assert isinstance(change, Set)
            decided.append(discarded(n, change, proposer=proposer.name, verdict=verdict, failure=failure))
        proposer.propose(replace(CONTEXT, history=decided, turn=3))
        card = proposer.card
        assert card.formats["blocks"] == ReplyCounts(asked=1, parsed=0, applied=0)
        assert card.formats["set"] == ReplyCounts(asked=3, parsed=3, applied=3)  # credited to what the replies used
        assert (card.turns, card.proposals, card.decided, card.warmed_up, card.kept) == (3, 3, 2, 1, 1)
        assert make(fake).card == card  # another night reads it from the cache


def test_a_model_that_cannot_edit_code_gets_simpler_questions(make: Make) -> None:
    """After some turns of unparseable replies, the scorecard no longer chooses blocks."""
    with FakeOllama([BAD], cycle=True) as fake:
        proposer = make(fake)
        for turn in range(4):
            with pytest.raises(ProposerError):
                proposer.propose(replace(CONTEXT, turn=turn))
        assert "<<<<<<< SEARCH" in seen(fake, 0)
        assert "<<<<<<< SEARCH" not in seen(fake, len(fake.chats()) - 1)


@pytest.mark.slow
def test_slow_loading_asks_for_several_drafts(make: Make) -> None:
    with FakeOllama([GOOD], load_s=0.5) as fake:
        proposer = make(fake)
        assert proposer.drafts_per_load() == 1
        proposer.propose(CONTEXT)
        proposer.release()
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


# --- small models -----------------------------------------------------------------------------------------------------

TINY = {**MODEL, "name": "qwen2.5-coder:1.5b", "parameter_size": "1.5B"}
MENU_CONTEXT = replace(CONTEXT, source=SMALL)


def test_a_small_model_chooses_from_a_menu_under_a_schema(make: Make) -> None:
    with FakeOllama([{"reply": '{"because": "It is short.", "choice": "MATRIX_LR = 0.08"}'}], models=[TINY]) as fake:
        maker = make(fake, TINY["name"])
        (proposal,) = maker.propose(MENU_CONTEXT)
        (chat,) = fake.chats()
    assert "MATRIX_LR = 0.08" in chat["format"]["properties"]["choice"]["enum"]
    assert '{"because": ' in seen(fake, 0)  # a server may ignore the schema
    assert (proposal.edits, proposal.title) == ((Set("MATRIX_LR", "0.08"),), "MATRIX_LR 0.04 -> 0.08")
    assert (proposal.hypothesis, proposal.category) == ("It is short.", "learning_rate")
    assert maker.card.formats["menu"] == ReplyCounts(1, 1, 1)


def test_a_small_model_is_never_asked_for_a_file(make: Make) -> None:
    with FakeOllama([{"reply": "nothing"}], cycle=True, models=[TINY]) as fake:
        maker = make(fake, TINY["name"], formats=("file", "blocks"))
        for turns in (0, 12, 24):
            maker.card.turns = turns
            with pytest.raises(ProposerError):
                maker.propose(MENU_CONTEXT)
        assert not any("whole new script" in seen(fake, i) for i in range(len(fake.chats())))


def test_a_setting_that_changes_nothing_is_dropped_beside_one_that_does(make: Make) -> None:
    with FakeOllama([{"reply": "SET DEPTH = 8\nSET MATRIX_LR = MATRIX_LR * 2"}]) as fake:
        (proposal,) = make(fake).propose(CONTEXT)
    assert proposal.edits == (Set("MATRIX_LR", "0.08"),)
    assert proposal.title == "MATRIX_LR 0.04 -> 0.08"


def test_after_nothing_new_it_is_asked_again_hotter_with_what_is_new(make: Make) -> None:
    same = {"reply": "HYPOTHESIS: I like it.\nSET DEPTH = 4"}
    with FakeOllama([same, same, {"reply": "SET DEPTH = 2"}]) as fake:
        maker = make(fake, formats=("set",))
        (proposal,) = maker.propose(MENU_CONTEXT)
        assert [temperature for temperature, _ in turn_options(fake)] == [0.8, 0.9, 0.9]
        assert "DEPTH = 4: SET DEPTH = 4 changes nothing" in seen(fake, 1)
        assert "These are new:" in seen(fake, 1) and "MATRIX_LR = 0.08" in seen(fake, 1)
        assert not any("I like it." in message["content"] for chat in fake.chats() for message in chat["messages"])
        assert all(len(chat["messages"]) == 2 for chat in fake.chats())
    assert proposal.edits == (Set("DEPTH", "2"),)
    assert maker.card.formats["set"] == ReplyCounts(3, 3, 3)  # nothing new is not a fault of the form


def test_a_model_that_gives_only_filler_is_asked_with_thinking(make: Make) -> None:
    thinker = {**MODEL, "name": "qwen3.5:9b", "capabilities": ["completion", "thinking"]}
    with FakeOllama([*[{"reply": ". . ."}] * 3, GOOD], models=[thinker]) as fake:
        (proposal,) = make(fake, "qwen3.5:9b").propose(CONTEXT)
        assert [chat["think"] for chat in fake.chats()] == [False, False, False, True]
    assert proposal.edits == (Set("DEPTH", "6"),)


def test_a_turn_about_a_constant_shows_no_code(make: Make) -> None:
    directive = Directive("big lever", "Change DEPTH.", category="depth")
    with FakeOllama([GOOD]) as fake:
        make(fake).propose(replace(CONTEXT, directive=directive))
        assert "class MLP" not in seen(fake, 0)


@pytest.mark.parametrize("heading", ["REPLACE def lr_scale\n", ""])
def test_a_turn_about_code_shows_one_function(heading: str, make: Make) -> None:
    directive = Directive("new category", "Something else.", category="schedule")
    rewrite = f"CATEGORY: schedule\nTITLE: Square it\n{heading}```\ndef lr_scale(p):\n    return p * p\n```"
    with FakeOllama([{"reply": rewrite}]) as fake:
        proposer = make(fake)
        (proposal,) = proposer.propose(replace(CONTEXT, directive=directive))
        assert proposer.card.formats["function"] == ReplyCounts(asked=1, parsed=1, applied=1)
        assert "def lr_scale(progress):" in seen(fake, 0) and "class MLP" not in seen(fake, 0)
    assert proposal.title == "Square it"


@pytest.mark.parametrize("form", ["function", "blocks"])
def test_a_mending_within_the_turn_reads_little_anew(form: str, make: Make) -> None:
    context = replace(CONTEXT, directive=Directive("new category", "Something else.", category="schedule"))
    rewrite = "CATEGORY: schedule\nTITLE: Square it\nREPLACE def lr_scale\n```\ndef lr_scale(p):\n    return {}\n```"
    with FakeOllama([{"reply": rewrite.format("q * q")}, {"reply": rewrite.format("p * p")}]) as fake:
        proposer = make(fake, formats=(form,))
        (proposal,) = proposer.propose(context)
        mended = proposer.repair(context, proposal, Failure("train", "NameError: name 'q' is not defined"))
        assert mended is not None and "p * p" in edits.apply(SOURCE, mended.edits)
        assert len(fake.loads) == 1 and fake.read[1] < 0.15 * fake.read[0]


def test_the_failed_change_itself_is_no_mending_of_it(make: Make) -> None:
    """A model that is shown its own answer gives it again: it is asked once more without it."""
    again = {"reply": "TITLE: Square it\nREPLACE def lr_scale\n```\ndef lr_scale(p):\n    return q * q\n```"}
    with FakeOllama([again, BLOCK]) as fake:
        proposal, failure = proposal_of(again["reply"]), Failure("train", "NameError: name 'q' is not defined")
        mended = make(fake).repair(CONTEXT, proposal, failure)
        last = fake.chats()[-1]["messages"]
    assert mended is not None and SQUARED in edits.apply(SOURCE, mended.edits)
    assert all(message["role"] != "assistant" for message in last)
    assert "Square it: That failed: NameError: name 'q' is not defined. Change it." in last[-1]["content"]
