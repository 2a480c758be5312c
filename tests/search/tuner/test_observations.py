"""A night's trials as observations in the incumbent's search space."""

from __future__ import annotations

import pytest

from autoresearch.candidate import edits
from autoresearch.candidate.versions import version
from autoresearch.records import SearchReplace, Set
from autoresearch.search.tuner.observations import observe
from autoresearch.search.tuner.space import infer
from autoresearch.search.tuner.tuner import Tuner
from testbed.tuning import SMALL, context, trial


def test_differences_to_different_incumbents_are_put_on_one_scale() -> None:
    one = trial(1, SMALL, [Set("DEPTH", "2")], 0.1, keep=True)
    two = trial(2, one.source, [Set("MATRIX_LR", "0.08")], -0.02)
    three = trial(3, one.source, [Set("MATRIX_LR", "0.8")], None)
    four = trial(4, one.source, [Set("MATRIX_LR", "0.02")], 0.03, keep=True)
    seen = observe(infer(four.source), version(four.source), [one, two, three, four])
    assert [observation.level for observation in seen.trials] == pytest.approx([-0.1, -0.08, None, -0.13])
    assert seen.level == pytest.approx(-0.13)
    assert [sorted(observation.moved) for observation in seen.trials] == [["DEPTH", "WIDTH"]] + [["MATRIX_LR"]] * 3


def test_trials_of_the_old_code_are_shifted_by_what_the_change_of_code_gave() -> None:
    old = trial(1, SMALL, [Set("MATRIX_LR", "0.08")], 0.02)
    code = trial(
        2,
        SMALL,
        [SearchReplace("DEPTH = 4", "DEPTH = 4\nEXTRA = 1.5"), rewrite("DEPTH", "DEPTH * EXTRA")],
        0.3,
        keep=True,
    )
    lost = trial(3, code.source, [rewrite("DEPTH * EXTRA", "DEPTH / EXTRA")], 0.05)
    new = trial(4, code.source, [Set("EXTRA", "2.0")], -0.1)
    seen = observe(infer(code.source), version(code.source), [old, code, lost, new])
    assert seen.level == 0.0  # where the old code's incumbent stood is where the new code's stands
    assert [observation.level for observation in seen.trials] == pytest.approx([-0.02, 0.1])
    assert [observation.values["EXTRA"] for observation in seen.trials] == [1.5, 2.0]


def test_an_ancestor_stands_where_it_stood() -> None:
    one = trial(1, SMALL, [Set("DEPTH", "2")], 0.1, keep=True)
    two = trial(2, one.source, [Set("MATRIX_LR", "0.08")], 0.02, keep=True)
    three = trial(3, one.source, [Set("WEIGHT_DECAY", "0.1")], -0.05)  # a branch, measured against the incumbent
    history = [one, two, three]
    assert observe(infer(one.source), version(one.source), history).level == pytest.approx(-0.1)
    assert observe(infer(SMALL), version(SMALL), history).level == 0.0
    seen = observe(infer(two.source), version(two.source), history)
    assert seen.trials[2].level == pytest.approx(-0.07)
    assert Tuner().propose(context(one.source, history))[0].edits


def rewrite(old: str, new: str) -> SearchReplace:
    rest = ", ASPECT_RATIO, HEAD_DIM"
    return SearchReplace(f"    return {old}{rest}", f"    return {new}{rest}")


def test_nothing_is_known_of_code_that_came_from_elsewhere() -> None:
    history = [trial(1, SMALL, [Set("DEPTH", "2")], 0.1, keep=True)]
    foreign = edits.apply(history[0].source, [rewrite("DEPTH", "DEPTH + 1")])
    assert observe(infer(foreign), version(foreign), history).trials == ()
