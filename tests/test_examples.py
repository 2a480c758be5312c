"""The worked examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import math
import re
from pathlib import Path

import numpy as np
import pytest

from autoresearch.records import Set
from testbed.toy import ROOT

NAMES = {"Path": Path, "Set": Set, "math": math, "np": np}  # what an example may use besides its module's names
PACKAGE = ROOT / "autoresearch"
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if re.search(r"^ *>>> ", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testmod(importlib.import_module(name), optionflags=options, extraglobs=NAMES)
    assert found.attempted and not found.failed
