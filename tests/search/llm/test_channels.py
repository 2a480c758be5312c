"""The answer in a model's text: without thinking, hidden channels and what follows its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import EditError
from autoresearch.search.llm.channels import answer, without_thinking

ENDS = [
    "<|im_end|>",
    "<|endoftext|>",
    "</s>",
    "<end_of_turn>",
    "<turn|>",
    "<|eot_id|>",
    "<|return|>",
    "<|end|>",
    "[/INST]",
]
ENDS += ["<eos>", "<|im_start|>user\n", "<start_of_turn>user\n", "<｜end▁of▁sentence｜>", "\nHuman: ", "\n### Input:\n"]
HIDDEN = [
    "<think>{}</think>",
    "<THINKING>\n{}\n</THINKING>",
    "{}</think>",
    "<|channel>thought\n{}<channel|>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>commentary to=functions.edit <|constrain|>json<|message|>{}<|call|><|channel|>final<|message|>",
    "<seed:think>{}</seed:think>",
    "[THINK]{}[/THINK]",
    "◁think▷{}◁/think▷",
    "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>",
    '<think budget="8">{}</think>',
    "&lt;think&gt;{}&lt;/think&gt;",
]
STARTS = ["", "<|im_start|>assistant\n", "<start_of_turn>model\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"]
words = st.text(alphabet="ab =\n", min_size=1, max_size=30).filter(str.strip)


@given(st.sampled_from(STARTS), st.sampled_from(HIDDEN), words, words, st.sampled_from(ENDS), words)
def test_the_answer_is_what_stands_between_hidden_part_and_end(
    start: str, hidden: str, thought: str, said: str, end: str, more: str
) -> None:
    assert answer(start + hidden.format(thought) + said + end + more).strip() == said.strip()
    assert answer(start + said + end + hidden.format(more) + more).strip() == said.strip()


@pytest.mark.parametrize("hidden", [text for text in HIDDEN if not text.startswith("{}")])
def test_what_is_hidden_to_the_end_is_no_answer(hidden: str) -> None:
    with pytest.raises(EditError, match="still thinking"):
        answer(hidden.partition("{}")[0] + "SET DEPTH = 6<|im_end|>SET DEPTH = 5" * hidden.startswith("<think>"))
    assert without_thinking(hidden.partition("{}")[0] + "SET DEPTH = 6") == ""
    assert answer("SET DEPTH = 6\n" + hidden.partition("{}")[0] + "SET DEPTH = 5") == "SET DEPTH = 6"


def test_marks_that_are_only_named_hide_nothing() -> None:
    assert answer("I use no `<think>` here.\nSET DEPTH = 6") == "I use no `<think>` here.\nSET DEPTH = 6"
