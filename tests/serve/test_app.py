"""The interface over real HTTP: what it tells, what it takes, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoresearch.paths import Layout
from autoresearch.record import inbox, pause
from autoresearch.records import Set
from autoresearch.serve import app
from autoresearch.serve.access import MOST_BYTES
from testbed.served import BEARER, TOKEN, Served, serving, write_live, write_night

GOOD = {"title": "Shallower", "hypothesis": "More steps.", "category": "depth", "edits": "SET DEPTH = 3"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("checkout")
    write_night(root)
    (root / "program.md").write_text("Be bold.\n")
    with serving(root) as found:
        yield found


@pytest.fixture
def running(served: Served) -> Iterator[Served]:
    """Let a loop run."""
    write_live(served.layout)
    yield served
    served.layout.live.unlink()


@pytest.fixture(autouse=True)
def empty_inbox(served: Served) -> Iterator[None]:
    yield
    for id in inbox.waiting(served.layout):
        inbox.remove(served.layout, id)


# --- what it tells ---


def test_it_tells_the_night(served: Served) -> None:
    found = {path: served.client.get(path) for path in ("/experiments", "/best", "/near-misses", "/next", "/machines")}
    assert {path: answer.status_code for path, answer in found.items()} == dict.fromkeys(found, 200)
    assert [x["n"] for x in found["/experiments"].json()] == list(range(10))
    best = found["/best"].json()
    assert (
        best["verdict"] == "keep"
        and best["value"] == best["score"]
        and "def build_model" in best["files"]["train_mlx.py"]
    )
    assert found["/next"].json()["program"] == "Be bold.\n"
    assert [x["n"] for x in served.client.get("/experiments?after=3&limit=2").json()] == [4, 5]
    assert served.client.get("/experiments/1").json()["diff"].count("\n") > 3


@pytest.mark.slow
def test_the_table_and_the_report_are_the_nights(served: Served) -> None:
    table = served.client.get("/results.tsv")
    assert table.headers["content-type"].startswith("text/tab-separated-values") and table.text.count("\n") == 11
    report = served.client.get("/report")
    assert report.headers["content-type"].startswith("text/html") and 'id="e9"' in report.text
    assert '<a href="/">Live</a><a href="/report" aria-current=page>Report</a>' in report.text


def test_the_stream_goes_on_behind_the_last_event(served: Served) -> None:
    count = len(served.layout.journal.read_bytes().splitlines())
    with served.client.stream("GET", "/events", headers={"last-event-id": f"nov23:{count - 2}"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        ids = [line for line in (next(lines) for _ in range(12)) if line.startswith("id")]
    assert ids == [f"id: nov23:{n}" for n in (count, count - 1, count)]


# --- what it takes ---


def test_a_hypothesis_is_queued_for_the_loop(running: Served) -> None:
    answer = running.client.post("/hypotheses", json=GOOD | {"author": "my-agent"})
    told = answer.json()
    assert answer.status_code == 202 and told["status"] == "queued" and told["loop"] == "running"
    [id] = inbox.waiting(running.layout)
    made = inbox.read(running.layout, id)
    assert made is not None and made.edits == (Set("DEPTH", "3"),) and made.proposal().proposer == "inbox: my-agent"
    assert told["id"] == id and running.client.get(f"/hypotheses/{id}").json()["status"] == "queued"
    assert [one["id"] for one in running.client.get("/hypotheses").json()] == [id]


def test_without_a_loop_it_waits_and_the_answer_says_so(served: Served) -> None:
    told = served.client.post("/hypotheses", json=GOOD).json()
    assert told["status"] == "queued" and told["loop"] == "not running"
    assert "no loop runs, so it waits until one does. Start it: uv run loop.py --tag nov23" in told["why"]


def test_a_whole_file_may_be_posted(served: Served) -> None:
    whole = {**GOOD, "edits": None, "files": {"train_mlx.py": "x = 1\n"}}
    assert served.client.post("/hypotheses", json=whole).status_code == 202


def test_the_inbox_has_an_end(served: Served) -> None:
    served.layout.inbox.mkdir(exist_ok=True)
    for i in range(inbox.MOST_WAITING - 2):
        (served.layout.inbox / f"{i}.json").touch()
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: served.client.post("/hypotheses", json=GOOD), range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 6
    assert any("100 hypotheses wait already" in answer.text for answer in answers)
    assert len(inbox.waiting(served.layout)) == inbox.MOST_WAITING
    every = served.client.get("/hypotheses").json()
    assert len(every) == inbox.MOST_WAITING and served.client.get("/hypotheses?limit=2").json() == every[-2:]


def test_the_loop_pauses_and_resumes(running: Served) -> None:
    assert running.client.post("/pause").json()["paused"] and running.client.post("/pause").status_code == 200
    assert pause.asked(running.layout) is not None
    assert "paused, so it waits until POST /resume" in running.client.post("/hypotheses", json=GOOD).json()["why"]
    assert running.client.post("/resume").json() == {"paused": False, "why": "the loop resumes"}
    assert pause.asked(running.layout) is None


def test_nothing_pauses_where_nothing_runs(served: Served) -> None:
    for path, why in (("/pause", "nothing to pause"), ("/resume", "is not paused")):
        answer = served.client.post(path)
        assert answer.status_code == 409 and why in answer.json()["error"]


# --- what it refuses ---

Refusal = tuple[str, str, dict[str, Any], int, str]


def post(body: Any, status: int, why: str, **headers: str) -> Refusal:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return "POST", "/hypotheses", {"content": content, "headers": {**JSON, **headers}}, status, why


ID = "20261127-153012-0123abcd"
REFUSALS: dict[str, Refusal] = {
    "no token": ("GET", "/best", {"headers": {"authorization": ""}}, 401, "send the token|this token is not"),
    "a wrong token": ("GET", "/best", {"headers": {"authorization": "Bearer x"}}, 401, "not this server's"),
    "a token in another address": ("GET", f"/best?token={TOKEN}", {"headers": {"authorization": ""}}, 401, "token"),
    "a page of another site": (
        "POST", "/pause",
        {"headers": {"authorization": "", "cookie": f"autoresearch-test={TOKEN}", "origin": "https://evil.example"}},
        401, "token",
    ),
    "a rebound name": ("GET", "/best", {"headers": {"host": "evil.example"}}, 403, "evil.example"),
    "a value": post(GOOD | {"val_bpb": 0.9}, 422, "val_bpb: not a field"),
    "a score": post(GOOD | {"score": "0.9"}, 422, "score: not a field"),
    "a verdict": post(GOOD | {"verdict": "keep"}, 422, "verdict: not a field"),
    "a measurement": post(GOOD | {"measurement": {"val_bpb": 0.9}}, 422, "measurement: not a field"),
    "a number for a title": post(GOOD | {"title": 0.9}, 422, "title: .*string"),
    "a number for the edits": post(GOOD | {"edits": 1}, 422, "edits: .*string"),
    "an id of its own": post(GOOD | {"id": ID}, 422, "id: not a field"),
    "no title": post({k: v for k, v in GOOD.items() if k != "title"}, 422, "title: Field required"),
    "a long title": post(GOOD | {"title": "x" * 80}, 422, "title: .*79"),
    "an unknown category": post(GOOD | {"category": "magic"}, 422, "category: one of depth"),
    "no edit": post(GOOD | {"edits": "make it better"}, 422, "edits: The reply holds no edit"),
    "edits and files": post(GOOD | {"files": {"train_mlx.py": ""}}, 422, "either edits or files"),
    "another file": post({**GOOD, "edits": None, "files": {"../../prepare.py": "x"}}, 422, "files: .*train_mlx.py"),
    "a file without a text": post({**GOOD, "edits": None, "files": {"train_mlx.py": 1}}, 422, "files.train_mlx.py"),
    "a list": post([GOOD], 422, "body"),
    "null": post(None, 422, "body"),
    "no body": post(b"", 422, "body: Field required"),
    "half a JSON": post(b'{"title": ', 400, "the body is not JSON"),
    "no UTF-8": post(b'{"title": "\xff"}', 400, "not JSON: .*decode byte 0xff"),
    "another encoding": post(json.dumps(GOOD).encode("utf-16"), 400, "the body is not JSON"),
    "a name twice": post(b'{"title": "a", "title": "b"}', 400, "appears twice"),
    "no number": post(b'{"title": NaN}', 400, "NaN is not JSON"),
    "half a character": post(b'{"title": "\\ud800", "category": "depth"}', 422, "title"),
    "a deep JSON": post(b"[" * 100_000, 400, "nested too deeply"),
    "a long number": post(b'{"title": ' + b"9" * 10_000 + b"}", 400, "the body is not JSON"),
    "a huge body": post(b"x" * (MOST_BYTES + 1), 413, "allowed"),
    "a form": ("POST", "/hypotheses", {"data": {"title": "x"}}, 415, "send JSON"),
    "text": ("POST", "/hypotheses", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "text/plain"),
    "a packed body": post(b"\x1f\x8b\x08\x00", 415, "packed by gzip", **{"content-encoding": "gzip"}),
    "an unknown hypothesis": ("GET", f"/hypotheses/{ID}", {}, 404, "no hypothesis"),
    "a path for an id": ("GET", "/hypotheses/..%2f..%2f..%2fetc%2fpasswd", {}, 404, "no such address"),
    "dots for an id": ("GET", "/hypotheses/%2e%2e", {}, 422, "id: an id as POST"),
    "a NUL for an id": ("GET", "/hypotheses/%00", {}, 422, "id: an id as POST"),
    "a line after an id": ("GET", f"/hypotheses/{ID}%0a", {}, 422, "id: an id as POST"),
    "a path for a number": ("GET", "/experiments/../../journal.jsonl", {}, 404, "no such address"),
    "a word for a number": ("GET", "/experiments/best", {}, 422, "n: the number of an experiment"),
    "a negative number": ("GET", "/experiments/-1", {}, 422, "n: the number"),
    "a number of another form": ("GET", "/experiments/1_0", {}, 422, "n: the number of an experiment"),
    "a huge number": ("GET", f"/experiments/{10**30}", {}, 422, "n: "),
    "a number that is none": ("GET", "/experiments/99", {}, 404, "it has 0 to 9"),
    "a wrong limit": ("GET", "/experiments?limit=0", {}, 422, "limit: "),
    "a static file elsewhere": ("GET", "/static/..%2fapp.py", {}, 404, "no such address"),
    "source code": ("GET", "/static/app.py", {}, 404, "no app.py"),
    "a wrong place in the stream": ("GET", "/events", {"headers": {"last-event-id": "7"}}, 422, "last-event-id: "),
    "another method": ("DELETE", "/experiments/1", {}, 405, "DELETE is not for this address"),
    "a question for options": ("OPTIONS", "/best", {"headers": {"origin": "https://evil.example"}}, 405, "OPTIONS"),
    "a trace": ("TRACE", "/", {}, 405, "TRACE is not for this address"),
    "a long address": ("GET", "/experiments?" + "x" * 17_000, {}, 431, "16,000 are allowed"),
    "long headers": ("GET", "/best", {"headers": {"x-long": "x" * 100_000}}, 431, "16,000 are allowed"),
    "a web socket": (
        "GET", "/events", {"headers": {"connection": "Upgrade", "upgrade": "websocket"}}, 400, "no WebSockets",
    ),
    "an unknown address": ("GET", "/admin", {}, 404, "/docs lists them"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_request_is_answered_with_its_fault(served: Served, name: str) -> None:
    method, path, given, status, why = REFUSALS[name]
    before = sorted(served.layout.root.rglob("*"))
    answer = served.client.request(method, path, **given)
    assert answer.status_code == status, answer.text
    [told] = [answer.json()["error"]]
    assert why_of(why, told), told
    assert sorted(served.layout.root.rglob("*")) == before


def why_of(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.DOTALL) is not None


HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
BEST = b"GET /best HTTP/1.1\r\n" + HEAD
POST = b"POST /hypotheses HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
NO_HTTP = {
    "garbage": b"GARBAGE\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a long address": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "an address in bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a NUL in the address": b"GET /be\0st HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a NUL in a header": BEST + b"X: a\0b\r\n\r\n",
    "a space in a header's name": BEST + b"X y: a\r\n\r\n",
    "two hosts": BEST + b"Host: evil.example\r\n\r\n",
    "two tokens": BEST + b"Authorization: Bearer x\r\n\r\n",
    "two types": POST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "a length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n{}",
    "a length in words": POST + b"Content-Length: two\r\n\r\n{}",
    "a chunk of no size": CHUNKED + b"\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n",
    "an unknown packing": POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_refused_and_the_server_lives(served: Served, name: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(NO_HTTP[name])
        assert connection.recv(4096).split(b" ")[1][:1] == b"4"
    assert served.client.get("/machines").status_code == 200


@pytest.mark.slow
def test_too_many_streams_are_refused_until_one_is_closed(tmp_path: Path) -> None:
    write_night(tmp_path, 1)
    with serving(tmp_path) as served, contextlib.ExitStack() as stack:
        lines: list[Iterator[str]] = []

        def opened() -> int:
            answer = stack.enter_context(httpx.stream("GET", f"{served.url}/events", headers=BEARER, timeout=60))
            lines.append(answer.iter_lines())  # an iterator that is dropped closes the connection
            next(lines[-1])
            return answer.status_code

        assert [opened() for _ in range(app.MOST_STREAMS + 1)] == [200] * app.MOST_STREAMS + [429]
        stack.close()
        while opened() == 429:
            time.sleep(0.05)


# --- without a night, and with a damaged one ---


def test_before_the_first_night_everything_says_how_to_begin(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for path in ("/best", "/experiments", "/next", f"/hypotheses/{ID}", "/results.tsv", "/report"):
            answer = served.client.get(path)
            assert (
                answer.status_code == 409 and "no night has begun here. Run: uv run loop.py" in answer.json()["error"]
            )
        assert served.client.post("/hypotheses", json=GOOD).status_code == 409
        assert "No night yet" in served.client.get("/").text
        write_night(tmp_path, 1)
        assert served.client.get("/best").status_code == 200


def test_a_damaged_journal_is_told_and_stops_nothing(tmp_path: Path) -> None:
    write_night(tmp_path, 1)
    path = Layout(tmp_path, "nov23").journal
    whole = path.read_bytes()
    with serving(tmp_path) as served:
        path.write_bytes(b"nonsense\n" + whole)
        answer = served.client.get("/best")
        assert answer.status_code == 503 and "line 1 is damaged" in answer.json()["error"]
        path.write_bytes(whole)
        assert served.client.get("/best").status_code == 200
        write_live(served.layout)
        path.unlink()  # under a running loop
        for address in ("/best", "/"):
            answer = served.client.get(address)
            assert answer.status_code == 503 and f"cannot read {path}: No such file" in answer.json()["error"]
        path.write_bytes(whole)
        served.layout.inbox.write_bytes(b"")  # a file in place of the folder, as a full disk would do
        answer = served.client.post("/hypotheses", json=GOOD)
        assert answer.status_code == 503 and "inbox: File exists" in answer.json()["error"]
