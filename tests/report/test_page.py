"""The morning report: its claims and pictures, which need no network, for every kind of night."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.records import Set
from autoresearch.report import page as report
from autoresearch.report import page_night
from autoresearch.report.progress_chart import progress_png
from testbed import nights
from testbed.html_page import Page
from testbed.night_builder import FIRST_FINAL_SEED, NightBuilder
from testbed.nights import changed

pytestmark = pytest.mark.slow

MADE = nights.long_night()
NIGHT, SOURCE_OF = MADE.night, MADE.sources.__getitem__


@cache
def shown() -> str:
    """Return the report of the night, drawn once for the tests that read it."""
    return report.render(NIGHT, SOURCE_OF)


# --- what it says ---


def test_without_validation_the_figure_is_called_optimistic() -> None:
    head = report.head(nights.night(20, validate=False))
    assert "optimistic" in head and "interval" not in head


def test_a_gain_that_validation_does_not_confirm_is_no_gain() -> None:
    def spoil(event: dict[str, Any]) -> None:
        seed = event["measurement"]["seed"] if event["type"] == "measured" else 0
        if seed >= FIRST_FINAL_SEED:
            event["measurement"]["score"] = 1.5 + seed % 3 / 100 * (1 if event["n"] else -1)

    head = report.head(changed(spoil))
    assert "<h1>No gain that holds up</h1>" in head and "Not confirmed on unseen text" in head


def test_the_commands_name_this_night() -> None:
    for command in (
        "git log 0000000000..autoresearch/nov23",
        "git diff 0000000000 autoresearch/nov23 -- train_mlx.py",
        "AUTORESEARCH_DATASET=climbmix AUTORESEARCH_PROFILE=mac AUTORESEARCH_TIME_BUDGET_S=300",
        "uv run loop.py --tag nov23",
    ):
        assert command in shown()


# --- the page itself ---


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    page = Page(shown())
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    assert page.targets <= set(page.ids)
    assert {f"e{n}" for n in range(61)} <= set(page.ids)
    assert "url(http" not in shown() and "@import" not in shown()


def test_only_a_running_nights_page_loads_itself_again() -> None:
    assert "http-equiv" not in shown()
    made = NightBuilder()
    running = report.render(replace(made.night, closed=None), made.sources.__getitem__)
    assert '<meta http-equiv="refresh" content="60">' in running


def test_the_page_follows_light_and_dark_and_fits_a_phone() -> None:
    assert "prefers-color-scheme: dark" in shown() and 'name="viewport"' in shown() and "max-width: 640px" in shown()
    used, defined = set(re.findall(r"var\(--([a-z-]+)\)", shown())), set(re.findall(r"--([a-z-]+):", shown()))
    assert used <= defined
    drawn = re.findall(r"<svg.*?</svg>", shown(), re.DOTALL)
    assert len(drawn) == 6  # progress, machine and losses, each for a desktop and for a phone
    for svg in drawn:
        assert not re.search(r"#[0-9a-f]{6}(?![0-9a-f])", re.sub(r"(url\(|href=\")#\w+", "", svg))
        ElementTree.fromstring(svg)


@pytest.mark.parametrize("experiments", [0, 2])
def test_a_night_that_has_only_begun(experiments: int) -> None:
    assert Page(report.render(nights.night(experiments, validate=False), SOURCE_OF)).loads == []


def test_an_empty_night() -> None:
    page = report.render(Night(), SOURCE_OF)
    assert Page(page).loads == []
    assert "Nothing measured yet" in page
    assert progress_png(page_night.progress_picture(Night())).startswith(b"\x89PNG")


def test_a_night_of_crashes() -> None:
    def crash(event: dict[str, Any]) -> None:
        if event["type"] == "measured":
            event["measurement"] = {"seed": 1, "failure": {"kind": "train", "message": "boom", "detail": ""}}
        elif event["type"] == "decided":
            event |= {"verdict": "crash", "estimate": None, "delta_score": None, "sigma_score": None, "z": None}

    page = report.render(changed(crash), SOURCE_OF)
    assert Page(page).loads == [] and "The baseline failed" in page and "<h2>Progress" not in page


def titled(titles: list[str]) -> Night:
    """Return a night of experiments with these titles, hypotheses, categories and proposers."""

    def change(event: dict[str, Any]) -> None:
        if event["type"] == "proposed" and event["n"]:
            text = titles[event["n"] - 1]
            event["proposal"] |= {"title": text, "hypothesis": text, "category": text, "proposer": text}

    return changed(change, len(titles))


@settings(max_examples=3, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=60), min_size=6, max_size=6), st.text(max_size=60))
def test_no_text_of_a_model_breaks_the_page(titles: list[str], source: str) -> None:
    page = report.render(titled(titles), lambda n: source if n else source + "\nx = 1")
    assert Page(page.replace("\x00", "")).loads == []


def test_titles_that_mean_something_to_html_svg_or_tex() -> None:
    titles = ["<script>alert(1)</script>", "costs $5 and $6", "学習率を上げる", "a\nb", "100% \\alpha_", "]]>"]
    night = titled(titles)
    page = Page(report.render(night, SOURCE_OF))
    assert {t for t in titles if t in page.text} == set(titles)
    assert progress_png(page_night.progress_picture(night)).startswith(b"\x89PNG")


def test_a_thousand_experiments_take_seconds_and_little_room() -> None:
    made = nights.long_night(1000)
    night = made.night
    started = time.process_time()
    page = report.render(night, made.sources.__getitem__)
    assert time.process_time() - started < 8.0
    assert len(page) < 2_000_000


def test_write_puts_both_files_into_the_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "nov23"
    folder.mkdir(parents=True)
    with journal.Journal(Layout.of(folder)) as book:
        book.append("opened", tag="nov23", task={}, versions={}, machine={}, base_commit="b" * 40)
        sha = journal.store_source(Layout.of(folder), 0, "X = 1\n")
        proposal = {"edits": [], "title": "t", "hypothesis": "", "category": "other", "proposer": "p", "usage": {}}
        parent = {"parent_n": None, "parent_commit": "b" * 40}
        book.append("proposed", n=0, role="baseline", proposal=proposal, source_sha256=sha, **parent)
    path = report.write(Layout(tmp_path, "nov23"))
    assert path == tmp_path / "report.html" and "Nothing measured yet" in path.read_text()
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser here")
def test_a_browser_shows_it_without_scrolling_sideways(tmp_path: Path) -> None:
    page = shown().replace("</main>", "</main><script>document.title = document.documentElement.scrollWidth</script>")
    (tmp_path / "page.html").write_text(page)
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    argv += ["--window-size=600,900", "--dump-dom", f"file://{tmp_path}/page.html"]
    dom = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    width = re.search(r"<title>(\d+)</title>", dom)
    assert width is not None and int(width[1]) <= 600


# --- pictures and diffs ---


def test_the_nights_are_as_the_loop_writes_them() -> None:
    assert NIGHT.experiments[1].proposal.edits == (Set("EXTRA", "1"),) and NIGHT.closed == "the time is up"
