"""The loop: autonomous LLM-pretraining research on this machine.

    uv run loop.py                          research until Ctrl-C; run it again to resume
    uv run loop.py --hours 8                research for one night, and validate the winner in its last part
    uv run loop.py status                   show the night so far
    uv run loop.py doctor                   check what a good night needs
    uv run loop.py --task FOLDER            the same for any files and number that the folder's task.toml declares

With nothing prepared it takes climbmix where the Hugging Face hub answers and an offline corpus where it does not; with
an Ollama server it asks a local model for ideas, and without one the built-in tuner has them.
"""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from autoresearch import environment
from autoresearch.errors import UsageError
from autoresearch.system.exits import exit_code
from autoresearch.system.invocation import runner, versions

ROOT = Path(__file__).resolve().parent

COMMANDS = {  # as `--help` groups them
    "a night": {
        "run": "research until a limit or Ctrl-C (the default)",
        "pause": "let the running loop wait after the present run, and free the model's memory",
        "resume": "end a pause",
        "validate": "measure baseline and winner on fresh seeds and the test split",
        "try": "measure a candidate of your own",
        "transfer": "try another machine's kept changes on this one, under the same rules",
    },
    "a task of yours": {"new-task": "write a folder that declares a task: files, commands, a number"},
    "look at it": {
        "status": "show the night so far",
        "watch": "show the running night, from another terminal",
        "show": "show one experiment: hypothesis, diff, runs, logs",
        "serve": "show the night in a browser, and take hypotheses of agents over HTTP",
        "report": "write report.html and progress.png",
        "sample": "print what a checkpoint of the night writes after a prompt",
    },
    "take it home": {
        "adopt": "commit the night's winner on the branch that you are on",
        "export": "write a night as one file that others can read, compare and replay",
        "compare": "compare several nights or machines side by side",
        "share": "open a pull request with a night on a dataset repository of the Hugging Face hub",
        "findings": "`findings pull`: fetch the nights that other people shared",
    },
    "several machines": {
        "join": "make runs for the fleet of another Mac, until it ends",
        "machines": "list the members of the fleet that runs from here",
    },
    "this machine": {
        "doctor": "check what a good night needs",
        "models": "list the local models: size, whether they fit, what they achieved here",
        "calibrate": "measure what this machine can do, and which constants train fastest on it",
        "clean": "free the disk space that decided candidates take",
        "install": "resume an interrupted night at login, e.g. after a reboot",
        "uninstall": "undo install",
    },
}
EXIT_CODES = {
    "try": "exit code: 0 keep, 10 discard, 11 crash",
    "validate": "exit code: 0 the winner is better, 10 it is not proven",
    "doctor": "exit code: 0 nothing is in the way, 1 something is",
    "watch": "exit code: 1 the loop was killed",
}


def positive(kind: type[int] | type[float], least: float = 0.0) -> Callable[[str], float]:
    """Return a type for argparse: a finite number above `least`."""

    needed = f"a number above {least:g}" if least > -math.inf else "a finite number"

    def parse(text: str) -> float:
        value = kind(text)
        if not least < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text}: {needed}")
        return value

    parse.__name__ = kind.__name__  # argparse: "invalid int value"
    return parse


