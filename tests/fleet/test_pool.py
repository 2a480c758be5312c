from __future__ import annotations

from autoresearch.fleet.pool import Pool
from testbed.local_pool import LocalPool


def test_the_pool_of_the_tests_is_one() -> None:
    pool: Pool = LocalPool({"small": 2}, lambda key, job: 1.0)
    assert pool.classes() == {"small": 2} and pool.facts("small").slug()
