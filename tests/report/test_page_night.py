"""The report's sections on the night as a whole."""

from __future__ import annotations

import pytest

from autoresearch.record.night import Night
from autoresearch.report import page_night
from autoresearch.report.samples import Sample
from testbed import nights

NIGHT = nights.night(30)


def test_samples_stand_side_by_side() -> None:
    sample = Sample("Once <upon>", "the the", "a small town")
    page = page_night.samples([sample])
    assert "Once &lt;upon&gt;" in page and "the the" in page and "a small town" in page


def test_an_empty_night_has_none_of_these_sections() -> None:
    night = Night()
    assert page_night.progress(night) == page_night.machine(night) == page_night.losses(night) == ""
    assert page_night.samples([]) == ""


@pytest.mark.slow
def test_the_shares_of_time_add_up() -> None:
    section = page_night.machine(NIGHT)
    widths = [float(part.partition("%")[0]) for part in section.split('style="width:')[1:]]
    assert sum(widths) == 100.0 or abs(sum(widths) - 100.0) < 0.3
    assert "ideas, decisions" in section and page_night.UNDISTURBED in section


def test_the_picture_has_the_night_s_points_and_its_noise() -> None:
    picture = page_night.progress_picture(NIGHT)
    assert len(picture.points) == 31 and picture.line[0][0] == 0 and picture.sigma_score
