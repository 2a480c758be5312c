"""Run a night: the commands `run`, `try`, `validate` and `transfer`.

What draws pages and what asks model servers is imported where it is needed: both take a second to load.
"""

from __future__ import annotations

import contextlib
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch import texts
from autoresearch.decide import validation
from autoresearch.errors import NothingLeftError, UsageError
from autoresearch.findings import hints
from autoresearch.loop import own_file
from autoresearch.loop import validate as final
from autoresearch.loop.research import DEFAULT_RULES, Research, Rules
from autoresearch.loop.session import Options, open_night
from autoresearch.loop.start import which_night
from autoresearch.paths import PROGRAM, Layout, member_key, tree
from autoresearch.record import journal
from autoresearch.record.branch import check_tag
from autoresearch.record.git import Repository
from autoresearch.records import Proposer
from autoresearch.report import status
from autoresearch.report.console import PlainView, View, choose_view
from autoresearch.search.by_hand import ByHand
from autoresearch.search.choose import ProposerOptions, choose
from autoresearch.system.machine import Facts
from autoresearch.tasks.command import briefs
from autoresearch.tasks.gpt.data.profiles import PROFILES, default_profile

if TYPE_CHECKING:
    from autoresearch.search.llm.model_choice import ModelChoice
    from autoresearch.search.llm.ollama_server import OllamaServer

EXIT = {"keep": 0, "discard": 10, "crash": 11, None: 1}  # of `try`, by its verdict
NOT_REAL = 10  # exit code of `validate` where the winner is no better than the baseline

ProposerChooser = Callable[[Facts], Proposer]


def run(root: Path, args: Namespace) -> int:
    """Research until a limit or Ctrl-C, and validate the winner where there is a deadline."""
    fleet = getattr(args, "fleet", False)
    if args.resume and member_key(root).exists():
        from autoresearch.loop.commands.fleet import rejoin

        if rejoin(root, args):
            return 0
    if args.resume and not fleet:
        args.tag = status.find_tag(root, args.tag)
        if not journal.read(Layout(root, args.tag)).interrupted:
            print("nothing to resume: the last night ended by itself")
            return 0
    options = options_of(args, deadline=deadline(args.hours, args.until))
    given = []
    if args.findings:
        from autoresearch.loop.sharing import hinted

        given = hinted(root, args.findings)
    if fleet:
        from autoresearch.loop.commands.fleet import coordinate

        return coordinate(root, args, options, _chooser(root, args, PlainView()), given)
    with _night(root, options, lambda view: _chooser(root, args, view)) as research:
        view = research.notebook.view
        research.hint(given)
        try:
            view.say(f"stopped: {final.run_night(research)}")
        except NothingLeftError as error:
            if not research.notebook.counters.decided:
                raise
            view.say(f"stopped: {error}")
        finally:
            view.close()
            view.say(status.text(research.night))
            if research.night.decided:
                view.say(f"report: {research.notebook.layout.report}")
            if outcomes := hints.outcomes_of(research.night, research.notebook.source_of):
                view.say(str(hints.count(outcomes)))
    return 0


def attempt(root: Path, args: Namespace) -> int:
    """Measure one candidate: `loop.py try`. The exit code says the verdict; a file that cannot run begins nothing."""
    if tree(root) != root:
        return _attempt_declared(root, args)
    own = own_file.read(root, args.file)
    args.tag = tag = which_night(root, Repository.at(tree(root)), args.tag, print, by_hand=True)
    best = own_file.expected_best(root, tag, own.made_from, _profile_constants(args.profile))
    if why := own_file.refusal(own.source if args.as_is else own.fitted(best), best, args.file):
        print(f"crash: {why}\nNothing was measured or recorded.")
        return EXIT["crash"]
    rules = Rules(stops_losers=False)  # a person who asks for one candidate wants its number
    with _night(root, options_of(args, by_hand=True), _by_hand, rules) as research:
        research.experimenter.prepare()
        best = research.notebook.source_of(research.notebook.incumbent.n)
        source = own.source if args.as_is else own.fitted(best)
        for line in own_file.differences(own, source, best, tag):
            research.notebook.view.say(line)
        x = research.attempt(source, args.message)
    print(f"{x.verdict}: {x.reason}")
    return EXIT[x.verdict]


