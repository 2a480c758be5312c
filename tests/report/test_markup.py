"""Sections, tables and figures as HTML: texts are escaped, cells are taken as they are."""

from __future__ import annotations

from autoresearch.report.markup import both, section, signed, table
from testbed.html_page import Page


def test_a_section_escapes_its_title_and_its_note() -> None:
    html = section("A & <b>", "<p>body</p>", "less < more")
    assert "<h2>A &amp; &lt;b&gt;</h2>" in html and "less &lt; more" in html and "<p>body</p>" in html
    assert Page(html).loads == []
    assert "note" not in section("A", "")


def test_a_table_has_a_class_a_column_and_an_id_a_row() -> None:
    html = table(["#", "what <x>"], [["1", "<b>bold</b>"], ["2", "plain"]], "nx", ["e1", "e2"])
    assert html.count('<td class="num">') == 2 and '<th class="text">what &lt;x&gt;</th>' in html
    page = Page(html)
    assert page.ids == ["e1", "e2"] and "bold" in page.text
    assert "id=" not in table(["#"], [["1"]], "n")


def test_a_table_without_rows_has_its_head() -> None:
    assert Page(table(["a", "b"], [], "tt")).text == ["a", "b", "\n"]


def test_signed_numbers_have_a_minus_that_is_as_wide_as_a_plus() -> None:
    assert [signed(x) for x in (0.0123, -0.0123, None)] == ["+0.0123", "−0.0123", "–"]


def test_wide_and_narrow_figures_stand_side_by_side() -> None:
    assert both("<svg/>", "<i></i>") == ('<figure class="wide"><svg/></figure><figure class="narrow"><i></i></figure>')
