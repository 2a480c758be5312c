from __future__ import annotations

import pytest

from autoresearch.tasks.command.toml_lines import key_lines, line_of

TEXT = '''\
edit = [
  "a.py",  # [metric]
  "b = 1",
]
env = { A = "1" }
note = """
[no table]
x = 1
"""

[metric]
"from" = "wall"
[[guard]]  # a comment
run = "true"
[[guard]]
run = "false"
[test."a.b"]
c.d = 1
["x]#y"]  # [z]
z = "\u2028[a b]"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("edit",), 1),
        (("edit", 1), 1),
        (("env", "A"), 5),
        (("note",), 6),
        (("metric",), 11),
        (("metric", "from"), 12),
        (("guard", 0, "run"), 14),
        (("guard", 1, "run"), 16),
        (("test", "a.b", "c", "d"), 18),
        (("x]#y",), 19),
        (("x]#y", "z"), 20),
        (("metric", "name"), 11),
        (("guard", 1, "when"), 15),
        (("nothing",), None),
    ],
)
def test_a_key_or_the_table_around_it_has_a_line(path: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(key_lines(TEXT), path) == line
