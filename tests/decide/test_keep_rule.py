"""The keep rule: verdicts on known values, and the sequence of runs it asks for."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.decide.keep_rule import (
    KEEP_Z,
    SECOND_RUN_Z,
    SIMPLER_BUDGET_SIGMA,
    Estimate,
    after_keep,
    baseline_due,
    decide,
    given_up,
    hopeless_from,
    implausible,
    incumbent_due,
    limit,
)
from autoresearch.decide.noise import EXACT, WELL_KNOWN_DF, Noise
from autoresearch.metrics import Metric
from testbed.toy import ROOT

NOISE = Noise(0.01, WELL_KNOWN_DF)
INCUMBENT = Estimate((1.00, 1.01, 0.99))
bpb = st.floats(0.5, 2.0)


@pytest.mark.parametrize(
    ("runs", "verdict", "rerun", "reason"),
    [
        ([1.03], "discard", None, "0.0300 bpb worse = 3.0 sigma over 1 run"),
        ([0.997], "discard", None, "0.0030 bpb better = 0.3 sigma over 1 run, too little for another run"),
        ([0.98], None, "candidate", "0.0200 bpb better = 2.0 sigma over 1 run; one run proves nothing"),
        ([0.50], None, "candidate", "0.5000 bpb better = 50.0 sigma over 1 run; one run proves nothing"),
        ([0.97, 0.982], "keep", None, "0.0240 bpb better = 2.4 sigma over 2 runs"),
        ([0.97, 1.05], "discard", None, "0.0100 bpb worse = 1.0 sigma over 2 runs"),
        ([0.97, 1.024], "discard", None, "0.0030 bpb better = 0.3 sigma over 2 runs, not enough"),
        ([0.98, 1.00], None, "candidate", "0.0100 bpb better = 1.0 sigma over 2 runs; not clear yet"),
        ([0.98, 1.00, 0.98], "keep", None, "0.0133 bpb better = 1.3 sigma over 3 runs"),
        ([0.98, 1.00, 1.005], "discard", None, "0.0050 bpb better = 0.5 sigma over 3 runs, not clear enough"),
    ],
)
def test_verdicts(runs, verdict, rerun, reason):
    decision = decide(runs, INCUMBENT, NOISE)
    assert (decision.verdict, decision.rerun, decision.reason) == (verdict, rerun, reason)
    assert decision.delta_score == pytest.approx(1.00 - sum(runs) / len(runs))
    assert decision.z == pytest.approx(decision.delta_score / 0.01 / math.sqrt(1 / len(runs) + 1 / 3))


def test_an_incumbent_with_one_run_runs_again_before_it_is_replaced():
    assert decide([0.9], Estimate((1.0,)), NOISE).rerun == "incumbent"
    assert decide([1.1], Estimate((1.0,)), NOISE).verdict == "discard"


@given(
    st.lists(bpb, min_size=4, max_size=4), st.lists(bpb, min_size=1, max_size=5), st.floats(1e-4, 0.3), st.booleans()
)
def test_ends_within_three_runs_and_never_keeps_on_one(candidate, incumbent, sigma, simpler):
    estimate, n = Estimate(tuple(incumbent)), 1
    for _ in range(6):
        decision = decide(candidate[:n], estimate, Noise(sigma, 5.0), simplifies=simpler)
        if decision.verdict:
            break
        assert decision.rerun in ("candidate", "incumbent")
        n += decision.rerun == "candidate"
        estimate = estimate.add(1.0) if decision.rerun == "incumbent" else estimate
    assert decision.verdict in ("keep", "discard")
    assert n <= 3
    assert n >= 2 or decision.verdict == "discard"


@given(st.lists(bpb, min_size=1, max_size=3), st.floats(0.0, 0.5))
def test_a_better_candidate_is_never_treated_worse(candidate, better):
    rank = {"discard": 0, None: 1, "keep": 2}
    worse, improved = (decide([x - d for x in candidate], INCUMBENT, NOISE) for d in (0.0, better))
    assert rank[improved.verdict] >= rank[worse.verdict]


@given(st.lists(bpb, min_size=1, max_size=3), st.integers(-4, 4))
def test_only_differences_in_sigma_matter(candidate, power):
    factor = 2.0**power
    scaled = Estimate(tuple(run * factor for run in INCUMBENT.runs))
    a = decide(candidate, INCUMBENT, NOISE)
    b = decide([run * factor for run in candidate], scaled, Noise(0.01 * factor, WELL_KNOWN_DF))
    assert (a.verdict, a.rerun) == (b.verdict, b.rerun)
    assert a.z == pytest.approx(b.z)


# --- how well sigma is known, and other metrics ----------------------------------------------------------------------


def test_asks_for_more_where_sigma_is_known_badly():
    """Student's t at the probabilities of 0.4, 1.4 and 0.75, by published tables."""
    assert [round(limit(z, 2), 2) for z in (0.4, 1.4, 0.75)] == [0.46, 2.18, 0.92]
    assert limit(-1.4, 2) == -limit(1.4, 2)
    assert limit(1.4, 1e-6) == limit(1.4, 1) > limit(1.4, 2) > limit(1.4, 30) > 1.4
    runs = [0.980, 0.984]  # 1.8 sigma over two runs
    assert decide(runs, INCUMBENT, NOISE).verdict == "keep"
    assert decide(runs, INCUMBENT, Noise(0.01, 2)).rerun == "candidate"
    assert decide([*runs, 0.982], INCUMBENT, Noise(0.01, 2)).verdict == "keep"


