"""The morning report: one HTML page that needs no network, and progress.png. Written from the journal alone.

`render` is pure but for the sources that it is given a reader of; `write` puts report.html and progress.png into the
checkout. The page follows the reader's light or dark setting and is laid out for a phone as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape as e
from pathlib import Path

from autoresearch.decide import early_stop, estimates, validation
from autoresearch.errors import AutoresearchError
from autoresearch.files import write_atomic
from autoresearch.findings import hints
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Experiment, Night
from autoresearch.report import analysis, charts, diffs, samples
from autoresearch.report.analysis import Headline, Kept, Tally
from autoresearch.report.markup import both as _both
from autoresearch.report.markup import section as _section
from autoresearch.report.markup import signed as _signed
from autoresearch.report.markup import table as _table
from autoresearch.report.samples import Sample
from autoresearch.system import machine

SourceOf = Callable[[int], str]
STYLE = Path(__file__).with_name("report.css")
LUCKY_SHOWN = 12
CRASHES_SHOWN = 6  # of one cause
KIND_COLOURS = {"keep": "good", "crash": "bad"}


def write(layout: Layout) -> Path:
    """Write the checkout's report.html and progress.png for the night of `layout`; return the path of the page."""
    night = journal.read(layout.folder)
    texts = samples.samples_of(layout.samples, night)
    page = render(night, lambda n: journal.read_source(layout.folder, night.experiments[n]), texts)
    write_atomic(layout.progress, charts.progress_png(_progress(night)))
    write_atomic(layout.report, page.encode())
    return layout.report


