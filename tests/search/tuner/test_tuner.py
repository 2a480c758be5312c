"""The built-in tuner: its first experiments, what it learns from, and that it never repeats itself."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import constants, edits
from autoresearch.candidate.versions import version
from autoresearch.errors import ProposerError
from autoresearch.records import CATEGORIES, Context, Directive, Edit, Failure, Proposal, SearchReplace, Set, Trial
from autoresearch.search.tuner.axes import axes_of
from autoresearch.search.tuner.observations import observe
from autoresearch.search.tuner.space import infer
from autoresearch.search.tuner.tpe import suggestions
from autoresearch.search.tuner.tuner import Tuner
from testbed.toy import ROOT

REAL = (ROOT / "train_mlx.py").read_text()
SEQ_LEN = 2048
SIGMA = 0.01
SMALL = """DEPTH = 4
ASPECT_RATIO = 32
HEAD_DIM = 64
TOTAL_BATCH_SIZE = 2**15
MATRIX_LR = 0.04
WEIGHT_DECAY = 0.2
WARMDOWN_RATIO = 0.5
ADAM_BETAS = (0.8, 0.95)


def build_model(task):
    return DEPTH, ASPECT_RATIO, HEAD_DIM


def train(model, run):
    return TOTAL_BATCH_SIZE, MATRIX_LR, WEIGHT_DECAY, WARMDOWN_RATIO, ADAM_BETAS
"""

Score = Callable[[dict[str, Any]], float | None]  # val_bpb of the constants; None: it crashes


def context(source: str, history: Sequence[Trial] = (), **more: Any) -> Context:
    return Context(source, 1.0, SIGMA, "", {"seq_len": SEQ_LEN}, "", tuple(history), turn=len(history) + 1, **more)


def measured(n: int, parent: str, proposal: Proposal, incumbent_bpb: float, score: Score) -> Trial:
    source = edits.apply(parent, proposal.edits)
    bpb = score(constants.read(source))
    trial = Trial(
        n, proposal.proposer, proposal.title, proposal.hypothesis, proposal.category, proposal.edits, source, parent,
        "crash", "it crashed", None, SIGMA, None,
    )  # fmt: skip
    if bpb is None:
        return replace(trial, failure=Failure("diverged", "nan"))
    delta = incumbent_bpb - bpb
    return replace(trial, verdict="keep" if delta > 0 else "discard", reason="", delta_bpb=delta, val_bpb=bpb)


def night(source: str, score: Score, turns: int, seed: int = 0) -> list[Trial]:
    """A night without noise: what is better is kept. The tuner is a new one every turn."""
    history: list[Trial] = []
    bpb = score(constants.read(source))
    assert bpb is not None
    for n in range(1, turns + 1):
        (proposal,) = Tuner(seed).propose(context(source, history))
        history.append(measured(n, source, proposal, bpb, score))
        if history[-1].verdict == "keep":
            source, bpb = history[-1].source, history[-1].val_bpb
            assert bpb is not None
    return history


def worse(values: dict[str, Any]) -> float:
    """The baseline of SMALL is the best there is."""
    return 1.0 if values == constants.read(SMALL) else 1.1


def bowl(values: dict[str, Any]) -> float | None:
    """Best at DEPTH 2, 2**13 tokens, MATRIX_LR 0.1, no decay, a long warm-down; diverges above MATRIX_LR 0.3."""
    if values["MATRIX_LR"] > 0.3:
        return None
    octaves = math.log2(values["TOTAL_BATCH_SIZE"] / 2**13), math.log2(values["MATRIX_LR"] / 0.1)
    decay, warmdown = values["WEIGHT_DECAY"], values["WARMDOWN_RATIO"] - 0.9
    return 1 + 0.02 * (values["DEPTH"] - 2) ** 2 + sum(0.02 * x * x for x in octaves) + 0.1 * decay + 0.2 * warmdown**2


# --- the first experiments --------------------------------------------------------------------------------------------


def test_the_night_begins_with_the_big_levers_both_ways() -> None:
    history: list[Trial] = []
    for n in range(1, 11):
        (proposal,) = Tuner().propose(context(REAL, history))
        history.append(measured(n, REAL, proposal, 1.0, lambda _: 1.1))
    assert [trial.title for trial in history] == [
        "DEPTH 4 -> 2",
        "DEPTH 4 -> 6",
        "TOTAL_BATCH_SIZE 2**15 -> 2**14",
        "TOTAL_BATCH_SIZE 2**15 -> 2**16",
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
    start, best = bowl(constants.read(SMALL)), min(trial.val_bpb for trial in long_night if trial.val_bpb is not None)
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
    for trial in long_night:
        space = infer(trial.parent_source, SEQ_LEN)
        tried = space.values(constants.read(trial.source))
        for axis in (space[name] for name in space.changed(tried)):
            if axis.scale != "choice" and not axis.grid:
                steps = abs(axis.coordinate(tried[axis.name]) - axis.coordinate(axis.value)) / axis.step
                assert steps <= 1.6


# --- what it learns from ----------------------------------------------------------------------------------------------


def trial(n: int, parent: str, change: Sequence[Edit], delta: float | None, *, keep: bool = False) -> Trial:
    proposal = Proposal(tuple(change), f"idea {n}", "", "other", "x")
    result = measured(n, parent, proposal, 1.0, lambda _: None if delta is None else 1.0 - delta)
    return replace(result, verdict="crash" if delta is None else "keep" if keep else "discard")


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


# --- TPE --------------------------------------------------------------------------------------------------------------


def test_crashes_keep_tpe_away() -> None:
    (axis,) = axes_of("MATRIX_LR", 0.04)
    told = [({"MATRIX_LR": rate}, abs(math.log2(rate / 0.03))) for rate in (0.02, 0.03, 0.04, 0.05, 0.06)]
    told += [({"MATRIX_LR": rate}, None) for rate in (0.1, 0.12, 0.15, 0.2, 0.25, 0.3)]
    asked = suggestions([axis], told, seed=0)
    rates = [float(next(asked)["MATRIX_LR"]) for _ in range(30)]
    assert sum(rate >= 0.1 for rate in rates) <= 6  # of the range's upper half


def test_tpe_follows_what_was_better() -> None:
    axes = [*axes_of("MATRIX_LR", 0.04), *axes_of("WINDOW_PATTERN", "L")]
    told = [
        ({"MATRIX_LR": 0.005 * 2 ** (i / 4), "WINDOW_PATTERN": pattern}, (i - 16) ** 2 / 100 + (pattern != "SL"))
        for i in range(25)  # the whole range; 0.08 is best
        for pattern in ("L", "SL", "SSL", "SSSL")
    ]
    asked = [next(suggestions(axes, told, seed)) for seed in range(15)]
    assert sum(values["WINDOW_PATTERN"] == "SL" for values in asked) >= 10
    assert 0.05 < sorted(float(values["MATRIX_LR"]) for values in asked)[7] < 0.13


def test_optuna_is_loaded_late_and_says_nothing() -> None:
    code = """
import sys
from autoresearch.search.tuner.tuner import Tuner
from autoresearch.search.tuner.tpe import suggestions
from autoresearch.search.tuner.axes import axes_of
assert "optuna" not in sys.modules
axes = list(axes_of("MATRIX_LR", 0.04))
next(suggestions(axes, [({"MATRIX_LR": 0.04}, 1.0)], 0))
assert "optuna" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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
    assert raised.value.reason == "exhausted"


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
    history = [replace(one, n=n, edits=p.edits, delta_bpb=-0.1 / n) for n, p in enumerate(settings, 1)]
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
