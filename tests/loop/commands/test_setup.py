"""Commands about this machine, as their functions."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from autoresearch.errors import AutoresearchError
from autoresearch.loop.commands import setup
from autoresearch.paths import Cache
from testbed.fake_ollama import FakeOllama
from testbed.toy import git, this_machine

pytestmark = pytest.mark.slow


def test_ollama_is_asked_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    ready, said = setup.find_model(this_machine(), Cache(tmp_path))
    assert not ready and "no local model" in said and "then: ollama pull " in said
    with pytest.raises(AutoresearchError, match=r"For this machine's \d+ GB: install Ollama .* then: ollama pull \w"):
        setup.models(tmp_path, Namespace(model=None))


@pytest.mark.usefixtures("toy_cache")
def test_the_training_has_the_constants_that_a_night_here_would_begin_with(
    repository: Path, toy_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has a Mac's constants, too slow for a CPU; the failing toy prints those that it was given."""
    meta = json.loads((toy_data / "meta.json").read_text())
    (toy_data / "meta.json").write_text(json.dumps({**meta, "constants": {"LR": "0.125"}}))
    toy = (repository / "train_mlx.py").read_text()
    end = toy.index(":\n", toy.index("def build_model")) + 2
    (repository / "train_mlx.py").write_text(f"{toy[:end]}    raise ValueError(f'{{LR=}}')\n{toy[end:]}")
    git(repository, "commit", "-q", "-am", "a toy that fails")
    with FakeOllama(models=[]) as fake:  # a person's own server is left alone
        monkeypatch.setenv("OLLAMA_HOST", fake.url)
        assert setup.doctor(repository, Namespace(task=None, dataset="toy", profile="tiny", no_sandbox=True)) != 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("✗ training: ")]
    assert "LR=0.125" in line
