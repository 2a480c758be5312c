"""The choice of a proposer, and the line that reports it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import UsageError
from autoresearch.records import Proposer
from autoresearch.search import choose as choice
from autoresearch.search.hybrid import Hybrid
from autoresearch.search.recipes.recipe import catalogue
from testbed import declared_context as declared
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.toy import this_machine


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Proposer, list[str]]]:
    """Return chosen(url, ...), which returns the proposer for a server at the URL, and the lines that were said."""

    def choose(url: str, program: str = "", **wanted: Any) -> tuple[Proposer, list[str]]:
        monkeypatch.setenv("OLLAMA_HOST", url)
        monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        said: list[str] = []
        facts = replace(this_machine(), memory_mb=16 * 1024)
        return choice.choose(choice.ProposerOptions(program=program, **wanted), facts, said.append), said

    return choose


def test_the_choice_is_said_in_a_line(chosen: Callable[..., tuple[Proposer, list[str]]]) -> None:
    with FakeOllama(models=[MODEL]) as fake:
        for wanted, name, end in (
            (
                {},
                "tuner + ollama:qwen2.5-coder:7b + recipes",
                f"the tuner and {len(catalogue())} recipes by what each achieves",
            ),
            ({"kind": "ollama"}, "ollama:qwen2.5-coder:7b", "the tuner when it has none"),
            ({"kind": "tuner"}, "tuner", "ideas: the built-in tuner"),
            (
                {"kind": "recipes"},
                "recipes",
                f"ideas: {len(catalogue())} recipes from public records; the tuner when none is left",
            ),
            (
                {"model": "openai:m", "base_url": fake.url},
                "tuner + openai:qwen2.5-coder:7b + recipes",
                "what each achieves",
            ),
            ({"base_url": fake.url}, "tuner + openai:qwen2.5-coder:7b + recipes", "what each achieves"),
            ({"model": "gone:1b"}, "tuner + recipes", "Run: ollama pull gone:1b)"),
        ):
            proposer, said = chosen(fake.url, **wanted)
            assert proposer.name == name and len(said) == 1 and said[0].endswith(end)
            proposer.close()
        with pytest.raises(UsageError, match="gone:1b is not installed"):
            chosen(fake.url, kind="ollama", model="gone:1b")
        with pytest.raises(UsageError, match="needs --base-url"):
            chosen(fake.url, model="openai:m")


def test_a_brief_that_outgrows_the_context_is_said_at_the_start(
    chosen: Callable[..., tuple[Proposer, list[str]]],
) -> None:
    with FakeOllama(models=[{**MODEL, "context_length": 8192}]) as fake:
        assert len(chosen(fake.url, "word " * 1000)[1]) == 1
        warning = chosen(fake.url, "word " * 3000)[1][-1]
        assert warning.startswith("warning: program.md has about 3750 tokens; 2000 leave enough of a context of 8192")
        told = chosen(fake.url, "word " * 9000, model="openai:m", base_url=fake.url)[1][-1]
        assert "a context of 16384" in told


def test_an_endpoint_that_does_not_answer_is_said_at_the_start(
    chosen: Callable[..., tuple[Proposer, list[str]]],
) -> None:
    _, said = chosen("127.0.0.1:9", model="openai:m", base_url="127.0.0.1:9")
    assert "openai:m cannot be reached now; the tuner takes over until it can: http://127.0.0.1:9/v1" in said[-1]


def test_a_declared_tasks_own_ideas_go_first(chosen: Callable[..., tuple[Proposer, list[str]]]) -> None:
    with FakeOllama(models=[MODEL]) as fake:
        proposer, said = chosen(fake.url, task="sql", ideas=1)
        assert said[0].endswith("; shared with the tuner by what each achieves, after 1 of the task's own")
        assert isinstance(proposer, Hybrid)
        assert [p.name for p in proposer._in_order(declared.CONTEXT)][:2] == ["ideas", "tuner"]
        done = replace(declared.CONTEXT, brief=replace(declared.BRIEF, ideas={}))
        assert "ideas" not in [p.name for p in proposer._in_order(done)]
        bare = replace(declared.BARE, brief=declared.Brief(role=""))
        assert [p.name for p in proposer._in_order(bare)] == [f"ollama:{MODEL['name']}", "tuner"]  # nothing to turn
        proposer.close()
    _, said = chosen("http://127.0.0.1:9", task="sql", ideas=2)
    assert said[0].startswith("ideas: 2 of the task's own, then the built-in tuner (")
    _, said = chosen("http://127.0.0.1:9", task="ab", ideas=0)
    assert said[0].startswith("ideas: the built-in tuner (")
    _, said = chosen("http://127.0.0.1:9", task="ab", ideas=0, kind="ideas")
    assert said == ["ideas: none of the task's own; the tuner when none is left"]
    with pytest.raises(UsageError, match=r"the task ab has ideas\. Write --proposer ideas"):
        chosen("http://127.0.0.1:9", task="ab", ideas=0, kind="recipes")
    with pytest.raises(UsageError, match=r"training has recipes\. Write --proposer recipes"):
        chosen("http://127.0.0.1:9", kind="ideas")
