"""The function of a turn, and what is shown with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.candidate import syntax
from autoresearch.records import Directive
from autoresearch.search.llm import functions
from testbed.proposer_kit import CONTEXT
from testbed.reply_cases import SOURCE
from testbed.toy import ROOT

TRAINER = (ROOT / "train_mlx.py").read_text()


def target(kind: str, category: str | None, turn: int = 5, source: str = TRAINER) -> str | None:
    return functions.target(replace(CONTEXT, source=source, turn=turn, directive=Directive(kind, "", category)))


@pytest.mark.slow
def test_a_turn_about_code_has_a_function_that_decides_its_category() -> None:
    found = target("new category", "attention")
    assert found is not None and "att" in found.lower()
    assert (target("new category", "mlp") or "").startswith("MLP.")
    assert {target("bold", None, turn) for turn in range(60)} > {"lr_scale", "MLP.__call__"}


@pytest.mark.parametrize(("kind", "category"), [("refine", None), ("big lever", "depth"), ("new category", "batch")])
def test_a_turn_about_constants_has_none(kind: str, category: str | None) -> None:
    assert target(kind, category) is None
    assert functions.target(CONTEXT) is None


def test_what_must_stay_is_not_rewritten_alone() -> None:
    assert {target("bold", None, turn, SOURCE) for turn in range(20)}.isdisjoint({"build_model", "train", "MLP"})


@pytest.mark.slow
def test_it_is_shown_with_what_it_uses_and_nothing_else() -> None:
    shown = functions.shown(SOURCE, "MLP.__call__")
    assert "def __call__(self, x):\n    x = self.c_fc(x)" in shown  # without the indentation of the class
    assert "# MLP.__init__" in shown and "Block" not in shown and "DEPTH" not in shown
    assert "MATRIX_LR" not in functions.shown(SOURCE, "lr_scale")
    for name, node in syntax.definitions(syntax.parse(TRAINER)):
        assert len(functions.shown(TRAINER, name)) < functions.MOST_CHARS + 12_000, node


def test_the_head_of_a_function_is_that_of_its_answer() -> None:
    assert functions.head(TRAINER, "GPTConfig.windows") == "@property\ndef windows(self) -> list[int]:"
    for name, node in syntax.definitions(syntax.parse(TRAINER)):
        assert functions.head(TRAINER, name).rstrip().endswith(":"), node


BODY = "```python\n@twice\ndef __call__(self, x):\n    return x\n```\n"
HEADED = f"TITLE: Nothing\nREPLACE def MLP.__call__\n{BODY}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (HEADED, HEADED),
        (HEADED.replace("MLP.", ""), HEADED),
        (f"TITLE: Nothing\n{BODY}", HEADED),
        (f"```\nx = 1\n```\n{HEADED}", f"```\nx = 1\n```\n{HEADED}"),
        (BODY.replace("__call__", "other"), BODY.replace("__call__", "other")),
        (f"{BODY}or\n{BODY}", f"{BODY}or\n{BODY}"),
        (f"<<<<<<< SEARCH\n{BODY}", f"<<<<<<< SEARCH\n{BODY}"),
        ("SET DEPTH = 6", "SET DEPTH = 6"),
    ],
)
def test_a_function_without_its_heading_gets_it(answer: str, expected: str) -> None:
    assert functions.addressed(answer, "MLP.__call__") == expected
