"""The scripted ideas of the examples improve what they say, and those that are wrong on purpose are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoresearch.candidate import pack
from autoresearch.errors import EditError
from testbed import examples

pytestmark = pytest.mark.slow

# The figure that ideas improve, and its ratio to the baseline's that they reach at least.
FIGURES = {"sql": ("p50_ms", 0.5), "routing": ("macro_f1", 1.5), "agent": ("accuracy", 5.0), "ab": ("rate", 1.8)}
WRONG = ["sql/60-same-time", "bundle/30-no-reset", "tests/70-skip-slow", "lighthouse/60-no-picture"]


def best(folder: Path) -> str:
    """Return an example's source with all ideas but those that are refused, and those that no longer apply."""
    source = examples.source(folder)
    for path in sorted((folder / "ideas").glob("*.txt")):
        text = examples.idea(path)
        if "none; refused" in path.read_text():
            continue
        try:
            source = examples.changed(source, text)
        except EditError:
            continue
    return source


@pytest.mark.parametrize("name", FIGURES)
def test_ideas_improve_an_example(name: str, tmp_path: Path) -> None:
    folder = examples.copied(name, tmp_path)
    figure, ratio = FIGURES[name]
    examples.shrink(folder)
    before = examples.judged(folder)
    examples.write(folder, best(folder))
    after = examples.judged(folder)
    assert isinstance(before, dict) and isinstance(after, dict), (before, after)
    found = float(str(after[figure])) / float(str(before[figure]))
    assert found < ratio if ratio < 1 else found > ratio


def test_ideas_make_a_page_smaller(tmp_path: Path) -> None:
    folder = examples.copied("bundle", tmp_path)
    source = best(folder)
    examples.write(folder, source)
    assert examples.judged(folder) == {}
    assert len(source) < 0.5 * len(examples.source(examples.EXAMPLES / "bundle"))


def test_ideas_shorten_the_waits_of_a_suite_that_still_tests(tmp_path: Path) -> None:
    folder = examples.copied("tests", tmp_path)
    examples.write(folder, best(folder))
    assert isinstance(examples.judged(folder), dict)
    assert "PAUSE_S = 0.0" in pack.unpack(examples.source(folder))["suite/conftest.py"]


@pytest.mark.parametrize("idea", WRONG)
def test_ideas_that_are_wrong_on_purpose_are_refused(idea: str, tmp_path: Path) -> None:
    name, _, title = idea.partition("/")
    folder = examples.copied(name, tmp_path)
    examples.shrink(folder)
    text = examples.idea(folder / "ideas" / f"{title}.txt")
    examples.write(folder, examples.changed(examples.source(folder), text))
    assert re.match(r"python (check|score|judge)\.py", str(examples.judged(folder)))
