"""The constants that a night starts with: the profile's, where nobody has chosen others."""

from __future__ import annotations

import pytest

from autoresearch.candidate import constants
from autoresearch.records import Set
from autoresearch.tasks.gpt.data.profiles import PROFILES, TINY
from autoresearch.tasks.gpt.starting import SHIPPED, starting_edits
from testbed.toy import ROOT

FILE = (ROOT / "train_mlx.py").read_text()


def no_history() -> str:
    raise AssertionError("the history is not needed")


def test_the_shipped_file_gets_the_profile_and_keeps_it() -> None:
    found = starting_edits(FILE, TINY.constants, no_history)
    assert {edit.name: edit.literal for edit in found} == {
        name: literal for name, literal in TINY.constants.items() if literal != SHIPPED[name]
    }
    tiny = FILE
    for edit in found:
        tiny = constants.assign(tiny, edit.name, edit.literal)
    assert starting_edits(tiny, TINY.constants, no_history) == []


@pytest.mark.parametrize(
    ("name", "chosen"), [("DEPTH", "2"), ("TOTAL_BATCH_SIZE", "2**13"), ("WINDOW_PATTERN", '"SL"')]
)
def test_what_a_person_or_an_adopted_night_chose_stays(name: str, chosen: str) -> None:
    wanted = {**TINY.constants, "DEPTH": "6", "WINDOW_PATTERN": '"SSL"'}
    found = starting_edits(constants.assign(FILE, name, chosen), wanted, no_history)
    assert {edit.name for edit in found} == wanted.keys() - {name}


def test_a_file_of_ones_own_is_compared_with_its_first_version() -> None:
    wanted = {"LR": "0.1", "ROWS": "4", "ABSENT": "1"}
    assert starting_edits("LR = 0.02\nROWS = 16\n", wanted, lambda: "LR = 0.01\nROWS = 2**4\n") == [Set("ROWS", "4")]


def test_what_is_called_shipped_is_in_the_shipped_file() -> None:
    literals = constants.literals(FILE)
    assert {name: literals[name] for name in SHIPPED} == SHIPPED
    assert {name for profile in PROFILES.values() for name in profile.constants} <= SHIPPED.keys()
