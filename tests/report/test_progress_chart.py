"""The progress picture: limits that one bad idea does not move, and labels that can be read."""

from __future__ import annotations

from dataclasses import replace

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
