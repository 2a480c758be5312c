"""Replies as small models write them, and the edits or errors that the parser returns."""

from __future__ import annotations

import ast
import contextlib
import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoresearch.candidate import complexity, constants, edits
from autoresearch.errors import EditError
from autoresearch.jsonable import from_plain
from autoresearch.records import CATEGORIES, Edit, ReplaceDefinition, SearchReplace, Set, WholeFile
from autoresearch.search.llm import replies
from testbed.reply_cases import APPLIED, BLOCK, REFUSED, SOURCE, Case
from testbed.toy import ROOT


def names(cases: Sequence[Case]) -> list[str]:
    return [case.habit for case in cases]


@pytest.mark.parametrize("case", APPLIED, ids=names(APPLIED))
def test_replies_that_apply(case: Case) -> None:
    result = edits.apply(SOURCE, replies.parse(case.reply).edits)
    assert {name: new for name, (_, new) in constants.changed(SOURCE, result).items()} == case.sets
    added = set(result.split("\n")) - set(SOURCE.split("\n"))
    assert set(case.added) <= added
    assert not set(case.gone) & set(result.split("\n"))


@pytest.mark.parametrize("case", REFUSED, ids=names(REFUSED))
def test_replies_that_are_sent_back(case: Case) -> None:
    with pytest.raises(EditError) as caught:
        edits.apply(SOURCE, replies.parse(case.reply).edits)
    assert case.error is not None and case.error in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_the_published_table_is_of_these_replies() -> None:
    """`python -m benchmarks protocol replies` prints it: run that again when a reply is added."""
    table = (ROOT / "benchmarks" / "figures" / "replies.md").read_text()
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == [case.habit for case in (*APPLIED, *REFUSED)]
    assert [row[-1].startswith("used") for row in rows] == [case.error is None for case in (*APPLIED, *REFUSED)]


def test_fields_in_the_forms_that_models_write_them() -> None:
    plain = replies.parse("HYPOTHESIS: More layers\nlearn more.\n\nCATEGORY: depth\nTITLE: Deeper\nSET DEPTH = 9\n")
    assert (plain.title, plain.hypothesis, plain.category) == ("Deeper", "More layers learn more.", "depth")
    marked = "**Hypothesis:** Faster.\n\n### Category: Learning rate\n- **TITLE**: *Raise `LR`*\nSET LR = 0.05"
    reply = replies.parse(marked)
    assert (reply.title, reply.hypothesis, reply.category) == ("Raise LR", "Faster.", "learning_rate")
    below = replies.parse("## HYPOTHESIS\n\nFaster.\n\n## TITLE\nShallow\n\nSET DEPTH = 4")
    assert (below.title, below.hypothesis) == ("Shallow", "Faster.")


def test_a_reply_without_a_title_gets_one() -> None:
    assert replies.parse("SET DEPTH = 9\nSET MATRIX_LR = 0.05").title == "Set DEPTH = 9, MATRIX_LR = 0.05"
    assert replies.parse("HYPOTHESIS: Squares are sparse\n" + BLOCK).title == "Squares are sparse"
    assert replies.parse("REPLACE def f\n```\ndef f(): pass\n```").title == "Rewrite def f"
    assert replies.parse(BLOCK).title == "Rewrite some lines"


def test_titles_are_one_short_line_of_text() -> None:
    title = replies.parse("TITLE: \x1b[31m" + "word " * 40 + "\nSET DEPTH = 9").title
    assert len(title) < 80 and title.endswith("...") and title.isprintable()
    assert len(replies.parse("TITLE: " + "x" * 500 + "\nSET DEPTH = 9").title) == 79


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("depth", "depth"),
        ("Learning Rate", "learning_rate"),
        ("LR schedule", "schedule"),
        ("lr", "learning_rate"),
        ("optimiser / momentum", "optimizer"),
        ("normalization", "normalisation"),
        ("depth|width|attention", "depth"),
        ("weight decay", "regularisation"),
        ("philosophy", "other"),
        ("", "other"),
    ],
)
def test_categories(text: str, category: str) -> None:
    assert replies.parse(f"CATEGORY: {text}\nSET DEPTH = 9").category == category


def test_a_whole_file_is_refused_where_it_was_not_asked_for() -> None:
    with pytest.raises(EditError, match="A whole file was not asked for"):
        replies.parse(f"```python\n{SOURCE}```", whole_file=False)


LINES = SOURCE.split("\n")


spans = st.tuples(st.integers(0, len(LINES) - 1), st.integers(1, 6)).map(lambda s: "\n".join(LINES[s[0] : s[0] + s[1]]))


code_lines = st.sampled_from([*LINES, "x = 1", "    y = '''é'''", "=======", "# ``` fence", "\t"])


code = st.lists(code_lines, max_size=6).map("\n".join)


blocks = st.builds(SearchReplace, spans.filter(str.strip), code.map(lambda text: text if text.strip() else ""))


sets = st.builds(
    Set, st.sampled_from(["DEPTH", "MATRIX_LR", "NOT_THERE"]), st.sampled_from(["6", "0.05", "'L'", "2**4"])
)


bodies = st.sampled_from(["def lr_scale(p):\n    return p", "def lr_scale(p):\n    '''```'''\n    return p", "x = 1"])


definitions = st.builds(
    ReplaceDefinition, st.sampled_from(["def", "class"]), st.sampled_from(["lr_scale", "MLP"]), bodies
)


any_edit: st.SearchStrategy[Edit] = blocks | sets | definitions


