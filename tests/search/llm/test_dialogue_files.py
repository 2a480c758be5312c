"""The protocol with a model on a declared task of several files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from autoresearch.candidate import edits
from autoresearch.candidate.pack import unpack
from autoresearch.errors import ProposerError
from autoresearch.records import Directive, Failure, SearchReplace, Set, WholeFile
from testbed.declared_context import BARE, CONTEXT, FILES, HISTORY, SOURCE
from testbed.fake_ollama import FakeOllama
from testbed.proposer_kit import BAD, Make, proposer, seen

BLOCK = "HYPOTHESIS: Less.\nCATEGORY: Index\nTITLE: Ids\n\n{}<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(proposer, tmp_path)


def replying(*replies: str) -> FakeOllama:
    return FakeOllama([{"reply": reply} for reply in replies])


def test_a_block_names_its_file_and_its_category_is_the_tasks(make: Make) -> None:
    with replying(BLOCK.format("### query.sql\n", "SELECT name", "SELECT id")) as fake:
        (proposal,) = make(fake, formats=("blocks",)).propose(CONTEXT)
        assert "### query.sql\n\n```sql\nSELECT name" in seen(fake, 0)
    assert proposal.edits == (SearchReplace("SELECT name", "SELECT id", "query.sql"),)
    assert (proposal.title, proposal.category) == ("Ids", "index")


def test_a_block_without_a_path_gets_the_file_that_it_fits(make: Make) -> None:
    with replying(BLOCK.format("", "    return LIMIT", "    return LIMIT + 1")) as fake:
        (proposal,) = make(fake, formats=("blocks",)).propose(CONTEXT)
    assert [edit.path for edit in proposal.edits] == ["run.py"]


def test_constants_and_keys_are_set_with_a_title_of_their_values(make: Make) -> None:
    with replying("CATEGORY: query\nSET pages = pages * 4\nSET LIMIT = 8") as fake:
        (proposal,) = make(fake, formats=("set",)).propose(CONTEXT)
        assert "pages = 10  (1 to 1000)" in seen(fake, 0)
    assert proposal.edits == (Set("pages", "40"),)
    assert (proposal.title, proposal.category) == ("pages 10 -> 40", "query")


def test_the_menu_offers_ideas_and_knobs(make: Make) -> None:
    with replying('{"because": "It is less.", "choice": "By id"}') as fake:
        (proposal,) = make(fake, formats=("menu",)).propose(CONTEXT)
    assert unpack(edits.apply(SOURCE, proposal.edits)) == {
        **FILES,
        "query.sql": FILES["query.sql"].replace("name", "id"),
    }
    assert (proposal.title, proposal.hypothesis, proposal.category) == ("By id", "It is less.", "query")


def test_a_file_that_may_not_change_is_sent_back_by_its_name(make: Make) -> None:
    wrong = BLOCK.format("### schema.sql\n", "CREATE TABLE people (name, age);", "CREATE TABLE people (name);")
    with replying(wrong, BLOCK.format("### query.sql\n", "SELECT name", "SELECT id")) as fake:
        (proposal,) = make(fake, formats=("blocks",)).propose(CONTEXT)
        assert "There is no file schema.sql to change. Files that may change: query.sql, conf.toml, run.py" in seen(
            fake, 1
        )
        assert "against the files as shown above" in seen(fake, 1)
    assert proposal.usage["repairs"] == 1


def test_a_repeat_is_refused_and_what_is_new_is_named(make: Make) -> None:
    repeated = BLOCK.format("### query.sql\n", "FROM people", "FROM persons")
    with replying(repeated, "SET pages = 40") as fake:
        (proposal,) = make(fake, formats=("blocks",)).propose(replace(CONTEXT, history=HISTORY))
        assert 'That is experiment 2 again, "Idea 2"' in seen(fake, 1) and "\npages = " in seen(fake, 1)
    assert proposal.edits == (Set("pages", "40"),)


def test_without_constants_it_writes_blocks_or_whole_files(make: Make) -> None:
    context = replace(BARE, directive=Directive("lever", "Look.", None))
    with replying("### query.sql\n```sql\nSELECT id FROM people\n```") as fake:
        (proposal,) = make(fake, formats=("blocks", "file", "set")).propose(context)
        assert "SET" not in seen(fake, 0)
    assert proposal.edits == (WholeFile("SELECT id FROM people", "query.sql"),)


def test_it_gives_up_in_the_forms_that_the_task_has(make: Make) -> None:
    with (
        FakeOllama([BAD] * 6) as fake,
        pytest.raises(ProposerError, match="no usable reply in 4: The reply holds no edit"),
    ):
        make(fake, formats=("blocks", "file", "set")).propose(BARE)
    with (
        FakeOllama([BAD] * 6) as fake,
        pytest.raises(ProposerError, match="no usable reply in 4: The reply holds no edit"),
    ):
        make(fake, formats=("blocks", "set")).propose(CONTEXT)


def test_a_failure_is_mended_in_the_words_of_the_task(make: Make) -> None:
    broken = BLOCK.format("### query.sql\n", "SELECT name", "SELECT nme")
    mended = BLOCK.format("### query.sql\n", "SELECT name", "SELECT id")
    with replying(broken, mended) as fake:
        made = make(fake, formats=("blocks",))
        (proposal,) = made.propose(CONTEXT)
        again = made.repair(CONTEXT, proposal, Failure("guard", "no such column: nme"))
        assert "The change was applied and it failed (guard): no such column: nme" in seen(fake, 1)
        assert "training" not in seen(fake, 1)
        assert "### query.sql\n<<<<<<< SEARCH" in fake.chats()[1]["messages"][-2]["content"]
    assert again is not None and again.edits == (SearchReplace("SELECT name", "SELECT id", "query.sql"),)
