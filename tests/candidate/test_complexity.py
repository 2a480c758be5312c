"""What counts as a simplification."""

from __future__ import annotations

import pytest

from autoresearch.candidate.complexity import simplifies

OLD = """
LR = 0.04
WARMUP = 2**3

def f(x):
    \"\"\"Doc.\"\"\"
    y = x * LR
    return y
"""


@pytest.mark.parametrize(
    ("change", "simpler"),
    [
        (("    y = x * LR\n    return y", "    return x * LR"), True),
        (("WARMUP = 2**3\n", ""), True),
        (("2**3", "8"), False),
        (("2**3", "-8"), False),
        (("2**3", "(1, 2, 3)"), False),
        (('    """Doc."""\n', ""), False),
        (("LR = 0.04\n", "LR = 0.04  # better\n\n"), False),
        (("return y", "return y + LR"), False),
        (("    return y", "    if y:\n        return y\n    return LR"), False),
    ],
)
def test_simplifies(change: tuple[str, str], simpler: bool) -> None:
    new = OLD.replace(*change)
    assert new != OLD
    assert simplifies(OLD, new) is simpler


def test_a_name_gone_for_more_code_is_not_simpler() -> None:
    old = "def f(x):\n    return x * x + 1\n\na = f(1)\nb = f(2)\n"
    new = "a = 1 * 1 + sum([1, 2, len('x')])\nb = max(2 * 2, a) + min(a, 1) + max(2 * 2, a) + min(a, 1)\n"
    assert not simplifies(old, new)
