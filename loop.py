"""The loop: autonomous LLM-pretraining research on this machine.

    uv run loop.py                          research until Ctrl-C; the same command goes on where it stopped
    uv run loop.py --hours 8                one night
    uv run loop.py status                   the night so far
    uv run loop.py try FILE -m "why"        measure one candidate by hand, under the same rules

With nothing prepared it takes climbmix where the Hugging Face hub answers and an offline corpus where it does not; with
an Ollama server it asks a local model for ideas, and without one the built-in tuner has them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch.errors import AutoresearchError, UsageError

if TYPE_CHECKING:
    from autoresearch.session import Options

ROOT = Path(__file__).resolve().parent
EXIT = {"keep": 0, "discard": 10, "crash": 11}  # of `try`


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="loop.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    night = argparse.ArgumentParser(add_help=False)
    night.add_argument(
        "--tag", help="the night's name; its branch is autoresearch/TAG (default: this branch's, or today)"
    )
    night.add_argument("--dataset", help="climbmix, tinystories, stdlib, or a file or folder of text")
    night.add_argument("--profile", help="mac or tiny: context, vocabulary, evaluation, default budget")
    night.add_argument(
        "--time-budget", type=float, metavar="S", help="seconds of training a run (default: the profile's)"
    )
    night.add_argument("--seed", type=int, default=0, help="of the night: seeds of all runs follow from it")
    night.add_argument("--no-sandbox", action="store_true", help="run candidates unconfined")
    who = argparse.ArgumentParser(add_help=False)
    who.add_argument("--proposer", choices=["auto", "hybrid", "ollama", "tuner", "command"], default="auto")
    who.add_argument("--model", help="of the Ollama server, or openai:NAME with --base-url")
    who.add_argument("--base-url", help="an OpenAI-compatible server, e.g. http://127.0.0.1:8080/v1")
    who.add_argument("--command", help="an outside agent for --proposer command, run in a scratch folder")
    ends = argparse.ArgumentParser(add_help=False)
    ends.add_argument("--experiments", type=int, metavar="N", help="stop after N experiments")
    ends.add_argument("--hours", type=float, metavar="H", help="stop after H hours")
    ends.add_argument("--until", metavar="HH:MM", help="stop at a time of day")
    commands = p.add_subparsers(dest="what", metavar="COMMAND")
    commands.add_parser("run", parents=[night, who, ends], help="research (the default)")
    commands.add_parser("status", help="the night so far").add_argument("--tag")
    final = commands.add_parser("validate", parents=[night], help="baseline and winner again, on the confirm split")
    final.add_argument("--rounds", type=int, default=5, help="one run of each a round (default: 5)")
    attempt = commands.add_parser(
        "try", parents=[night], help="measure one candidate by hand; exit 0 keep, 10 discard, 11 crash"
    )
    attempt.add_argument("file", type=Path)
    attempt.add_argument("-m", "--message", required=True, help="what it changes and why; the first line is the title")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["run", *argv]
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the night outlives its terminal
    try:
        return COMMANDS[args.what](args)
    except AutoresearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt("terminated")  # at logout and shutdown: as clean an end as Ctrl-C


def deadline(hours: float | None, until: str | None) -> float | None:
    """The night's end by time.time(). `until` is the next time that the clock shows HH:MM."""
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


def options(args: argparse.Namespace) -> Options:
    from autoresearch.session import Options

    return Options(
        tag=args.tag,
        dataset=args.dataset,
        profile=args.profile,
        time_budget_s=args.time_budget,
        experiments=getattr(args, "experiments", None),
        deadline=deadline(getattr(args, "hours", None), getattr(args, "until", None)),
        seed=args.seed,
        no_sandbox=args.no_sandbox,
        editing=args.what == "try",
    )


def run(args: argparse.Namespace) -> int:
    from autoresearch import summary, validate
    from autoresearch.proposers.choose import Wanted, choose
    from autoresearch.session import open_night
    from autoresearch.view import choose_view

    view = choose_view()
    night = None
    try:
        wanted = Wanted(args.proposer, args.model, args.base_url, args.command, args.seed)
        with open_night(ROOT, options(args), view, lambda facts: choose(wanted, facts, view.say)) as research:
            try:
                view.say(f"stopped: {validate.night(research)}")
            finally:
                night = research.night
    finally:
        view.close()
        if night is not None:
            print(summary.text(night))
    return 0


def status(args: argparse.Namespace) -> int:
    from autoresearch import summary

    summary.status(ROOT, args.tag)
    return 0


def attempt(args: argparse.Namespace) -> int:
    from autoresearch.proposers.by_hand import ByHand
    from autoresearch.session import open_night
    from autoresearch.view import choose_view

    view = choose_view()
    try:
        with open_night(ROOT, options(args), view, lambda facts: ByHand()) as research:
            x = research.attempt(args.file, args.message)
    finally:
        view.close()
    print(f"{x.verdict}: {x.reason}")
    return EXIT[x.verdict]


def final_validation(args: argparse.Namespace) -> int:
    from autoresearch import validate
    from autoresearch.proposers.by_hand import ByHand
    from autoresearch.session import open_night
    from autoresearch.view import choose_view

    if args.rounds < 2:
        raise UsageError(f"--rounds {args.rounds}: an interval needs at least 2")
    view = choose_view()
    try:
        with open_night(ROOT, options(args), view, lambda facts: ByHand()) as research:
            interval = validate.validate(research, validate.Plan(rounds=args.rounds))
            text = validate.text(research.night)
    finally:
        view.close()
    print(text or "nothing was kept")
    return 0 if interval is not None and interval.real else 10


COMMANDS = {"run": run, "status": status, "try": attempt, "validate": final_validation}

if __name__ == "__main__":
    raise SystemExit(main())