@pytest.mark.parametrize(
    ("metric", "sigma", "reason"),
    [
        (Metric(name="p50", unit="ms", scale="log", decimals=None), 0.01, "2.4% better = 2.4 sigma over 2 runs"),
        (Metric(name="f1", unit="", direction="higher", decimals=6), 0.01, "0.0240 better = 2.4 sigma over 2 runs"),
        (
            Metric(name="sales", unit="", scatter="counts", decimals=6),
            0.01,
            "0.0240 better, binomial p = 0.0043 over 2 runs",
        ),
        (
            Metric(min_gain=0.05, decimals=6),
            0.01,
            "0.0240 bpb better = 2.4 sigma over 2 runs, less than the 0.0500 bpb that a",
        ),
    ],
)
def test_speaks_in_the_metrics_unit(metric, sigma, reason):
    decision = decide([0.97, 0.982], INCUMBENT, Noise(sigma, WELL_KNOWN_DF), metric=metric)
    assert decision.reason.startswith(reason)
    assert decision.verdict == ("discard" if metric.min_gain else "keep")


def test_an_exact_metric_is_decided_on_one_run():
    metric = Metric(name="size", unit="kB", scatter="exact", decimals=6)
    kept = decide([11.9], Estimate((12.0,)), EXACT, metric=metric)
    assert (kept.verdict, kept.sigma_score, kept.reason) == ("keep", None, "0.1000 kB better; the metric is exact")
    right_or_wrong = ([0.0] * 10, [0.0] * 5 + [-1.0] * 5)
    assert "McNemar" in decide([0.5], Estimate((1.0,)), EXACT, metric=metric, cases=right_or_wrong).reason
    assert given_up(Estimate((1.0,)), 0.9, EXACT) == 0.0
    assert not implausible(99.0, [], EXACT)


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [[], [float("nan")], [1.0, float("inf")]])
def test_runs_must_be_finite(bad):
    with pytest.raises(ValueError, match="finite runs"):
        decide(bad, INCUMBENT, NOISE)


# --- estimates -------------------------------------------------------------------------------------------------------


def test_a_new_incumbent_starts_from_where_the_old_one_stood():
    estimate = after_keep([0.980, 0.990], INCUMBENT, NOISE)
    assert estimate.mean == pytest.approx((0.980 + 0.990 + 1.000) / 3)
    assert estimate.n == 3
    assert estimate.unselected == (0.990,)
    later = estimate.add(0.99).add(0.99)
    assert later.mean == pytest.approx((0.98 + 3 * 0.99 + 1.0) / 5)
    assert later.unselected == (0.99, 0.99, 0.99)


def test_a_leap_is_held_back_by_two_sigma_of_one_run_at_most():
    assert after_keep([0.5, 0.5], INCUMBENT, NOISE).mean == pytest.approx(0.5 + 0.02 / 3)
    assert after_keep([1.1, 1.1], INCUMBENT, NOISE).mean == pytest.approx(1.1)


