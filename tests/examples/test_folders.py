"""Every example is a task: it can be declared, judged by hand, told about, and neither empty nor garbled files pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.search.llm import replies
from autoresearch.tasks.command import declaration
from testbed import examples

NAMES = sorted(path.parent.name for path in examples.EXAMPLES.glob("*/task.toml") if path.parent.name != "any")
FILES = [
    pytest.param(name, path, id=f"{name}-{Path(path).name}")
    for name in NAMES
    for path in examples.edited(examples.EXAMPLES / name)
    if (name, path) != ("lighthouse", "site/app.js")  # what it does a browser alone sees
]
TOKENS = 600  # of a program.md; a token has four characters or more


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_declared_and_explained(name: str) -> None:
    folder = examples.EXAMPLES / name
    declared = declaration.read((folder / "task.toml").read_text())
    assert f"--task examples/{name}" in (folder / "README.md").read_text()
    brief = (folder / declared.brief).read_text()
    assert len(brief) / 4 < TOKENS and declared.metric.name in brief


@pytest.mark.parametrize("name", NAMES)
def test_ideas_have_titles_of_their_own_and_apply(name: str) -> None:
    folder = examples.EXAMPLES / name
    source, titles = examples.source(folder), []
    for path in sorted((folder / "ideas").glob("*.txt")):
        text = examples.idea(path)
        titles.append(replies.parse(text, files=examples.edited(folder)).title)
        assert examples.changed(source, text) != source
    assert len(titles) >= 5 and len(set(titles)) == len(titles)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lighthouse"])
def test_an_example_is_judged_by_hand(name: str, tmp_path: Path) -> None:
    folder = examples.copied(name, tmp_path)
    examples.shrink(folder)
    found = examples.judged(folder)
    assert isinstance(found, dict), found


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "garbage {\n"], ids=["empty", "garbled"])
@pytest.mark.parametrize(("name", "path"), FILES)
def test_no_empty_or_garbled_file_passes(name: str, path: str, text: str, tmp_path: Path) -> None:
    folder = examples.copied(name, tmp_path)
    examples.shrink(folder)
    (folder / path).write_text(text)
    assert isinstance(examples.judged(folder), str)
