"""The worked examples in the docstrings of the rules hold."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from autoresearch.decide import disturbances, early_stop, interval, keep_rule, noise

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize(
    "module", [disturbances, early_stop, interval, keep_rule, noise], ids=lambda module: module.__name__
)
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module, optionflags=OPTIONS)
    assert found.failed == 0
