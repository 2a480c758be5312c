"""Versions agree where two sources compute the same, and a trial's version is that of its source."""

from __future__ import annotations

import pytest

from autoresearch.candidate import edits
from autoresearch.candidate.pack import pack
from autoresearch.candidate.versions import Version, trial_version, version
from autoresearch.records import Edit, SearchReplace, Set, Trial

PARENT = """DEPTH = 2  # layers
LR = 0.1


def build_model(task):
    return DEPTH
"""


def trial(change: tuple[Edit, ...], source: str | None = None) -> Trial:
    made = edits.apply(PARENT, change) if source is None else source
    return Trial(1, "tuner", "t", "", "other", change, made, PARENT, "discard", "", None, None, None)


def test_comments_and_spelling_do_not_make_a_version() -> None:
    assert version(PARENT) == version(PARENT.replace("2  # layers", "1 + 1"))
    assert version(PARENT) != version(PARENT.replace("return DEPTH", "return LR"))


def test_constants_that_changed() -> None:
    assert version(PARENT.replace("0.1", "0.2")).changed_from(version(PARENT)) == {"LR": 0.2}


def test_a_text_that_is_not_python_is_a_version_of_its_own() -> None:
    assert version("def f(:").constants == {}
    assert version("def f(:") != version("def g(:")


@pytest.mark.parametrize(
    "change",
    [
        (Set("LR", "0.2"),),
        (Set("LR", "0.2"), Set("DEPTH", "3")),
        (SearchReplace("    return DEPTH", "    return LR"),),
        (Set("LR", "0.2"), SearchReplace("    return DEPTH", "    return LR")),
    ],
)
def test_the_version_of_a_trial_is_that_of_its_source(change: tuple[Edit, ...]) -> None:
    made = trial(change)
    assert trial_version(made) == version(made.source)


def test_a_trial_that_only_set_constants_is_not_parsed() -> None:
    made = trial((Set("LR", "0.2"),), source="not Python at all")
    assert trial_version(made) == Version(version(PARENT).structure, {"DEPTH": 2, "LR": 0.2})


def test_the_version_of_several_files() -> None:
    source = pack({"run.py": PARENT, "c.toml": "size = 1 # MB\n", "q.sql": "SELECT 1"})
    assert version(source) == version(source.replace("# MB", "# kB").replace("2  # layers", "2 # layers "))
    assert dict(version(source).constants) == {"DEPTH": 2, "LR": 0.1, "size": 1}
    change = (Set("size", "2"),)
    tried = Trial(1, "tuner", "t", "", "other", change, edits.apply(source, change), source, "discard", "", *[None] * 3)
    assert trial_version(tried).changed_from(version(source)) == {"size": 2}
    assert trial_version(tried).structure == version(source).structure