def render(night: Night, source_of: SourceOf, texts: Sequence[Sample] = (), now: datetime | None = None) -> str:
    """The page. `source_of(n)` reads the source of experiment n; where it raises, the page says so instead."""
    parts = [
        _head(night),
        _picture(night),
        _stack(night, source_of),
        _noise(night),
        _crashes(night),
        _categories(night),
        _proposers(night),
        _hints(night, source_of),
        _machine(night),
        _losses(night),
        _samples(texts),
        _every(night),
        _reproduce(night),
        _foot(night, now or datetime.now().astimezone()),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{e(night.tag or 'night')}: {e(_title(analysis.headline(night)))}</title>\n"
        f"<style>\n{STYLE.read_text()}</style>\n</head>\n<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


# --- the top --------------------------------------------------------------------------------------------------------


def _title(h: Headline) -> str:
    if h.baseline_bpb is None:
        return "Nothing measured yet"
    if h.keeps == 0:
        return "No improvement found" if h.experiments else "Only the baseline is measured"
    if h.interval is not None and not h.interval.real:
        return "No gain that holds up"
    return f"{h.gain_bpb or 0.0:.3f} bits per byte better"


def _head(night: Night) -> str:
    h = analysis.headline(night)
    task = " · ".join(filter(None, (night.task.dataset, night.task.profile)))
    budget = f" · {night.task.budget_s:g} s a run" if night.task.budget_s else ""
    tiles = [
        (f"{h.experiments}", "experiments"),
        (f"{h.keeps}", "kept"),
        (f"{h.discards}", "no better"),
        (f"{h.crashes}", "crashed"),
        (f"{h.hours:.1f} h" if h.hours >= 1 else f"{60 * h.hours:.0f} min", "of research"),
    ]
    tiles += [(f"{h.sigma_bpb:.4f}", "σ of one run")] if h.sigma_bpb is not None else []
    cells = "".join(f"<div><b>{e(value)}</b><span>{e(name)}</span></div>" for value, name in tiles)
    return (
        f'<header><div class="eyebrow">{e(night.tag)} · {e(task)}{e(budget)}</div>\n<h1>{e(_title(h))}</h1>\n'
        f"<p>{_claim(h)}</p>\n<p class='note'>{e(_describe_machine(night))}</p></header>\n"
        f'<div class="tiles">{cells}</div>\n'
    )


def _claim(h: Headline) -> str:
    if h.baseline_bpb is None or h.best_bpb is None:
        return "The first numbers appear here when the baseline has run."
    values = f"val_bpb <b>{h.baseline_bpb:.4f}</b> → <b>{h.best_bpb:.4f}</b>"
    if h.interval is not None:
        i, verdict = h.interval, "Validated" if h.interval.real else "Not confirmed"
        span = f"{i.level:.0%} interval {_signed(i.low_bpb)} to {_signed(i.high_bpb)}"
        rounds = f"{i.rounds} interleaved rounds with fresh seeds"
        return f"{values} in the search. {verdict} on unseen text: <b>{_signed(i.gain_bpb)}</b>, {span}, {rounds}."
    if h.keeps:
        return f"{values}: the search's own figure, which is optimistic. It has not been validated on fresh runs yet."
    return f"The baseline stands at val_bpb <b>{h.baseline_bpb:.4f}</b>."


def _describe_machine(night: Night) -> str:
    m = night.machine
    cores = machine.cores(m.get("gpu_cores"), m.get("cpu_cores"))
    memory = f"{m['memory_mb'] / 1024:.0f} GB" if m.get("memory_mb") else ""
    return ", ".join(str(part) for part in (m.get("chip"), cores, memory, m.get("os")) if part) if m else ""


# --- the picture ----------------------------------------------------------------------------------------------------

LEGEND = (
    '<span><i class="keep-bg"></i>kept</span><span><i class="ring"></i>no better</span>'
    '<span><b class="cross">×</b>crashed</span><span><i class="line keep-bg"></i>running best</span>'
    '<span><i class="area keep-bg"></i>± one σ of a single run</span>'
)


def _progress(night: Night) -> charts.Progress:
    now = estimates.read(night)
    line = analysis.best_line(night, now)
    return charts.Progress(analysis.points(night, now), line, now.noise.sigma_bpb if line else None)


def _picture(night: Night) -> str:
    progress = _progress(night)
    if not progress.points:
        return ""
    legend = LEGEND + ("<span>▵ off the scale, or stopped early</span>" if charts.off_the_scale(progress) else "")
    pictures = _both(*(charts.progress_svg(progress, size) for size in (charts.WIDE, charts.NARROW)))
    return _section("Progress", f'<p class="note legend">{legend}</p>{pictures}')


# --- what was found -------------------------------------------------------------------------------------------------


def _stack(night: Night, source_of: SourceOf) -> str:
    kept = analysis.stack(night)
    if not kept:
        return ""
    largest = max((k.gain_bpb or 0.0 for k in kept), default=0.0)
    items = "".join(_kept(k, largest, source_of) for k in kept)
    note = "Each change with what it gained over the best of its time, alone; ± is its standard error."
    return _section("What was kept", f'<ol class="stack">{items}</ol>', note)


def _kept(k: Kept, largest: float, source_of: SourceOf) -> str:
    x = k.x
    width = 100 * max(0.0, k.gain_bpb or 0.0) / largest if largest > 0 else 0
    error = f" ± {k.error_bpb:.4f}" if k.error_bpb is not None else ""
    gain = _signed(k.gain_bpb)
    runs = f"{len(x.bpbs)} run{'s' if len(x.bpbs) != 1 else ''}"
    commit = f" · <code>{e(x.commit[:10])}</code>" if x.commit else ""
    return (
        f'<li><div class="row"><h3><span class="number">#{x.n}</span> {e(x.proposal.title)}</h3>'
        f'<div class="effect good">{gain}{error}</div></div>\n'
        f'<div class="bar"><i style="width:{width:.1f}%"></i></div>\n'
        f"<p>{e(x.proposal.hypothesis)}</p>\n"
        f'<p class="meta">best after it {k.best_bpb:.4f} · {runs} · {e(x.reason)} · {e(x.proposal.category)} · '
        f"{e(x.proposal.proposer)}{commit}</p>\n{_diff(x, source_of)}</li>\n"
    )


def _diff(x: Experiment, source_of: SourceOf) -> str:
    if x.parent_n is None:
        return ""
    try:
        old, new = source_of(x.parent_n), source_of(x.n)
    except AutoresearchError as error:
        return f'<p class="note">its diff cannot be shown: {e(str(error))}</p>'
    added, removed = diffs.counts(old, new)
    opened = " open" if added + removed <= 12 else ""
    summary = f"<summary>diff: +{added} −{removed} lines</summary>"
    return f"<details{opened}>{summary}{diffs.html(old, new)}</details>"


def _noise(night: Night) -> str:
    lucky = analysis.looked_better(night)
    h = analysis.headline(night)
    if not h.discards or h.sigma_bpb is None:
        return ""
    fit = estimates.read(night).fit
    text = f"<p>One run of unchanged code scatters by σ = {h.sigma_bpb:.4f} bpb, so a single lucky run proves nothing."
    text += f" Its {e(str(fit))}." if fit else ""
    if not lucky:
        return _section("What was noise", f"{text} None of the {h.discards} others looked better even at first.</p>")
    text += f" {len(lucky)} of the {h.discards} others looked better in their first run and did not hold up:</p>"
    rows = [
        (f"#{x.n}", _link(x), _signed(first), _signed(last), str(len(x.bpbs))) for x, first, last in lucky[:LUCKY_SHOWN]
    ]
    more = f'<p class="note">and {len(lucky) - LUCKY_SHOWN} more</p>' if len(lucky) > LUCKY_SHOWN else ""
    table = _table(("", "idea", "first run", "all runs", "runs"), rows, "ntnnn")
    return _section("What was noise", text + table + more)


def _crashes(night: Night) -> str:
    groups = analysis.crashes(night)
    if not groups:
        return ""
    parts = []
    for group in groups:
        lines = "".join(
            f'<li><span class="number">#{x.n}</span> {e(x.proposal.title)}: <code>{e(message[:200])}</code></li>'
            for x, message in group.crashes[:CRASHES_SHOWN]
        )
        more = len(group.crashes) - CRASHES_SHOWN
        lines += f'<li class="note">and {more} more</li>' if more > 0 else ""
        meaning = f' <span class="note">{e(group.meaning)}</span>' if group.meaning else ""
        parts.append(
            f'<details><summary><b class="bad">{len(group.crashes)} × {e(group.kind)}</b>{meaning}</summary>'
            f'<ul class="plain">{lines}</ul></details>'
        )
    return _section("What crashed, and why", "".join(parts))


def _categories(night: Night) -> str:
    tallies = analysis.by_category(night)
    if not tallies:
        return ""
    most = max(t.total for t in tallies)
    rows = [(e(t.name), _split(t, most), str(t.total), str(t.keep), _gain(t)) for t in tallies]
    table = _table(("category", "", "tried", "kept", "gain (bpb)"), rows, "tTnnn")
    return _section("What was tried", table)


def _proposers(night: Night) -> str:
    tallies = analysis.by_proposer(night)
    if not tallies:
        return ""
    most = max(t.total for t in tallies)
    rows = [
        (
            e(t.name),
            _split(t, most),
            str(t.total),
            str(t.keep),
            f"{100 * t.keep / t.total:.0f}%" if t.total else "–",
            str(t.crash),
            str(t.failed_turns),
            _gain(t),
            f"{t.idea_s:.0f} s" if t.idea_s is not None else "–",
        )
        for t in tallies
    ]
    names = ("proposer", "", "tried", "kept", "rate", "crashed", "empty turns", "gain (bpb)", "an idea")
    return _section("Who had the ideas", _table(names, rows, "tTnnNNNnN"))


def _hints(night: Night, source_of: SourceOf) -> str:
    """What other machines had found, there and here; nothing where the night was told of nothing."""
    fates = hints.of_night(night, source_of)
    if not fates:
        return ""
    rows = [(e(fate.seed.change), e(fate.seed.there), _fate(night, fate)) for fate in fates]
    table = _table(("change", "there", "here"), rows, "ttt")
    return _section("What other machines had found", table, f"{hints.held(fates)}. A loss there is no hint to try it.")


def _fate(night: Night, fate: hints.HintOutcome) -> str:
    if fate.n is None:
        return '<span class="note">not tried</span>'
    x = night.experiments[fate.n]
    colour = KIND_COLOURS.get(fate.verdict, "note")
    return f'<span class="{colour}">{e(fate.verdict)}</span> {_signed(x.delta_bpb)} <a href="#e{x.n}">#{x.n}</a>'


def _split(t: Tally, most: int) -> str:
    """A bar of keeps, discards and crashes, as long as the number of tries."""
    shares = "".join(
        f'<i class="{name}-bg" style="width:{100 * count / most:.1f}%"></i>'
        for name, count in (("keep", t.keep), ("discard", t.discard), ("crash", t.crash))
        if count
    )
    return f'<div class="split" title="{t.keep} kept, {t.discard} no better, {t.crash} crashed">{shares}</div>'


def _gain(t: Tally) -> str:
    return _signed(t.gain_bpb if t.keep else None)


# --- the machine, the losses, the texts -----------------------------------------------------------------------------


def _machine(night: Night) -> str:
    moments, speeds = analysis.moments(night), analysis.speeds(night)
    if not speeds:
        return ""
    pictures = _both(*(charts.machine_svg(moments, speeds, size) for size in (charts.WIDE, charts.NARROW)))
    incidents = analysis.incidents(night)
    lines = "".join(f"<li>{e(line)}</li>" for line in incidents) or "<li>no reboot, no sleep, no heat, no swapping</li>"
    note = "Shaded: heat (red), battery (amber). A machine speed of 1.0 is the night's median, by a fixed benchmark."
    return _section("The machine's night", f'{_shares(night)}<ul class="plain">{lines}</ul>{pictures}', note)


def _shares(night: Night) -> str:
    shares = analysis.time_shares(night)
    total = sum(shares.values()) or 1.0
    colours = ("keep-bg", "cool-bg", "warm-bg", "discard-bg")
    named = list(zip(shares.items(), colours, strict=True))
    bar = "".join(f'<i class="{c}" style="width:{100 * s / total:.1f}%"></i>' for (_, s), c in named)
    legend = "".join(f'<span><i class="{c}"></i>{e(name)} {100 * s / total:.0f}%</span>' for (name, s), c in named)
    return f'<div class="split">{bar}</div><p class="note legend">{legend}</p>'


def _losses(night: Night) -> str:
    pairs = [("baseline", validation.baseline_of(night)), ("best", night.incumbent)]
    curves = {name: m.loss_curve for name, x in pairs if x for m in x.measurements[-1:] if m.loss_curve}
    if len(curves) < 2 or night.incumbent is validation.baseline_of(night):
        return ""
    pictures = _both(*(charts.losses_svg(curves, size) for size in (charts.WIDE, charts.NARROW)))
    return _section("How they learn", pictures, "Training loss over the budget, baseline and best.")


def _samples(texts: Sequence[Sample]) -> str:
    if not texts:
        return ""
    pairs = "".join(
        f'<p class="after"><span class="number">after</span> <b>{e(s.prompt)}</b></p><div class="samples">'
        f"<div><b>baseline</b>{e(s.baseline.strip())}</div><div><b>best</b>{e(s.winner.strip())}</div></div>"
        for s in texts
    )
    note = "Both go on from the beginnings of documents that neither was trained on; the same seed, temperature 0.7."
    return _section("What they write", pairs, note)


# --- the rest -------------------------------------------------------------------------------------------------------


def _every(night: Night) -> str:
    rows = [(x, _every_row(x)) for x in night.experiments.values() if x.verdict or x.status == "quarantined"]
    if not rows:
        return ""
    names = ("#", "", "val_bpb", "gain", "runs", "idea", "why", "proposer")
    table = _table(names, [row for _, row in rows], "ntnNNtTT", [f"e{x.n}" for x, _ in rows])
    details = f"<details><summary>{len(rows)} rows</summary>{table}</details>"
    return _section("Every experiment", details, early_stop.text(night) or "")


def _every_row(x: Experiment) -> tuple[str, ...]:
    verdict = "baseline" if x.role == "baseline" else analysis.verdict_of(x)
    return (
        str(x.n),
        f'<span class="{KIND_COLOURS.get(verdict, "note")}">{verdict}</span>',
        f"{x.estimate:.4f}" if x.estimate is not None else "–",
        _signed(x.delta_bpb),
        str(len(x.bpbs)),
        e(x.proposal.title),
        e(x.reason[:160]),
        e(x.proposal.proposer),
    )


def _reproduce(night: Night) -> str:
    tag, task = night.tag, night.task
    if not tag:
        return ""
    env = f"AUTORESEARCH_DATASET={task.dataset} AUTORESEARCH_PROFILE={task.profile} "
    env += f"AUTORESEARCH_TIME_BUDGET_S={task.budget_s:g} " if task.budget_s else ""
    lines = [
        ("the kept changes, as a notebook", f"git log {night.base_commit[:10]}..autoresearch/{tag}"),
        ("all of them in one diff", f"git diff {night.base_commit[:10]} autoresearch/{tag} -- train_mlx.py"),
        ("the best version, run once by hand", f"git switch autoresearch/{tag} && {env}uv run train_mlx.py"),
        ("an experiment that was not kept", f"git show refs/autoresearch/{tag}/NNNN"),
        ("go on with this night", f"uv run loop.py --tag {tag}"),
    ]
    text = "\n".join(f"<i># {e(why)}</i>\n{e(command)}" for why, command in lines)
    return _section("Reproduce", f'<pre class="commands">{text}</pre>')


def _foot(night: Night, now: datetime) -> str:
    facts = [f"{name} {value}" for name, value in night.versions.items()]
    facts += [f"data {night.task.fingerprint}"] if night.task.fingerprint else []
    return f"<footer>Written {now:%Y-%m-%d %H:%M} by autoresearch-metal. {e(' · '.join(facts))}</footer>\n"


def _link(x: Experiment) -> str:
    return f'<a href="#e{x.n}">{e(x.proposal.title)}</a>'