def path(text: str) -> Path:
    """Return a path for argparse, with `~` and variables replaced: a shell leaves `--html=~/a.html` as it is."""
    try:
        return environment.path(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def place(text: str) -> str:
    """Return a path as `path` does, or "hub", "hub:OWNER/NAME" or "git+URL" as it is, for argparse."""
    from autoresearch.loop.remotes import is_remote

    return text if is_remote(text) else str(path(text))


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; options that several commands share are parents."""
    p = Overview(prog="loop.py", usage="loop.py [--version] [COMMAND] [OPTIONS]", add_help=False)
    p.add_argument("-h", "--help", action="help")
    p.add_argument("--version", action=ShowVersions)
    tag, task, who, hints, ends = _shared_options()
    sub = p.add_subparsers(dest="what", metavar="COMMAND", prog="loop.py", parser_class=argparse.ArgumentParser)
    help_of = {name: text for group in COMMANDS.values() for name, text in group.items()}

    def add(name: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        text = help_of[name]
        one = sub.add_parser(name, description=text[0].upper() + text[1:], epilog=EXIT_CODES.get(name), parents=parents)
        one.add_argument("--version", action=ShowVersions, help=argparse.SUPPRESS)
        return one

    p.night = add("run", tag, task, who, hints, ends, _fleet_options())
    one = add("join")
    one.add_argument("address", nargs="?", metavar="ADDRESS", help="the line that the coordinator prints")
    one.add_argument("--task", type=path, metavar="FOLDER", help="the declared task's folder on this machine")
    one.add_argument("--no-sandbox", action="store_true", help="run candidates unconfined")
    add("machines").add_argument("--task", type=path, metavar="FOLDER", help="of a declared task")
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON, for scripts")
    add("status", tag, as_json)
    add("watch", tag)
    add("pause", tag)
    add("resume", tag)
    one = add("try", tag, task)
    one.add_argument("file", type=path, help="a whole version of train_mlx.py, or of a file of the task")
    one.add_argument("-m", "--message", required=True, help="what it changes and why; the first line is the title")
    one.add_argument("--as-is", action="store_true", help="keep every constant of the file, also those of the checkout")
    final = add("validate", tag, task)
    rounds, retests = positive(int, 1), positive(int, -1)
    final.add_argument("--rounds", type=rounds, default=5, help="one run of each a round (5)")
    final.add_argument("--retests", type=retests, default=2, help="fresh runs of each of the top three first (2)")
    add("show", tag, as_json).add_argument("n", type=int, help="the experiment's number")
    web = add("serve", tag)
    web.add_argument("--host", default="127.0.0.1", help="where to listen; this machine alone unless told otherwise")
    web.add_argument("--port", type=positive(int, -1), default=8765, help="0 takes a free one (8765)")
    add("report", tag).add_argument("--open", action="store_true", help="show the page in the browser")
    text = add("sample", tag)
    text.add_argument("--prompt", action="append", required=True, metavar="TEXT", help="may be given several times")
    text.add_argument("--of", default="winner", metavar="WHICH", help="baseline, winner or a number (winner)")
    text.add_argument("--tokens", type=int, default=120, help="of each text at most (120)")
    text.add_argument("--temperature", type=float, default=0.7, help="0 takes the likeliest token each time (0.7)")
    text.add_argument("--seed", type=int, default=0, help="of the sampling (0)")
    text.add_argument("--no-sandbox", action="store_true", help="run the candidate unconfined")
    one = add("export", tag)
    one.add_argument("-o", "--output", type=path, metavar="FILE", help="default: findings/MACHINE-DATE-ID.json")
    one.add_argument("--curves", type=path, metavar="FILE", help="write the loss curves as CSV, and no finding")
    one = add("share", tag)
    one.add_argument("--repo", metavar="OWNER/NAME", help="the dataset repository (else AUTORESEARCH_FINDINGS)")
    one.add_argument("--dry-run", action="store_true", help="write the file and send nothing")
    one = add("findings")
    one.add_argument("action", choices=["pull"], help="fetch them into the cache, and check each file")
    where = "hub:OWNER/NAME or git+URL (else the hub's AUTORESEARCH_FINDINGS)"
    one.add_argument("--from", dest="source", metavar="PLACE", help=where)
    many = add("compare")
    kinds = "a finding, a folder of them, a tag, a results.tsv, hub:OWNER/NAME or git+URL"
    many.add_argument("nights", nargs="+", metavar="NIGHT", help=kinds)
    many.add_argument("--html", type=path, metavar="FILE", help="write the comparison as a page")
    many.add_argument("--json", type=path, metavar="FILE", help="write the comparison as data")
    replay = add("transfer", tag, task, ends)
    replay.add_argument("file", type=path, help="what `export` wrote on the other machine")
    replay.add_argument("--details", action="store_true", help="show the gains and intervals on both machines")
    home = add("adopt", tag)
    home.add_argument(
        "--anyway", action="store_true", help="even if the winner was not validated, or its validation failed"
    )
    add("clean", tag)
    add("doctor", tag, task)
    add("new-task").add_argument("folder", type=path, help="made where it is not there; what it holds stays as it is")
    fit = add("calibrate", tag, task)
    fit.add_argument("--again", action="store_true", help="measure again what was measured earlier")
    add("models", who)
    add("install", tag, task, who, hints, ends)
    add("uninstall")
    return p


def _shared_options() -> list[argparse.ArgumentParser]:
    """Return the parsers of the options that several commands share: the night, task, proposer, hints and end."""
    parsers = [argparse.ArgumentParser(add_help=False) for _ in range(5)]
    titles = ("which night", "the task", "who has ideas", "who has ideas", "when it ends")
    tag, task, who, hints, ends = (p.add_argument_group(title) for p, title in zip(parsers, titles, strict=True))
    tag.add_argument(
        "--tag", help="the night's name; its branch is autoresearch/TAG (default: this branch's, or today)"
    )
    tag.add_argument("--task", type=path, metavar="FOLDER", help="a folder with a task.toml (default: train a model)")
    task.add_argument("--dataset", help="climbmix, tinystories, stdlib, or a file or folder of text")
    task.add_argument("--profile", help="mac or tiny: context, vocabulary, evaluation, default budget")
    seconds, seed = positive(float), positive(int, -1)
    task.add_argument("--time-budget", type=seconds, metavar="S", help="seconds of training a run (the profile's)")
    task.add_argument("--seed", type=seed, default=0, help="of the night: the seeds of all runs follow from it")
    task.add_argument("--no-sandbox", action="store_true", help="run candidates unconfined")
    who.add_argument(
        "--proposer",
        choices=["auto", "hybrid", "ollama", "tuner", "recipes", "ideas", "command"],
        default="auto",
        metavar="WHO",
        help="%(choices)s (auto: the local model, if there is one, the tuner, and recipes or a task's ideas in turns)",
    )
    who.add_argument("--model", help="of the Ollama server, or openai:NAME with --base-url")
    who.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible server, e.g. http://127.0.0.1:8080/v1")
    key = "file with the key for that server (else OPENAI_API_KEY)"
    who.add_argument("--api-key-file", type=path, metavar="FILE", help=key)
    who.add_argument("--command", help="an outside agent for --proposer command, run in a scratch folder")
    hints.add_argument(
        "--findings",
        type=place,
        metavar="PLACE",
        help="other machines' findings as hints: a path such as findings/, hub:OWNER/NAME or git+URL",
    )
    ends.add_argument("--experiments", type=positive(int), metavar="N", help="stop after N experiments")
    ends.add_argument("--hours", type=positive(float), metavar="H", help="stop after H hours")
    ends.add_argument("--until", metavar="HH:MM", help="stop at a time of day")
    finite = positive(float, -math.inf)
    ends.add_argument("--target", type=finite, metavar="VALUE", help="stop once the metric is as good")
    ends.add_argument(
        "--notify", nargs="?", const="", metavar="COMMAND", help="tell of keeps and of the end by COMMAND"
    )
    ends.add_argument("--display-off", action="store_true", help="on a Mac: switch the display off as the night begins")
    ends.add_argument("--from", dest="begin_at", metavar="COMMIT", help="begin a new night at this commit or branch")
    ends.add_argument("--resume", action="store_true", help="do nothing unless the last night was interrupted")
    return parsers


def _fleet_options() -> argparse.ArgumentParser:
    """Return the parser of the options by which a night uses several machines."""
    p = argparse.ArgumentParser(add_help=False)
    group = p.add_argument_group("several machines")
    group.add_argument("--fleet", action="store_true", help="let other Macs join; prints the line to run there")
    group.add_argument("--fleet-host", metavar="HOST", help="this machine's address for the others (found by itself)")
    group.add_argument("--fleet-port", type=positive(int), metavar="PORT", default=8786, help="of the fleet (8786)")
    group.add_argument("--coordinator-only", action="store_true", help="this machine makes no runs itself")
    return p


class Overview(argparse.ArgumentParser):
    """Parser of the whole program; its help lists the commands by subject and the options of a night."""

    night: argparse.ArgumentParser

    def format_help(self) -> str:
        options = self.night.format_help().partition("\n\n")[2].partition("\n\n")[2]  # without usage and description
        groups = [f"{title}:\n" + "\n".join(map(_listed, group.items())) for title, group in COMMANDS.items()]
        title = "Options of a night. For those of another command: loop.py COMMAND --help"
        return "\n\n".join([f"usage: {self.usage}", *map(_filled, _about()), *groups, _filled(title), options])


class ShowVersions(argparse.Action):
    """Option --version: print the versions and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str = "print the versions and exit") -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(versions())
        parser.exit()


