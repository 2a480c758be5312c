"""The script as a model sees it: complete, with what changes most last."""

from __future__ import annotations

import pytest

from autoresearch.search.llm import script
from testbed.toy import ROOT

TRAINER = (ROOT / "train_mlx.py").read_text()


@pytest.mark.parametrize(
    ("source", "head"),
    [
        ("A = 1\n\n\ndef f():\n    pass\n", "A = 1\n\n\n"),
        ("A = 1\n@g\n@h\nclass C:\n    pass\nB = 2\n", "A = 1\n"),
        ("A = 1\nasync def f():\n    pass\n", "A = 1\n"),
        ("A = 1\n", "A = 1\n"),
        ("def f():\n    pass\n", ""),
    ],
)
def test_the_head_ends_at_the_first_function_or_class(source: str, head: str) -> None:
    found, code = script.split(source)
    assert found == head and found + code == source


def test_all_of_the_trainer_is_shown_with_its_constants_last() -> None:
    shown = script.shown(TRAINER)
    assert shown.index("class GPT(") < shown.index("\nDEPTH = 4")
    assert all(line in shown for line in TRAINER.splitlines())


def test_a_change_of_a_constant_leaves_most_of_it_as_it_was() -> None:
    before, after = (script.shown(text) for text in (TRAINER, TRAINER.replace("\nDEPTH = 4", "\nDEPTH = 6")))
    shared = next(i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)
    assert shared > 0.8 * len(before)


def test_a_whole_file_is_asked_for_in_its_own_order() -> None:
    assert TRAINER.strip() in script.shown(TRAINER, in_order=True)


def test_a_script_without_functions_is_shown_as_it_is() -> None:
    assert script.shown("A = 1\n") == "## The script, train_mlx.py\n\n```python\nA = 1\n```\n"
