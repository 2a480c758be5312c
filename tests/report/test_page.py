"""The morning report: what it claims, what it shows, that it needs no network and survives any night."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.decide import estimates
from autoresearch.errors import JournalError
from autoresearch.record import journal
from autoresearch.record.night import Night, replay
from autoresearch.records import Set
from autoresearch.report import analysis, charts, diffs
from autoresearch.report import page as report
from testbed import nights

NIGHT = nights.night(60)
PAGE = report.render(NIGHT, nights.source_of)
VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Checks that tags balance; collects ids, link targets, texts and everything that could be loaded."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: set[str] = set()
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href", "src") and value is not None:
                (self.targets.add(value[1:]) if value.startswith("#") else self.loads.append(value))
        assert tag not in ("script", "img", "link", "iframe", "object")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def changed(change: Callable[[dict[str, Any]], None], experiments: int = 12) -> Night:
    """A night whose events were changed before they were replayed."""

    def edit(builder: nights.Builder) -> None:
        original = builder.event

        def event(type: str, **fields: Any) -> None:
            original(type, **fields)
            change(builder.events[-1])

        builder.event = event  # type: ignore[method-assign]

    return nights.night(experiments, edit=edit)


# --- what it says ---


def test_the_headline_is_the_validated_gain_with_its_interval() -> None:
    h = analysis.headline(NIGHT)
    assert h.interval is not None and h.interval.rounds == 5 and h.interval.real
    assert h.gain_bpb == h.interval.gain_bpb == pytest.approx(0.157, abs=0.01)
    assert (h.experiments, h.keeps + h.discards + h.crashes) == (60, 60)
    assert f"<h1>{h.gain_bpb:.3f} bits per byte better</h1>" in PAGE
    assert f"95% interval +{h.interval.low_bpb:.4f} to +{h.interval.high_bpb:.4f}, 5 interleaved rounds" in PAGE


def test_without_validation_the_figure_is_called_optimistic() -> None:
    head = report._head(nights.night(20, validate=False))
    assert "optimistic" in head and "interval" not in head


def test_a_gain_that_validation_does_not_confirm_is_no_gain() -> None:
    def spoil(event: dict[str, Any]) -> None:
        if event["type"] == "measured" and event["run"] >= 100:
            event["measurement"]["val_bpb"] = 1.5 + event["run"] % 3 / 100 * (1 if event["n"] else -1)

    head = report._head(changed(spoil))
    assert "<h1>No gain that holds up</h1>" in head and "Not confirmed on unseen text" in head


def test_the_stack_is_the_incumbent_s_ancestry_with_diffs_and_effects() -> None:
    kept = analysis.stack(NIGHT)
    assert [k.x.n for k in kept] == [x.n for x in NIGHT.experiments.values() if x.verdict == "keep"][1:]
    for k in kept:
        assert f"+{k.gain_bpb:.4f} ± {k.error_bpb:.4f}" in PAGE
        assert f'<span class="add">+EXTRA = <b>{k.x.n}</b></span>' in PAGE


def test_a_lost_source_costs_its_diff_and_nothing_else() -> None:
    def gone(n: int) -> str:
        raise JournalError(f"the source of experiment {n} is gone")

    section = report._stack(NIGHT, gone)
    assert "its diff cannot be shown: the source of experiment 0 is gone" in section
    assert section.count("<li>") == len(analysis.stack(NIGHT))


def test_noise_lists_the_lucky_first_runs() -> None:
    lucky = analysis.looked_better(NIGHT)
    assert lucky
    for x, first, _ in lucky:
        assert x.verdict == "discard" and first > 0.5 * nights.SIGMA
    assert f"{len(lucky)} of the {analysis.headline(NIGHT).discards} others looked better" in PAGE


def test_crashes_are_grouped_by_cause() -> None:
    groups = analysis.crashes(NIGHT)
    assert {g.kind for g in groups} == {"memory", "diverged", "warmup", "probe_causality"}
    assert sum(len(g.crashes) for g in groups) == analysis.headline(NIGHT).crashes
    assert f"{len(groups[0].crashes)} × {groups[0].kind}" in PAGE and "did not fit into memory" in PAGE
    assert "greater than the maximum allowed buffer size" in PAGE


def test_contract_violations_and_quarantined_experiments_are_crashes_with_a_cause() -> None:
    def change(event: dict[str, Any]) -> None:
        if event["type"] == "decided" and event["n"] == 2:
            event |= {"verdict": "crash", "reason": "contract: line 3: import os", "estimate": None, "delta_bpb": None}

    night = changed(change)
    assert ("contract", 1) in [(g.kind, len(g.crashes)) for g in analysis.crashes(night)]


def test_categories_and_proposers_add_up() -> None:
    for tallies in (analysis.by_category(NIGHT), analysis.by_proposer(NIGHT)):
        assert sum(t.total for t in tallies) == 60
        assert sum(t.gain_bpb for t in tallies) == pytest.approx(sum(k.gain_bpb or 0 for k in analysis.stack(NIGHT)))
    failed = {t.name: t.failed_turns for t in analysis.by_proposer(NIGHT)}
    assert failed == {"tuner": 0, "ollama:qwen3.6:27b": 1}


def test_the_machine_s_night_is_told() -> None:
    def battery(builder: nights.Builder) -> None:
        builder.battery_after, builder.hot_between = 5, (8, 12)

    night = nights.night(15, edit=battery, validate=False)
    lines = "\n".join(analysis.incidents(night))
    assert "on battery, down to 66%" in lines and "at worst heavy" in lines and "swap grew by 0.8 GB" in lines
    shares = analysis.time_shares(night)
    assert sum(shares.values()) == pytest.approx(night.elapsed_s, rel=0.02)
    slow = [s.relative for s in analysis.speeds(night) if s.relative and 8 <= s.n < 12]
    assert max(slow) < 0.95
    assert analysis.incidents(nights.night(5, validate=False)) == []


def test_sleep_reboots_and_lost_runs_are_told() -> None:
    builder = nights.Builder()
    list(nights._events(builder, 4, False))
    builder.propose(5, "cut off", "other", "tuner", 0)
    builder.event("started", n=5, run=0, seed=1, purpose="search")
    builder.open()
    builder.run(5, 1, 1.5)
    builder.events[-1]["measurement"]["machine"]["end"]["since_boot"] += 1800
    lines = "\n".join(analysis.incidents(replay(builder.events)))
    assert "2 sessions" in lines and "1 run cut off" in lines and "slept for 30 min" in lines


def test_samples_stand_side_by_side() -> None:
    sample = report.Sample("Once <upon>", "the the", "a small town")
    page = report._samples([sample])
    assert "Once &lt;upon&gt;" in page and "the the" in page and "a small town" in page


def test_the_commands_name_this_night() -> None:
    for command in (
        "git log bc763b1650..autoresearch/nov23",
        "git diff bc763b1650 autoresearch/nov23 -- train_mlx.py",
        "AUTORESEARCH_DATASET=climbmix AUTORESEARCH_PROFILE=mac AUTORESEARCH_TIME_BUDGET_S=300",
        "uv run loop.py --tag nov23",
    ):
        assert command in PAGE


# --- the page itself ---


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    page = Page(PAGE)
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    assert page.targets <= set(page.ids)
    assert {f"e{n}" for n in range(61)} <= set(page.ids)
    assert "url(http" not in PAGE and "@import" not in PAGE


def test_the_page_follows_light_and_dark_and_fits_a_phone() -> None:
    assert "prefers-color-scheme: dark" in PAGE and 'name="viewport"' in PAGE and "max-width: 640px" in PAGE
    used, defined = set(re.findall(r"var\(--([a-z-]+)\)", PAGE)), set(re.findall(r"--([a-z-]+):", PAGE))
    assert used <= defined
    drawn = re.findall(r"<svg.*?</svg>", PAGE, re.DOTALL)
    assert len(drawn) == 6  # progress, machine and losses, each for a desktop and for a phone
    for svg in drawn:
        assert not re.search(r"#[0-9a-f]{6}(?![0-9a-f])", re.sub(r"(url\(|href=\")#\w+", "", svg))
        ElementTree.fromstring(svg)


@pytest.mark.parametrize("experiments", [0, 2])
def test_a_night_that_has_only_begun(experiments: int) -> None:
    Page(report.render(nights.night(experiments, validate=False), nights.source_of))


def test_an_empty_night() -> None:
    page = report.render(Night(), nights.source_of)
    Page(page)
    assert "Nothing measured yet" in page
    assert charts.progress_png(report._progress(Night())).startswith(b"\x89PNG")


def test_a_night_of_crashes() -> None:
    def crash(event: dict[str, Any]) -> None:
        if event["type"] == "measured":
            event["measurement"] = {"seed": 1, "failure": {"kind": "train", "message": "boom", "detail": ""}}
        elif event["type"] == "decided":
            event |= {"verdict": "crash", "estimate": None, "delta_bpb": None, "sigma_bpb": None, "z": None}

    Page(report.render(changed(crash), nights.source_of))


def titled(titles: list[str]) -> Night:
    """A night of experiments with these titles, hypotheses, categories and proposers."""

    def change(event: dict[str, Any]) -> None:
        if event["type"] == "proposed" and event["n"]:
            text = titles[event["n"] - 1]
            event["proposal"] |= {"title": text, "hypothesis": text, "category": text, "proposer": text}

    return changed(change, len(titles))


@settings(max_examples=3, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=60), min_size=6, max_size=6), st.text(max_size=60))
def test_no_text_of_a_model_breaks_the_page(titles: list[str], source: str) -> None:
    page = report.render(titled(titles), lambda n: source if n else source + "\nx = 1")
    Page(page.replace("\x00", ""))


def test_titles_that_mean_something_to_html_svg_or_tex() -> None:
    titles = ["<script>alert(1)</script>", "costs $5 and $6", "学習率を上げる", "a\nb", "100% \\alpha_", "]]>"]
    night = titled(titles)
    page = Page(report.render(night, nights.source_of))
    assert {t for t in titles if t in page.text} == set(titles)
    assert charts.progress_png(report._progress(night)).startswith(b"\x89PNG")


def test_a_thousand_experiments_take_seconds_and_little_room() -> None:
    night = nights.night(1000)
    started = time.process_time()
    page = report.render(night, nights.source_of)
    assert time.process_time() - started < 8.0
    assert len(page) < 2_000_000


def test_write_puts_both_files_into_the_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "nov23"
    folder.mkdir(parents=True)
    with journal.Journal(folder) as book:
        book.append("opened", tag="nov23", task={}, versions={}, machine={}, base_commit="b" * 40)
        sha = journal.store_source(folder, 0, "X = 1\n")
        proposal = {"edits": [], "title": "t", "hypothesis": "", "category": "other", "proposer": "p", "usage": {}}
        parent = {"parent_n": None, "parent_commit": "b" * 40}
        book.append("proposed", n=0, role="baseline", proposal=proposal, source_sha256=sha, **parent)
    path = report.write(tmp_path, folder)
    assert path == tmp_path / "report.html" and "Nothing measured yet" in path.read_text()
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser here")
def test_a_browser_shows_it_without_scrolling_sideways(tmp_path: Path) -> None:
    page = PAGE.replace("</main>", "</main><script>document.title = document.documentElement.scrollWidth</script>")
    (tmp_path / "page.html").write_text(page)
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    argv += ["--window-size=600,900", "--dump-dom", f"file://{tmp_path}/page.html"]
    dom = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    width = re.search(r"<title>(\d+)</title>", dom)
    assert width is not None and int(width[1]) <= 600


# --- pictures and diffs ---


def test_one_bad_idea_does_not_flatten_the_picture() -> None:
    points = [analysis.Point(n, 1.5 - n / 1000, "discard", "") for n in range(1, 40)]
    points = [analysis.Point(0, 1.52, "baseline", ""), *points, analysis.Point(40, 9.0, "discard", "")]
    progress = charts.Progress(points, [(0, 1.52)], 0.005)
    low, high = charts._limits(progress)
    assert 1.43 < low < 1.461 and 1.52 < high < 1.56 and charts.off_the_scale(progress)
    assert not charts.off_the_scale(replace(progress, points=points[:-1]))


def test_labels_keep_clear_of_each_other_and_of_the_line() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    progress = report._progress(NIGHT)
    for size in (charts.WIDE, charts.NARROW):
        figure = charts._progress(progress, size, charts.LIGHT)
        renderer = FigureCanvasAgg(figure).get_renderer()
        (ax,) = figure.axes
        boxes = [t.get_window_extent(renderer) for t in ax.texts]
        assert len(boxes) >= 5
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_the_running_best_only_falls() -> None:
    line = analysis.best_line(NIGHT, estimates.read(NIGHT))
    assert len(line) > 4 and all(a[0] < b[0] and a[1] > b[1] for a, b in itertools.pairwise(line))


def test_a_diff_marks_lines_and_the_words_in_them() -> None:
    html = diffs.html("def f(x):\n    y = 1\n    return x + y\n", "def f(x):\n    y = 1\n    return x * y\n")
    assert '<span class="at">line 1</span>' in html
    assert '<span class="del">-    return x <b>+</b> y</span>' in html
    assert '<span class="add">+    return x <b>*</b> y</span>' in html
    assert diffs.counts("a\nb\n", "a\nc\nd\n") == (2, 1)


def test_a_diff_deep_in_a_definition_names_it() -> None:
    body = "".join(f"    a{i} = {i}\n" for i in range(20))
    html = diffs.html(f"class Muon:\n{body}", f"class Muon:\n{body.replace('a15 = 15', 'a15 = 16')}")
    assert "line 15, in class Muon" in html and "a3 = 3" not in html


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_diff_escapes_whatever_it_is_given(old: str, new: str) -> None:
    html = diffs.html(old, new)
    assert set(re.findall(r"<[^>]*>", html)) <= {
        *('<pre class="diff">', "</pre>", "<span>", "</span>", "<b>", "</b>"),
        *('<span class="del">', '<span class="add">', '<span class="at">'),
    }


def test_the_nights_are_as_the_loop_writes_them() -> None:
    assert NIGHT.experiments[1].proposal.edits == (Set("EXTRA", "1"),) and NIGHT.closed == "the time is up"
