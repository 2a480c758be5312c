"""The ideas of a declared task: texts in the form of a model's reply, offered when they apply."""

from __future__ import annotations

from dataclasses import replace

from autoresearch.candidate import edits
from autoresearch.candidate.pack import pack
from autoresearch.records import Brief, SearchReplace, Set, TaskFacts
from autoresearch.search.recipes.proposer import Ideas
from autoresearch.search.recipes.recipe import ideas, unfit, untried
from testbed.proposer_kit import CONTEXT, discarded

SQL = pack({"query.sql": "SELECT a\nFROM t\n", "conf.toml": "size = 1\n"})
IDEAS = {
    "10-less": "TITLE: Less\nCATEGORY: query\n### query.sql\n<<<<<<< SEARCH\nFROM t\n=======\nFROM u\n>>>>>>> REPLACE",
    "20-more": "TITLE: More\nCATEGORY: size\nSOURCE: a book\nCLAIM: twice\nSET size = 2",
    "later": "TITLE: Later\n<<<<<<< SEARCH\nFROM u\n=======\nFROM v\n>>>>>>> REPLACE",
}
TASK = TaskFacts(name="sql", files=("query.sql", "conf.toml"))
OWN = replace(CONTEXT, source=SQL, task=TASK, brief=Brief(role="", ideas=IDEAS, categories=("query", "size")))


def test_a_declared_task_has_its_own_ideas_instead_of_the_catalogue() -> None:
    less, more = untried(OWN)
    assert (less.name, less.category, less.source) == ("less", "query", "")
    assert less.edits == (SearchReplace("FROM t", "FROM u", "query.sql"),)
    assert (more.title, more.category, more.edits, more.claim) == ("More", "size", (Set("size", "2"),), "twice")
    changed = edits.apply(SQL, less.edits)
    assert [idea.title for idea in untried(replace(OWN, source=changed))] == ["More", "Later"]  # each when it applies
    assert untried(replace(OWN, brief=Brief(role=""))) == []


def test_an_idea_that_cannot_be_read_is_named_and_passed_over() -> None:
    texts = {"x": "TITLE: nothing", **IDEAS}
    found, [problem] = ideas(tuple(texts.items()), TASK.files, ())
    assert problem.startswith("ideas/x.txt: The reply holds no edit") and len(found) == len(IDEAS)
    assert len(untried(replace(OWN, brief=Brief(role="", ideas=texts)))) == 2


def test_an_idea_that_makes_what_was_measured_is_passed_over() -> None:
    less, _ = untried(OWN)
    made = discarded(1, Set("DEPTH", "6"), title="By a model")
    now = replace(OWN, history=(replace(made, source=edits.apply(SQL, less.edits), parent_source=SQL),))
    assert [idea.title for idea in untried(now)] == ["More"]
    assert str(unfit(less, now)).startswith('That is experiment 1 again, "By a model"')


def test_a_source_is_named_where_there_is_one() -> None:
    less, more = Ideas().propose(OWN, 2)
    assert less.hypothesis == "" and more.hypothesis == "Source: a book. Claim: twice."
