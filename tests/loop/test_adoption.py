"""What a night changed, taken over to a person's file that is not what the night began with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from autoresearch.candidate.pack import pack
from autoresearch.errors import UsageError
from autoresearch.loop import adoption
from autoresearch.record.git import Repository
from testbed.checkouts import PERSON, git
from testbed.night_builder import NightBuilder, set_to

MAC = "DEPTH = 8\nBATCH = 65536\nLR = 1\nprint(DEPTH)\n"
TINY = "DEPTH = 4\nBATCH = 4096\nLR = 1\nprint(DEPTH)\n"
adopt = partial(adoption.adopted, branch="autoresearch/nov23")


def test_a_tiny_nights_starting_constants_do_not_reach_the_macs_file() -> None:
    found = adopt(MAC, TINY, TINY.replace("LR = 1", "LR = 2").replace("DEPTH = 4", "DEPTH = 2"))
    assert found.source == MAC.replace("LR = 1", "LR = 2").replace("DEPTH = 8", "DEPTH = 2")
    assert found.taken == {"DEPTH": (8, 2), "LR": (1, 2)} and found.left == {"BATCH": (4096, 65536)}
    assert found.sentences() == [
        "constants changed: DEPTH 8 → 2, LR 1 → 2",
        "left as they are, since the night only began with other values: BATCH = 65536 (4096 there)",
    ]


def test_constants_reach_a_file_with_code_of_its_own() -> None:
    found = adopt(MAC + "print(LR)\n", TINY, TINY.replace("LR = 1", "LR = 2"))
    assert found.source == MAC.replace("LR = 1", "LR = 2") + "print(LR)\n"


def test_changed_code_is_taken_with_the_persons_constants() -> None:
    found = adopt(MAC, TINY, TINY.replace("LR = 1", "LR = 2").replace("print(DEPTH)", "print(DEPTH + 1)"))
    assert found.source == MAC.replace("LR = 1", "LR = 2").replace("print(DEPTH)", "print(DEPTH + 1)")


def test_two_changes_of_code_are_left_to_the_person() -> None:
    with pytest.raises(UsageError, match=r"the code of your train_mlx\.py is not .*: git merge autoresearch/nov23"):
        adopt(MAC + "print(LR)\n", TINY, TINY.replace("print(DEPTH)", "print(DEPTH + 1)"))


def test_a_constant_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"does not take the night's LR = 2: .*no such constant"):
        adopt("DEPTH = 8\n", TINY, TINY.replace("LR = 1", "LR = 2"))


def test_the_validated_winner_is_adopted_even_where_the_branch_went_further() -> None:
    made = NightBuilder()
    made.candidate(set_to("DEPTH", 3), 0.05, "keep")
    made.validate(5)
    made.candidate(set_to("LR", 0.02), 0.001, "keep")
    winner, figures = adoption.chosen(made.night, anyway=False)
    assert winner.n == 1 and "not the branch's last" in figures
    assert [x.n for x in made.night.ancestry(made.night.experiments[2])] == [0, 1, 2]


# --- a declared task --------------------------------------------------------------------------------------------------

SQL = "SELECT a\nFROM t\nWHERE b\nORDER BY c\nLIMIT 5;\n"


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        (SQL, SQL.replace("LIMIT 5", "LIMIT 4")),
        (SQL.replace("SELECT a", "SELECT x"), SQL.replace("SELECT a", "SELECT x").replace("LIMIT 5", "LIMIT 4")),
        (SQL.replace("LIMIT 5", "LIMIT 6"), "the night and you changed the same lines"),
        (None, "the night changed it, and you have none"),
    ],
)
def test_a_declared_task_s_files_are_merged(tmp_path: Path, ours: str | None, found: str) -> None:
    if ours is not None:
        (tmp_path / "query.sql").write_text(ours)
    (tmp_path / "same.sql").write_text("mine\n")
    git(tmp_path, "init", "-qb", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, *PERSON, "commit", "-qm", "start")
    before = pack({"query.sql": SQL, "same.sql": ""})
    after = pack({"query.sql": SQL.replace("LIMIT 5", "LIMIT 4"), "same.sql": ""})
    repo = Repository.at(tmp_path)
    if not found.startswith("SELECT"):
        with pytest.raises(UsageError, match=rf"query\.sql: {found}.*git merge b"):
            adoption.merged(repo, before, after, "b")
    else:
        assert adoption.merged(repo, before, after, "b") == {"query.sql": found.encode()}
