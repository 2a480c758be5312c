"""What a proposer says about its change."""

from __future__ import annotations

from autoresearch.search.llm import fields


def test_a_task_has_its_own_categories() -> None:
    assert fields.named_category("an Index on dates", ("query", "index")) == "index"
    assert fields.named_category("Join order", ("query", "join_order")) == "join_order"
    assert fields.named_category("lr", ("query",)) == "other"
    assert fields.named_category("lr") == "learning_rate"


def test_a_line_is_printable_and_short() -> None:
    assert fields.plain_line("## **Raise `LR`**\n now", 79) == "Raise LR** now"
    assert fields.plain_line("word " * 40, 20) == "word word word..."
