"""The report's sections on experiments: diffs that cannot be shown, crashes, noise, and hints."""

from __future__ import annotations

from autoresearch.errors import JournalError
from autoresearch.findings import hints
from autoresearch.record.night import Night
from autoresearch.report import analysis, page_changes
from testbed import nights
from testbed.html_page import Page
from testbed.night_builder import A, NightBuilder, set_to

MADE = nights.long_night()
NIGHT, SOURCE_OF = MADE.night, MADE.sources.__getitem__


def test_a_lost_source_costs_its_diff_and_nothing_else() -> None:
    def gone(n: int) -> str:
        raise JournalError(f"the source of experiment {n} is gone")

    section = page_changes.kept(NIGHT, gone)
    assert "its diff cannot be shown: the source of experiment 0 is gone" in section
    assert section.count("<li>") == len(analysis.kept_changes(NIGHT))


def test_an_empty_night_has_none_of_these_sections() -> None:
    night = Night()
    assert page_changes.kept(night, SOURCE_OF) == page_changes.noise(night) == page_changes.crashed(night) == ""
    assert page_changes.categories(night) == page_changes.proposers(night) == page_changes.every_experiment(night) == ""
    assert page_changes.hinted(night, SOURCE_OF) == ""


def test_every_link_leads_to_a_row_of_the_table() -> None:
    page = Page(page_changes.noise(NIGHT) + page_changes.every_experiment(NIGHT))
    assert page.targets and page.targets <= set(page.ids) and len(page.ids) == 61


def test_more_crashes_than_are_shown_are_counted() -> None:
    most = max(analysis.crashes(NIGHT), key=lambda group: len(group.crashes))
    section = page_changes.crashed(NIGHT)
    assert f"{len(most.crashes)} × {most.kind}" in section
    assert section.count("<li>") <= page_changes.CRASHES_SHOWN * len(analysis.crashes(NIGHT))


def test_hints_are_shown_with_what_came_of_them_here() -> None:
    made = NightBuilder()
    made.add("hinted", findings=hints.for_journal(hints.choose([A])))
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    section = page_changes.hinted(made.night, made.sources.__getitem__)
    assert '<span class="good">keep</span>' in section and "not tried" in section and '<a href="#e1">#1</a>' in section
    assert "</a>, transfers" in section
