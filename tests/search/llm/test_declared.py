"""The prompt of a declared task: its brief, its files, its metric, and forms that suit its languages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.metrics import Metric
from autoresearch.records import Brief, Directive
from autoresearch.search import menu
from autoresearch.search.llm import declared, prompt
from autoresearch.search.llm.prompt import Subject
from testbed.declared_context import BARE, BRIEF, CONTEXT, FILES, HISTORY

TOLD = replace(CONTEXT, history=HISTORY, directive=Directive("new category", "Something else.", "index"))
OF_TRAINING = ("val_bpb", "script", "train_mlx", "training", "DEPTH", "learning_rate", "time budget", "mlx")


def text(form: str, context: object = TOLD, budget: int = 100_000) -> str:
    assert isinstance(context, type(TOLD))
    subject = Subject(menu.entries(context)) if form == "menu" else Subject()
    return "\n".join(
        message["content"] for message in prompt.build(context, form, budget=budget, subject=subject).messages
    )


@pytest.mark.parametrize("form", ["set", "blocks", "file", "menu"])
def test_a_prompt_is_in_the_words_of_the_task(form: str) -> None:
    found = text(form)
    assert found.startswith("You make a report faster.\nNobody reads your answer but a program")
    assert "# Brief\n\nBe quick." in found
    assert "p50_ms 12.5 ms, and lower is better; one run's noise (sigma) is 2.0%." in found
    assert "#1 keep 11.31 ms (+9.5%) query: Idea 1 (pages 10 -> 20)" in found
    assert "pages: 10* 20+" in found
    assert ("Something else.\nThe category has to be index." in found) == (form != "menu")
    assert [word for word in OF_TRAINING if word in found] == []


def test_all_files_are_shown_where_code_may_be_written() -> None:
    found = text("blocks")
    for path, content in FILES.items():
        assert (
            f"### {path}\n\n```{ {'sql': 'sql', 'toml': 'toml', 'py': 'python'}[path.split('.')[1]] }\n{content}```"
            in found
        )
    assert "## Files that you cannot change\n\nschema.sql:\n\n```sql\nCREATE TABLE people (name, age);\n```" in found
    assert "SQLite 3.40 runs it." in found
    assert "pages: 1 to 1000\nmode: one of wal, off" in found


@pytest.mark.parametrize("form", ["set", "menu"])
def test_only_constants_are_shown_where_they_alone_may_change(form: str) -> None:
    found = text(form)
    assert "pages = 10  (1 to 1000)\nmode = 'wal'  (one of wal, off)" in found
    assert "FROM people" not in found and "CREATE TABLE" not in found


def test_the_forms_suit_the_languages() -> None:
    assert "REPLACE def name" in text("blocks") and "SET name = value" in text("blocks")
    bare = text("blocks", replace(BARE, task=CONTEXT.task))
    assert "REPLACE def" not in bare and "SET" not in bare and "### query.sql\n<<<<<<< SEARCH" in bare
    assert "CATEGORY: one of depth" in bare  # a brief without categories has the usual ones
    assert "CATEGORY" not in text("blocks", replace(BARE, brief=Brief(role="", categories=("other",))))


def test_a_menu_has_steps_of_knobs_and_ideas() -> None:
    found = text("menu")
    assert "1. pages = " in found and 'mode = "off"' in found and "By id" in found and "LIMIT" not in found


def test_the_metric_may_rise_and_need_not_scatter() -> None:
    task = replace(CONTEXT.task, metric=Metric(name="f1", unit="", direction="higher", decimals=None))
    found = text("set", replace(CONTEXT, task=task, incumbent_score=-0.75, sigma_score=0.0))
    assert "f1 0.75, and higher is better; its value does not scatter." in found and "why f1 rises" in found


def test_long_files_to_read_are_cut_to_a_share_of_the_room() -> None:
    long = replace(BRIEF, read={"a.txt": "word " * 20_000, "b.txt": "word " * 20_000})
    found = text("blocks", replace(CONTEXT, brief=long), budget=6000)
    assert "characters more)" in found and len(found) < 30_000


def test_after_a_failure_it_speaks_of_files() -> None:
    messages = prompt.build(CONTEXT, "blocks", budget=100_000).messages
    assert (
        "against the files as shown above" in prompt.after_edit_error(messages, "x", "y", "blocks", True)[-1]["content"]
    )


def test_keys_with_long_values_are_no_settings() -> None:
    context = replace(CONTEXT, source=CONTEXT.source)
    assert declared.constant_lines(context.source, BRIEF, ["LIMIT"]) == "LIMIT = 8"
