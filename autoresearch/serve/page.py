"""Build the live page: the present run, progress, latest results, hypotheses from outside, machines, proposers.

The server renders all of it, so that it reads without JavaScript as well. live.js draws the present run from the stream
of events, and fetches the rest (`night`) anew when the journal has grown. Nothing comes from another site.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from html import escape

from autoresearch.metrics import Metric
from autoresearch.record import inbox
from autoresearch.record.night import Experiment, Night
from autoresearch.records import GPT
from autoresearch.report import analysis, page_changes, page_night
from autoresearch.report import page as report_page
from autoresearch.report.markup import DASH, STYLE, number, section, table
from autoresearch.report.samples import samples_of
from autoresearch.serve import views
from autoresearch.serve.nights import NightReader, NoNightError, Snapshot
from autoresearch.system.invocation import command

RESULTS_SHOWN = 12  # the latest
POSTED_SHOWN = 10  # hypotheses from outside, the latest
DRAWING = threading.Lock()  # matplotlib's settings are the process's

HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<noscript><meta http-equiv="refresh" content="60"></noscript>
<title>{title}</title>
<style>
{style}</style>
<link rel="stylesheet" href="/static/live.css">
{script}</head>
<body>
<a class="skip" href="#main">Skip to the night</a>
{nav}<main id="main">
"""
PAGES = {"/": "Live", "/report": "Report", "/docs": "Interface"}
NOW = """\
<section id="now" aria-labelledby="now-title">
<div class="row"><h2 id="now-title">The present run</h2><span id="now-phase" class="phase"></span></div>
<p id="now-what" class="note" data-idle="{idle}">{what}</p>
<div id="now-bar" class="bar" role="progressbar" aria-label="used budget" aria-valuemin="0" aria-valuemax="100" hidden>\
<i></i></div>
<p id="now-facts" class="meta"></p>
<figure id="now-loss" hidden>
<div id="loss" role="img" aria-label="Training loss of this run and of the best version"></div>
<p class="note legend"><span><i class="line keep-bg"></i>this run</span>
<span id="loss-incumbent"><i class="line dashed"></i>best version</span><span id="loss-values"></span></p>
</figure>
<p class="actions"><button id="pause" type="button" hidden>Pause after this run</button>\
<span id="answer" class="note" role="status"></span></p>
</section>
"""
CONNECTION = '<span id="connection" class="note" role="status">connecting</span>'


def document(title: str, body: str, *, live: bool) -> str:
    """Return a page of the server; `body` is HTML, and `live` tells the live page from the others."""
    nav = _nav("/", CONNECTION) if live else _nav("/docs")
    script = '<script src="/static/live.js" defer></script>\n' if live else ""
    head = HEAD.format(title=escape(title), style=STYLE.read_text("utf-8"), script=script, nav=nav)
    return f"{head}{body}</main>\n</body>\n</html>\n"


def _nav(here: str, state: str = "") -> str:
    """Return the links between the pages; `here` is the address of the one that they stand on."""
    links = (
        f'<a href="{address}"{" aria-current=page" if address == here else ""}>{name}</a>'
        for address, name in PAGES.items()
    )
    return f'<nav aria-label="Pages">{"".join(links)}\n{state}</nav>\n'


def render(reader: NightReader) -> str:
    """Return the whole page."""
    try:
        seen = reader.snapshot()
    except NoNightError as error:
        why = escape(str(error))
        text = f"<header><h1>No night yet</h1><p>{why[:1].upper()}{why[1:]}</p></header>"
        text += '<div id="night" data-seen=""></div>'
        return document("autoresearch", text, live=True)
    runs, idle = reader.live(), _idle(seen.night)
    now = NOW.format(what=escape(runs.title if runs else idle), idle=escape(idle))
    first, rest = _parts(reader, seen)
    return document(_title(seen.night), f"{first}{now}{rest}", live=True)


def _idle(night: Night) -> str:
    """Say why no loop runs and how to go on."""
    why = f" ({night.closed})" if night.closed else ""
    return f"No loop runs{why}. To go on: {command(night.resuming)}"


def night(reader: NightReader) -> str:
    """Return the two parts of the page that change with the journal."""
    return "".join(_parts(reader, reader.snapshot()))


def report(seen: Snapshot) -> str:
    """Return the night's report, rendered once for each state of the journal."""

    def made() -> str:
        with DRAWING:
            html = report_page.render(seen.night, seen.source_of, samples_of(seen.layout.samples, seen.night))
        style = '<link rel="stylesheet" href="/static/live.css">'
        return html.replace("</head>\n<body>\n", f"{style}\n</head>\n<body>\n{_nav('/report')}", 1)

    return seen.once("report", made)


