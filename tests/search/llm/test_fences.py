"""Fences of a reply, against a plain search for the line that closes each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoresearch.search.llm.fences import FENCE, Fences

HEADS = ["def build_model(task):", "def train(model, run):"]
lines_of = st.lists(
    st.sampled_from(["```", "````", "```python", "~~~", "~~~~", "~~~ a", "x", "", "<<<", *HEADS]), max_size=14
)


def plain_end(lines: list[str], start: int) -> int:
    mark = lines[start].strip()
    length = len(mark) - len(mark.lstrip(mark[0]))
    closes = (i for i in range(start + 1, len(lines)) if len(lines[i]) >= length and set(lines[i]) == {mark[0]})
    return next(closes, len(lines))


@given(lines_of)
def test_each_fence_is_closed_where_a_plain_search_closes_it(lines: list[str]) -> None:
    fences = Fences(lines, lambda line: line == "<<<")
    for start in [i for i, line in enumerate(lines) if FENCE.fullmatch(line)]:
        end = plain_end(lines, start)
        body = lines[start + 1 : end]
        assert fences.body(start) == (body, min(end + 1, len(lines)))
        assert fences.holds_file(start) == (all(head in body for head in HEADS) and "<<<" not in body)
