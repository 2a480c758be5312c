"""Figures as SVG: in the page's colours and font, and without ids that two pictures on one page share."""

from __future__ import annotations

import re

from autoresearch.report.figures import INK, INK_NAMES, LIGHT, figure_of, settings, svg
from autoresearch.report.markup import WIDE


def drawn(name: str) -> str:
    with settings(name, WIDE):
        figure, ax = figure_of(WIDE, INK)
        ax.plot([0, 1], [0, 1], color=INK["keep"])
        ax.set_ylabel("costs $5 and $6")
        return svg(figure)


def test_colours_and_fonts_are_those_of_the_page() -> None:
    text = drawn("one")
    assert "var(--keep)" in text and "var(--sans)" in text and "costs $5 and $6" in text
    assert not re.search(r"#0102[0-9a-f]{2}", text) and "<metadata>" not in text
    assert not re.search(r"<svg[^>]* (width|height)=", text)


def test_two_pictures_have_clip_paths_of_their_own() -> None:
    ids = [set(re.findall(r'clipPath id="([^"]+)"', drawn(name))) for name in ("one", "another")]
    assert all(ids) and not ids[0] & ids[1]


def test_the_light_colours_have_the_same_names() -> None:
    assert tuple(INK) == tuple(LIGHT) == INK_NAMES and len(set(INK.values())) == len(INK)
