"""The pictures of a comparison: a line a night that can be told from the others, and well-formed SVG."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from autoresearch.findings import compare
from autoresearch.report.comparison_charts import ROWS_SHOWN, agreement_svg, line_styles, trajectories_svg
from autoresearch.report.markup import NARROW, WIDE
from testbed.night_builder import A, B

COMPARISON = compare.compare([A, B])


@pytest.mark.slow
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_both_pictures_are_well_formed(size: tuple[float, float]) -> None:
    for svg in (trajectories_svg(COMPARISON, size), agreement_svg(COMPARISON.shared, COMPARISON.nights, size)):
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg") and "http" not in svg.replace("http://www.w3.org/", "")


def test_two_machines_have_two_colours_and_their_nights_two_dashes() -> None:
    nights = compare.compare([A, replace(A, created="2026-11-24"), B]).nights
    first, second, other = line_styles(nights)
    assert first["color"] == second["color"] != other["color"]
    assert first["linestyle"] != second["linestyle"]


def test_nights_of_one_machine_have_a_colour_each() -> None:
    nights = compare.compare([A, replace(A, created="2026-11-24")]).nights
    assert len({style["color"] for style in line_styles(nights)}) == 2


def test_many_nights_can_all_be_told_apart() -> None:
    nights = compare.compare([replace(A, created=f"2026-11-{day:02}") for day in range(1, 21)]).nights
    assert len({(style["color"], str(style["linestyle"])) for style in line_styles(nights)}) == 20


@pytest.mark.slow
def test_a_picture_of_nothing_and_of_very_much() -> None:
    assert agreement_svg([], COMPARISON.nights).count("<svg") == 1
    many = COMPARISON.shared * (3 * ROWS_SHOWN)
    assert len(agreement_svg(many, COMPARISON.nights)) < 2 * len(
        agreement_svg(many[: 2 * ROWS_SHOWN], COMPARISON.nights)
    )
