"""The live page: it reads without a script, loads nothing from elsewhere, and keeps itself up to date in a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.metrics import Metric
from autoresearch.record import inbox, pause
from autoresearch.record.inbox import Hypothesis
from autoresearch.record.journal import Journal
from autoresearch.records import Proposal, Set
from autoresearch.serve import page
from autoresearch.serve.nights import NightReader
from testbed import browser
from testbed.browser import Browser
from testbed.html_page import Page
from testbed.served import TOKEN, serving, write_live, write_night

OWN = {"script", "link", "data:,", "/static/live.js", "/static/live.css", "/", "/report", "/docs"}
# The pairs of text and background in the page whose contrast is under 4.5, as WCAG computes it.
FAINT = """(() => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const linear = (v) => v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll("h1,h2,p,a,th,td,button,span,b")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(e.textContent.trim().slice(0, 40));
  }
  return found; })()"""

# The middle of a point of the picture, which is brought into view.
POINT = """(() => {
  const link = [...document.querySelectorAll("#night svg a")].find((a) => a.getClientRects()[0]?.width);
  link.scrollIntoView({block: "center"});
  const box = link.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2]; })()"""


@pytest.fixture
def reader(tmp_path: Path) -> NightReader:
    write_night(tmp_path)
    return NightReader(tmp_path)


@pytest.mark.slow
def test_the_page_is_well_formed_and_loads_only_its_own(reader: NightReader) -> None:
    write_live(reader.layout())
    html = page.render(reader)
    found = Page(html)
    assert {load for load in found.loads if not load.startswith("/report#e")} == OWN
    assert len(found.ids) == len(set(found.ids)) and {"main", "head", "now", "night"} <= set(found.ids)
    text = "".join(found.text)
    assert "Latest results" in text and "Halve the batch" in text and "Apple M4 Pro" in text
    assert "url(http" not in html and "@import" not in html


@pytest.mark.slow
def test_a_title_cannot_become_markup(reader: NightReader) -> None:
    evil = "<img src=x onerror=alert(1)>"
    edit = (Set("DEPTH", "9"),)
    inbox.post(
        reader.layout(), Hypothesis(id="h", received=1.0, title=evil, hypothesis="", category="depth", edits=edit)
    )
    write_live(reader.layout(), title=evil)
    with Journal(reader.layout()) as journal:
        journal.append("refused", inbox_id="g", title=evil, why=evil)
    assert evil not in page.render(reader) and "&lt;img" in page.render(reader)


def test_results_are_written_in_the_nights_metric(reader: NightReader) -> None:
    night = reader.snapshot().night
    metric = Metric(name="accuracy", unit="", direction="higher", decimals=None)
    task = replace(night.task, metric=metric)
    html = page.results(replace(night, task=task))
    assert ">accuracy<" in html and f">{metric.number(night.experiments[1].estimate or 0.0)}<" in html


def test_a_night_without_a_loop_says_why_it_ended(reader: NightReader) -> None:
    assert "No loop runs. To go on: uv run loop.py --tag nov23" in page.render(reader)
    with Journal(reader.layout()) as journal:
        journal.append("closed", why="the time is up")
    assert "No loop runs (the time is up). To go on" in page.render(reader)


@pytest.mark.slow
def test_the_picture_is_drawn_again_only_when_it_changes(reader: NightReader) -> None:
    page.night(reader)
    drawn = reader.snapshot().shared["progress"]
    with Journal(reader.layout()) as journal:
        journal.append("note", text="it rains")
    page.night(reader)
    assert reader.snapshot().shared["progress"] is drawn


def settle(reader: NightReader, title: str) -> None:
    """Let the loop decide one more experiment."""
    n = reader.snapshot().night.next_n
    fields = {"role": "candidate", "source_sha256": "", "parent_commit": "", "parent_n": 0}
    with Journal(reader.layout()) as journal:
        journal.append("proposed", n=n, proposal=Proposal((), title, "", "depth", "tuner"), **fields)
        journal.append("decided", n=n, verdict="discard", reason="2 sigma worse")


@pytest.mark.slow
@pytest.mark.skipif(browser.find() is None, reason="no Chromium here")
def test_in_a_browser_the_page_follows_the_night(tmp_path: Path) -> None:
    write_night(tmp_path)
    reader = NightReader(tmp_path)
    layout = reader.layout()
    write_live(layout)
    with Browser(tmp_path / "profile") as b:
        with serving(tmp_path) as served:
            b.show(f"{served.url}/?token={TOKEN}")
            assert b.run("location.href") == f"{served.url}/"  # the token is gone from the address
            b.wait("document.querySelector('#connection.on') && document.querySelector('#loss svg .run')")
            assert "0.100 above the best version" in b.run("document.getElementById('now-facts').textContent")
            for width, height in ((1280, 900), (390, 844)):
                for scheme in ("light", "dark"):
                    b.dress(width, height, scheme, "reduce")
                    assert b.run("document.documentElement.scrollWidth") == width
                    assert b.run(FAINT) == []
            declared = {"phase": "judging", "loss": None, "tok_s": None, "curve": [], "budget_s": 0.0}
            write_live(layout, title="unbroken" * 20, incumbent_run_s=40.0, incumbent_score=1.25, **declared)
            b.wait(
                "/^\\d+ s of about 40 s · to beat: val_bpb 1.25/.test(document.getElementById('now-facts').textContent)"
            )
            b.run("document.querySelectorAll('#head .eyebrow, #head p').forEach((e) => e.append('x'.repeat(300)))")
            assert b.run("document.documentElement.scrollWidth") == width
            b.move(*b.run(POINT))
            b.wait("/^\\d+ .*val_bpb \\d/.test(document.getElementById('tip')?.textContent)")
            settle(reader, "A new idea")
            b.wait("document.getElementById('night').textContent.includes('A new idea')")
            whole = layout.journal.read_bytes()
            layout.journal.write_bytes(b"nonsense\n" + whole)
            b.wait("document.getElementById('connection').textContent.includes('line 1 is damaged')")
            layout.journal.write_bytes(whole)
            b.wait("document.querySelector('#connection.on')?.textContent === 'live'")
            b.run("document.getElementById('pause').click()")
            b.wait("document.getElementById('answer').textContent.includes('pauses after the present run')")
            assert pause.asked(layout) is not None
        b.wait("document.querySelector('#connection.off')")
        settle(reader, "Another idea")
        write_live(layout, over="the time is up")
        with serving(tmp_path, port=served.port):
            b.wait("document.querySelector('#connection.on')")
            b.wait("document.getElementById('night').textContent.includes('Another idea')")
            b.wait("document.getElementById('now-phase').textContent === 'no loop runs'")
        assert {url.split("/")[2] for url in b.requests} == {f"127.0.0.1:{served.port}"}
        lost = (
            "ERR_CONNECTION_REFUSED",
            "ERR_INCOMPLETE_CHUNKED_ENCODING",
            "ERR_CONNECTION_RESET",
            "ERR_EMPTY_RESPONSE",
        )
        assert [problem for problem in b.problems if not any(word in problem for word in lost)] == []
