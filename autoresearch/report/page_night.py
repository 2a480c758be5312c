"""Build the report's sections on the night as a whole: its progress, the machine, the losses, the samples."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from autoresearch.decide import estimates
from autoresearch.decide.validation import baseline_of
from autoresearch.record.night import Night
from autoresearch.report import analysis, charts, machine_night, progress_chart
from autoresearch.report.markup import bullets, pictures, section
from autoresearch.report.progress_chart import ProgressPicture
from autoresearch.report.samples import Sample

PROGRESS_LEGEND = (
    '<span><i class="keep-bg"></i>kept</span><span><i class="ring"></i>no better</span>'
    '<span><b class="cross">×</b>crashed</span><span><i class="line keep-bg"></i>running best</span>'
    '<span><i class="area keep-bg"></i>± one σ of a single run</span>'
)
OFF_THE_SCALE = "<span>▵ off the scale, or stopped early</span>"
SHARE_CLASSES = ("keep-bg", "cool-bg", "warm-bg", "discard-bg")  # of the parts of machine_night.time_shares
UNDISTURBED = "no reboot, no sleep, no heat, no swapping"


def progress(night: Night) -> str:
    """Return the section with the progress picture."""
    picture = progress_picture(night)
    if all(point.score is None for point in picture.points):
        return ""
    legend = PROGRESS_LEGEND + (OFF_THE_SCALE if progress_chart.off_the_scale(picture) else "")
    drawn = pictures(lambda size: progress_chart.progress_svg(picture, size))
    return section("Progress", f'<p class="note legend">{legend}</p>{drawn}')


def progress_picture(night: Night) -> ProgressPicture:
    """Return all that the progress picture shows."""
    now = estimates.read(night)
    line = analysis.best_line(night, now)
    return ProgressPicture(
        analysis.points(night, now), line, now.noise.sigma_score if line else None, metric=night.task.metric
    )


def machine(night: Night) -> str:
    """Return the section on the machine: where the time went, what disturbed it, its speed and memory."""
    states, speeds = machine_night.machine_states(night), machine_night.speeds(night)
    if not speeds:
        return ""
    drawn = pictures(lambda size: charts.machine_svg(states, speeds, size))
    incidents = bullets(machine_night.incidents(night) or [UNDISTURBED])
    note = "Shaded: heat (red), battery (amber). A machine speed of 1.0 is the night's median, by a fixed benchmark."
    return section("The machine's night", f"{_time_shares(night)}{incidents}{drawn}", note)


def _time_shares(night: Night) -> str:
    shares = machine_night.time_shares(night)
    total = sum(shares.values()) or 1.0
    percents = [(name, 100 * seconds / total) for name, seconds in shares.items()]
    named = list(zip(percents, SHARE_CLASSES, strict=True))
    bar = "".join(f'<i class="{css}" style="width:{percent:.1f}%"></i>' for (_, percent), css in named)
    legend = "".join(
        f'<span><i class="{css}"></i>{escape(name)} {percent:.0f}%</span>' for (name, percent), css in named
    )
    return f'<div class="split">{bar}</div><p class="note legend">{legend}</p>'


def losses(night: Night) -> str:
    """Return the section with the loss curves of baseline and best."""
    pairs = [("baseline", baseline_of(night)), ("best", night.incumbent)]
    curves = {name: m.loss_curve for name, x in pairs if x for m in x.measurements[-1:] if m.loss_curve}
    if len(curves) < 2 or night.incumbent is baseline_of(night):
        return ""
    drawn = pictures(lambda size: charts.losses_svg(curves, size))
    return section("How they learn", drawn, "Training loss over the budget, baseline and best.")


def samples(texts: Sequence[Sample]) -> str:
    """Return the section with the texts that baseline and best wrote after the same prompts."""
    if not texts:
        return ""
    pairs = "".join(
        f'<p class="after"><span class="number">after</span> <b>{escape(s.prompt)}</b></p><div class="samples">'
        f"<div><b>baseline</b>{escape(s.baseline.strip())}</div><div><b>best</b>{escape(s.winner.strip())}</div></div>"
        for s in texts
    )
    note = "Both continue the beginnings of documents that neither was trained on; the same seed, temperature 0.7."
    return section("What they write", pairs, note)
