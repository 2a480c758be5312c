"""The pictures of the machine's night and of the losses."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from autoresearch.report import charts, machine_night
from autoresearch.report.markup import NARROW, WIDE
from testbed import nights

NIGHT = nights.night(12)


@pytest.mark.slow
def test_both_pictures_are_well_formed_at_both_sizes() -> None:
    states, speeds = machine_night.machine_states(NIGHT), machine_night.speeds(NIGHT)
    curves = {"baseline": [(0.1, 5.0), (1.0, 3.0)], "best <1>": [(0.1, 4.5), (1.0, 2.8)]}
    for size in (WIDE, NARROW):
        for svg in (charts.machine_svg(states, speeds, size), charts.losses_svg(curves, size)):
            assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_the_machine_is_drawn_from_speeds_alone() -> None:
    """Some machines report neither memory nor battery nor heat."""
    speeds = machine_night.speeds(NIGHT)
    svg = charts.machine_svg([], speeds)
    assert "thousand tokens/s" in svg and "memory (GB)" not in svg and "battery" not in svg


def test_losses_of_curves_that_have_hardly_begun() -> None:
    assert "<svg" in charts.losses_svg({"baseline": [(0.0, 9.0)], "best": [(0.01, 8.0)]})
