"""On simulated nights simplifications give away little, and the early stop loses few winners."""

import numpy as np
import pytest

from benchmarks.simulations.night import SimulatedMachine, SimulatedSearch, Stopper, idea


def test_simplifications_cannot_ratchet_down():
    search = SimulatedSearch(SimulatedMachine(np.random.default_rng(1), runs=400), loss=0.25)
    assert -2.5 <= search.go().files[-1].gain < 0


@pytest.mark.slow
def test_loses_under_two_percent_of_winners_however_long_it_is_in_force():
    rng = np.random.default_rng(11)
    nights = [Stopper(rng) for _ in range(20)]
    lost = [stopped for night in nights for _ in range(200) if (stopped := night.take(idea(rng))) is not None]
    assert len(lost) > 200
    assert np.mean(lost) < 0.02
    assert sum(night.stopped for night in nights) > 100  # it stops some losers
