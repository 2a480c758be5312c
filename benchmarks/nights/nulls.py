"""Run an A/A night, in which no candidate changes anything, and print what the loop kept and claimed.

Every candidate computes what the incumbent computes: two of its functions, or two methods of one class, have changed
places, and a comment says so. The harness gives each run another seed, as always. The night is real (tiny profile, two
children a run, sandbox, git) and is validated at its end. Printed are the keeps, the gain that the search claims, the
validated one, and what the trust cost.

The text is cut to --characters, so that scoring, at most 5% of it, takes less time than so short a training. The start
is smaller than the profile's, because three seconds hold only three steps of that.
"""

from __future__ import annotations

import ast
import builtins
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from autoresearch.decide import validation
from autoresearch.decide.interval import ROUNDS, Interval
from autoresearch.loop import validate
from autoresearch.loop.session import Options, open_night
from autoresearch.record.night import Night
from autoresearch.records import Context, Proposal, WholeFile
from autoresearch.report import status
from autoresearch.report.console import PlainView
from autoresearch.search.proposer import BaseProposer
from benchmarks.cli import parser
from benchmarks.machines import checkout
from benchmarks.nights.overhead import read_events, trust_table
from benchmarks.texts import QUICK_CHARACTERS, SMALLER_START, excerpt, prepare
from testbed.toy import ROOT

Pair = tuple[ast.FunctionDef, ast.FunctionDef]


class Nulls(BaseProposer):
    """Proposer of changes that change nothing."""

    name = "nulls"

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        first, second = self.random.choice(list(exchangeable(context.source)))
        title = f"{first.name} and {second.name} change places"
        source = exchanged(context.source, first, second, f"# experiment {context.turn}: {title}")
        return [Proposal((WholeFile(source),), title, "Nothing changes.", "other", self.name)]


def exchangeable(source: str) -> Iterator[Pair]:
    """Yield pairs of the module's functions, or of one class's methods, whose order means nothing."""
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    known = {alias.asname or alias.name for node in imports for alias in node.names} | set(dir(builtins))
    for body in (tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))):
        functions = [node for node in body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
        yield from combinations([f for f in functions if names_at_definition(f) <= known], 2)


def names_at_definition(function: ast.FunctionDef) -> set[str]:
    """Return the names that defaults and annotations of a `def` read when it is executed."""
    parts: list[ast.AST] = [function.args, *([function.returns] if function.returns else [])]
    return {node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)}


def exchanged(source: str, first: ast.FunctionDef, second: ast.FunctionDef, comment: str) -> str:
    """Exchange two definitions, under a comment; `first` is above `second`."""
    lines = source.splitlines()
    a, b = (slice(node.lineno - 1, node.end_lineno) for node in (first, second))
    comment = " " * first.col_offset + comment
    new = [*lines[: a.start], comment, *lines[b], *lines[a.stop : b.start], *lines[a], *lines[b.stop :]]
    return "\n".join(new) + "\n"


def night(
    folder: Path, dataset: str, budget_s: float, experiments: int, plan: validate.ValidationPlan, seed: int
) -> Night:
    """Run the A/A night and its validation, in a checkout of its own."""
    checkout(folder / "checkout", (ROOT / "train_mlx.py").read_text())
    options = Options("null", dataset, "tiny", budget_s, experiments=experiments, seed=seed)
    with open_night(folder / "checkout", options, PlainView(), lambda facts: Nulls(seed)) as research:
        print(f"stopped: {research.run()}")
        validate.validate(research, plan)
        return research.night


def verdict(night: Night, interval: Interval | None) -> str:
    """Format what was kept, and whether the validated interval covers zero."""
    kept = [x for x in night.decided if x.role == "candidate" and x.verdict == "keep"]
    lines = [f"kept: {len(kept)} of {sum(x.role == 'candidate' for x in night.decided)} candidates that change nothing"]
    lines += [f"  #{x.n} {x.reason}" for x in kept]
    if interval is not None:
        covers = interval.low_score <= 0 <= interval.high_score
        lines.append(f"the validated interval {'covers' if covers else 'DOES NOT COVER'} zero, which is the truth")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    options = parser("nights nulls", __doc__)
    options.add_argument("--text", default="stdlib", help="as --dataset of loop.py (default: stdlib)")
    options.add_argument("--characters", type=int, default=600_000, help="of the text that are used")
    options.add_argument("--experiments", type=int, default=60)
    options.add_argument("--time-budget", type=float, default=3.0, help="seconds of training per run")
    options.add_argument("--rounds", type=int, default=ROUNDS, help="of the validation")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, which stays)")
    args = options.parse_args(argv)
    plan = validate.ValidationPlan(rounds=args.rounds)
    if args.quick:
        args.characters, args.experiments, args.time_budget = QUICK_CHARACTERS, 1, 1.0
        plan = validate.ValidationPlan(retests=0, rounds=1)
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="null-night-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["AUTORESEARCH_CACHE"] = str(folder / "cache")
    text = excerpt(args.text, args.characters, folder / "excerpt.jsonl")
    prepare(text, folder / "cache", SMALLER_START)
    found = night(folder, str(text), args.time_budget, args.experiments, plan, args.seed)
    print(f"\n{status.text(found)}\n\n{verdict(found, validation.validated(found))}\n")
    print(trust_table(read_events(folder / "checkout" / "runs" / "null")))
    return 0
