"""What each command of loop.py does: composes the package and prints. `root` is the checkout, `args` argparse's."""

from __future__ import annotations

import contextlib
import difflib
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from autoresearch.decide import validation
from autoresearch.errors import UsageError
from autoresearch.loop.context import read_program
from autoresearch.loop.research import DEFAULT_RULES, Research, Rules
from autoresearch.loop.session import Options, open_night
from autoresearch.paths import EDITABLE, Cache, Layout, experiment_folder
from autoresearch.record import journal
from autoresearch.record.git import Repository, branch_name, tag_of
from autoresearch.records import Measurement, Proposer
from autoresearch.report import status as summary
from autoresearch.report.console import View, choose_view
from autoresearch.system import machine
from autoresearch.tasks.gpt.data import corpus

if TYPE_CHECKING:
    from autoresearch.search.llm.model_choice import Choice
    from autoresearch.search.llm.ollama_server import OllamaServer

EXIT = {"keep": 0, "discard": 10, "crash": 11, None: 1}  # of `try`
INTERRUPTED = (None, "terminated", "an error")  # how a night ended that --resume goes on with


def run(root: Path, args: Namespace) -> int:
    from autoresearch.findings import hints
    from autoresearch.loop import validate
    from autoresearch.loop.sharing import hinted
    from autoresearch.search.choose import ProposerOptions, choose

    if args.resume and not _cut_off(root, args.tag):
        print("nothing to resume: the last night ended by itself")
        return 0
    wanted = ProposerOptions(
        args.proposer, args.model, args.base_url, args.command, args.seed, read_program(Layout(root, ""))
    )
    ends = deadline(args.hours, args.until)
    given = hinted(root, args.findings) if args.findings else []

    def chooser(view: View) -> Callable[[machine.Facts], Proposer]:
        def offer(server: OllamaServer, choice: Choice) -> bool:
            from autoresearch.report.models import offer_pull

            with view.aside() as console:
                return offer_pull(server, choice, console)

        somebody = sys.stdin.isatty() and sys.stdout.isatty()
        return lambda facts: choose(wanted, facts, view.say, offer if somebody else None)

    with _night(root, _options(args, deadline=ends), chooser) as research:
        view = research.notebook.view
        research.hint(given)
        try:
            view.say(f"stopped: {validate.night(research)}")
        finally:
            view.close()
            view.say(summary.text(research.night))
            if outcomes := hints.outcomes_of(research.night, research.notebook.source_of):
                view.say(str(hints.count(outcomes)))
    return 0


def status(root: Path, args: Namespace) -> int:
    summary.status(root, args.tag)
    return 0


def watch(root: Path, args: Namespace) -> int:
    from autoresearch.report import watch as watching

    return watching.watch(root, args.tag)


def pause(root: Path, args: Namespace) -> int:
    from autoresearch.report import watch as watching

    watching.pause_command(root, args.tag)
    return 0


def resume(root: Path, args: Namespace) -> int:
    from autoresearch.report import watch as watching

    watching.resume_command(root, args.tag)
    return 0


def attempt(root: Path, args: Namespace) -> int:
    try:
        source = args.file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{args.file} cannot be read: {error}") from None
    with _night(root, _options(args, editing=True), _by_hand, Rules(stops_losers=False)) as research:
        x = research.attempt(source, args.message)
    print(f"{x.verdict}: {x.reason}")
    return EXIT[x.verdict]


def final_validation(root: Path, args: Namespace) -> int:
    from autoresearch.loop import validate

    with _night(root, _options(args), _by_hand) as research:
        interval = validate.validate(research, validate.Plan(retests=args.retests, rounds=args.rounds))
        text = validation.text(research.night)
    print(text or "nothing was kept, so there is nothing to validate")
    return 0 if interval is not None and interval.real else 10


