"""The tuner on a declared task: it turns keys and constants in several files, within what the task declares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.candidate import constants, edits
from autoresearch.candidate.pack import pack
from autoresearch.errors import ProposerError
from autoresearch.metrics import Metric
from autoresearch.records import Brief, Context, Set, TaskFacts, Trial
from autoresearch.search.hybrid import Hybrid
from autoresearch.search.proposer import NOTHING_LEFT
from autoresearch.search.recipes.proposer import Ideas
from autoresearch.search.tuner.tuner import Tuner

SOURCE = pack(
    {"ui.toml": 'headline = "a" # of three\npx = 14\n', "conf.json": '{"wait": 0.5, "on": true}', "x.css": "a { }\n"}
)
BRIEF = Brief(role="", knobs={"headline": ("a", "b", "c"), "px": (10, 48), "wait": (0.0, 2.0)})
METRIC = Metric(name="rate", unit="", direction="higher", decimals=None)
CONTEXT = Context(
    SOURCE, -0.1, 0.01, "", TaskFacts(name="ab", metric=METRIC, files=("ui.toml",)), "", brief=BRIEF, turn=1
)


def night(context: Context, turns: int, best: dict[str, object]) -> tuple[list[Trial], str]:
    """Let the tuner propose; the score is the number of settings that are not `best`."""

    def score(source: str) -> float:
        return float(sum(constants.read(source)[name] != value for name, value in best.items()))

    source, history = context.source, list[Trial]()
    for n in range(1, turns + 1):
        now = replace(context, source=source, history=tuple(history), turn=n)
        proposal = Tuner().propose(now)[0]
        changed = edits.apply(source, proposal.edits)
        gain = score(source) - score(changed)
        verdict = "keep" if gain > 0 else "discard"
        history.append(
            Trial(n, "tuner", proposal.title, proposal.hypothesis, proposal.category, proposal.edits, changed, source,
                  "keep" if gain > 0 else "discard", "", gain, 0.1, score(changed))
        )  # fmt: skip
        source = changed if verdict == "keep" else source
    return history, source


def test_each_knob_is_turned_in_its_place_and_stays_within_its_range() -> None:
    history, source = night(CONTEXT, 12, {"headline": "c"})
    assert history[0].title == "headline a -> b"
    assert history[0].hypothesis == "rate may be higher with another value of headline."
    assert {edit.name for trial in history for edit in trial.edits if isinstance(edit, Set)} == {
        "headline",
        "px",
        "wait",
    }
    assert all(10 <= constants.read(trial.source)["px"] <= 48 for trial in history)
    assert constants.read(source)["headline"] == "c" and "# of three" in source and "a { }\n" in source
    assert len({trial.source for trial in history}) == len(history)


def test_without_knobs_all_numbers_and_switches_are_turned() -> None:
    history, _ = night(replace(CONTEXT, brief=Brief(role="")), 12, {"on": False})
    assert {edit.name for trial in history for edit in trial.edits if isinstance(edit, Set)} == {"px", "wait", "on"}
    assert any(Set("on", "false") in trial.edits for trial in history)


def test_there_may_be_nothing_to_turn() -> None:
    nothing = replace(CONTEXT, source=pack({"q.sql": "SELECT 1"}), brief=Brief(role=""))
    tuner = Tuner()
    with pytest.raises(ProposerError, match="found no constant") as caught:
        tuner.propose(nothing)
    assert caught.value.reason == NOTHING_LEFT and not tuner.has_ideas(nothing) and tuner.has_ideas(CONTEXT)
    clashing = replace(nothing, brief=Brief(role="", ideas={"10-x": "TITLE: X\nSET y = 1"}))
    for context, why in (
        (nothing, "ideas: there is no idea"),
        (clashing, "1 untried idea clashes .*; x: SET y: there"),
    ):
        with pytest.raises(ProposerError, match=f"tuner: .*found no constant.*{why}") as caught:
            Hybrid([Ideas(), tuner], fallback=tuner).propose(context)
        assert caught.value.reason == NOTHING_LEFT
