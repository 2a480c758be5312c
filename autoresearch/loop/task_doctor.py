"""Check a declared task before a night: its declaration, that it runs, and what a version that does nothing earns."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from autoresearch.errors import AutoresearchError
from autoresearch.formats import counted
from autoresearch.loop.checkup import FINE, NOTE, PROBLEM, Check
from autoresearch.paths import STATE, TASK_FILE
from autoresearch.records import Failure
from autoresearch.search.recipes import recipe
from autoresearch.tasks.command import briefs
from autoresearch.tasks.command.floor import Baseline, Floor, Trick
from autoresearch.tasks.command.task import CommandTask
from autoresearch.tasks.command.toml_lines import key_lines, line_of
from autoresearch.tasks.command.tree import in_repository, links_out, submodules, uncommitted

TRUST = {
    "judged": "judged: a process that never runs the candidate's code says the number",
    "clocked": "clocked: the loop measures it itself",
    "reported": "reported: the edited program says its own number and can print any",
}


def checks(folder: Path, *, no_sandbox: bool = False) -> Iterator[Check]:
    """Yield the checks of a task's folder as they are done. What is in the way of all others ends them."""
    said: list[str] = []
    try:
        task = CommandTask.open(folder, folder / STATE, said.append, no_sandbox=no_sandbox, revision=None)
    except AutoresearchError as error:
        yield from (Check("task.toml", PROBLEM, text) for text in _problems(str(error)))
        return
    yield Check("task.toml", FINE, f"{counted(len(task.base.edited), 'file')} to edit: {', '.join(task.base.edited)}")
    yield from _committed(task)
    yield from _left_out(task)
    yield _sandbox(task, said)
    yield _trust(task)
    yield from _ideas(task)
    scratch = folder / STATE / "doctor"
    try:
        floor = Floor(task, scratch.resolve())
        baseline = floor.baseline()
        yield from _baseline(task, baseline)
        if baseline.failure is None:
            yield from (_hidden(finding, task.confined) for finding in floor.hidden())
            fooled = any(guard.candidate for guard in task.declared.guard)
            yield from (_adversary(finding, fooled) for finding in floor.adversaries(baseline))
            yield _test(task, floor)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _problems(text: str) -> list[str]:
    """Return the problems of a declaration that an error tells, each with the lines that belong to it."""
    return re.split(rf"\n(?={re.escape(TASK_FILE)})", text)


def _ideas(task: CommandTask) -> Iterator[Check]:
    """Check that the task's own ideas can be read, and say which of them apply now."""
    texts, files = briefs.ideas(task.folder), tuple(task.base.edited)
    found, problems = recipe.ideas(tuple(texts.items()), files, task.declared.categories)
    yield from (Check("ideas", PROBLEM, problem, "the form of an idea: docs/tasks.md") for problem in problems)
    source = task.read(lambda path: task.base.edited[path])
    clashing = [idea for idea in found if recipe.clash(idea, source) is not None]
    if clashing and len(clashing) == len(found):
        why = str(recipe.clash(clashing[0], source)).splitlines()[0]
        message = f"none of the ideas applies to the files as they are; {clashing[0].name}: {why}"
        yield Check("ideas", NOTE, message, "copy the lines of SEARCH from the file")
    elif found:
        later = f", {len(clashing)} once others are kept" if clashing else ""
        yield Check("ideas", FINE, f"{counted(len(found), 'idea')} to try{later}")


def _committed(task: CommandTask) -> Iterator[Check]:
    """Check that a night, which takes the commit, will see what was checked here."""
    place = shlex.quote(str(task.folder))
    if not in_repository(task.folder):
        how = f"git -C {place} init && git -C {place} add . && git -C {place} commit -m task"
        yield Check("git", PROBLEM, "the folder is in no repository, and a night works on what is committed", how)
    elif changed := uncommitted(task.folder):
        advice = f"git -C {place} add . && git -C {place} commit -m task"
        yield Check("git", NOTE, f"not committed, and a night takes what is: {', '.join(changed[:5])}", advice)
    else:
        yield Check("git", FINE, "all files are committed")


def _left_out(task: CommandTask) -> Iterator[Check]:
    """Name what the folder has for a person, and no run sees."""
    linked = [link.rstrip("/") for link in task.declared.link]
    if modules := [path for path in submodules(task.folder) if path not in linked]:
        advice = "if runs need it: link = [" + ", ".join(f'"{path}"' for path in modules) + "]"
        yield Check("git", NOTE, f"a submodule, whose files no run has: {', '.join(modules)}", advice)
    if links := links_out(task.base.folder):
        advice = "if runs need it: put a copy of the file in its place"
        yield Check("git", NOTE, f"a link to what no run has: {', '.join(links[:5])}", advice)


