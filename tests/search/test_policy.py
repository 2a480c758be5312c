"""The search policy: kinds of turn, plateaus, repeats and shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import edits
from autoresearch.records import CATEGORIES, Directive, Edit, SearchReplace, Set, Trial, Verdict
from autoresearch.search import policy
from autoresearch.search.policy import TurnCounts
from testbed import declared_context as declared

SOURCE = """DEPTH = 4  # layers
MATRIX_LR = 0.04
WEIGHT_DECAY = 0.2
EMBEDDING_LR = 0.6
BETAS = (0.8, 0.95)


def build_model(task):
    return DEPTH


def train(model, run):
    return MATRIX_LR, WEIGHT_DECAY, EMBEDDING_LR, BETAS
"""
SIGMA = 0.01


def tried(
    n: int,
    change: Sequence[Edit],
    verdict: Verdict = "discard",
    *,
    parent: str = SOURCE,
    delta: float | None = -0.02,
    category: str = "other",
    proposer: str = "tuner",
) -> Trial:
    source = edits.apply(parent, change)
    return Trial(
        n, proposer, f"idea {n}", "", category, tuple(change), source, parent, verdict, "0.02 worse", delta, SIGMA, 1.0
    )


def many(verdicts: str, categories: Sequence[str] = ("other",)) -> list[Trial]:
    """Return a history with these verdicts, by their first letters: "kddc"."""
    names: dict[str, Verdict] = {"k": "keep", "d": "discard", "c": "crash"}
    return [
        tried(n, [Set("MATRIX_LR", str(1 + n / 1000))], names[letter], category=categories[n % len(categories)])
        for n, letter in enumerate(verdicts, 1)
    ]


LEVERS_DONE = many("d" * 10, tuple(policy.LEVER_TEXTS))


# --- the kind of turn -------------------------------------------------------------------------------------------------


def test_the_night_begins_with_the_big_levers_each_twice() -> None:
    history: list[Trial] = []
    for n in range(1, 11):
        directive = policy.next_directive(history, n)
        assert directive.kind == "big lever"
        history.append(replace(tried(n, [Set("DEPTH", "3")]), category=str(directive.category)))
    assert [trial.category for trial in history] == [lever for lever in policy.LEVER_TEXTS for _ in range(2)]
    assert policy.next_directive(history, 11).kind != "big lever"


def test_levers_that_nobody_takes_up_do_not_hold_the_night() -> None:
    assert policy.next_directive(many("d" * 17, ("mlp",)), 18).kind == "big lever"
    assert policy.next_directive(many("d" * 18, ("mlp",)), 19).kind != "big lever"


def test_then_all_kinds_take_turns() -> None:
    history = [*LEVERS_DONE, tried(11, [Set("DEPTH", "2")], "keep"), *near(12, 13)]
    kinds = [policy.next_directive(history, n).kind for n in range(20, 30)]
    assert Counter(kinds) == dict.fromkeys(policy.ROTATION, 2)
    assert all(policy.next_directive(history, n).temperature is None for n in range(20, 30))


def near(*numbers: int) -> list[Trial]:
    return [tried(n, [Set("MATRIX_LR", str(1 + n / 1000))], delta=0.1 / n) for n in numbers]


def test_combining_needs_two_near_misses_and_names_them() -> None:
    kept = [*LEVERS_DONE, tried(11, [Set("DEPTH", "2")], "keep")]
    n = next(n for n in range(5) if policy.ROTATION[n] == "combine")
    assert policy.next_directive([*kept, *near(12)], n).kind == "refine"
    directive = policy.next_directive([*kept, *near(12, 13)], n)
    assert directive.kind == "combine"
    assert '"idea 12" and "idea 13"' in directive.text


def test_near_misses_are_discards_since_the_last_keep_within_a_sigma_the_best_first() -> None:
    history = [
        tried(1, [Set("DEPTH", "3")], delta=0.005),  # before the keep
        tried(2, [Set("DEPTH", "2")], "keep", delta=0.1),
        tried(3, [Set("DEPTH", "5")], delta=-0.009),
        tried(4, [Set("DEPTH", "6")], delta=-0.011),
        tried(5, [Set("DEPTH", "7")], "crash", delta=None),
        tried(6, [Set("DEPTH", "8")], delta=0.004),
    ]
    assert [trial.n for trial in policy.near_misses(history)] == [6, 3]


def test_of_an_exact_metric_nothing_worse_is_near() -> None:
    losses = ((1, -1e-9), (2, 0.0))
    history = [replace(tried(n, [Set("DEPTH", "3")], delta=delta), sigma_score=None) for n, delta in losses]
    assert [trial.n for trial in policy.near_misses(history)] == [2]


def test_a_plateau_asks_for_unused_categories_at_a_higher_temperature() -> None:
    calm, stuck = [*LEVERS_DONE, *many("kddddddd")], [*LEVERS_DONE, *many("kdddddddd")]
    assert (policy.since_keep(calm), policy.since_keep(stuck)) == (7, 8)
    assert [policy.next_directive(calm, n).temperature for n in range(5)] == [None] * 5
    directives = [policy.next_directive(stuck, n) for n in range(5)]
    assert [directive.temperature for directive in directives] == [policy.HOT] * 5
    categories = [directive.category for directive in directives if directive.kind == "new category"]
    assert len(categories) == 4  # all but "bold": there is nothing to combine
    used = {trial.category for trial in stuck}
    assert not used & set(categories)
    assert set(categories) <= set(CATEGORIES)


def test_when_all_categories_are_used_the_least_used_is_asked_for() -> None:
    history = many("d" * 47, CATEGORIES)
    counts = Counter(trial.category for trial in history)
    assert all(counts[policy.least_used(history, n)] == min(counts.values()) for n in range(20))


@pytest.mark.parametrize(
    ("verdicts", "point"),
    [
        ("", None),
        ("d" * 16, None),  # there is nothing older than the baseline
        ("dk" + "d" * 15, None),
        ("dk" + "d" * 16, 0),  # the version before the last keep
        ("dkdk" + "d" * 16, 2),
        ("dkdk" + "d" * 23, 2),
        ("dkdk" + "d" * 24, None),  # back to the incumbent for a while
        ("dkdk" + "d" * 31, None),
        ("dkdk" + "d" * 32, 0),
        ("dkdk" + "d" * 64, 0),  # the oldest there is
    ],
)
def test_a_deep_plateau_branches_from_an_older_version(verdicts: str, point: int | None) -> None:
    history = many(verdicts)
    assert policy.branch_point(history) == point


def test_a_branched_turn_says_so() -> None:
    history = [*LEVERS_DONE, *many("dk" + "d" * 17)]
    for n in range(5):
        directive = policy.next_directive(history, n)
        assert directive.temperature == policy.HOT
        assert directive.text.startswith("No keep in 17 experiments, so this turn starts from an older version")


@pytest.mark.slow
@settings(deadline=None)
@given(st.text("kdc", max_size=60), st.integers(1, 1000))
def test_every_history_has_a_directive(verdicts: str, n: int) -> None:
    history = many(verdicts, tuple(CATEGORIES))
    directive = policy.next_directive(history, n)
    assert directive == policy.next_directive(history, n)
    assert directive.text and "{" not in directive.text
    assert directive.category is None or directive.category in CATEGORIES


# --- repeats ----------------------------------------------------------------------------------------------------------


def repeat(change: Sequence[Edit], history: Sequence[Trial], parent: str = SOURCE) -> int | None:
    trial = policy.repeat_of(edits.apply(parent, change), parent, history)
    return trial and trial.n


def test_the_same_version_is_a_repeat_however_it_is_written() -> None:
    history = [tried(1, [Set("DEPTH", "2")]), tried(2, [SearchReplace("    return DEPTH", "    return DEPTH + 1")])]
    assert repeat([Set("DEPTH", "4 // 2")], history) == 1
    assert repeat([SearchReplace("    return DEPTH", "    # one more\n    return DEPTH + 1")], history) == 2
    assert repeat([Set("DEPTH", "3")], history) is None


def test_values_are_the_same_to_two_digits() -> None:
    history = [tried(1, [Set("MATRIX_LR", "0.0601")]), tried(2, [Set("BETAS", "(0.9, 0.95)")])]
    assert repeat([Set("MATRIX_LR", "0.06")], history) == 1
    assert repeat([Set("MATRIX_LR", "0.062")], history) is None
    assert repeat([Set("BETAS", "(0.9, 0.951)")], history) == 2


def test_the_same_change_of_a_slightly_different_file_is_a_repeat() -> None:
    history = [tried(1, [Set("MATRIX_LR", "0.06")])]
    two_on = edits.apply(SOURCE, [Set("DEPTH", "2"), Set("WEIGHT_DECAY", "0.1")])
    three_on = edits.apply(two_on, [Set("EMBEDDING_LR", "0.3")])
    other_code = edits.apply(SOURCE, [SearchReplace("    return DEPTH", "    return DEPTH + 1")])
    assert repeat([Set("MATRIX_LR", "0.06")], history, two_on) == 1
    assert repeat([Set("MATRIX_LR", "0.06")], history, three_on) is None
    assert repeat([Set("MATRIX_LR", "0.06")], history, other_code) is None
    assert repeat([Set("MATRIX_LR", "0.06"), Set("EMBEDDING_LR", "0.3")], history) is None  # a combination is new


def test_going_back_is_a_repeat_and_said_to_be_one() -> None:
    kept = tried(7, [Set("DEPTH", "2")], "keep")
    assert repeat([Set("DEPTH", "4")], [kept], kept.source) == 7
    assert policy.repeat_sentence(SOURCE, kept) == (
        'That is the version from before experiment 7, "idea 7". Propose something new.'
    )


@pytest.mark.parametrize(
    ("verdict", "ended"), [("keep", "was kept"), ("discard", "was discarded"), ("crash", "crashed")]
)
def test_the_sentence_says_what_happened(verdict: Verdict, ended: str) -> None:
    trial = tried(3, [Set("DEPTH", "2")], verdict)
    sentence = policy.repeat_sentence(trial.source, trial)
    assert sentence == f'That is experiment 3 again, "idea 3", which {ended}: 0.02 worse. Propose something else.'
    near = edits.apply(trial.source, [Set("DEPTH", "3")])
    assert policy.repeat_sentence(near, trial).startswith("That is nearly experiment 3 again")


def test_a_trial_that_python_cannot_read_is_passed_over_unless_it_is_the_same() -> None:
    broken = replace(tried(1, [Set("DEPTH", "2")]), edits=(SearchReplace("a", "b"),), source="def (", verdict="crash")
    assert repeat([Set("DEPTH", "2")], [broken]) is None
    assert policy.repeat_of("def (", SOURCE, [broken]) == broken


def test_a_constant_set_in_words_is_read_from_the_source() -> None:
    parent = SOURCE.replace("DEPTH = 4", 'DEPTH = 4\nDTYPE = "bfloat16"').replace("return DEPTH", "return DEPTH, DTYPE")
    trial = tried(1, [Set("DTYPE", "float32")], parent=parent)  # a bare word, as replies have it
    assert repeat([Set("DTYPE", '"float32"')], [trial], parent) == 1


# --- whose turn -------------------------------------------------------------------------------------------------------

counts = st.integers(0, 40).flatmap(lambda turns: st.tuples(st.just(turns), st.integers(0, turns)))
scores = st.lists(counts, min_size=1, max_size=4).map(
    lambda rows: {f"p{i}": TurnCounts(turns, kept) for i, (turns, kept) in enumerate(rows)}
)


@settings(deadline=None)
@given(scores)
def test_shares_sum_to_one_above_the_floor(counts: dict[str, TurnCounts]) -> None:
    shares = policy.shares(counts, 0.2)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0.2 - 1e-9


def test_shares_follow_keeps_for_the_time_they_took() -> None:
    assert policy.shares({"a": TurnCounts(), "b": TurnCounts()}) == {"a": 0.5, "b": 0.5}
    assert policy.shares({"a": TurnCounts(20, 6), "b": TurnCounts(20, 0)}) == {"a": 0.875, "b": 0.125}
    assert policy.shares({"a": TurnCounts(40, 20), "b": TurnCounts(40, 0)})["b"] == 0.1
    better = policy.shares({"a": TurnCounts(20, 4), "b": TurnCounts(20, 2)})
    slower = policy.shares({"a": TurnCounts(20, 4, cost=1.5), "b": TurnCounts(20, 2)})
    assert better["a"] == pytest.approx(5 / 8)
    assert slower["a"] == pytest.approx(10 / 19)


def test_a_floor_that_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a floor of 0.6 for each of 2"):
        policy.shares({"a": TurnCounts(), "b": TurnCounts()}, 0.6)


def test_turn_counts_cover_the_recent_experiments_of_those_who_play() -> None:
    history = [
        tried(n, [Set("MATRIX_LR", str(1 + n / 1000))], "keep" if n == 1 else "discard", proposer="ab"[n % 2])
        for n in range(1, 51)
    ]
    by_hand = tried(51, [Set("DEPTH", "2")], "keep", proposer="by hand")
    assert policy.turn_counts([*history[:10], by_hand], ["a", "b"]) == {"a": TurnCounts(5, 0), "b": TurnCounts(5, 1)}
    assert policy.turn_counts(history, ["a", "b"]) == {
        "a": TurnCounts(20, 0),
        "b": TurnCounts(20, 0),
    }  # the keep is too old


def played(success: dict[str, float], turns: int, seed: int) -> Counter[str]:
    """Return how many turns each proposer gets when `success` is its share of kept experiments."""
    counts, given_to = {name: TurnCounts() for name in success}, Counter[str]()
    for _ in range(turns):
        name = policy.whose_turn(counts, seed)
        given_to[name] += 1
        kept = int(given_to[name] * success[name]) - int((given_to[name] - 1) * success[name])
        counts[name] = TurnCounts(counts[name].turns + 1, counts[name].kept + kept)
    return given_to


@pytest.mark.parametrize("seed", range(5))
def test_turns_follow_the_shares_and_the_useless_one_costs_a_bounded_part(seed: int) -> None:
    even = played({"tuner": 0.2, "model": 0.2}, 40, seed)
    assert abs(even["tuner"] - even["model"]) <= 2
    useless = played({"tuner": 0.3, "model": 0.0}, 40, seed)
    assert 4 <= useless["model"] <= 8
    assert played({"tuner": 0.0, "model": 0.3}, 40, seed)["tuner"] >= 4


def test_the_seed_decides_who_begins() -> None:
    first = [policy.whose_turn({"a": TurnCounts(), "b": TurnCounts()}, seed) for seed in range(20)]
    assert set(first) == {"a", "b"}
    assert first == [policy.whose_turn({"a": TurnCounts(), "b": TurnCounts()}, seed) for seed in range(20)]


@pytest.mark.parametrize(
    ("verdicts", "turns"), [("dddddddd", [8]), ("kddddddddddddd", [9, 13]), ("ddddddddkddd", [8]), ("k", [])]
)
def test_the_late_proposer_is_first_as_a_plateau_begins_and_in_every_fourth_turn(
    verdicts: str, turns: list[int]
) -> None:
    history = [
        tried(n, [Set("DEPTH", f"{n + 5}")], "keep" if verdict == "k" else "discard")
        for n, verdict in enumerate(verdicts)
    ]
    assert [n for n in range(len(history) + 1) if policy.for_late(history[:n])] == turns


# --- a declared task --------------------------------------------------------------------------------------------------


def test_levers_and_categories_are_the_tasks() -> None:
    assert policy.next_directive([], 1, declared.BRIEF) == Directive("lever", "Look at the query first.", "query")
    done = [replace(trial, category="query") for trial in declared.HISTORY]
    told = [policy.next_directive(done, n, declared.BRIEF) for n in range(20)]
    assert {directive.category for directive in told if directive.category} == {"index"}  # "query" was tried
    assert not any(word in directive.text for directive in told for word in ("model", "optimizer", "DEPTH", "time"))


def test_without_categories_turns_ask_for_larger_changes() -> None:
    told = [policy.next_directive([], n, declared.Brief(role="", categories=("other",))) for n in range(10)]
    assert {directive.kind for directive in told} == {"refine", "simplify", "bold"}
    assert not any(directive.category for directive in told)


def test_a_repeat_in_several_files_is_found() -> None:
    first, second = declared.HISTORY
    assert policy.repeat_of(first.source, declared.SOURCE, declared.HISTORY) == first
    assert policy.repeat_of(second.source, declared.SOURCE, declared.HISTORY) == second
    again = edits.apply(first.source, second.edits)
    assert policy.repeat_of(again, first.source, declared.HISTORY) is None  # with more pages it is another version
