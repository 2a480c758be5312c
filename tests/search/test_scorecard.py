"""What is kept of each model across nights, and what it decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.search.scorecard import FORMATS, Card, ReplyCounts, Scorecard, choose_format, expected_rate


def test_cards_last_across_nights(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "scorecard.json"
    first = Scorecard(path, "M4 16 GB")
    card = first.card("ollama:a")
    card.turns, card.kept, card.bytes_per_token = 7, 2, 3.9
    card.replies("blocks").asked = 9
    first.save("ollama:a")
    again = Scorecard(path, "M4 16 GB")
    assert again.card("ollama:a") == card
    assert again.known().keys() == {"ollama:a"}
    assert Scorecard(path, "M1 8 GB").card("ollama:a") == Card()


def test_two_programs_lose_no_model_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "scorecard.json"
    one, two = Scorecard(path, "mac"), Scorecard(path, "mac")
    one.card("a").turns, two.card("b").turns = 1, 2
    one.save("a")
    two.save("b")
    assert {model: card.turns for model, card in Scorecard(path, "mac").known().items()} == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"version": 99, "machines": {}}', '{"version": 1, "machines": {"mac": 3}}',
     '{"version": 1, "machines": {"mac": {"a": {"turns": "many", "formats": {"set": 3}, "unknown": 1}}}}'],
)  # fmt: skip
def test_a_damaged_file_is_a_fresh_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scorecard.json"
    path.write_text(content)
    scorecard = Scorecard(path, "mac")
    assert scorecard.card("a").turns == 0
    scorecard.card("a").turns = 3
    scorecard.save("a")
    assert json.loads(path.read_text())["machines"]["mac"]["a"]["turns"] == 3


OLDER = ("blocks", "file", "set")  # for a turn that has no function to rewrite and no menu


@pytest.mark.parametrize(
    ("size", "form"), [(27.0, "function"), (9.0, "function"), (3.0, "menu"), (1.5, "menu"), (None, "function")]
)
def test_a_large_model_edits_code_and_a_small_one_chooses(size: float | None, form: str) -> None:
    assert choose_format(Card(), size) == form


def test_without_a_function_or_a_menu_it_sets_constants_or_edits_lines() -> None:
    assert choose_format(Card(), 27.0, OLDER) == "blocks"
    assert choose_format(Card(), 3.0, OLDER) == "set"
    assert choose_format(Card(), 27.0, ("set",)) == "set"


def test_the_format_that_does_not_apply_here_is_left() -> None:
    card = Card(turns=6, formats={"blocks": ReplyCounts(asked=8, parsed=4, applied=1)})
    assert choose_format(card, 9.0, OLDER) in ("set", "file")
    strong = Card(turns=6, formats={"blocks": ReplyCounts(asked=8, parsed=8, applied=7)})
    assert choose_format(strong, 3.0) == "blocks"
    files = Card(
        turns=20, formats={"blocks": ReplyCounts(20, 5, 2), "file": ReplyCounts(6, 6, 6), "set": ReplyCounts(10, 10, 9)}
    )
    assert choose_format(files, 9.0, OLDER) == "file"


def test_every_twelfth_turn_looks_at_the_format_tried_least() -> None:
    card = Card(
        turns=12, formats={"blocks": ReplyCounts(9, 9, 9), "file": ReplyCounts(1, 0, 0), "set": ReplyCounts(2, 2, 2)}
    )
    assert choose_format(card, 27.0, OLDER) == "file"
    card.turns = 13
    assert choose_format(card, 27.0, OLDER) == "blocks"


@given(st.floats(0.05, 6.4), st.integers(0, 60), st.sampled_from([FORMATS, ("file",), ("file", "function"), OLDER]))
def test_no_small_model_is_asked_for_a_whole_file_whatever_its_record(
    size: float, turns: int, allowed: tuple[str, ...]
) -> None:
    card = Card(turns=turns, formats={"file": ReplyCounts(0, 0, 0) if turns % 2 else ReplyCounts(50, 50, 50)})
    assert choose_format(card, size, allowed) not in ("file", "function")


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from(FORMATS), st.floats(0.1, 100.0))
def test_expected_rates_are_shares_and_grow_with_success(asked: int, applied: int, form: str, size: float) -> None:
    applied = min(applied, asked)
    rate = expected_rate(Card(formats={form: ReplyCounts(asked + 1, asked + 1, applied + 1)}), form, size)
    assert 0 < expected_rate(Card(formats={form: ReplyCounts(asked + 1, asked, applied)}), form, size) < rate < 1


def test_a_record_in_training_is_none_in_another_task(tmp_path: Path) -> None:
    path = tmp_path / "scorecard.json"
    training = Scorecard(path, "mac")
    card = training.card("ollama:m")
    card.turns, card.loaded_bytes, card.idle_cost = 40, 5e9, 0.1
    training.save("ollama:m")
    sql = Scorecard(path, "mac", "sql")
    assert (sql.card("ollama:m").turns, sql.card("ollama:m").loaded_bytes) == (0, 5e9)  # the model is the same
    assert list(sql.known()) == ["ollama:m"]
    sql.card("ollama:m").turns = 3
    sql.save("ollama:m")
    turns = [Scorecard(path, "mac", *task).card("ollama:m").turns for task in ((), ("sql",), ("ab",))]
    assert turns == [40, 3, 0]
