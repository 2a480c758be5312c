"""Write the morning report: report.html, one page that needs no network, and progress.png, from the journal alone.

The page follows the reader's light or dark setting and is laid out for a phone as well. Its sections are built by
page_changes.py (what was tried and what came of it) and page_night.py (progress, the machine, losses, samples).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from autoresearch.decide import validation
from autoresearch.files import write_atomic
from autoresearch.findings.export import SourceOf, shared_machine
from autoresearch.formats import span
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.paths import EDITABLE, Layout
from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.records import GPT
from autoresearch.report import analysis, page_changes, page_night
from autoresearch.report.analysis import Headline
from autoresearch.report.markup import document, section, shown, signed, tiles
from autoresearch.report.progress_chart import progress_png
from autoresearch.report.samples import Sample, samples_of
from autoresearch.system import invocation

REFRESH_S = 60  # between two loads of the page in a browser while the night runs, which writes it as often


def write(layout: Layout) -> Path:
    """Write the checkout's report.html and progress.png for the night of `layout`; return the path of the page."""
    night = journal.read(layout)
    texts = samples_of(layout.samples, night)
    page = render(night, lambda n: journal.read_source(layout, night.experiments[n]), texts)
    title = f"{night.tag}: {_title(analysis.headline(night))}"
    write_atomic(layout.progress, progress_png(page_night.progress_picture(night), title))
    write_atomic(layout.report, page.encode())
    return layout.report


def render(night: Night, source_of: SourceOf, texts: Sequence[Sample] = (), now: datetime | None = None) -> str:
    """Return the page. `source_of(n)` reads the source of experiment n; where it raises, the page says so instead."""
    parts = [
        head(night),
        page_night.progress(night),
        page_changes.kept(night, source_of),
        page_changes.noise(night),
        page_changes.crashed(night),
        page_changes.categories(night),
        page_changes.proposers(night),
        page_changes.hinted(night, source_of),
        page_night.machine(night),
        page_night.losses(night),
        page_night.samples(texts),
        page_changes.every_experiment(night),
        reproduce(night),
    ]
    title = f"{night.tag or 'night'}: {_title(analysis.headline(night))}"
    versions = [f"{name} {version}" for name, version in night.versions.items()]
    versions += [f"data {night.task.fingerprint}"] if night.task.fingerprint else []
    refresh_s = REFRESH_S if night.sessions and night.closed is None else None
    return document(title, parts, " · ".join(versions), now, refresh_s)


def head(night: Night) -> str:
    """Return the top of the page: the result in a sentence, the machine, and the night's counts."""
    h = analysis.headline(night)
    budget = f"{night.task.budget_s:g} s a run" if night.task.budget_s else None
    task = " · ".join(filter(None, (night.tag, night.task.dataset, night.task.profile, budget, _trust(h.metric))))
    machine = shared_machine(night.machine).describe() if night.machine else ""
    figures = [
        (f"{h.experiments}", "experiment" if h.experiments == 1 else "experiments"),
        (f"{h.keeps}", "kept"),
        (f"{h.discards}", "no better"),
        (f"{h.crashes}", "crashed"),
        (span(h.elapsed_s), "of research"),
    ]
    if h.sigma_score is not None:
        sigma = f"{h.sigma_score:.4f}" if h.metric == VAL_BPB else h.metric.size(h.sigma_score)
        figures.append((sigma, "σ of one run"))
    return (
        f'<header><div class="eyebrow">{escape(task)}</div>\n<h1>{escape(_title(h))}</h1>\n'
        f"<p>{_claim(h)}</p>\n<p class='note'>{escape(machine)}</p></header>\n{tiles(figures)}"
    )


def _title(h: Headline) -> str:
    if h.baseline_score is None:
        return "The baseline failed" if h.failed else "Nothing measured yet"
    if h.keeps == 0:
        return "No improvement found" if h.experiments else "Only the baseline has been measured"
    if h.interval is not None and not h.interval.real:
        return "No gain that holds up"
    if h.metric == VAL_BPB:
        return f"{h.gain_score or 0.0:.3f} bits per byte better"
    return f"{h.metric.name}: {h.metric.size(h.gain_score or 0.0)} better"


def _claim(h: Headline) -> str:
    if h.baseline_score is None or h.best_score is None:
        if h.failed:
            return f"Nothing can be compared before it runs. {escape(h.failed)}"
        return "The first numbers appear here when the baseline has run."
    metric, name = h.metric, escape(h.metric.name)
    values = f"{name} <b>{shown(h.baseline_score, metric)}</b> → <b>{shown(h.best_score, metric)}</b>"
    if h.interval is not None:
        i, verdict = h.interval, "Validated" if h.interval.real else "Not confirmed"
        bounds = f"{i.level:.0%} interval {signed(i.low_score, metric)} to {signed(i.high_score, metric)}"
        rounds = f"{i.rounds} interleaved rounds with fresh seeds" if i.rounds > 1 else i.method
        how = f"{bounds}, {rounds}" if i.method else i.bounds
        unseen = "on unseen text" if metric == VAL_BPB else h.unseen
        gain = signed(i.gain_score, metric)
        return f"{values} in the search. {verdict} {unseen}: <b>{gain}</b>, {how}."
    if h.keeps:
        return f"{values}: the search's own figure, which is optimistic. It has not been validated on fresh runs yet."
    return f"The baseline stands at {name} <b>{shown(h.baseline_score, metric)}</b>."


def _trust(metric: Metric) -> str:
    """Say who gives the number of a declared task; nothing for training's."""
    says = {
        "judged": "judged in a process of its own",
        "clocked": "measured by the loop",
        "reported": "reported by the edited program itself, which can print any number",
    }
    return "" if metric == VAL_BPB else says[metric.trust]


def reproduce(night: Night) -> str:
    """Return the section with the commands that show, repeat and resume the night."""
    tag, task, baseline = night.tag, night.task, validation.baseline_of(night)
    if not tag:
        return ""
    base = (baseline.parent_commit if baseline else night.base_commit)[:10]  # after the first fit to the machine
    files = " ".join(map(shlex.quote, task.files))
    commands = {
        "the kept changes, as a notebook": f"git log {base}..autoresearch/{tag} -- {files}",
        "all of them in one diff": f"git diff {base} autoresearch/{tag} -- {files}",
    }
    if task.name == GPT:
        env = f"AUTORESEARCH_DATASET={task.dataset} AUTORESEARCH_PROFILE={task.profile} "
        env += f"AUTORESEARCH_TIME_BUDGET_S={task.budget_s:g} " if task.budget_s else ""
        by_hand = f"git switch autoresearch/{tag} && {env}{invocation.command(EDITABLE)}"
        commands["the best version, run once by hand"] = by_hand
    commands |= {
        "an experiment that was not kept": f"git show refs/autoresearch/{tag}/NNNN",
        "resume this night": invocation.command(night.resuming),
    }
    text = "\n".join(f"<i># {escape(why)}</i>\n{escape(command)}" for why, command in commands.items())
    return section("Reproduce", f'<pre class="commands">{text}</pre>')
