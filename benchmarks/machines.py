"""Do findings travel? One machine under real constraints, as several: a night on each, compared and transferred.

    uv run python -m benchmarks.machines [--quick] [--folder FOLDER]

Machines: both cores, one core, half the time, double the time. Each has a checkout, a cache and a night of its own and
is asked the same ideas in the same order; each keeps by its own rule. Then every other one replays what the first kept.
Leaves FOLDER/MACHINE.json (findings), FOLDER/compare.html and FOLDER/matrix.html. The tiny profile on the offline
corpus with 20 s a run: about two hours. --quick, a toy that checks the script itself, takes two minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch import bundle, compare, comparison_page, corpus, sharing, transfer
from autoresearch.bundle import Bundle
from autoresearch.errors import ProposerError
from autoresearch.records import Context, Edit, Failure, Proposal, SearchReplace, Set
from autoresearch.session import Options, open_night
from autoresearch.view import PlainView
from tests.conftest import HONEST, ROOT, git, write_toy_data

LEFT_OUT = shutil.ignore_patterns(".*", "runs", "__pycache__", "findings")

Ideas = Sequence[tuple[str, str, Edit]]

SQUARED_RELU = "        return self.c_proj(mx.square(nn.relu(self.c_fc(x))))"
GELU = "        return self.c_proj(nn.gelu(self.c_fc(x)))"
IDEAS: Ideas = (
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
)
RATE = "        opt.learning_rate = LR * (1 - run.progress)"
TOY_IDEAS: Ideas = (
    ("learning_rate", "A hundred times the rate", Set("LR", "0.02")),
    ("schedule", "Hardly any rate", SearchReplace(RATE, f"{RATE} * 1e-4")),
)


@dataclass(frozen=True)
class Work:
    """What the machines work on."""

    dataset: str
    ideas: Ideas
    budget_s: float
    data: Callable[[Path], object]  # puts the prepared data where it is told
    source: str  # of the editable file


def real() -> Work:
    def link(folder: Path) -> None:
        shutil.copytree(corpus.prepare("stdlib", "tiny"), folder, copy_function=os.link)

    return Work("stdlib", IDEAS, 20.0, link, (ROOT / "train_mlx.py").read_text())


def toy() -> Work:
    return Work("toy", TOY_IDEAS, 1.0, write_toy_data, HONEST.read_text().replace("LR = 0.01 ", "LR = 0.0002 "))


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

    def __init__(self, ideas: Ideas) -> None:
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
def being(machine: Constrained, folder: Path, work: Work) -> Iterator[Path]:
    """This process and its children on the machine's cores, with a checkout and a cache of its own."""
    root, cache, cores = folder / machine.name, folder / "caches" / machine.name, os.sched_getaffinity(0)
    if not root.exists():
        checkout(root, work.source)
        work.data(cache / "data" / work.dataset / "tiny")
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


def checkout(root: Path, source: str) -> None:
    """The project as it is here, with `source` as its editable file, in a repository of its own."""
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    (root / "train_mlx.py").write_text(source)
    (root / ".gitignore").write_text("/runs/\n__pycache__/\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "benchmark")
    git(root, "config", "user.email", "benchmark@localhost")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "start")


def night(machine: Constrained, folder: Path, work: Work) -> Bundle:
    """A night of the listed ideas, exported; the machine's description names its constraint."""
    with being(machine, folder, work) as root:
        proposer = Listed(work.ideas)
        options = Options("night", work.dataset, "tiny", work.budget_s * machine.budget)
        with open_night(root, options, PlainView(), lambda facts: proposer) as research:
            research.recover()
            research.ensure_baseline()
            while proposer.left:
                research.turn()
        return named(sharing.bundle_of(root, root / "runs" / "night"), machine, folder / f"{machine.name}.json")


def replayed(machine: Constrained, folder: Path, work: Work, there: Bundle) -> Bundle:
    """What `there` kept, tried on this machine under its own budget, from the same start."""
    with being(machine, folder, work) as root:
        git(root, "switch", "-q", "main")
        proposer = transfer.Transfer(there)
        transfer.begin(root / "runs" / "transfer", there)
        options = Options("transfer", work.dataset, "tiny", work.budget_s * machine.budget)
        with open_night(root, options, PlainView(), lambda facts: proposer) as research:
            print(f"stopped: {transfer.replay(research, proposer)}")
        found = sharing.bundle_of(root, root / "runs" / "transfer")
        return named(found, machine, folder / f"{machine.name}-transfer.json")


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
    parser.add_argument("--quick", action="store_true", help="two machines and a toy: checks the script itself")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, which stays)")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="machines-"))
    folder.mkdir(parents=True, exist_ok=True)
    machines, work = (MACHINES[:2], toy()) if args.quick else (MACHINES, real())
    nights = [night(machine, folder, work) for machine in machines]
    show(nights, folder / "compare.html")
    if not transfer.changes(nights[0]):
        print(f"{machines[0].name} kept nothing: there is nothing to transfer")
        return 0
    rest = [replayed(machine, folder, work, nights[0]) for machine in machines[1:]]
    show([nights[0], *rest], folder / "matrix.html")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
