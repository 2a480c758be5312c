"""What is hidden from every candidate: home folders, keys named by variables, a checkout's tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.system.secrets import VARIABLES, secrets


def test_linux_hides_the_home_folder_whole(tmp_path: Path) -> None:
    assert tmp_path in secrets((), tmp_path, {}, "linux")


def test_macos_hides_every_hidden_entry_and_the_known_places(tmp_path: Path) -> None:
    names = (".aws", ".zsh_history", ".codex", ".new-tool", "Library/Keychains", "Library/Application Support/Firefox")
    for name in (*names, "Library/Fonts", "Documents"):
        (tmp_path / name).mkdir(parents=True)
    assert {p for p in secrets((), tmp_path, {}, "darwin") if p.is_relative_to(tmp_path)} == {
        tmp_path / n for n in names
    }


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_may_name_a_file_of_keys(name: str, tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    (tmp_path / "two").touch()
    found = secrets((), tmp_path / "home", {name: f"{tmp_path}/one:{tmp_path}/two:{tmp_path}/none:relative"}, "linux")
    assert {tmp_path / "one", tmp_path / "two"} <= set(found) and tmp_path / "none" not in found


def test_the_settings_and_the_repository_of_a_checkout_are_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".env", ".env.local", "train_mlx.py"):
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    found = {p for p in secrets((), tmp_path / "home", {}, "linux") if p.is_relative_to(tmp_path)}
    assert found == {tmp_path / ".env", tmp_path / ".env.local", tmp_path / ".git"}


def test_a_home_folder_that_holds_the_system_is_not_hidden() -> None:
    assert Path("/") not in secrets((), Path("/"), {}, "linux")


def test_what_is_needed_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".ssh").mkdir()
    found = secrets([tmp_path / ".venv"], tmp_path, {}, "darwin")
    assert tmp_path / ".ssh" in found and tmp_path / ".venv" not in found
