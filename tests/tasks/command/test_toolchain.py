from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.tasks.command.declaration import read
from autoresearch.tasks.command.toolchain import needed


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_in_the_home_folder_is_shown_with_its_installation_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    node, own = program(home / ".nvm/v22/bin/node"), program(home / ".local/bin/own")
    link = home / "bin" / "linked"
    link.parent.mkdir()
    link.symlink_to(node)
    monkeypatch.setenv("PATH", f"{node.parent}:{own.parent}:{link.parent}:/usr/bin:/bin")
    toml = 'edit = ["a"]\nrun = "{}"\nscore = "python x.py"\n[metric]\nname = "m"\nfrom = "wall"\n'

    def found(command: str) -> list[Path]:
        return needed(read(toml.format(command)), [], home)

    assert found("node x.js") == [node, home / ".nvm/v22"]
    assert found("own") == [own]
    assert found("linked") == [link, node, home / ".nvm/v22"]
    assert found("sh x") == found("./own") == []


def test_a_linked_environment_is_shown_with_its_python(tmp_path: Path) -> None:
    home, venv = tmp_path / "home", tmp_path / "task" / ".venv"
    python = program(home / ".local/share/uv/python/3.12/bin/python3")
    venv.mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {python.parent}\nversion = 3.12\n")
    declared = read('edit = ["a"]\nrun = "true"\n[metric]\nname = "m"\nfrom = "wall"\n')
    assert home / ".local/share/uv/python/3.12" in needed(declared, [venv, tmp_path], home)
