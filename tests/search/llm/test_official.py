"""The official Ollama client, imported in odd environments."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from testbed.toy import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks://127.0.0.1:1080", "all_proxy": "socks4://127.0.0.1:1080"},
        {"HTTP_PROXY": "nonsense://", "NO_PROXY": "[::1], 10.0.0.0/8,,*"},
        {"OLLAMA_HOST": "localhost:114x34"},
        {"SSL_CERT_FILE": "/nonexistent"},
    ],
)
def test_the_clients_of_servers_are_imported_whatever_the_environment_holds(variables: dict[str, str]) -> None:
    code = "import autoresearch.search.llm.model_choice, autoresearch.search.llm.openai"
    env = {**os.environ, **variables}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)
