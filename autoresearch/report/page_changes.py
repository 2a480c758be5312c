"""Build the report's sections on experiments: what was kept, what was noise, what crashed, who proposed it."""

from __future__ import annotations

from html import escape

from autoresearch.decide import early_stop, estimates
from autoresearch.decide.estimates import Estimates
from autoresearch.errors import AutoresearchError
from autoresearch.findings import effects, hints
from autoresearch.findings.agreement import verdict
from autoresearch.findings.export import SourceOf
from autoresearch.findings.hints import HintOutcome
from autoresearch.formats import counted, shortened
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.record.night import Experiment, Night
from autoresearch.report import analysis, diffs, proposer_record
from autoresearch.report.analysis import CrashGroup, KeptChange, LuckyDiscard
from autoresearch.report.markup import DASH, section, shown, shown_size, signed, table

LUCKY_SHOWN = 12
CRASHES_SHOWN = 6  # of one kind
MESSAGE, REASON = 200, 160  # characters of what a crash said, and of the reason for a verdict
OPEN_LINES = 12  # changed lines up to which a diff is shown opened
VERDICT_CLASSES = {"keep": "good", "crash": "bad"}  # of CSS; all others are notes


def kept(night: Night, source_of: SourceOf) -> str:
    """Return the section on the kept changes with their diffs; `source_of(n)` reads the source of experiment n."""
    changes = analysis.kept_changes(night)
    if not changes:
        return ""
    largest = max((change.gain_score or 0.0 for change in changes), default=0.0)
    items = "".join(_kept(change, largest, source_of, night.task.metric) for change in changes)
    note = "Each change with its own gain over the best of its time; ± is the standard error."
    return section("What was kept", f'<ol class="stack">{items}</ol>', note)


def _kept(change: KeptChange, largest: float, source_of: SourceOf, metric: Metric) -> str:
    x, proposal = change.experiment, change.experiment.proposal
    width = 100 * max(0.0, change.gain_score or 0.0) / largest if largest > 0 else 0
    error = f" ± {shown_size(change.error_score, metric)}" if change.error_score is not None else ""
    facts = [
        f"best after it {shown(change.best_score, metric)}",
        counted(analysis.run_count(x), "run"),
        x.reason,
        proposal.category,
    ]
    facts += [proposal.proposer]
    commit = f" · <code>{escape(x.commit[:10])}</code>" if x.commit else ""
    return (
        f'<li><div class="row"><h3><span class="number">#{x.n}</span> {escape(proposal.title)}</h3>'
        f'<div class="effect good">{signed(change.gain_score, metric)}{error}</div></div>\n'
        f'<div class="bar"><i style="width:{width:.1f}%"></i></div>\n'
        f"<p>{escape(proposal.hypothesis)}</p>\n"
        f'<p class="meta">{escape(" · ".join(facts))}{commit}</p>\n{_diff(x, source_of)}</li>\n'
    )


def _diff(experiment: Experiment, source_of: SourceOf) -> str:
    if experiment.parent_n is None:
        return ""
    try:
        old, new = source_of(experiment.parent_n), source_of(experiment.n)
    except AutoresearchError as error:
        return f'<p class="note">its diff cannot be shown: {escape(str(error))}</p>'
    added, removed = diffs.counts(old, new)
    opened = " open" if added + removed <= OPEN_LINES else ""
    summary = f"<summary>diff: +{added} −{removed} lines</summary>"
    return f"<details{opened}>{summary}{diffs.html(old, new)}</details>"


def noise(night: Night) -> str:
    """Return the section on sigma, and on the discards whose first run looked better."""
    h, lucky = analysis.headline(night), analysis.lucky_discards(night)
    if not h.discards or h.sigma_score is None:
        return ""
    fit = estimates.read(night).fit
    sigma = h.metric.size(h.sigma_score)
    text = f"<p>One run of unchanged code scatters by σ = {sigma}, so a single lucky run proves nothing."
    text += f" Its {escape(fit.text(h.metric))}." if fit else ""
    if not lucky:
        return section("What was noise", f"{text} None of {_discarded(h)} looked better, even at first.</p>")
    text += f" {len(lucky)} of {_discarded(h)} looked better in the first run and did not hold up:</p>"
    rows = [_lucky(discard, h.metric) for discard in lucky[:LUCKY_SHOWN]]
    more = f'<p class="note">and {len(lucky) - LUCKY_SHOWN} more</p>' if len(lucky) > LUCKY_SHOWN else ""
    return section("What was noise", text + table(("", "idea", "first run", "all runs", "runs"), rows, "ntnnn") + more)


def _discarded(h: analysis.Headline) -> str:
    return counted(h.discards, "discarded candidate")


def _lucky(discard: LuckyDiscard, metric: Metric) -> tuple[str, ...]:
    x = discard.experiment
    link = f'<a href="#e{x.n}">{escape(x.proposal.title)}</a>'
    return (
        f"#{x.n}",
        link,
        signed(discard.first_gain_score, metric),
        signed(discard.final_gain_score, metric),
        str(analysis.run_count(x)),
    )


def crashed(night: Night) -> str:
    """Return the section on crashes, by kind of failure."""
    groups = analysis.crashes(night)
    return section("What crashed, and why", "".join(map(_crash_group, groups))) if groups else ""