def _title(night: Night) -> str:
    tried = len(analysis.candidates(night))
    return f"{night.tag}: {tried} tried, {sum(x.verdict == 'keep' for x in analysis.candidates(night))} kept"


def _parts(reader: NightReader, seen: Snapshot) -> tuple[str, str]:
    """Return the head, and what stands below the present run."""
    night = seen.night
    head, first, last = seen.once(
        "page",  # all that the journal alone decides
        lambda: (report_page.head(night), _progress(seen) + results(night), page_changes.proposers(night)),
    )
    body = f"{first}{_posted(reader)}{_machines(reader, seen)}{last}"
    return (
        f'<div id="head" data-title="{escape(_title(night))}">{head}</div>\n',
        f'<div id="night" data-seen="{escape(seen.id)}">{body}</div>\n',
    )


def _progress(seen: Snapshot) -> str:
    """Return the progress picture; one that shows the same as the last is not drawn again."""
    picture = page_night.progress_picture(seen.night)
    drawn = seen.shared.get("progress")
    if drawn is None or drawn[0] != picture:
        with DRAWING:
            html = page_night.progress(seen.night).replace('xlink:href="#e', 'href="/report#e')
        seen.shared["progress"] = drawn = (picture, html)
    found: str = drawn[1]
    return found


def results(night: Night) -> str:
    """Return the section with the latest results."""
    settled = analysis.settled(night)
    if not settled:
        return ""
    names = ("#", "", night.task.metric.name, "gain", "runs", "idea", "proposer")
    rows = [_result(x, night.task.metric) for x in reversed(settled[-RESULTS_SHOWN:])]
    more = f"The last {len(rows)} of {len(settled)}." if len(settled) > len(rows) else ""
    return section("Latest results", table(names, rows, "ntnNNxT"), more)


def _result(x: Experiment, metric: Metric) -> tuple[str, ...]:
    verdict = analysis.verdict_of(x)
    if x.role == "baseline" and verdict != "crash":
        verdict = "baseline"
    style = page_changes.VERDICT_CLASSES.get(verdict, "note")
    why = f'<br><span class="note">{escape(x.reason)}</span>' if x.reason else ""
    return (
        f'<a href="/report#e{x.n}">{x.n}</a>',
        f'<span class="{style}">{escape(verdict)}</span>',
        DASH if x.estimate is None else escape(metric.number(x.estimate)),
        DASH if x.delta_score is None else escape(metric.signed(x.delta_score)).replace("-", "−"),
        str(analysis.run_count(x)),
        f"{escape(x.proposal.title)}{why}",
        escape(x.proposal.proposer),
    )


def _posted(reader: NightReader) -> str:
    """Return the section on the hypotheses from outside, if there are any."""
    found = views.hypotheses(reader)
    if not found:
        return ""
    rows = [
        (
            escape(str(one.get("verdict") or one["status"])),
            f"{escape(str(one.get('title', one['id'])))}<br><span class='note'>{escape(one['why'])}</span>",
        )
        for one in reversed(found[-POSTED_SHOWN:])
    ]
    waiting = len(inbox.waiting(reader.layout()))
    return section("From outside", table(("", "hypothesis"), rows, "tx"), f"{waiting:,} waiting.")


def _machines(reader: NightReader, seen: Snapshot) -> str:
    """Return the section on the machines."""
    found, trains = views.machines(seen.night, reader.live()), seen.night.task.name == GPT
    rows = [
        (
            escape(" · ".join(filter(None, (one["describe"] or one["machine"], one["member"], one.get("place"))))),
            str(one["runs"]),
            *([number(one.get("tok_s"), ",.0f")] if trains else []),
            _doing(one["running"]),
        )
        for one in found
    ]
    names, kinds = (("machine", "runs", "tokens/s", "now"), "xnnt") if trains else (("machine", "runs", "now"), "xnt")
    return section("Machines", table(names, rows, kinds)) if rows else ""


def _doing(run: dict[str, int] | None) -> str:
    return DASH if run is None else f"#{run['experiment']} run {run['run']}"


def bulleted(items: Sequence[str]) -> str:
    """Return a list of HTML texts."""
    return f'<ul class="plain">{"".join(f"<li>{item}</li>" for item in items)}</ul>' if items else ""
