"""A posted hypothesis is a change with its reason: no number, no unknown field, no text that hides something."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoresearch.errors import EditError
from autoresearch.records import CATEGORIES, SearchReplace, Set, TaskFacts, WholeFile
from autoresearch.serve.posts import EXAMPLE, MEASURED_HERE, Posted, UnusableError, problems

GOOD = {k: v for k, v in EXAMPLE.items() if k != "author"}
TASK = TaskFacts()
BLOCK = "<<<<<<< SEARCH\na = 1\n=======\na = 2\n>>>>>>> REPLACE"


def post(**changes: Any) -> Posted:
    return Posted.model_validate({k: v for k, v in {**GOOD, **changes}.items() if v is not None})


def told(**changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        post(**changes)
    return {one["field"]: one["problem"] for one in problems(caught.value.errors())}


def test_edits_are_read_as_a_models_are() -> None:
    made = post().made(TASK)
    assert made.edits == (Set("TOTAL_BATCH_SIZE", "32768"),) and made.author == ""
    both = post(edits=f"SET DEPTH = 6\n\n{BLOCK}").made(TASK)
    assert both.edits == (Set("DEPTH", "6"), SearchReplace("a = 1", "a = 2"))
    assert made.id != post().made(TASK).id


def test_a_file_is_taken_whole_and_only_one_that_the_night_changes() -> None:
    whole = post(edits=None, files={"train_mlx.py": "x = 1\n"}).made(TASK)
    assert whole.edits == (WholeFile("x = 1\n"),)
    for files in ({}, {"prepare.py": ""}, {"train_mlx.py": "", "../x": ""}):
        with pytest.raises(EditError, match=r"the files that this night changes are train_mlx\.py"):
            post(edits=None, files=files).made(TASK)


def test_in_another_task_files_and_edits_name_their_paths_and_categories_are_its_own() -> None:
    task = TaskFacts(name="query", files=("q.sql", "i.sql"))
    given = {"category": "indexes", "edits": None}
    assert post(**given, files={"i.sql": "x"}).made(task).edits == (WholeFile("x", "i.sql"),)
    block = post(category="indexes", edits=f"### i.sql\n{BLOCK}").made(task)
    assert block.edits == (SearchReplace("a = 1", "a = 2", "i.sql"),) and block.category == "indexes"
    with pytest.raises(UnusableError, match=r"^files: the files that this night changes are q\.sql, i\.sql"):
        post(**given, files={"train_mlx.py": "x"}).made(task)
    with pytest.raises(UnusableError, match=r"^category: one of depth"):
        post(category="indexes").made(TASK)


@pytest.mark.parametrize(
    "field", ["val_bpb", "score", "value", "result", "verdict", "sigma", "n", "seed", "measurement"]
)
def test_a_number_from_the_caller_is_refused_by_its_name(field: str) -> None:
    assert told(**{field: 0.9}) == {field: MEASURED_HERE}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": " \n\t"}, "title"),
        ({"title": "\x00\x1b"}, "title"),
        ({"title": "x" * 80}, "title"),
        ({"title": 3}, "title"),
        ({"title": ["x"]}, "title"),
        ({"title": None}, "title"),
        ({"hypothesis": "x" * 601}, "hypothesis"),
        ({"hypothesis": True}, "hypothesis"),
        ({"category": "x" * 41}, "category"),
        ({"category": 1}, "category"),
        ({"edits": 0.5}, "edits"),
        ({"edits": "x" * 200_001}, "edits"),
        ({"edits": None, "files": {"train_mlx.py": 1}}, "files.train_mlx.py"),
        ({"edits": None, "files": []}, "files"),
        ({"author": "x" * 41}, "author"),
        ({"author": "a\nb"}, "author"),
        ({"author": " "}, "author"),
        ({"edits": None}, "body"),
        ({"files": {"train_mlx.py": ""}}, "body"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    assert list(told(**changes)) == [field]


def test_edits_that_are_none_are_refused_with_their_form() -> None:
    for text in ("", "make it better", "{}", "SET DEPTH", "<<<<<<< SEARCH\nx"):
        with pytest.raises(EditError):
            post(edits=text).made(TASK)


@given(st.text(max_size=79), st.text(max_size=600), st.sampled_from(CATEGORIES), st.text(max_size=200))
def test_any_text_makes_a_hypothesis_of_printable_lines_or_is_refused(
    title: str, why: str, category: str, edits: str
) -> None:
    try:
        made = post(title=title, hypothesis=why, category=category, edits=edits).made(TASK)
    except (ValidationError, EditError):
        return
    assert made.title.isprintable() and made.hypothesis.isprintable() and made.edits
