"""The interface's description says of each call which answers it may have: all of them occur, and no others do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoresearch.record import inbox, pause
from autoresearch.serve import app
from autoresearch.serve.access import MOST_BYTES
from autoresearch.serve.answers import ErrorAnswer, WrongFields
from autoresearch.serve.nights import NightReader
from testbed.served import Served, serving, write_live, write_night

API: dict[str, Any] = app.create(NightReader(Path("nowhere"))).openapi()
CALLS = {
    (method.upper(), path): {int(status) for status in told["responses"]}
    for path, methods in API["paths"].items()
    for method, told in methods.items()
}
ID = "20261127-153012-0123abcd"
GOOD = {"title": "Shallower", "hypothesis": "More steps.", "category": "depth", "edits": "SET DEPTH = 3"}
EVERYWHERE: tuple[dict[str, Any], ...] = (
    {"headers": {"authorization": "Bearer x"}},
    {"headers": {"host": "evil.example"}},
    {"headers": {"upgrade": "websocket"}},
)
FAULTS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("POST", "/hypotheses"): [
        {"json": {}},
        {"content": b" " * (MOST_BYTES + 1)},
        {"content": b"x", "headers": {"content-type": "text/plain"}},
    ],
    ("GET", "/hypotheses"): [{"params": {"limit": 0}}],
    ("GET", "/hypotheses/{id}"): [{"url": "/hypotheses/x"}],
    ("GET", "/experiments"): [{"params": {"limit": 0}}],
    ("GET", "/experiments/{n}"): [{"url": "/experiments/x"}, {"url": "/experiments/99"}],
    ("GET", "/events"): [{"headers": {"last-event-id": "7"}}],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a checkout that has no night yet."""
    with serving(tmp_path_factory.mktemp("checkout")) as found:
        yield found


def ask(served: Served, call: tuple[str, str], **given: Any) -> int:
    """Return the status of a call, whose answer has the form that is documented for it."""
    method, path = call
    url = given.pop("url", path.format(id=ID, n=1))
    with served.client.stream(method, url, **given) as answer:
        form = API["paths"][path][method.lower()]["responses"][str(answer.status_code)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in form
        if answer.status_code >= 400:
            answer.read()
            model = WrongFields if answer.status_code == 422 else ErrorAnswer
            assert form[kind]["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}
            assert model.model_validate(answer.json()).model_dump() == answer.json()
        return answer.status_code


@pytest.mark.slow
def test_what_is_documented_is_what_occurs(served: Served) -> None:
    found: dict[tuple[str, str], set[int]] = {call: set() for call in CALLS}

    def ask_all(**given: Any) -> None:
        for call in CALLS:
            more = {"json": GOOD} if call == ("POST", "/hypotheses") and not given else {}
            found[call].add(ask(served, call, **given, **more))

    ask_all()  # no night has begun
    journal = served.layout.journal
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"nonsense\n{}\n")
    ask_all()  # it is damaged
    journal.write_bytes(b"")  # nothing is measured yet
    found["GET", "/best"].add(ask(served, ("GET", "/best")))
    journal.unlink()
    journal.parent.rmdir()
    write_night(served.layout.root, 1)
    write_live(served.layout)
    ask_all()
    for given in EVERYWHERE:
        ask_all(**given)
    for call, faults in FAULTS.items():
        found[call] |= {ask(served, call, **given) for given in faults}
    posted = served.client.post("/hypotheses", json=GOOD).json()["id"]
    found["GET", "/hypotheses/{id}"].add(ask(served, ("GET", "/hypotheses/{id}"), url=f"/hypotheses/{posted}"))
    for i in range(inbox.MOST_WAITING):
        (served.layout.inbox / f"{i}.json").touch()
    found["POST", "/hypotheses"].add(ask(served, ("POST", "/hypotheses"), json=GOOD))
    pause.end(served.layout)
    found["POST", "/resume"].add(ask(served, ("POST", "/resume")))
    found["GET", "/events"].add(429)  # tests/serve/test_app.py opens so many
    assert found == CALLS


def test_a_method_that_an_address_does_not_take_is_told_those_that_it_takes(served: Served) -> None:
    allowed = {"/hypotheses": "GET, HEAD, POST", "/best": "GET, HEAD", "/pause": "POST", "/events": "GET"}
    for path, methods in allowed.items():
        answer = served.client.request("DELETE", path)
        assert answer.status_code == 405 and answer.headers["allow"] == methods


def test_the_head_of_an_answer_is_that_of_the_whole(served: Served) -> None:
    for path in ("/static/live.js", "/openapi.json", "/nowhere"):
        head, whole = served.client.head(path), served.client.get(path)
        assert head.status_code == whole.status_code and head.content == b""
        assert head.headers["content-length"] == whole.headers["content-length"]
    assert served.client.head("/events").status_code == 405
    assert served.client.head("/openapi.json", headers={"authorization": ""}).status_code == 401


def test_a_person_who_opens_an_address_is_told_in_a_page(served: Served) -> None:
    for path in ("/experiments/x", "/hypotheses/none", "/nowhere"):
        answer = served.client.get(path, headers={"accept": "text/html,*/*"})
        assert answer.status_code >= 400 and answer.headers["content-type"].startswith("text/html")
        assert "<script" not in answer.text and "<h1>" in answer.text
