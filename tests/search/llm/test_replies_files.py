"""Replies for tasks of several files: a line `### path` names the file of what follows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import edits
from autoresearch.candidate.pack import pack
from autoresearch.errors import EditError
from autoresearch.records import Edit, ReplaceDefinition, SearchReplace, Set, WholeFile
from autoresearch.search.llm import replies

FILES = {
    "site/app.js": "let a = 1;\nlet b = 2;\n",
    "site/style.css": ".a { color: red }\n",
    "conf.toml": "size = 10 # MB\n[cache]\nmy-key = true\n",
    "run.py": "LIMIT = 8\n\n\ndef f():\n    return 1\n",
    "prompt.md": "Be brief.\n",
}
PATHS = tuple(FILES)
SOURCE = pack(FILES)
BLOCK = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"
CSS = SearchReplace(".a { color: red }", ".a { color: teal }", "site/style.css")
CSS_TEXT = BLOCK.format(CSS.search, CSS.replace)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (f"### site/style.css\n{CSS_TEXT}", (CSS,)),
        (f"**style.css**\n```css\n{CSS_TEXT}\n```", (CSS,)),
        (f"```\n{CSS_TEXT.replace('SEARCH', 'SEARCH style.css', 1)}\n```", (CSS,)),
        (f"### style.css\n\nWhy.\n\n{CSS_TEXT}\n{BLOCK.format('x', 'y')}", (CSS, SearchReplace("x", "y", CSS.path))),
        ("SET size = 20", (Set("size", "20"),)),
        ("SET cache.my-key = false", (Set("cache.my-key", "false"),)),
        ('SET conf.toml:cache."a b" = 1', (Set('conf.toml:cache."a b"', "1"),)),
        ("SET weights[1] = 2", (Set("weights[1]", "2"),)),
        ("### conf.toml\n```toml\nSET size = 20\n```", (Set("size", "20", "conf.toml"),)),
        ("### conf.toml\n```toml\nsize = 20\n```", (WholeFile("size = 20", "conf.toml"),)),
        ("### site/style.css\n```css\n```", (WholeFile("", "site/style.css"),)),
        ("### prompt.md\n````markdown\nUse:\n```\nx\n```\n````", (WholeFile("Use:\n```\nx\n```", "prompt.md"),)),
        (
            "### run.py\nREPLACE def f\n```python\ndef f():\n    return 2\n```\n### conf.toml\nSET size = 1",
            (ReplaceDefinition("def", "f", "def f():\n    return 2", "run.py"), Set("size", "1", "conf.toml")),
        ),
        ("REPLACE def f\ndef f():\n    return 2\n### conf.toml\nSET size = 1",
         (ReplaceDefinition("def", "f", "def f():\n    return 2"), Set("size", "1", "conf.toml"))),
        ("TITLE: Whole\n```js\nlet a = 2;\n```\nThat is all.", (WholeFile("let a = 2;"),)),
        ("```diff\n--- a/style.css\n+++ b/style.css\n@@ -1 +1 @@\n-.a { color: red }\n+.a { color: teal }\n```",
         (SearchReplace(CSS.search, CSS.replace),)),
    ],
)  # fmt: skip
def test_edits_have_the_path_that_is_named_before_them(reply: str, found: tuple[Edit, ...]) -> None:
    assert replies.parse(reply, files=PATHS).edits == found


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (f"### schema.sql\n{CSS_TEXT}", "There is no file schema.sql to change"),
        (f"### style.css\n{CSS_TEXT}\n### style.css\n```\nx\n```", "a whole file and other edits"),
        ("### prompt.md\n```\nUse:\n```\nx\n```\nmore\n```", "ends before other fences"),
        ("### prompt.md\n```\nUse:", "cut off, or left open"),
        ("### run.py\nWhat it says now is fine.", "SET name = value\n\n### site/app.js\n<<<<<<< SEARCH"),
        ("### conf.toml\nSET size = 1\nSET size = 2", "Set it once"),
        ("SET size = big", "has to be a literal"),
    ],
)
def test_what_is_sent_back(reply: str, message: str) -> None:
    with pytest.raises(EditError) as caught:
        edits.apply(SOURCE, replies.parse(reply, files=PATHS).edits)
    assert message in str(caught.value)


def test_set_is_no_edit_where_no_file_has_constants() -> None:
    reply = "### q.sql\n```sql\nUPDATE t\nSET a = 1\n```"
    assert replies.parse(reply, files=("q.sql",)).edits == (WholeFile("UPDATE t\nSET a = 1", "q.sql"),)
    with pytest.raises(EditError, match=r"### q\.sql"):
        replies.parse("I would write\nSET a = 1", files=("q.sql",))


def test_a_task_has_its_own_categories() -> None:
    assert (
        replies.parse("CATEGORY: index\nSET size = 1", files=PATHS, categories=("query", "index")).category == "index"
    )


def test_lines_of_training_name_no_file() -> None:
    assert replies.parse("### style.css\nSET DEPTH = 6").edits == (Set("DEPTH", "6"),)


# --- what is written is read again ------------------------------------------------------------------------------------

paths = st.sampled_from(PATHS)
lines = st.sampled_from(
    ["let b = 2;", "=======", "# x", "### Why", "### conf.toml", "`", "```", "SET size = 3", "", "é "]
)
texts = st.lists(lines, min_size=1, max_size=4).map("\n".join)
plain = lines.filter(lambda line: "```" not in line)
code = st.lists(plain, min_size=1, max_size=4).map("\n".join)
blocks = st.builds(
    SearchReplace, code.filter(str.strip), code.map(lambda t: t if t.strip() else ""), paths
) | st.builds(SearchReplace, texts.filter(str.strip), texts.map(lambda t: t if t.strip() else ""), st.just("prompt.md"))
files = st.builds(WholeFile, texts.filter(lambda text: "SET" not in text), paths)
sets = st.builds(
    Set, st.sampled_from(["size", "run.py:LIMIT", "cache.my-key", '"a b".c']), st.sampled_from(["6", "true", "'L'"])
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        blocks | sets | files, min_size=1, max_size=4, unique_by=lambda e: e.name if isinstance(e, Set) else e.path
    )
)
def test_rendered_edits_read_back_the_same(change: list[Edit]) -> None:
    try:
        text = edits.render(change)
    except EditError:
        return
    first = [edit for edit in change if isinstance(edit, Set)]
    assert replies.parse(text, files=PATHS).edits == (*first, *(edit for edit in change if edit not in first))


@settings(deadline=None)
@given(st.lists(lines | st.sampled_from(["<<<<<<< SEARCH", ">>>>>>> REPLACE", "### run.py", "REPLACE def f", "~~~"])
                | st.text(max_size=20), max_size=20).map("\n".join))  # fmt: skip
def test_no_reply_raises_anything_but_an_edit_error(reply: str) -> None:
    try:
        edits.apply(SOURCE, edits.settled(SOURCE, replies.parse(reply, files=PATHS).edits))
    except EditError as error:
        assert str(error)


@pytest.mark.parametrize(
    "piece", ["### ", "#", "### a/", "SET a.", "SET a/", "**", "### run.py\n```\n", "a.b ", 'SET "']
)
def test_the_time_to_read_a_reply_grows_with_its_length_only(piece: str) -> None:
    """A pattern that goes back over what it has matched takes minutes for texts of this length."""
    text = "\n".join(piece * (1 if "\n" in piece else 20_000) for _ in range(20))
    try:
        replies.parse(text, files=PATHS)
    except EditError as error:
        assert str(error)
