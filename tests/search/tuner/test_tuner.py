"""The built-in tuner: its first experiments, what it learns from, and that it never repeats itself."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import constants, edits
from autoresearch.errors import ProposerError
from autoresearch.records import CATEGORIES, Directive, Proposal, SearchReplace, Set, Trial
from autoresearch.search.tuner.space import infer
from autoresearch.search.tuner.tuner import Tuner
from testbed.toy import ROOT
from testbed.tuning import SEQ_LEN, SMALL, ConstantsScore, context, measured, trial

pytestmark = pytest.mark.slow

REAL = (ROOT / "train_mlx.py").read_text()


def night(source: str, score: ConstantsScore, turns: int, seed: int = 0) -> list[Trial]:
    """Return a night without noise, which keeps what is better. Every turn asks a new tuner."""
    history: list[Trial] = []
    bpb = score(constants.read(source))
    assert bpb is not None
    for n in range(1, turns + 1):
        (proposal,) = Tuner(seed).propose(context(source, history))
        history.append(measured(n, source, proposal, bpb, score))
        if history[-1].verdict == "keep":
            source, bpb = history[-1].source, history[-1].score
            assert bpb is not None
    return history


def worse(values: dict[str, Any]) -> float:
    """Score SMALL's own constants best, and any others worse."""
    return 1.0 if values == constants.read(SMALL) else 1.1


def bowl(values: dict[str, Any]) -> float | None:
    """Score best at DEPTH 2, 2**13 tokens, MATRIX_LR 0.1, no decay, a long warm-down; crash above MATRIX_LR 0.3."""
    if values["MATRIX_LR"] > 0.3:
        return None
    octaves = math.log2(values["TOTAL_BATCH_SIZE"] / 2**13), math.log2(values["MATRIX_LR"] / 0.1)
    decay, warmdown = values["WEIGHT_DECAY"], values["WARMDOWN_RATIO"] - 0.9
    return 1 + 0.02 * (values["DEPTH"] - 2) ** 2 + sum(0.02 * x * x for x in octaves) + 0.1 * decay + 0.2 * warmdown**2


# --- the first experiments --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_night_begins_with_the_big_levers_both_ways() -> None:
    history: list[Trial] = []
    for n in range(1, 11):
        (proposal,) = Tuner().propose(context(REAL, history))
        history.append(measured(n, REAL, proposal, 1.0, lambda _: 1.1))
    assert [trial.title for trial in history] == [
        "DEPTH 4 -> 2",
        "DEPTH 4 -> 6",
        "TOTAL_BATCH_SIZE 2**14 -> 2**13",
        "TOTAL_BATCH_SIZE 2**14 -> 2**15",
        "WIDTH 256 -> 128",
        "WIDTH 256 -> 384",
        "MATRIX_LR 0.04 -> 0.08",
        "MATRIX_LR 0.04 -> 0.02",
        "EMBEDDING_LR 0.6 -> 1.2",
        "EMBEDDING_LR 0.6 -> 0.3",
    ]
    assert history[0].edits == (Set("DEPTH", "2"), Set("ASPECT_RATIO", "128"))  # the width stays
    assert [trial.category for trial in history[::2]] == ["depth", "batch", "width", "learning_rate", "learning_rate"]
    assert "Fewer layers make a step cheaper" in history[0].hypothesis


def test_a_lever_that_wins_is_pulled_further_and_not_back() -> None:
    titles = [trial.title for trial in night(SMALL, bowl, 7)]
    assert titles == [
        "DEPTH 4 -> 2",  # kept
        "DEPTH 2 -> 1",
        "TOTAL_BATCH_SIZE 2**15 -> 2**14",  # kept
        "TOTAL_BATCH_SIZE 2**14 -> 2**13",  # kept
        "TOTAL_BATCH_SIZE 2**13 -> 2**12",
        "WIDTH 128 -> 64",
        "WIDTH 128 -> 192",
    ]


def test_a_value_that_somebody_else_tried_closes_its_side() -> None:
    model = Proposal((Set("DEPTH", "3"),), "shallower", "", "depth", "ollama:x")
    history = [measured(1, SMALL, model, 1.0, worse)]
    (proposal,) = Tuner().propose(context(SMALL, history))
    assert proposal.title == "DEPTH 4 -> 6"


@pytest.mark.slow
def test_several_drafts_differ_and_apply() -> None:
    proposals = Tuner().propose(context(REAL), 12)
    candidates = {constants.normalised(edits.apply(REAL, proposal.edits)) for proposal in proposals}
    assert len(candidates) == 12
    assert all(proposal.proposer == "tuner" and proposal.category in CATEGORIES for proposal in proposals)
    assert all(0 < len(proposal.title) < 80 and proposal.hypothesis.endswith(".") for proposal in proposals)


# --- a whole night ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_night() -> list[Trial]:
    return night(SMALL, bowl, 45)


def test_it_never_repeats_itself(long_night: list[Trial]) -> None:
    seen = [constants.normalised(SMALL), *(constants.normalised(trial.source) for trial in long_night)]
    assert len(set(seen)) == len(seen)


def test_it_finds_what_there_is_to_find(long_night: list[Trial]) -> None:
    start, best = bowl(constants.read(SMALL)), min(trial.score for trial in long_night if trial.score is not None)
    assert start is not None and best - 1 < 0.02 * (start - 1)
    assert any(len(trial.edits) >= 3 for trial in long_night)  # TPE's turns move several constants


def test_it_learns_where_it_crashes(long_night: list[Trial]) -> None:
    crashes = [trial for trial in long_night if trial.verdict == "crash"]
    assert len(crashes) <= 5


