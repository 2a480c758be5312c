"""The progress picture: limits that one bad idea does not move, and labels that can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.metrics import Metric
from autoresearch.report import page_night, progress_chart
from autoresearch.report.analysis import ProgressPoint
from autoresearch.report.figures import LIGHT
from autoresearch.report.markup import NARROW, WIDE
from autoresearch.report.progress_chart import ProgressPicture
from testbed import nights

NIGHT = nights.night(60)


def test_one_bad_idea_does_not_flatten_the_picture() -> None:
    points = [ProgressPoint(n, 1.5 - n / 1000, "discard", "") for n in range(1, 40)]
    points = [ProgressPoint(0, 1.52, "baseline", ""), *points, ProgressPoint(40, 9.0, "discard", "")]
    progress = ProgressPicture(points, [(0, 1.52)], 0.005)
    low, high = progress_chart._limits(progress)
    assert 1.43 < low < 1.461 and 1.52 < high < 1.56 and progress_chart.off_the_scale(progress)
    assert not progress_chart.off_the_scale(replace(progress, points=points[:-1]))


def test_limits_differ_where_all_values_are_one_huge_one() -> None:
    low, high = progress_chart._limits(ProgressPicture([ProgressPoint(0, 1e15, "baseline", "")], [(0, 1e15)], None))
    assert low < 1e15 < high


@pytest.mark.slow
def test_each_point_shows_its_values_under_the_pointer_and_leads_to_its_row() -> None:
    crash = ProgressPoint(2, None, "crash", 'a < b & "c"')
    points = [ProgressPoint(0, 1.52, "baseline", "baseline"), ProgressPoint(1, 1.5, "keep", "Halve"), crash]
    drawn = progress_chart.progress_svg(ProgressPicture(points, [(0, 1.52), (1, 1.5)], 0.005))
    assert '<a xlink:href="#e1"><title>1 kept, val_bpb 1.500000: Halve</title>' in drawn
    assert "<title>2 crashed: a &lt; b &amp; &quot;c&quot;</title>" in drawn
    assert drawn.count("<title>") == drawn.count("<a ") == 3


def test_the_png_says_what_it_shows() -> None:
    drawn = progress_chart._progress(page_night.progress_picture(NIGHT), WIDE, LIGHT, legend=True)
    (legend,) = drawn.legends
    words = {text.get_text() for text in legend.get_texts()}
    assert words == {"kept", "no better", "crashed", "running best", "± one σ of a single run"}


def test_labels_keep_clear_of_each_other_and_of_the_line() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    progress = page_night.progress_picture(NIGHT)
    for size in (WIDE, NARROW):
        figure = progress_chart._progress(progress, size, LIGHT)
        renderer = FigureCanvasAgg(figure).get_renderer()
        (ax,) = figure.axes
        boxes = [t.get_window_extent(renderer) for t in ax.texts]
        assert len(boxes) >= 5
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_times_have_round_values_on_their_axis_and_an_accuracy_grows_upward() -> None:
    time = Metric(name="p50_ms", unit="ms", scale="log", decimals=None)
    points = [ProgressPoint(0, time.score(700), "baseline", ""), ProgressPoint(1, time.score(60), "keep", "")]
    picture = ProgressPicture(points, [(0, time.score(700)), (1, time.score(60))], 0.05, metric=time)
    (ax,) = progress_chart._progress(picture, WIDE, LIGHT).axes
    assert [round(time.value(score)) for score in ax.get_yticks()] == [50, 100, 200, 500]
    accuracy = replace(picture, metric=Metric(name="accuracy", unit="", direction="higher"), sigma_score=0.01)
    (ax,) = progress_chart._progress(accuracy, WIDE, LIGHT).axes
    assert ax.yaxis_inverted() and ax.get_ylabel() == "accuracy (higher is better)"
