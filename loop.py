"""The loop: autonomous LLM-pretraining research on this machine.

    uv run loop.py                          research until Ctrl-C; run it again to resume
    uv run loop.py --hours 8                research for one night, and validate the winner in its last part
    uv run loop.py status                   show the night so far
    uv run loop.py try FILE -m "why"        measure one candidate by hand, under the same rules
    uv run loop.py doctor                   check what a good night needs

With nothing prepared it takes climbmix where the Hugging Face hub answers and an offline corpus where it does not; with
an Ollama server it asks a local model for ideas, and without one the built-in tuner has them.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from autoresearch.exits import exit_code

ROOT = Path(__file__).resolve().parent


def positive(kind: type[int] | type[float], least: float = 0.0) -> Callable[[str], float]:
    """Return a type for argparse: a finite number above `least`."""

    def parse(text: str) -> float:
        value = kind(text)
        if not least < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text}: a number above {least:g}")
        return value

    parse.__name__ = kind.__name__  # argparse: "invalid int value"
    return parse


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; options that several commands share are parents."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="loop.py", description=__doc__, formatter_class=raw)
    tag = argparse.ArgumentParser(add_help=False)
    tag.add_argument(
        "--tag", help="the night's name; its branch is autoresearch/TAG (default: this branch's, or today)"
    )
    task = argparse.ArgumentParser(add_help=False, parents=[tag])
    task.add_argument("--dataset", help="climbmix, tinystories, stdlib, or a file or folder of text")
    task.add_argument("--profile", help="mac or tiny: context, vocabulary, evaluation, default budget")
    seconds, seed = positive(float), positive(int, -1)
    task.add_argument("--time-budget", type=seconds, metavar="S", help="seconds of training a run (the profile's)")
    task.add_argument("--seed", type=seed, default=0, help="of the night: the seeds of all runs follow from it")
    task.add_argument("--no-sandbox", action="store_true", help="run candidates unconfined")
    who = argparse.ArgumentParser(add_help=False)
    who.add_argument("--proposer", choices=["auto", "hybrid", "ollama", "tuner", "command"], default="auto")
    who.add_argument("--model", help="of the Ollama server, or openai:NAME with --base-url")
    who.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible server, e.g. http://127.0.0.1:8080/v1")
    who.add_argument("--command", help="an outside agent for --proposer command, run in a scratch folder")
    hints = argparse.ArgumentParser(add_help=False)
    hints.add_argument(
        "--findings", metavar="PATH", help="other machines' findings as hints for the proposers, e.g. findings/"
    )
    ends = argparse.ArgumentParser(add_help=False)
    ends.add_argument("--experiments", type=positive(int), metavar="N", help="stop after N experiments")
    ends.add_argument("--hours", type=positive(float), metavar="H", help="stop after H hours")
    ends.add_argument("--until", metavar="HH:MM", help="stop at a time of day")
    ends.add_argument("--target", type=positive(float), metavar="BPB", help="stop once val_bpb is as low")
    ends.add_argument(
        "--notify", nargs="?", const="", metavar="COMMAND", help="tell of keeps and of the end by COMMAND"
    )
    ends.add_argument("--display-off", action="store_true", help="on a Mac: switch the display off as the night begins")
    ends.add_argument("--resume", action="store_true", help="do nothing unless the last night was interrupted")

    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON, for scripts")

    sub = p.add_subparsers(dest="what", metavar="COMMAND")

    def add(name: str, help: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return sub.add_parser(name, help=help, description=help, parents=list(parents))

    add("run", "research until a limit or Ctrl-C (the default)", task, who, hints, ends)
    add("status", "show the night so far", tag, as_json)
    add("watch", "show the running night, from another terminal", tag)
    add("pause", "make the running loop wait between two runs, and free the model's memory", tag)
    add("resume", "end a pause", tag)
    one = add("try", "measure one candidate of your own: exit code 0 keep, 10 discard, 11 crash", task)
    one.add_argument("file", type=Path)
    one.add_argument("-m", "--message", required=True, help="what it changes and why; the first line is the title")
    final = add(
        "validate", "measure baseline and winner on fresh seeds and the test split: exit code 0 better, 10 not", task
    )
    rounds, retests = positive(int, 1), positive(int, -1)
    final.add_argument("--rounds", type=rounds, default=5, help="one run of each a round (5)")
    final.add_argument("--retests", type=retests, default=2, help="fresh runs of each of the top three first (2)")
    add("show", "show one experiment: hypothesis, diff, runs, logs", tag, as_json).add_argument("n", type=int)
    add("report", "write report.html and progress.png", tag).add_argument(
        "--open", action="store_true", help="show the page in the browser"
    )
    text = add("sample", "print what a checkpoint of the night writes after a prompt", tag)
    text.add_argument("--prompt", action="append", required=True, metavar="TEXT", help="may be given several times")
    text.add_argument("--of", default="winner", metavar="WHICH", help="baseline, winner or a number (winner)")
    text.add_argument("--tokens", type=int, default=120, help="of each text at most (120)")
    text.add_argument("--temperature", type=float, default=0.7, help="0 takes the likeliest token each time (0.7)")
    text.add_argument("--seed", type=int, default=0)
    text.add_argument("--no-sandbox", action="store_true", help="run the candidate unconfined")
    one = add("export", "write a night as one file that others can read, compare and replay", tag)
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: findings/MACHINE-DATE-ID.json")
    one.add_argument("--curves", type=Path, metavar="FILE", help="write the loss curves as CSV, and no finding")
    many = add("compare", "compare several nights or machines side by side")
    many.add_argument("nights", nargs="+", metavar="NIGHT", help="a finding, a folder of them, a tag, or a results.tsv")
    many.add_argument("--html", type=Path, metavar="FILE")
    many.add_argument("--json", type=Path, metavar="FILE")
    replay = add("transfer", "try another machine's kept changes on this one, under the same rules", task, ends)
    replay.add_argument("file", type=Path)
    add("adopt", "commit the night's winner on the branch that you are on", tag)
    add("clean", "free the disk space that decided candidates take", tag)
    add("doctor", "check what a good night needs: exit code 0 when nothing is in the way", task)
    fit = add("calibrate", "measure what this machine can do, and which constants train fastest on it", task)
    fit.add_argument("--again", action="store_true", help="measure anew what was found earlier")
    add("models", "list the local models: size, whether they fit, what they achieved here", who)
    add("install", "resume an interrupted night at login, e.g. after a reboot", task, who, hints, ends)
    add("uninstall", "undo install")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["run", *argv]
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it with & has it ignored
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the night outlives its terminal
    return exit_code(lambda: _run_command(args), stopped="stopped; run the same command to resume")


def _run_command(args: argparse.Namespace) -> int:
    from autoresearch.loop import commands  # here, so that an import that fails is reported as any other error

    return commands.command(args.what)(ROOT, args)


def _terminated(*_: object) -> None:
    """End as cleanly as with Ctrl-C at logout and shutdown."""
    raise KeyboardInterrupt("terminated")


if __name__ == "__main__":
    raise SystemExit(main())