def test_a_resumed_night_goes_on_as_the_interrupted_one(long_night: list[Trial]) -> None:
    for n in (0, 3, 14, 30):
        kept = [trial for trial in long_night[:n] if trial.verdict == "keep"]
        source = kept[-1].source if kept else SMALL
        (proposal,) = Tuner(0).propose(context(source, long_night[:n]))
        assert proposal.edits == long_night[n].edits
    (other,) = Tuner(1).propose(context(source, long_night[:30]))
    assert other.edits != proposal.edits


def test_a_proposal_stays_near_the_incumbent(long_night: list[Trial]) -> None:
    for each in long_night:
        space = infer(each.parent_source, SEQ_LEN)
        tried = space.values(constants.read(each.source))
        for axis in (space[name] for name in space.changed(tried)):
            if axis.scale != "choice" and not axis.grid:
                steps = abs(axis.coordinate(tried[axis.name]) - axis.coordinate(axis.value)) / axis.step
                assert steps <= 1.6


# --- what it learns from ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = 2"), ("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = True"),
     ("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = 0.0"), ("ADAM_BETAS = (0.8, 0.95)", "ADAM_BETAS = [0.8, 0.95, 0.9]"),
     ("TOTAL_BATCH_SIZE = 2**15", "TOTAL_BATCH_SIZE = 48000"), ("MATRIX_LR = 0.04", "MATRIX_LR = -1.0")],
)  # fmt: skip
def test_a_constant_that_changed_its_type_or_range_is_no_trouble(old: str, new: str, long_night: list[Trial]) -> None:
    history = [*long_night[:20], trial(21, SMALL, [SearchReplace(old, new)], 0.5, keep=True)]
    (proposal,) = Tuner().propose(context(history[-1].source, history))
    assert edits.apply(history[-1].source, proposal.edits)


def test_a_trial_that_python_could_not_read_is_no_trouble() -> None:
    broken = replace(trial(1, SMALL, [Set("DEPTH", "2")], None), edits=(SearchReplace("a", "b"),), source="def (")
    assert Tuner().propose(context(SMALL, [broken]))[0].title == "DEPTH 4 -> 2"


# --- directives -------------------------------------------------------------------------------------------------------


def test_near_misses_are_combined() -> None:
    history = [
        trial(1, SMALL, [Set("MATRIX_LR", "0.06")], 0.004),
        trial(2, SMALL, [Set("WEIGHT_DECAY", "0.1")], 0.002),
        trial(3, SMALL, [Set("MATRIX_LR", "0.08")], 0.001),
    ]
    (proposal,) = Tuner().propose(context(SMALL, history, directive=Directive("combine", "")))
    assert proposal.edits == (Set("MATRIX_LR", "0.06"), Set("WEIGHT_DECAY", "0.1"))
    assert proposal.title == "MATRIX_LR 0.04 -> 0.06, WEIGHT_DECAY 0.2 -> 0.1"


def test_simplifying_switches_a_mechanism_off() -> None:
    (proposal,) = Tuner().propose(context(SMALL, directive=Directive("simplify", "")))
    assert (proposal.edits, proposal.category) == ((Set("WEIGHT_DECAY", "0.0"),), "simplification")


# --- the ends ---------------------------------------------------------------------------------------------------------


def test_a_file_without_constants_is_said_to_have_none() -> None:
    bare = "def build_model(task): ...\ndef train(model, run): ...\n"
    with pytest.raises(ProposerError, match="found no constant that it can turn") as raised:
        Tuner().propose(context(bare))
    assert raised.value.reason == "nothing_left"


def test_a_space_that_has_been_searched_is_said_to_be() -> None:
    source = "COMPILE = True\ndef build_model(task): return COMPILE\ndef train(model, run): ...\n"
    (proposal,) = Tuner().propose(context(source), 5)
    assert proposal.edits == (Set("COMPILE", "False"),)
    history = [measured(1, source, proposal, 1.0, lambda _: 1.1)]
    with pytest.raises(ProposerError, match="tried all that it can reach"):
        Tuner().propose(context(source, history))


def test_an_ask_after_two_hundred_trials_takes_under_a_second() -> None:
    settings = Tuner().propose(context(REAL), 200)
    one = trial(1, REAL, [Set("DEPTH", "2")], -0.1)
    history = [replace(one, n=n, edits=p.edits, delta_score=-0.1 / n) for n, p in enumerate(settings, 1)]
    assert len(history) == 200
    Tuner().propose(context(REAL, history[:20]))  # Optuna is loaded once a night
    started = time.process_time()
    Tuner().propose(context(REAL, history))
    assert time.process_time() - started < 1.0


names = st.sampled_from(
    ["DEPTH", "N_HEAD", "HEAD_DIM", "N_EMBD", "LR", "X_DECAY", "B_RATIO", "BETA1", "EPS", "FOO", "BATCH"]
)
numbers = st.integers(1, 4096) | st.floats(1e-6, 1e4)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, numbers, min_size=1, max_size=6), st.integers(1, 5))
def test_whatever_the_constants_are_the_edits_apply(values: dict[str, Any], n: int) -> None:
    source = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    source += f"def build_model(task): return {', '.join(values)}\ndef train(model, run): ...\n"
    try:
        proposals = Tuner().propose(context(source), n)
    except ProposerError as error:
        assert error.reason == "exhausted"
        return
    for proposal in proposals:
        changed = constants.read(edits.apply(source, proposal.edits))
        assert all(type(changed[name]) is type(value) for name, value in values.items())
        assert all(value >= 0 for value in changed.values())
        assert all(changed[name] > 0 for name, value in values.items() if name in {"DEPTH", "LR", "EPS", "FOO"})
        assert values.get("BETA1", 1) >= 1 or changed["BETA1"] < 1
