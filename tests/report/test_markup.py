"""Sections, tables and figures as HTML: texts are escaped, cells are taken as they are."""

from __future__ import annotations

from datetime import datetime

from autoresearch.report.markup import bullets, document, number, pictures, section, signed, table, tiles
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


def test_a_figure_that_is_not_known_is_a_dash() -> None:
    assert [number(1.6012, ".2f"), number(12345, ",d"), number(None, ".2f")] == ["1.60", "12,345", "–"]


def test_a_picture_is_drawn_for_a_desktop_and_for_a_phone() -> None:
    html = pictures(lambda size: f"<i>{size[0]}</i>")
    assert html == '<figure class="wide"><i>9.6</i></figure><figure class="narrow"><i>3.9</i></figure>'


def test_lists_and_tiles_escape_their_texts() -> None:
    assert bullets(["a < b"]) == '<ul class="plain"><li>a &lt; b</li></ul>'
    assert tiles([("<1", "a & b")]) == '<div class="tiles"><div><b>&lt;1</b><span>a &amp; b</span></div></div>\n'


def test_a_document_is_whole_and_says_when_it_was_written() -> None:
    page = document("A <night>", ["<p>body</p>"], "mlx < 1", datetime(2026, 11, 23, 7, 5))
    assert "<title>A &lt;night&gt;</title>" in page and "<p>body</p>" in page
    assert "Written 2026-11-23 07:05 by autoresearch-metal. mlx &lt; 1" in page and Page(page).loads == []