fragments = st.sampled_from(
    ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "```", "```python", "SET DEPTH = 6", "SET ", "REPLACE def train",
     "REPLACE class MLP", "TITLE: x", "HYPOTHESIS:", "<think>", "</think>", "def train(m, run):", "def build_model(t):",
     "~~~~", "@@ -1 +1 @@", "{", "<|im_end|>", " " * 50, "-DEPTH = 8", "+DEPTH = 6", "--- a", "+++ b", "```diff",
     "<|channel>thought", "<channel|>", "DEPTH = 6", "MATRIX_LR = 0.04  # current", "Now:", *LINES]
)  # fmt: skip


broken_replies = st.lists(fragments | st.text(max_size=30), max_size=25).map("\n".join) | st.text(max_size=300)


@pytest.mark.slow
@settings(deadline=None)
@given(broken_replies)
@example("SET DEPTH = " + "(" * 3000)
@example("SET " + " " * 50_000 + "!")
@example("<<<<<<<" + " " * 50_000 + "!")
@example("REPLACE def x" + "`" * 50_000 + "!")
@example("*" * 50_000 + "TITL")
@example("\n" * 50_000)
@example("SET DEPTH = 1" + "0" * 5000)
@example("SET DEPTH = \ud800")
@example("TITLE: \ud83d\nSET DEPTH = 6")
@example("<<<<<<< SEARCH\n" + "x" * 20_000 + "\n=======\n>>>>>>> REPLACE")
def test_no_reply_raises_anything_but_an_edit_error(reply: str) -> None:
    try:
        parsed = replies.parse(reply)
        result = edits.apply(SOURCE, parsed.edits)
    except EditError as error:
        assert str(error)
        return
    assert parsed.edits and parsed.title and len(parsed.title) < 80 and parsed.category in CATEGORIES
    compile(result, "train_mlx.py", "exec")
    assert constants.normalised(result) != constants.normalised(SOURCE)


@pytest.mark.parametrize(
    "piece",
    ["\n", " ", "`", "```a\n", "~~~~\n", "*", "SET ", "SET A", "TITLE\n", "REPLACE def x\n", "-A = 1\n", "+A = 1\n",
     "A = 1\n", "@@\n", "```diff\n", "<", "<|", "<think>", "<|channel|>", "[", "(", "-", "not ", '{"a":', "\x1b[",
     "<<<<<<< SEARCH\nx\n=======\n", "the rest of\n", "# unchanged "],
)  # fmt: skip
def test_the_time_to_read_a_reply_grows_with_its_length_only(piece: str) -> None:
    """A pattern that goes back over what it has matched takes half a minute for a text of this length."""
    lines = piece.count("\n") or 1 / 100_000
    text = (
        piece * int(min(100_000 // len(piece), (replies.MAX_LINES - 9) // lines))
        + "\n!\ndef train(m, run):\ndef build_model(t):"
    )
    began = time.process_time()
    with contextlib.suppress(EditError):
        edits.apply(SOURCE, replies.parse(text).edits)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "head", ["<<<<<<<", ">>>", "```", "SET", "SET A =", "A", "A:", "- A", "+A =", "**", "@@", "TITLE", "### a"]
)
def test_a_run_of_blanks_in_a_line_is_read_once(head: str) -> None:
    began = time.process_time()
    with contextlib.suppress(EditError):
        edits.apply(SOURCE, replies.parse(head + " " * 50_000 + "!").edits)
    assert time.process_time() - began < 1


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(["[]", "()", "- ", "not ", "{:}", "+1", ".a"]), st.integers(50, 3000), st.booleans())
def test_no_depth_of_nesting_raises_anything_but_an_edit_error(pair: str, depth: int, as_code: bool) -> None:
    """What is accepted can be walked by code that recurses."""
    left, right = (pair[0], pair[-1]) if pair in ("[]", "()", "{:}") else (pair, "")
    left = '{"a":' if pair == "{:}" else left
    value = "a" + left * depth if pair in ("+1", ".a") else left * depth + "1" + right * depth
    text = (
        f"REPLACE def lr_scale\n```\ndef lr_scale(progress):\n    return {value}\n```"
        if as_code
        else f"SET DEPTH = {value}"
    )
    try:
        result = edits.apply(SOURCE, replies.parse(text).edits)
    except EditError:
        return
    assert ast.unparse(ast.parse(result))
    complexity.simplifies(result, SOURCE)


def outcome(change: Sequence[Edit]) -> str:
    try:
        return edits.apply(SOURCE, change)
    except EditError as error:
        return f"refused: {error}"


def key(edit: Edit) -> object:
    """Return what must be unique in a reply: the name of a constant that is set, or the whole edit."""
    return edit.name if isinstance(edit, Set) else edit


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(any_edit, min_size=1, max_size=4, unique_by=key))
def test_rendered_edits_read_back_the_same(change: list[Edit]) -> None:
    if len({edit.name: edit.literal for edit in change if isinstance(edit, Set)}) < sum(
        isinstance(e, Set) for e in change
    ):
        change = [edit for edit in change if not isinstance(edit, Set)] or [Set("DEPTH", "6")]
    text = edits.render(change)
    assert replies.parse(text).edits == tuple(change)
    assert outcome(replies.parse(text).edits) == outcome(change)
    assert from_plain(tuple[Edit, ...], change) == tuple(change)


def test_a_whole_file_reads_back_the_same() -> None:
    file = WholeFile(SOURCE.replace("= 8", "= 6").rstrip("\n"))
    assert replies.parse(edits.render([file])).edits == (file,)
    assert from_plain(tuple[Edit, ...], [file]) == (file,)


def test_what_cannot_be_written_as_a_reply_is_refused() -> None:
    with pytest.raises(EditError, match="reads as a marker"):
        edits.render([SearchReplace("a\n=======\nb", "c")])
