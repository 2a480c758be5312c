"""The page on the interface names every route, and its examples are calls that the server takes."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from autoresearch.record import inbox
from autoresearch.serve import app, reference
from autoresearch.serve.nights import NightReader
from testbed.html_page import Page
from testbed.served import TOKEN, Served, serving, write_live, write_night

API: dict[str, Any] = app.create(NightReader(Path("nowhere"))).openapi()
CALLS = [(method.upper(), path) for path, methods in API["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("checkout")
    write_night(root)
    with serving(root) as found:
        write_live(found.layout)
        yield found


def test_every_route_has_a_summary_and_a_description() -> None:
    assert len(CALLS) == 14
    for methods in API["paths"].values():
        for operation in methods.values():
            assert operation["summary"] and operation["description"] and operation["tags"]
            assert all(one.get("description") for one in operation.get("parameters", ()))
    fields = API["components"]["schemas"]["Posted"]["properties"].values()
    assert all(field["description"] for field in fields)


def test_the_page_needs_no_script_and_no_network() -> None:
    html = reference.render(API, "http://127.0.0.1:8765")
    found = Page(html)
    assert {load for load in found.loads if not load.startswith("/")} == {"link", "data:,"}
    text = unescape("".join(found.text))
    assert all(reference.curl(method, path, "http://127.0.0.1:8765") in text for method, path in CALLS)


@pytest.mark.parametrize(("method", "path"), [call for call in CALLS if call[1] not in ("/events", "/report")], ids=str)
def test_its_examples_work(served: Served, method: str, path: str) -> None:
    command = reference.curl(method, path, served.url).replace("$TOKEN", TOKEN)
    if path == "/hypotheses/{id}":
        posted = reference.curl("POST", "/hypotheses", served.url).replace("$TOKEN", TOKEN)
        command = command.replace("/ID", f"/{json.loads(curl(posted))['id']}")
    if path == "/resume":
        served.client.post("/pause")
    answer = curl(command)
    assert answer and '"error"' not in answer[:10]
    for id in inbox.waiting(served.layout):
        inbox.remove(served.layout, id)


def curl(command: str) -> str:
    return subprocess.run(
        shlex.split(command.replace("\\\n", " ")), capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_docstrings_become_paragraphs_lists_and_code() -> None:
    assert reference.prose("One `a<b`.\n\n- **x**: y\n- z\n") == (
        '<p>One <code>a&lt;b</code>.</p><ul class="plain"><li><b>x</b>: y</li><li>z</li></ul>'
    )