def show(root: Path, args: Namespace) -> int:
    folder = root / "runs" / summary.find_tag(root, args.tag)
    night = journal.read(folder)
    x = night.experiments.get(args.n)
    if x is None:
        raise UsageError(f"{night.tag} has no experiment {args.n}; it has 0 to {night.next_n - 1}")
    print(f"#{x.n} {x.proposal.title}\n{x.proposal.hypothesis}\n{x.verdict or x.status}: {x.reason}")
    print(f"proposer: {x.proposal.proposer}, category: {x.proposal.category}, commit: {x.commit or '—'} {x.ref or ''}")
    for run in x.runs.values():
        m = run.measurement
        ended = "stopped early" if m and m.stopped else run.ended or "running"
        value = f"val_bpb {m.val_bpb:.6f}" if m and m.val_bpb is not None else ended
        speed = f", {m.tok_s:,.0f} tok/s, {m.num_steps} steps" if m and m.tok_s else ""
        failed = f", {m.failure.kind}: {m.failure.message}" if m and m.failure else ""
        print(f"  run {run.run} ({run.purpose}, seed {run.seed}): {value}{speed}{failed}")
    if x.parent_n is not None:
        parent = journal.read_source(folder, night.experiments[x.parent_n])
        new = journal.read_source(folder, x)
        diff = difflib.unified_diff(parent.splitlines(), new.splitlines(), f"#{x.parent_n}", f"#{x.n}", lineterm="")
        print("\n".join(diff))
    if x.failure is not None and x.failure.detail:
        print(x.failure.detail.rstrip())
    print(f"logs: {experiment_folder(folder, x.n)}")
    return 0


def report(root: Path, args: Namespace) -> int:
    from autoresearch.loop import samples
    from autoresearch.report import page

    layout = Layout(root, summary.find_tag(root, args.tag))
    samples.fill(layout, journal.read(layout.folder), print)
    print(page.write(layout))
    return 0


def sample(root: Path, args: Namespace) -> int:
    from autoresearch.loop import samples

    samples.sample_command(root, args)
    return 0


def export(root: Path, args: Namespace) -> int:
    from autoresearch.loop.sharing import export_command

    return export_command(root, args)


def compare(root: Path, args: Namespace) -> int:
    from autoresearch.loop.sharing import compare_command

    return compare_command(root, args)


def transfer(root: Path, args: Namespace) -> int:
    from autoresearch.loop.transfer_night import transfer_command

    return transfer_command(root, args, _options(args, deadline=deadline(args.hours, args.until)))


def adopt(root: Path, args: Namespace) -> int:
    """The winner's file onto the person's own branch, as one commit."""
    tag = summary.find_tag(root, args.tag)
    repo, night = Repository.at(root), journal.read(root / "runs" / tag)
    if tag_of(repo.branch()):
        raise UsageError(f"this is the loop's own branch {repo.branch()}. Go to yours first: git switch main")
    if EDITABLE in repo.changes():
        raise UsageError(f"{EDITABLE} has uncommitted changes. Commit them first, or: git checkout -- {EDITABLE}")
    if night.incumbent is None or night.incumbent.role == "baseline":
        raise UsageError(f"{tag} kept nothing, so there is nothing to adopt")
    source = journal.read_source(root / "runs" / tag, night.incumbent)
    figures = validation.text(night) or summary.text(night).splitlines()[1]
    kept = [x for x in night.decided if x.verdict == "keep" and x.role == "candidate"]
    steps = "\n".join(f"- {x.proposal.title}: {x.reason}" for x in kept)
    message = f"Adopt the winner of {branch_name(tag)}\n\n{figures}\n\n{steps}\n"
    print(f"{repo.commit({EDITABLE: source.encode()}, message)[:10]} on {repo.branch()}: {figures}")
    return 0


def clean(root: Path, args: Namespace) -> int:
    from autoresearch.record import retention

    folder = root / "runs" / summary.find_tag(root, args.tag)
    planned = retention.plan(journal.read(folder), retention.scan(folder))
    print(planned.describe())
    retention.apply(folder, planned)
    return 0


def doctor(root: Path, args: Namespace) -> int:
    from autoresearch.loop import doctor as examination
    from autoresearch.measure import experiment
    from autoresearch.tasks.gpt.by_hand import with_profile
    from autoresearch.tasks.gpt.workbench import choose_data, workbench

    facts, cache, folder = machine.facts(), Cache.default(), root / "runs" / "doctor"

    def train() -> Measurement:
        data = choose_data(args.dataset, args.profile, print)
        bench = workbench(data, folder, root, 10.0, args.no_sandbox, lambda text: None, anew=True)
        source = folder / EDITABLE
        source.write_text(with_profile(root / EDITABLE, corpus.load_meta(data).get("constants", {})))
        return experiment.measure(replace(bench, min_steps=0), source, folder / "run", seed=0)  # ten seconds are few

    print(facts.describe())
    patient = examination.Host(root, facts, model=lambda: examination.ollama(facts, cache), train=train)
    done = []
    for check in examination.checks(patient):
        print(examination.line(check), flush=True)
        done.append(check)
    return examination.exit_code(done)


