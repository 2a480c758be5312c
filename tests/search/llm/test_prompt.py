"""The prompt and the compact history: their parts, the order, and what is left out of a small context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import edits
from autoresearch.errors import EditError, ProposerError
from autoresearch.records import Context, Directive, Failure, Proposal, Set, TaskFacts, Trial
from autoresearch.search.llm import prompt, script
from autoresearch.search.llm.prompt import Subject
from autoresearch.search.llm.tokens import conversation_tokens
from autoresearch.search.menu import MenuEntry
from testbed.reply_cases import SOURCE
from testbed.trials import SIGMA, trial

TASK = TaskFacts(seq_len=256, vocab_size=1024, budget_s=60)


def context(trials: Sequence[Trial] = (), **changes: object) -> Context:
    made = Context(SOURCE, 1.2945, SIGMA, "# Brief\n\nLower val_bpb.", TASK, "Apple M4, 10 cores, 16 GB", trials)
    return replace(made, **changes)  # type: ignore[arg-type]


def text_of(made: prompt.Prompt) -> str:
    return "\n".join(message["content"] for message in made.messages)


# --- the prompt -------------------------------------------------------------------------------------------------------


def test_what_never_changes_comes_first() -> None:
    """Two turns of one incumbent share everything up to the history: the server reads that part once."""
    first = text_of(prompt.build(context(), "blocks", budget=10**6))
    later = text_of(prompt.build(context([trial(1, [Set("DEPTH", "6")])], incumbent_score=1.2), "blocks", budget=10**6))
    shared = first.index("## What has been tried")
    assert first[:shared] == later[:shared]
    assert (
        first.index("# Brief") < first.index("seq_len=256") < first.index("DEPTH = 8") < shared < first.index("## Now")
    )


def test_it_holds_what_a_proposer_may_know() -> None:
    directive = Directive("refine", "Turn one constant by a small step.", category="learning_rate")
    crash = trial(2, [Set("DEPTH", "16")], "crash", None, Failure("memory", "held 14.2 GB"))
    trials = [trial(1, [Set("MATRIX_LR", "0.05")], sigmas=-0.8), crash]
    text = text_of(prompt.build(context(trials, directive=directive), "blocks", budget=10**6))
    for part in (
        "# Brief",
        *(part.strip() for part in script.split(SOURCE)),
        "Apple M4, 10 cores, 16 GB",
        "val_bpb is 1.2945",
        "0.0040",
        "Turn one constant by a small step.",
        "The category has to be learning_rate.",
        "MATRIX_LR: .04* .05=",
        "#1 discard -0.8s learning_rate: Idea 1",
        "#2 crash: memory (held 14.2 GB): Idea 2",
        "<<<<<<< SEARCH",
        "REPLACE def name",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("form", "present", "absent"),
    [
        ("set", ["DEPTH = 8  # layers", "SET NAME = literal"], ["class MLP", "SEARCH"]),
        ("blocks", ["class MLP", "SET NAME = literal", "<<<<<<< SEARCH"], ["whole new script"]),
        ("file", ["class MLP", "the whole new script"], ["SEARCH", "SET NAME"]),
        ("function", ["def __call__(self, x):", "REPLACE def MLP.__call__", "seq_len=256"], ["SEARCH", "class Block"]),
        ("menu", ["DEPTH = 8  # layers", "1. DEPTH = 6", '"because"'], ["class MLP", "SEARCH", "seq_len", "MATRIX_LR"]),
    ],
)
def test_formats(form: str, present: list[str], absent: list[str]) -> None:
    subject = Subject([MenuEntry("DEPTH = 6", "depth", (Set("DEPTH", "6"),))], "MLP.__call__")
    text = text_of(prompt.build(context(), form, budget=10**6, subject=subject))
    assert all(part in text for part in present)
    assert not any(part in text for part in absent)


def test_long_tables_are_not_constants_to_turn() -> None:
    table = "TABLE = (" + ", ".join(f"{i}.5" for i in range(60)) + ")\n"
    text = text_of(prompt.build(context(source=SOURCE + table), "set", budget=10**6))
    assert "TABLE" not in text and "ADAM_BETAS" in text


def test_drafts_of_the_turn_are_named() -> None:
    drafted = [Proposal((Set("DEPTH", "6"),), "Shallower", "", "depth", "m")]
    assert "Already proposed this turn: Shallower." in text_of(
        prompt.build(context(), "blocks", budget=10**6, drafted=drafted)
    )


@pytest.mark.slow
def test_history_goes_first_and_the_oldest_of_it() -> None:
    trials = [trial(n, [Set("MATRIX_LR", f"0.{100 + n}")], "keep" if n == 3 else "discard") for n in range(1, 120)]
    whole = prompt.build(context(trials), "blocks", budget=10**6)
    least = prompt.build(context(), "blocks", budget=10**6).tokens
    tight = prompt.build(context(trials), "blocks", budget=least + 400)
    assert whole.tokens - whole.least <= prompt.HISTORY_TOKENS + 100
    assert tight.tokens <= least + 400 < whole.tokens
    assert tight.dropped > whole.dropped > 0
    text = text_of(tight)
    assert f"({tight.dropped} older lines left out)" in text
    assert "#3 keep" in text and "#119 discard" in text and "#50 " not in text
    numbers = [int(row.split()[0][1:]) for row in text.split("\n") if row.startswith("#") and row[1].isdigit()]
    assert numbers == sorted(numbers)


def test_what_cannot_fit_is_an_error_with_the_numbers() -> None:
    with pytest.raises(ProposerError, match=r"needs \d+ tokens without any history and 500 fit") as caught:
        prompt.build(context(), "blocks", budget=500)
    assert caught.value.reason == "too_long"


FORTY = [trial(n, [Set("MATRIX_LR", f"0.{100 + n}")]) for n in range(1, 41)]


@settings(deadline=None)
@given(st.integers(600, 6000), st.floats(2.0, 5.0), st.integers(0, 40))
def test_a_prompt_keeps_to_its_budget_by_the_real_count(budget: int, bytes_per_token: float, count: int) -> None:
    try:
        made = prompt.build(context(FORTY[:count]), "set", budget=budget, bytes_per_token=bytes_per_token)
    except ProposerError:
        return
    assert conversation_tokens(made.messages, bytes_per_token) <= budget


def test_repair_turns_carry_the_exact_error_and_the_reply() -> None:
    made = prompt.build(context(), "blocks", budget=10**6)
    with pytest.raises(EditError) as caught:
        edits.apply(SOURCE, [Set("DEPHT", "6")])
    messages = prompt.after_edit_error(made.messages, "SET DEPHT = 6", str(caught.value), "blocks")
    assert messages[:2] == made.messages
    assert messages[2] == {"role": "assistant", "content": "SET DEPHT = 6"}
    assert str(caught.value) in messages[3]["content"]
    assert prompt.after_edit_error(made.messages, "", "x", "blocks")[2]["content"] == "(empty)"


def test_failures_before_training_carry_the_end_of_the_traceback() -> None:
    made = prompt.build(context(), "blocks", budget=10**6)
    failure = Failure("build", "NameError: name 'foo' is not defined", "noise\n" * 1000 + "line 12, in build_model")
    request = prompt.after_failure(made.messages, "SET DEPTH = 6", failure)[-1]["content"]
    assert "(build): NameError" in request and request.count("line 12, in build_model") == 1
    assert len(request) < 2500


def test_a_brief_that_outgrows_the_context_is_told() -> None:
    assert prompt.program_warning("x" * 7000, 8192) is None
    warning = prompt.program_warning("x" * 60_000, 8192)
    assert warning is not None and "about 15000 tokens; 2000 leave" in warning


def test_a_menu_needs_no_section_on_how_to_answer() -> None:
    program = "# Brief\n\nBe bold.\n\n## How to answer\n\nIn blocks.\n\n## The end\n\nGood luck.\n"
    made = prompt.build(context(program=program), "menu", budget=10**6)
    assert "Be bold." in text_of(made) and "Good luck." in text_of(made) and "In blocks." not in text_of(made)
    assert "In blocks." in text_of(prompt.build(context(program=program), "set", budget=10**6))


MENU = [MenuEntry("DEPTH = 6", "depth", (Set("DEPTH", "6"),)), MenuEntry("Cube it", "mlp", (), "a recipe")]


@pytest.mark.parametrize(
    ("kind", "category", "entries", "told"),
    [
        ("bold", None, MENU, True),
        ("new category", "depth", MENU[:1], True),
        ("new category", "speed", MENU, False),  # too few of that category: all are listed
        ("combine", None, MENU, False),  # one line can be chosen
    ],
)
def test_a_menus_turn_asks_for_nothing_that_is_not_on_it(
    kind: str, category: str | None, entries: list[MenuEntry], told: bool
) -> None:
    asked = context(directive=Directive(kind, "Do something.", category))
    made = prompt.build(asked, "menu", budget=10**6, subject=prompt.Subject(entries))
    assert ("Do something." in text_of(made)) == told and "category has to be" not in text_of(made)
    again = prompt.after_edit_error(made.messages, "x", "y", "menu")[-1]["content"]
    assert "one JSON object" in again and "edits" not in again


def test_after_nothing_new_it_says_what_is_new_and_not_what_the_model_said() -> None:
    made = prompt.build(context(), "set", budget=10**6)
    *first, last = prompt.after_nothing_new(made.messages, ["DEPTH = 8: it has that value"] * 2, MENU, "set")
    assert tuple(first) == made.messages[:-1] and last["role"] == "user"
    assert last["content"].startswith(made.messages[-1]["content"])  # a server's prompt cache holds it
    assert last["content"].count("DEPTH = 8: it has that value") == 1 and "DEPTH = 6" in last["content"]
    assert "Cube it" not in last["content"]  # a recipe is not a setting of a constant
