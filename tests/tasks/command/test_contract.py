from __future__ import annotations

import pytest

from autoresearch.tasks.command.contract import violations


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.py": "x = 2", "b.toml": "y = 1"}, []),
        ({"a.py": "x = 2"}, ["b.toml is missing: a version has the files a.py, b.toml"]),
        ({"a.py": "x = (", "b.toml": ""}, ["a.py is not valid Python: '(' was never closed (line 1)"]),
        ({"a.py": "", "b.toml": "y = "}, ["b.toml cannot be parsed"]),
        ({"a.py": "", "b.toml": "", "c.py": ""}, ["c.py is not a file of this task"]),
        ({"a.py": "x\0", "b.toml": ""}, ["a.py holds a NUL character"]),
        ({"a.py": "#" * 30_000, "b.toml": ""}, ["shorten them by 10,000"]),
        ({"a.py": "(" * 5_000, "b.toml": ""}, ["a.py is"]),
    ],
)
def test_a_version_has_the_files_of_the_task(files: dict[str, str], said: list[str]) -> None:
    found = violations(files, {"a.py": "x = 1", "b.toml": "y = 1"})
    assert len(found) == len(said) and all(part in text for part, text in zip(said, found, strict=True))


def test_a_file_that_nothing_parsed_before_may_stay_so() -> None:
    assert violations({"a.json": "{{x}}2"}, {"a.json": "{{x}}"}) == []