def _sandbox(task: CommandTask, said: list[str]) -> Check:
    text = next((line.removeprefix("sandbox: ") for line in said if line.startswith("sandbox: ")), "")
    if not task.confined:
        return Check("sandbox", NOTE, text, "without one, a run can read what is hidden")
    if task.declared.reach == "open":
        return Check("sandbox", NOTE, text, "what a candidate reads, it can send away: leave `network` out if you can")
    return Check("sandbox", FINE, text)


def _trust(task: CommandTask) -> Check:
    metric = task.metric
    if metric.trust == "reported":
        return Check("trust", NOTE, TRUST[metric.trust], 'add a judge: score = ..., from = "score:json:KEY"')
    return Check("trust", FINE, TRUST[metric.trust])


def _baseline(task: CommandTask, baseline: Baseline) -> Iterator[Check]:
    if (failure := baseline.failure) is not None:
        detail = f"\n{failure.detail}" if failure.detail else ""
        message = f"the files as they are do not run: {failure.kind}: {failure.message}{detail}"
        yield Check("run", PROBLEM, message, _unseen(task, failure) or _place(task, failure.kind))
        return
    first, second, metric = baseline.first, baseline.second, task.metric
    assert first.score is not None and second is not None and second.score is not None
    apart = "the same twice" if first.score == second.score else f"{metric.size(baseline.spread)} apart"
    text = f"{metric.text(first.score)} and {metric.shown(second.score)}: {apart}; {first.total_s:.1f} s a run"
    yield Check("run", FINE, text)
    if first.score == second.score and metric.scatter == "noisy" and not first.cases and not metric.min_gain:
        advice = 'write scatter = "exact" with min_gain or cases, if the same files always give the same number'
        yield Check("noise", NOTE, "two runs gave the same number, so that no noise was seen", advice)
    if first.score != second.score and metric.scatter == "exact":
        advice = "leave `scatter` out, so that the noise is measured"
        yield Check("noise", PROBLEM, "the metric is declared exact, and two runs differ", advice)


def _unseen(task: CommandTask, failure: Failure) -> str:
    """Say which file a failed command asked for that it does not see on purpose, "" where none is named."""
    said = f"{failure.message}\n{failure.detail}"
    modules = {path.removesuffix(".py").replace("/", "."): path for path in task.base.edited}
    edited = next((path for name, path in modules.items() if f"No module named '{name}'" in said), None)
    if edited and failure.kind in ("judge", "guard"):
        return f"{edited} is what candidates edit, and what judges never imports it: judge what `run` leaves in ./out"
    hidden = next((path for path in sorted(task.base.hidden) if f"'{path}'" in said or f" {path}" in said), None)
    return f"{hidden} is hidden from every run" if hidden and failure.kind in ("run", "build") else ""


def _place(task: CommandTask, kind: str) -> str:
    """Return the line of task.toml that a failure of this kind comes from, "" where it is of no one line."""
    key = {"metric": ("metric", "from"), "run": ("run",), "judge": ("score",), "build": ("build",)}.get(kind, (kind,))
    text = (task.folder / TASK_FILE).read_text("utf-8", "replace")
    line = line_of(key_lines(text), key)
    return f"see {TASK_FILE}, line {line}: {text.splitlines()[line - 1].strip()}" if line else ""


def _test(task: CommandTask, floor: Floor) -> Check:
    """Make the run with which a night would end, so that it does not fail then."""
    if task.declared.test is None:
        advice = "add [test] with data that no experiment sees"
        return Check("test", NOTE, "the final validation measures on what the search has seen", advice)
    m = floor.final()
    if m.failure is not None:
        detail = f"\n{m.failure.detail}" if m.failure.detail else ""
        return Check("test", PROBLEM, f"[test] does not run: {m.failure.kind}: {m.failure.message}{detail}")
    assert m.score is not None
    if not task.base.hidden:
        advice = 'hide = ["FILE"] in [test], where it measures on other data'
        return Check("test", NOTE, f"{task.metric.text(m.score)}, with nothing that is hidden from the search", advice)
    return Check("test", FINE, f"{task.metric.text(m.score)} on what the search does not see")


def _hidden(finding: Trick, confined: bool) -> Check:
    if finding.outcome == "refused":
        return Check("hidden", FINE, f"{finding.name}: {finding.message}")
    level = PROBLEM if confined else NOTE
    return Check("hidden", level, f"{finding.name}: {finding.message}", "a sandbox hides it" if not confined else "")


def _adversary(finding: Trick, fooled: bool) -> Check:
    """Say what came of a version that does nothing; `fooled`: a guard runs its code, which can end that guard well."""
    text = f"{finding.name}: {finding.message}"
    if finding.outcome == "better":
        advice = "add a [[guard]] that fails for it, or let the judge refuse it"
        if fooled:
            advice = "a guard that runs its code is ended by it: let one without `candidate` check what `run` left"
        return Check("floor", PROBLEM, text, advice)
    if finding.outcome == "forgeable":
        return Check("floor", NOTE, text, "the number is reported: believe no gain that you have not looked at")
    return Check("floor", FINE, text)