def test_shrinking_beats_the_mean_of_unselected_runs():
    """For kept candidates that change nothing, the mean without the selected run is further from the truth."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(60):
        incumbent = Estimate(tuple(rng.normal(size=3)))
        while True:
            runs = list(rng.normal(size=3))
            used = next(n for n in (1, 2, 3) if decide(runs[:n], incumbent, Noise(1, 9)).verdict)
            if decide(runs[:used], incumbent, Noise(1, 9)).verdict == "keep":
                break
        errors.append((after_keep(runs[:used], incumbent, Noise(1, 9)).mean, np.mean(runs[1:used])))
    shrunk, left_out = np.sqrt(np.mean(np.square(errors), axis=0))
    assert shrunk < 0.9 * left_out


# --- re-runs ---------------------------------------------------------------------------------------------------------


def test_the_incumbent_is_doubted_later_the_more_often_it_ran():
    runs = Estimate((1.0, 1.0, 1.0))
    assert [incumbent_due(runs, n) for n in (7, 8)] == [False, True]
    assert [incumbent_due(runs.add(1.0), n) for n in (9, 10)] == [False, True]
    assert [baseline_due(n) for n in (29, 30)] == [False, True]


# --- simplifications -------------------------------------------------------------------------------------------------


def test_a_simplification_may_be_a_little_worse_but_never_on_one_run():
    assert decide([1.002], INCUMBENT, NOISE).verdict == "discard"
    assert decide([1.002], INCUMBENT, NOISE, simplifies=True).rerun == "candidate"
    kept = decide([1.002, 1.002], INCUMBENT, NOISE, simplifies=True)
    assert (kept.verdict, kept.reason) == ("keep", "0.0020 bpb worse = 0.2 sigma over 2 runs, and simpler")
    assert decide([1.002, 1.012], INCUMBENT, NOISE, simplifies=True).verdict == "discard"


def test_the_budget_for_simplifications_ends():
    spent = SIMPLER_BUDGET_SIGMA - 0.1
    assert decide([1.002, 1.002], INCUMBENT, NOISE, simplifies=True, given_up_sigma=spent).verdict == "discard"
    assert decide([1.0, 0.999], INCUMBENT, NOISE, simplifies=True, given_up_sigma=spent).verdict == "keep"


def test_given_up_is_the_distance_to_the_nights_best():
    assert given_up(Estimate((1.0, 1.01)), 1.0, NOISE) == pytest.approx(0.5)
    assert given_up(Estimate((0.9,)), 1.0, NOISE) == 0.0


@given(st.lists(bpb, min_size=1, max_size=3), st.floats(1e-4, 0.1), st.floats(0, 0.5), st.booleans())
def test_what_is_hopeless_is_discarded_after_one_run(runs, sigma, above, simplifies):
    incumbent, noise = Estimate(tuple(runs)), Noise(sigma, 5.0)
    decision = decide([hopeless_from(incumbent, noise) + above], incumbent, noise, simplifies=simplifies)
    assert decision.verdict == "discard"


# --- implausible results ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "kept", "expected"),
    [(0.07, [], False), (0.09, [], True), (0.14, [0.1], False), (0.21, [0.1, 0.02], True), (-0.5, [], False)],
)
def test_implausible(delta, kept, expected):
    assert implausible(delta, kept, NOISE) is expected


def test_the_bars_fall_with_the_runs():
    assert all(later < sooner for sooner, later in itertools.pairwise(KEEP_Z.values()))
    assert min(KEEP_Z.values()) > SECOND_RUN_Z


@pytest.mark.parametrize("page", ["README.md", "program.md"])
def test_the_pages_say_which_lead_is_kept(page: str) -> None:
    """With a well-known sigma, and three runs of the incumbent; a tenth of a sigma less is not kept."""
    text = " ".join((ROOT / page).read_text().split())
    found = re.search(r"about ([\d.]+) sigma over two runs or ([\d.]+) over three", text)
    assert found is not None
    for runs, told in ((2, float(found[1])), (3, float(found[2]))):
        for lead, kept in ((told + 0.05, True), (told - 0.05, False)):
            decision = decide([1.0 - lead * 0.01] * runs, Estimate((1.0, 1.0, 1.0)), NOISE)
            assert (decision.verdict == "keep") is kept, (runs, lead)
