"""The simulated keep rule gives the verdicts of decide/keep_rule.py, and gains as much as a greedy rule."""

import math

import numpy as np
import pytest

from autoresearch.decide.keep_rule import Estimate, after_keep, decide
from autoresearch.decide.noise import Noise
from benchmarks.simulations import keep_rule


def test_the_simulated_rule_is_the_real_one():
    rng = np.random.default_rng(3)
    nights = 3000
    runs, n = rng.normal(-0.4, 1.0, (nights, 3)), rng.integers(1, 4, nights)
    runs[np.arange(3) >= n[:, None]] = 0.0
    weight, sigma = rng.integers(2, 7, nights).astype(float), np.exp(rng.normal(scale=0.5, size=nights))
    df = rng.choice([2.0, 5.0, 1e6], nights)
    state = keep_rule.NightArrays(rng.normal(size=nights), weight, runs, n, sigma, df, runs, runs)
    rule = keep_rule.KeepRule("real")
    actions, (total, after_weight) = rule.act(state), rule.estimate(state)
    names = {
        ("keep", None): keep_rule.KEEP,
        ("discard", None): keep_rule.DISCARD,
        (None, "candidate"): keep_rule.CANDIDATE,
    }
    for i in range(nights):
        incumbent = Estimate((float(state.incumbent[i]),) * int(weight[i]))
        decision = decide(runs[i, : n[i]], incumbent, Noise(sigma[i], df[i]))
        assert names[decision.verdict, decision.rerun] == actions[i]
        if decision.verdict == "keep":
            estimate = after_keep(runs[i, : n[i]], incumbent, Noise(sigma[i], 5.0))
            assert (estimate.mean, estimate.n) == (pytest.approx(total[i] / after_weight[i]), after_weight[i])
    assert set(actions) == set(names.values())


def test_gains_what_greedy_gains_with_three_quarters_of_its_false_share():
    mixed = keep_rule.PRIORS["mixed"]
    greedy, ours = (keep_rule.simulate(rule, mixed, nights=1500) for rule in (keep_rule.RULES[0], keep_rule.RULES[-1]))
    assert ours.gain >= greedy.gain - 3 * math.hypot(ours.error, greedy.error)
    assert ours.false_share <= 0.75 * greedy.false_share + 0.02
    assert ours.excess < greedy.excess / 3
    by_proposals = keep_rule.simulate(keep_rule.RULES[-1], mixed, nights=500, runs=None, proposals=100)
    assert by_proposals.gain > greedy.gain + 3 * by_proposals.error
