"""Do findings travel? One machine under real constraints, as several: a night on each, compared and transferred.

    uv run python -m benchmarks.machines [--quick] [--folder FOLDER]

Machines: both cores, one core, half the time, double the time. Each has a checkout, a cache and a night of its own and
is asked the same ideas in the same order; each keeps by its own rule. Then every other one replays what the first kept.
Leaves FOLDER/MACHINE.json (findings), FOLDER/compare.html and FOLDER/matrix.html. About two hours; --quick, a check of
the script itself with a budget too short for findings, takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch import bundle, compare, comparison_page, corpus, sharing, transfer
from autoresearch.bundle import Bundle
from autoresearch.errors import ProposerError
from autoresearch.records import Context, Edit, Failure, Proposal, SearchReplace, Set
from autoresearch.session import Options, open_night
from autoresearch.view import PlainView

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "runs", "__pycache__", "findings")
BUDGET_S, QUICK_BUDGET_S = 20.0, 10.0

SQUARED_RELU = "        return self.c_proj(mx.square(nn.relu(self.c_fc(x))))"
GELU = "        return self.c_proj(nn.gelu(self.c_fc(x)))"
IDEAS: Sequence[tuple[str, str, Edit]] = (
    ("depth", "Half the layers: twice the steps", Set("DEPTH", "2")),
    ("batch", "Half the batch: twice the steps", Set("TOTAL_BATCH_SIZE", "2**11")),
    ("learning_rate", "Twice the matrix rate", Set("MATRIX_LR", "0.08")),
    ("mlp", "A wider MLP", Set("MLP_RATIO", "8")),
    ("mlp", "GELU in place of the squared ReLU", SearchReplace(SQUARED_RELU, GELU)),
    ("schedule", "A longer warm-down", Set("WARMDOWN_RATIO", "0.8")),
    ("width", "One and a half times the width", Set("ASPECT_RATIO", "48")),
    ("batch", "Shorter training rows", Set("TRAIN_ROW_PIECES", "2")),
    ("learning_rate", "Half the embedding rate", Set("EMBEDDING_LR", "0.3")),
    ("optimizer", "Three Newton steps in place of five", Set("NS_STEPS", "3")),
    ("depth", "Twice the layers of the start", Set("DEPTH", "8")),
    ("embedding", "No value embeddings", Set("VALUE_EMBED_EVERY", "0")),
)  # fmt: skip


@dataclass(frozen=True)
class Constrained:
    """A part of this machine: its first `cores` cores, and so much training time."""

    name: str
    cores: int
    budget: float  # times the benchmark's budget


MACHINES = (
    Constrained("both-cores", 2, 1.0),
    Constrained("one-core", 1, 1.0),
    Constrained("half-time", 2, 0.5),
    Constrained("double-time", 2, 2.0),
)


class Listed:
    """A proposer that says the ideas in their order, as far as they apply."""

    name = "list"

    def __init__(self, ideas: Sequence[tuple[str, str, Edit]]) -> None:
        self.left = list(ideas)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        if not self.left:
            raise ProposerError("no more ideas")
        category, title, edit = self.left.pop(0)
        return [Proposal((edit,), title, title, category, self.name)]

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        return None

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


@contextmanager
def being(machine: Constrained, folder: Path) -> Iterator[Path]:
    """This process and its children on the machine's cores, with a checkout and a cache of its own."""
    root, cache, cores = folder / machine.name, folder / "caches" / machine.name, os.sched_getaffinity(0)
    if not root.exists():
        checkout(root)
        data = corpus.prepare("stdlib", "tiny")
        shutil.copytree(data, cache / "data" / "stdlib" / "tiny", copy_function=os.link)
    before = os.environ.get("AUTORESEARCH_CACHE")
    os.environ["AUTORESEARCH_CACHE"] = str(cache)
    os.sched_setaffinity(0, sorted(cores)[: machine.cores])
    try:
        yield root
    finally:
        os.sched_setaffinity(0, cores)
        os.environ.pop("AUTORESEARCH_CACHE")
        if before is not None:
            os.environ["AUTORESEARCH_CACHE"] = before


def checkout(root: Path) -> None:
    """The project as it is here, in a repository of its own."""
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    for args in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "benchmark"],
        ["config", "user.email", "benchmark@localhost"],
    ):
        subprocess.run(["git", *args], cwd=root, check=True)
    (root / ".gitignore").write_text("/runs/\n__pycache__/\n")
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "start"], cwd=root, check=True)


def night(machine: Constrained, folder: Path, ideas: int, budget_s: float) -> Bundle:
    """A night of the listed ideas, exported; the machine's description names its constraint."""
    with being(machine, folder) as root:
        proposer = Listed(IDEAS[:ideas])
        options = Options("night", "stdlib", "tiny", budget_s * machine.budget)
        with open_night(root, options, PlainView(), lambda facts: proposer) as research:
            research.recover()
            research.ensure_baseline()
            while proposer.left:
                research.turn()
        return named(sharing.bundle_of(root, root / "runs" / "night"), machine, folder / f"{machine.name}.json")


def replayed(machine: Constrained, folder: Path, there: Bundle, budget_s: float) -> Bundle:
    """What `there` kept, tried on this machine under its own budget."""
    with being(machine, folder) as root:
        subprocess.run(["git", "switch", "-q", "main"], cwd=root, check=True)  # from the night's branch to the start
        proposer = transfer.Transfer(there)
        tag = "transfer"
        transfer.begin(root / "runs" / tag, there)
        options = Options(tag, "stdlib", "tiny", budget_s * machine.budget)
        with open_night(root, options, PlainView(), lambda facts: proposer) as research:
            print(f"stopped: {transfer.replay(research, proposer)}")
        return named(sharing.bundle_of(root, root / "runs" / tag), machine, folder / f"{machine.name}-transfer.json")


def named(found: Bundle, machine: Constrained, path: Path) -> Bundle:
    """With the constraint in the machine's name: facts of the hardware do not show it."""
    told = replace(
        found, machine=replace(found.machine, chip=f"{machine.name} of {found.machine.chip}", cpu_cores=machine.cores)
    )
    bundle.save(told, path)
    return told


def show(bundles: Sequence[Bundle], page: Path) -> None:
    comparison = compare.compare(bundles)
    comparison_page.show(comparison)
    page.write_text(comparison_page.html(comparison))
    print(f"wrote {page}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two machines, two ideas, 10 s: checks the script only")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, which stays)")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="machines-"))
    machines, ideas, budget_s = (MACHINES[:2], 2, QUICK_BUDGET_S) if args.quick else (MACHINES, len(IDEAS), BUDGET_S)
    folder.mkdir(parents=True, exist_ok=True)
    nights = [night(machine, folder, ideas, budget_s) for machine in machines]
    show(nights, folder / "compare.html")
    first = bundle.load(folder / f"{machines[0].name}.json")
    if not transfer.changes(first):
        print(f"{machines[0].name} kept nothing: there is nothing to transfer")
        return 0
    show([nights[0], *(replayed(machine, folder, first, budget_s) for machine in machines[1:])], folder / "matrix.html")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
