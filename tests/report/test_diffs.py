"""Diffs as HTML: lines, words, and whatever a source holds."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from autoresearch.report import diffs


def test_a_diff_marks_lines_and_the_words_in_them() -> None:
    html = diffs.html("def f(x):\n    y = 1\n    return x + y\n", "def f(x):\n    y = 1\n    return x * y\n")
    assert '<span class="at">line 1</span>' in html
    assert '<span class="del">-    return x <b>+</b> y</span>' in html
    assert '<span class="add">+    return x <b>*</b> y</span>' in html
    assert diffs.counts("a\nb\n", "a\nc\nd\n") == (2, 1)


def test_a_diff_deep_in_a_definition_names_it() -> None:
    body = "".join(f"    a{i} = {i}\n" for i in range(20))
    html = diffs.html(f"class Muon:\n{body}", f"class Muon:\n{body.replace('a15 = 15', 'a15 = 16')}")
    assert "line 15, in class Muon" in html and "a3 = 3" not in html


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_diff_escapes_whatever_it_is_given(old: str, new: str) -> None:
    html = diffs.html(old, new)
    assert set(re.findall(r"<[^>]*>", html)) <= {
        *('<pre class="diff">', "</pre>", "<span>", "</span>", "<b>", "</b>"),
        *('<span class="del">', '<span class="add">', '<span class="at">'),
    }
