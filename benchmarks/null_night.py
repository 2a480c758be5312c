"""An A/A night: what does the loop claim where there is nothing to be found?

    uv run python -m benchmarks.null_night [--text FOLDER] [--experiments 60] [--time-budget 3] [--folder FOLDER]

Every candidate computes what the incumbent computes: two of its functions, or two methods of one class, have changed
places, and a comment says so. The harness gives each run another seed, as always. Then the night is validated. Printed:
what was kept, the gain that the search claims against the validated one, and what the trust cost. The night is real:
the tiny profile, two children a run, the sandbox, git.

The text is cut to --characters, so that scoring, at most 5% of it, does not outlast so short a training; and the start
is smaller than the profile's, of whose steps three seconds hold three. The standard library's source is taken where no
text is named.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import json
import os
import random
import tempfile
from collections.abc import Iterator
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
from autoresearch.tasks.gpt.data import corpus, sources
from benchmarks.machines import Listed, checkout
from benchmarks.overhead import read_events, trust_table
from testbed.toy import ROOT

START = {"DEPTH": "2", "TOTAL_BATCH_SIZE": "2**9", "DEVICE_BATCH_SIZE": "2"}  # in place of the profile's

Pair = tuple[ast.FunctionDef, ast.FunctionDef]


class Nulls(Listed):
    """A proposer of changes that change nothing."""

    name = "nulls"

    def __init__(self, seed: int = 0) -> None:
        super().__init__(())
        self.random = random.Random(seed)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        first, second = self.random.choice(list(exchangeable(context.source)))
        title = f"{first.name} and {second.name} change places"
        source = exchanged(context.source, first, second, f"# experiment {context.turn}: {title}")
        return [Proposal((WholeFile(source),), title, "Nothing changes.", "other", self.name)]


def exchangeable(source: str) -> Iterator[Pair]:
    """Pairs of the module's functions, or of one class's methods, whose places mean nothing."""
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    known = {alias.asname or alias.name for node in imports for alias in node.names} | set(dir(builtins))
    for body in (tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))):
        functions = [node for node in body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
        yield from combinations([f for f in functions if heads_names(f) <= known], 2)


def heads_names(function: ast.FunctionDef) -> set[str]:
    """The names that its `def` reads where it stands: those of defaults and annotations."""
    parts: list[ast.AST] = [function.args, *([function.returns] if function.returns else [])]
    return {node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)}


def exchanged(source: str, first: ast.FunctionDef, second: ast.FunctionDef, comment: str) -> str:
    """`source` with the two definitions in each other's places, under a comment; `first` stands above `second`."""
    lines = source.splitlines()
    a, b = (slice(node.lineno - 1, node.end_lineno) for node in (first, second))
    comment = " " * first.col_offset + comment
    new = [*lines[: a.start], comment, *lines[b], *lines[a.stop : b.start], *lines[a], *lines[b.stop :]]
    return "\n".join(new) + "\n"


def data(text: str, characters: int, folder: Path) -> str:
    """Prepares the beginning of `text` in this process's cache, with the smaller start; what --dataset calls it."""
    excerpt = folder / "excerpt.jsonl"
    with excerpt.open("w") as file:
        for _, document in sources.find(text, 1).documents(("train", "val", "test")):
            if characters <= 0:
                break
            file.write(json.dumps({"text": document[:characters]}) + "\n")
            characters -= len(document)
    meta_file = corpus.prepare(str(excerpt), "tiny") / "meta.json"
    meta = json.loads(meta_file.read_text())
    meta_file.write_text(json.dumps({**meta, "constants": {**meta["constants"], **START}}))
    return str(excerpt)


def night(folder: Path, dataset: str, budget_s: float, experiments: int, rounds: int, seed: int) -> Night:
    """The A/A night and its validation, in a checkout of its own."""
    checkout(folder / "checkout", (ROOT / "train_mlx.py").read_text())
    options = Options("null", dataset, "tiny", budget_s, experiments=experiments, seed=seed)
    with open_night(folder / "checkout", options, PlainView(), lambda facts: Nulls(seed)) as research:
        print(f"stopped: {research.run()}")
        validate.validate(research, validate.Plan(rounds=rounds))
        return research.night


def verdict(night: Night, interval: Interval | None) -> str:
    """What was kept, and what came of it, in words."""
    kept = [x for x in night.decided if x.role == "candidate" and x.verdict == "keep"]
    lines = [f"kept: {len(kept)} of {sum(x.role == 'candidate' for x in night.decided)} candidates that change nothing"]
    lines += [f"  #{x.n} {x.reason}" for x in kept]
    if interval is not None:
        covers = interval.low_bpb <= 0 <= interval.high_bpb
        lines.append(f"the validated interval {'covers' if covers else 'DOES NOT COVER'} zero, which is the truth")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", default="stdlib", help="as --dataset of loop.py (default: stdlib)")
    parser.add_argument("--characters", type=int, default=600_000, help="of the text that are used")
    parser.add_argument("--experiments", type=int, default=60)
    parser.add_argument("--time-budget", type=float, default=3.0, help="seconds of training a run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the validation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, which stays)")
    args = parser.parse_args()
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="null-night-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["AUTORESEARCH_CACHE"] = str(folder / "cache")
    dataset = data(args.text, args.characters, folder)
    found = night(folder, dataset, args.time_budget, args.experiments, args.rounds, args.seed)
    print(f"\n{status.text(found)}\n\n{verdict(found, validation.validated(found))}\n")
    print(trust_table(read_events(folder / "checkout" / "runs" / "null")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