def _attempt_declared(root: Path, args: Namespace) -> int:
    """Measure a person's version of one file of a declared task, or of all that lie in a folder."""
    own = own_file.files(args.file)
    with _night(root, options_of(args, by_hand=True), _by_hand) as research:
        research.experimenter.prepare()
        best = research.notebook.source_of(research.notebook.incumbent.n)
        x = research.attempt(own_file.placed(own, best, args.file, tree(root)), args.message)
    print(f"{x.verdict}: {x.reason}")
    return EXIT[x.verdict]


def validate(root: Path, args: Namespace) -> int:
    """Run the final validation, and exit with 0 where the winner is better than the baseline."""
    status.find_tag(root, args.tag)  # raises UsageError where there is no such night
    with _night(root, options_of(args, by_hand=True), _by_hand) as research:
        interval = final.validate(research, final.ValidationPlan(retests=args.retests, rounds=args.rounds))
        text = validation.text(research.night)
    if text:
        print(text)
    print(status.next_step(research.night))
    return 0 if interval is not None and interval.real else NOT_REAL


def transfer(root: Path, args: Namespace) -> int:
    """Try another machine's kept changes on this one."""
    options = options_of(args, deadline=deadline(args.hours, args.until))
    from autoresearch.loop import transfer_night

    transfer_night.transfer(root, args.file, options, details=args.details)
    return 0


# --- parts ----------------------------------------------------------------------------------------------------------


def deadline(hours: float | None, until: str | None) -> float | None:
    """Return the night's end by time.time(); `until` is the next time that the clock shows HH:MM. Raises UsageError."""
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


def options_of(args: Namespace, *, deadline: float | None = None, by_hand: bool = False) -> Options:
    """Return the night's options from the command line; commands without an option leave it at its default."""
    if args.tag is not None:
        check_tag(args.tag)
    return Options(
        tag=args.tag,
        dataset=args.dataset,
        profile=args.profile,
        time_budget_s=args.time_budget,
        experiments=getattr(args, "experiments", None),
        deadline=deadline,
        seed=args.seed,
        no_sandbox=args.no_sandbox,
        by_hand=by_hand,
        begin_at=getattr(args, "begin_at", None),
        display_off=getattr(args, "display_off", None),
        keep_pause=getattr(args, "resume", False),
        target=getattr(args, "target", None),
        notify=getattr(args, "notify", None),
    )


@contextlib.contextmanager
def _night(
    root: Path, options: Options, chooser: Callable[[View], ProposerChooser], rules: Rules = DEFAULT_RULES
) -> Iterator[Research]:
    view = choose_view()
    try:
        with open_night(root, options, view, chooser(view), rules) as research:
            yield research
    finally:
        view.close()


def _chooser(root: Path, args: Namespace, view: View) -> ProposerChooser:
    """Return what chooses the proposer once the machine is known; in a terminal it may offer to pull a model."""
    program = texts.brief(tree(root) / PROGRAM)
    if why := texts.complaint(program, PROGRAM):
        view.say(f"warning: {why}")
    wanted = ProposerOptions(
        args.proposer, args.model, args.base_url, args.api_key_file, args.command, args.seed, program
    )
    if tree(root) != root:
        wanted = replace(wanted, task=tree(root).name, ideas=len(briefs.ideas(tree(root))))

    def offer(server: OllamaServer, choice: ModelChoice) -> bool:
        from autoresearch.report.models import offer_pull

        with view.aside() as console:
            return offer_pull(server, choice, console)

    in_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return lambda facts: choose(wanted, facts, view.say, offer if in_terminal else None)


def _profile_constants(profile: str | None) -> Mapping[str, str]:
    """Return the constants that a new night begins with; none for a profile that is not known here."""
    known = PROFILES.get(profile or default_profile())
    return known.constants if known else {}


def _by_hand(view: View) -> ProposerChooser:
    return lambda facts: ByHand()
