"""The comparison as a page and in the terminal: hostile texts, many nights."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from autoresearch.findings import bundle, compare
from autoresearch.findings.bundle import Bundle
from autoresearch.report import comparison_page, comparison_tables
from testbed.html_page import Page
from testbed.night_builder import A, B, NightBuilder, shared


def hostile(found: Bundle) -> Bundle:
    """Return the bundle with texts that a page or a terminal might obey."""
    evil = "<script>alert(1)</script> $\\frac{1}{0}$ [red]\" onload='x' {x} %s"
    machine = replace(found.machine, chip=evil[:100])
    names = {"LR": ("0.01", '"</td><script>"')}
    findings = [
        replace(f, title=evil, category=evil, change=f.change and replace(f.change, constants=names))
        for f in found.findings
    ]
    return replace(found, machine=machine, findings=tuple(findings))


@pytest.mark.slow
def test_the_page_obeys_no_text_and_needs_no_network() -> None:
    found = compare.compare([hostile(A), hostile(B)])
    page = Page(comparison_page.html(found))
    assert page.loads == [] and any("<script>alert(1)</script>" in words for words in page.text)
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    comparison_tables.show(found, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]" in shown and "\x1b]" not in shown


@pytest.mark.slow
def test_twenty_nights_of_a_hundred_experiments_take_seconds(tmp_path: Path) -> None:
    one = shared(NightBuilder().try_all(100))
    files = [tmp_path / f"{i}.json" for i in range(20)]
    for i, file in enumerate(files):
        findings = tuple(replace(f, score=f.score and f.score * (1 - 0.001 * i)) for f in one.findings)
        bundle.save(replace(one, created=f"2026-11-{i + 1:02}", findings=findings), file)
    started = time.process_time()
    found = compare.compare([bundle.load(file) for file in files])
    page = comparison_page.html(found)
    comparison_tables.show(found, Console(file=io.StringIO(), width=120))
    assert time.process_time() - started < 20
    assert len(found.nights) == 20 and found.nights[-1].key == "T" and len(page) < 3_000_000