def _crash_group(group: CrashGroup) -> str:
    lines = "".join(
        f'<li><span class="number">#{crash.experiment.n}</span> {escape(crash.experiment.proposal.title)}: '
        f"<code>{escape(crash.message[:MESSAGE])}</code></li>"
        for crash in group.crashes[:CRASHES_SHOWN]
    )
    more = len(group.crashes) - CRASHES_SHOWN
    lines += f'<li class="note">and {more} more</li>' if more > 0 else ""
    meaning = f' <span class="note">{escape(group.meaning)}</span>' if group.meaning else ""
    summary = f'<summary><b class="bad">{len(group.crashes)} × {escape(group.kind)}</b>{meaning}</summary>'
    return f'<details>{summary}<ul class="plain">{lines}</ul></details>'


def categories(night: Night) -> str:
    """Return the section on the categories that were tried."""
    groups = analysis.by_category(night)
    most = max((g.total for g in groups), default=0)
    rows = [
        (
            escape(g.name),
            _bar(g.keep, g.crash, g.total, most),
            str(g.total),
            str(g.keep),
            _gain(g.keep, g.gain_score, night.task.metric),
        )
        for g in groups
    ]
    names = ("category", "", "tried", "kept", _gain_heading(night.task.metric))
    return section("What was tried", table(names, rows, "tTnnn")) if rows else ""


def proposers(night: Night) -> str:
    """Return the section on who had the ideas, what they cost, and what a model added over the tuner alone."""
    found = proposer_record.records(night)
    most = max((record.tried for record in found), default=0)
    rows = [
        (
            escape(r.name),
            _bar(r.kept, r.crashed, r.tried, most),
            f"{r.turns} ({r.share:.0%})",
            str(r.kept),
            str(r.crashed),
            str(r.failed_turns),
            str(r.repairs),
            _gain(r.kept, r.gain_score, night.task.metric),
            f"{(r.prompt_tokens + r.answer_tokens) / 1000:.0f}k" if r.prompt_tokens else DASH,
            f"{r.seconds / r.turns:.0f} s" if r.turns and r.seconds >= 1 else DASH,
        )
        for r in found
    ]
    names = (
        "proposer",
        "",
        "turns",
        "kept",
        "crashed",
        "failed",
        "repairs",
        _gain_heading(night.task.metric),
        "tokens",
        "a turn",
    )
    why = [f"The latest failed turn of {r.name}: {r.last_failure}" for r in found if r.last_failure]
    lines = "".join(f"<p>{escape(line.rstrip('.'))}.</p>" for line in [*why, *map(str, proposer_record.added(night))])
    return section("Who had the ideas", table(names, rows, "xTnnNNNnNN") + lines) if rows else ""


def _gain_heading(metric: Metric) -> str:
    return "gain (bpb)" if metric == VAL_BPB else "gain"


def _bar(kept: int, crashed: int, tried: int, most: int) -> str:
    """Return a bar of keeps, discards and crashes, as long as the number of experiments."""
    parts = "".join(
        f'<i class="{name}-bg" style="width:{100 * count / most:.1f}%"></i>'
        for name, count in (("keep", kept), ("discard", tried - kept - crashed), ("crash", crashed))
        if count
    )
    told = f"{kept} kept, {tried - kept - crashed} no better, {crashed} crashed"
    return f'<div class="split" title="{told}">{parts}</div>'


def _gain(kept: int, gain_score: float, metric: Metric) -> str:
    return signed(gain_score if kept else None, metric)


def hinted(night: Night, source_of: SourceOf) -> str:
    """Return the section on the hints of other machines, if the night was given any."""
    outcomes = hints.outcomes_of(night, source_of)
    if not outcomes:
        return ""
    now = estimates.read(night)
    rows = [(escape(one.hint.change), escape(one.hint.there), _here(night, one, now)) for one in outcomes]
    note = f"{hints.count(outcomes)}. What lost there was not meant to be tried."
    return section("What other machines had found", table(("change", "there", "here"), rows, "ttt"), note)


def _here(night: Night, outcome: HintOutcome, now: Estimates) -> str:
    if outcome.n is None:
        return '<span class="note">not tried</span>'
    gain = signed(night.experiments[outcome.n].delta_score, night.task.metric)
    says = verdict(outcome.hint.claim, effects.of(night, night.experiments[outcome.n], now))
    return f'{_verdict(outcome.verdict)} {gain} <a href="#e{outcome.n}">#{outcome.n}</a>, {says}'


def _verdict(verdict: str) -> str:
    return f'<span class="{VERDICT_CLASSES.get(verdict, "note")}">{escape(verdict)}</span>'


def every_experiment(night: Night) -> str:
    """Return the section that lists all settled experiments."""
    settled = analysis.settled(night)
    if not settled:
        return ""
    metric = night.task.metric
    names = ("#", "", escape(metric.name), "gain", "runs", "idea", "why", "proposer")
    rows = table(names, [_row(x, metric) for x in settled], "ntnNNtTT", [f"e{x.n}" for x in settled])
    details = f"<details><summary>{counted(len(settled), 'row')}</summary>{rows}</details>"
    return section("Every experiment", details, early_stop.text(night) or "")


def _row(experiment: Experiment, metric: Metric) -> tuple[str, ...]:
    return (
        str(experiment.n),
        _verdict("baseline" if experiment.role == "baseline" else analysis.verdict_of(experiment)),
        shown(experiment.estimate, metric),
        signed(experiment.delta_score, metric),
        str(analysis.run_count(experiment)),
        escape(experiment.proposal.title),
        escape(shortened(experiment.reason, REASON)),
        escape(experiment.proposal.proposer),
    )