def _about() -> list[str]:
    """Return the paragraphs of this module's docstring, with the commands in the person's words."""
    return (__doc__ or "").replace("uv run", runner()).strip().split("\n\n")


def _filled(text: str) -> str:
    """Wrap a paragraph to the terminal's width; indented lines stay lines."""
    width = max(40, shutil.get_terminal_size().columns - 2)
    lines = text.splitlines() if text.startswith(" ") else [" ".join(text.split())]
    return "\n".join(textwrap.fill(line, width, subsequent_indent=" " * 8 * (line[0] == " ")) for line in lines)


def _listed(command: tuple[str, str]) -> str:
    """Return the lines of a command: "  status      show the night so far"."""
    name, text = command
    width = max(40, shutil.get_terminal_size().columns - 2)
    return textwrap.fill(f"  {name:11s} {text}", width, subsequent_indent=" " * 14)


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv = ["run", *argv]
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it with & has it ignored
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the night outlives its terminal
    return exit_code(lambda: _run_command(argv), stopped="stopped; run the same command to resume")


def _run_command(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    from autoresearch.loop import commands  # here, so that an import that fails is reported as any other error

    return commands.command(args.what)(commands.root_of(ROOT, args), args)


def _terminated(*_: object) -> None:
    """End as cleanly as with Ctrl-C at logout and shutdown."""
    raise KeyboardInterrupt("terminated")


if __name__ == "__main__":
    raise SystemExit(main())