def calibrate(root: Path, args: Namespace) -> int:
    """The roofline and the fit, as a night would begin with it; nothing is committed."""
    from autoresearch.system.locks import hold
    from autoresearch.tasks.gpt import calibrate as fitting
    from autoresearch.tasks.gpt.by_hand import with_profile
    from autoresearch.tasks.gpt.workbench import choose_data, workbench

    facts, cache, folder = machine.facts(), Cache.default(), root / "runs" / "calibrate"
    print(facts.describe())
    with hold(cache.machine_lock, "this machine"):
        data = choose_data(args.dataset, args.profile, print)
        bench = workbench(data, folder, root, None, args.no_sandbox, print, anew=True)
        source = with_profile(root / EDITABLE, corpus.load_meta(data).get("constants", {}))
        path = cache.fits(facts.slug())
        found = None if args.again else fitting.known(path, source, bench)
        if found is not None:
            print(f"as found earlier; --again measures anew\n{found.text}")
        else:
            found = fitting.measure(bench, source, folder / "fit", facts, path, print)
    listing = ", ".join(f"{edit.name} = {edit.literal}" for edit in found.edits)
    print(f"a night here begins with {listing}" if listing else "nothing is to be changed")
    return 0


def models(root: Path, args: Namespace) -> int:
    from autoresearch.report.models import models_table
    from autoresearch.search.llm import model_choice
    from autoresearch.search.llm.ollama_server import connect
    from autoresearch.search.scorecard import Scorecard

    facts, cache = machine.facts(), Cache.default()
    server = connect(cache.ollama_log)
    if server is None:
        raise UsageError("no Ollama server answers and `ollama` is not installed. See: https://ollama.com")
    try:
        scorecard = Scorecard(cache.scorecard, facts.slug())
        found = model_choice.installed(server, facts.memory_mb * 2**20, scorecard)
        Console().print(models_table(found, scorecard))
        print(model_choice.choose_model(found, facts.memory_mb * 2**20, args.model).line)
    finally:
        server.close()
    return 0


def install(root: Path, args: Namespace) -> int:
    from autoresearch.system import login

    given = sys.argv[sys.argv.index("install") + 1 :]
    argv = [sys.executable, str(root / "loop.py"), "run", "--resume", *given]
    print("\n".join(login.install(root, argv)))
    return 0


def uninstall(root: Path, args: Namespace) -> int:
    from autoresearch.system import login

    print("\n".join(login.uninstall(root)))
    return 0


COMMANDS: Mapping[str, Callable[[Path, Namespace], int]] = {
    "run": run,
    "status": status,
    "watch": watch,
    "pause": pause,
    "resume": resume,
    "try": attempt,
    "validate": final_validation,
    "show": show,
    "report": report,
    "sample": sample,
    "adopt": adopt,
    "export": export,
    "compare": compare,
    "transfer": transfer,
    "clean": clean,
    "doctor": doctor,
    "calibrate": calibrate,
    "models": models,
    "install": install,
    "uninstall": uninstall,
}


# --- parts ----------------------------------------------------------------------------------------------------------


def deadline(hours: float | None, until: str | None) -> float | None:
    """The night's end by time.time(). `until` is the next time that the clock shows HH:MM. Raises UsageError."""
    ends = [time.time() + hours * 3600] if hours is not None else []
    if until is not None:
        try:
            at = datetime.strptime(until, "%H:%M")
        except ValueError:
            raise UsageError(f"--until {until}: a time such as 07:30") from None
        now = datetime.now()
        then = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
        ends.append((then if then > now else then + timedelta(days=1)).timestamp())
    return min(ends, default=None)


def _options(args: Namespace, *, deadline: float | None = None, editing: bool = False) -> Options:
    return Options(
        tag=args.tag,
        dataset=args.dataset,
        profile=args.profile,
        time_budget_s=args.time_budget,
        experiments=getattr(args, "experiments", None),
        deadline=deadline,
        seed=args.seed,
        no_sandbox=args.no_sandbox,
        editing=editing,
        display_off=getattr(args, "display_off", None),
        keep_pause=getattr(args, "resume", False),
    )


Chooser = Callable[[View], Callable[[machine.Facts], Proposer]]


@contextlib.contextmanager
def _night(root: Path, options: Options, chooser: Chooser, rules: Rules = DEFAULT_RULES) -> Iterator[Research]:
    view: View = choose_view()
    try:
        with open_night(root, options, view, chooser(view), rules) as research:
            yield research
    finally:
        view.close()


def _by_hand(view: View) -> Callable[[machine.Facts], Proposer]:
    from autoresearch.search.by_hand import ByHand

    return lambda facts: ByHand()


def _cut_off(root: Path, tag: str | None) -> bool:
    night = journal.read(root / "runs" / summary.find_tag(root, tag))
    return night.sessions > 0 and night.closed in INTERRUPTED
