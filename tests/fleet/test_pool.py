from __future__ import annotations

from autoresearch.fleet.pool import Pool
from testbed.local_pool import LocalPool


def test_the_pool_of_the_tests_is_one() -> None:
    pool: Pool = LocalPool({"small": 2}, lambda key, job: 1.0)
    assert pool.classes() == {} and pool.facts("small").slug()
    pool.assign("small 1", "small")
    assert pool.classes() == {"small": 1} and [known.key for known in pool.members()] == [None, "small"]
