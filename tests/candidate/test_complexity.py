"""What counts as a simplification."""

from __future__ import annotations

import pytest

from autoresearch.candidate.complexity import simplifies
from autoresearch.candidate.pack import pack

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


@pytest.mark.parametrize(
    ("path", "text", "simpler"),
    [
        ("a.py", "X = 1\n", True),
        ("c.toml", "words = ['a']\n", True),
        ("c.toml", "words = ['a', 'c'] # less\n", False),
        ("d.json", "{}", True),
        ("q.sql", "SELECT 1", False),
        ("q.sql", "SELECT  a\nFROM b  \n", False),
    ],
)
def test_of_several_files_only_python_and_keys_can_be_simpler(path: str, text: str, simpler: bool) -> None:
    files = {
        "a.py": "X = 1\nY = f(X)\n",
        "c.toml": "words = ['a', 'b']\n",
        "d.json": '{"a": 1}',
        "q.sql": "SELECT a\nFROM b\n",
    }
    assert simplifies(pack(files), pack({**files, path: text})) is simpler


def test_a_change_of_other_files_is_never_simpler() -> None:
    old, new = {"a.py": "X = 1\nY = 2\n", "q.sql": "SELECT 1"}, {"a.py": "X = 1\n", "q.sql": "SELECT 2"}
    assert not simplifies(pack(old), pack(new))
