from __future__ import annotations

import pytest

from autoresearch.tasks.command.globs import matches, matching


@pytest.mark.parametrize(
    ("pattern", "path", "wanted"),
    [
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "b.py", True),
        ("**/*.py", "a/c/b.py", True),
        ("site/**", "site/a/b.css", True),
        ("labels/", "labels/a.json", True),
        ("labels", "labels/a.json", True),
        ("labels", "labels.json", False),
        ("./a.py", "a.py", True),
        ("pages/[id].tsx", "pages/[id].tsx", True),
        ("a?.txt", "ab.txt", True),
        ("a.txt", "axtxt", False),
        ("*", "a\nb", True),
    ],
)
def test_a_pattern_names_files_and_folders(pattern: str, path: str, wanted: bool) -> None:
    assert matches(pattern, path) is wanted


def test_files_come_in_the_order_of_the_patterns_and_once() -> None:
    assert matching(["b.py", "*.py"], ["c.py", "a.py", "b.py"]) == ["b.py", "a.py", "c.py"]
