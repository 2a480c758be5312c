"""The variables that a person sets: read, expanded and checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch import environment
from autoresearch.errors import UsageError


@pytest.mark.parametrize(
    ("text", "meant"), [("x", "x"), (" x ", "x"), ("'x'", "x"), ('" x "', "x"), ("", None), ("''", None), ("'", "'")]
)
def test_blanks_and_quotes_around_a_value_do_not_count(text: str, meant: str | None) -> None:
    assert environment.value("V", {"V": text}) == meant


@pytest.mark.parametrize(("text", "meant"), [("1", True), ("TRUE", True), ("0", False), ("", False), ("no", False)])
def test_flags(text: str, meant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_COMPILE", text)
    assert environment.compiles() is meant


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AUTORESEARCH_COMPILE", "maybe"),
        ("AUTORESEARCH_NO_SANDBOX", "2"),
        ("AUTORESEARCH_SEED", "x"),
        ("AUTORESEARCH_SEED", "-1"),
        ("AUTORESEARCH_TIME_BUDGET_S", "5 minutes"),
        ("AUTORESEARCH_CORES", "0"),
        ("AUTORESEARCH_CORES", "²"),
        ("AUTORESEARCH_CORES", "9" * 5000),
        ("AUTORESEARCH_CACHE", "$NO_SUCH_VARIABLE/cache"),
        ("AUTORESEARCH_CACHE", "~no-such-user/cache"),
        ("AUTORESEARCH_CACHE", "/dev/null"),
        ("OPENAI_API_KEY", "two words"),
        ("OPENAI_API_KEY", "schlüssel"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_that_begins_with_the_variable(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(UsageError, match=rf"^{name}[^\n]+$"):
        for read in (environment.compiles, environment.by_hand, environment.cores, environment.cache_folder):
            read()
        environment.openai_key()


def test_the_settings_of_a_run_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATASET", "PROFILE", "TIME_BUDGET_S", "SEED", "NO_SANDBOX"):
        monkeypatch.delenv(f"AUTORESEARCH_{name}", raising=False)
    assert environment.by_hand() == (None, None, None, 42, False)
    for name, text in {"DATASET": "stdlib", "TIME_BUDGET_S": "20", "SEED": "0", "NO_SANDBOX": "1"}.items():
        monkeypatch.setenv(f"AUTORESEARCH_{name}", text)
    assert environment.by_hand() == ("stdlib", None, 20.0, 0, True)


def test_paths_are_meant_as_a_shell_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path / "disk"))
    monkeypatch.chdir(tmp_path)
    for text, meant in (
        ("~", tmp_path),
        ("~/a b", tmp_path / "a b"),
        ("$WHERE/a", tmp_path / "disk" / "a"),
        ("${WHERE}/a", tmp_path / "disk" / "a"),
        ("a/b", tmp_path / "a" / "b"),
        ("./a", tmp_path / "a"),
        ("price$", tmp_path / "price$"),
    ):
        assert environment.path(text) == meant
    (tmp_path / "$NEW").mkdir()
    assert environment.path("$NEW") == tmp_path / "$NEW"
    for text in ("", "  ", "a\0b"):
        with pytest.raises(UsageError):
            environment.path(text)


@pytest.mark.parametrize("text", ["~/cache", "$HOME/cache", "cache", '"~/cache"'])
def test_the_cache_is_one_absolute_folder(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTORESEARCH_CACHE", text)
    assert environment.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("AUTORESEARCH_CACHE", "")
    assert environment.cache_folder() == tmp_path / ".cache" / "autoresearch-metal"


def test_the_hubs_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert (environment.hub_endpoint(), environment.hub_offline()) == ("https://huggingface.co", None)
    monkeypatch.setenv("HF_ENDPOINT", "hub.example.org/")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "yes")
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert environment.hub_endpoint() == "https://hub.example.org"
    assert (environment.hub_offline(), environment.hub_token_source()) == ("TRANSFORMERS_OFFLINE", "HF_TOKEN")


def test_the_key_of_an_endpoint_is_a_files_or_the_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " 'sk-1' ")
    assert environment.openai_key() == "sk-1"
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfsk-2\n")
    assert environment.openai_key(tmp_path / "key") == "sk-2"
    (tmp_path / "key").write_bytes(b"\n")
    for file in (tmp_path / "key", tmp_path / "none"):
        with pytest.raises(UsageError, match=r"^--api-key-file"):
            environment.openai_key(file)


def test_replaced_variables_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "1")
    monkeypatch.delenv("B", raising=False)
    with environment.replaced({"A": None, "B": "2"}):
        assert "A" not in os.environ and os.environ["B"] == "2"
    assert os.environ["A"] == "1" and "B" not in os.environ
