"""Run the same ideas on one machine under several constraints, as if on several, and compare and transfer findings.

The machines are one core; the same core shared with a busy process, which leaves half to two thirds of it; one core
with four times the budget; and both cores, if there are two. Each has a checkout, a cache and a night of its own, is
asked the same ideas in the same order, and keeps by its own rule. Then every other machine replays what the first
kept. The results are FOLDER/MACHINE.json and FOLDER/MACHINE-transfer.json (findings), FOLDER/compare.html and
FOLDER/matrix.html.

Finished parts stay finished: with --minutes the benchmark stops in time, and the same command resumes it. --quick runs
a toy task on two machines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.findings import bundle, compare, transfer
from autoresearch.findings.bundle import Bundle
from autoresearch.loop import sharing, transfer_night
from autoresearch.loop.research import Rules
from autoresearch.loop.session import Options, open_night
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.records import Context, Edit, Proposal, SearchReplace, Set
from autoresearch.report import comparison_page, comparison_tables
from autoresearch.report.console import PlainView
from autoresearch.search.proposer import BaseProposer
from autoresearch.tasks.gpt.data import corpus, sources
from benchmarks.cli import parser
from testbed.toy import HONEST, ROOT, git, write_toy_data

LEFT_OUT = shutil.ignore_patterns(".*", "runs", "__pycache__", "findings")

KnownChanges = Sequence[tuple[str, str, Edit]]

SQUARED_RELU = "        return self.c_proj(prepare.relu_squared(self.c_fc(x)))"
GELU = "        return self.c_proj(nn.gelu(self.c_fc(x)))"
IDEAS: KnownChanges = (
    ("depth", "Half the layers: more steps", Set("DEPTH", "2")),
    ("batch", "Half the batch: twice the steps", Set("TOTAL_BATCH_SIZE", "2**11")),
    ("batch", "A quarter of the batch: four times the steps", Set("TOTAL_BATCH_SIZE", "2**10")),
    ("batch", "An eighth of the batch: eight times the steps", Set("TOTAL_BATCH_SIZE", "2**9")),
    ("depth", "A single layer", Set("DEPTH", "1")),
    ("mlp", "GELU in place of the squared ReLU", SearchReplace(SQUARED_RELU, GELU)),
    ("learning_rate", "Half the embedding rate", Set("EMBEDDING_LR", "0.3")),
    ("optimizer", "Three Newton steps in place of five", Set("NS_STEPS", "3")),
    ("embedding", "No value embeddings", Set("VALUE_EMBED_EVERY", "0")),
    ("batch", "Training rows of an eighth: cheaper attention, no long context", Set("TRAIN_ROW_PIECES", "8")),
    ("schedule", "A longer warm-down", Set("WARMDOWN_RATIO", "0.8")),
    ("mlp", "A wider MLP", Set("MLP_RATIO", "8")),
)
TOY_IDEAS: KnownChanges = (("learning_rate", "A hundred times the rate", Set("LR", "0.02")),)


@dataclass(frozen=True)
class Work:
    """Task and ideas that all machines share."""

    dataset: str
    ideas: KnownChanges
    budget_s: float
    data: Callable[[Path], object]  # writes the prepared data to a folder
    source: str  # of the editable file


def real(dataset: str, budget_s: float, ideas: int) -> Work:
    """Return the tiny profile on `dataset`, prepared once and linked into each machine's cache."""

    def link(folder: Path) -> None:
        prepared = corpus.locate(dataset, "tiny") or corpus.prepare(dataset, "tiny")
        shutil.copytree(prepared, folder, copy_function=os.link)

    source = (ROOT / "train_mlx.py").read_text()
    return Work(sources.folder_name(dataset), IDEAS[:ideas], budget_s, link, source)


def toy() -> Work:
    """Return a task that trains in a second."""
    return Work("toy", TOY_IDEAS, 1.0, write_toy_data, HONEST.read_text().replace("LR = 0.01 ", "LR = 0.0002 "))


@dataclass(frozen=True)
class Constrained:
    """Part of this machine: its first `cores` cores, shared with `rivals` busy processes, and a share of the budget."""

    name: str
    cores: int = 1
    rivals: int = 0
    budget: float = 1.0  # times the benchmark's budget


MACHINES = (
    Constrained("one-core"),
    Constrained("shared-core", rivals=1),
    Constrained("fourfold-time", budget=4.0),
    Constrained("both-cores", cores=2),
)
DEFAULT = ("one-core", "shared-core", "fourfold-time")
QUICK = ("one-core", "both-cores")  # no rival, which would use a core all the time


class Listed(BaseProposer):
    """Proposer of listed ideas in their order, except for those that the night in `folder` has had."""

    name = "list"

    def __init__(self, ideas: KnownChanges, folder: Path) -> None:
        had = {x.proposal.title for x in journal.read(Layout.of(folder)).experiments.values()}
        self.left = [idea for idea in ideas if idea[1] not in had]

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        if not self.left:
            raise ProposerError("no more ideas")
        category, title, edit = self.left.pop(0)
        return [Proposal((edit,), title, title, category, self.name)]


@contextmanager
def constrained(machine: Constrained, folder: Path, work: Work) -> Iterator[Path]:
    """Put this process and its children under the machine's constraints; yield the machine's checkout."""
    root, cache, cores = folder / machine.name, folder / "caches" / machine.name, os.sched_getaffinity(0)
    if not root.exists():
        shutil.rmtree(cache, ignore_errors=True)
        work.data(cache / "data" / work.dataset / "tiny")
        checkout(root, work.source)
    before = os.environ.get("AUTORESEARCH_CACHE")
    os.environ["AUTORESEARCH_CACHE"] = str(cache)
    os.sched_setaffinity(0, sorted(cores)[: machine.cores])
    rivals = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(machine.rivals)]
    try:
        yield root
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()
        os.sched_setaffinity(0, cores)
        os.environ.pop("AUTORESEARCH_CACHE")
        if before is not None:
            os.environ["AUTORESEARCH_CACHE"] = before


def checkout(root: Path, source: str) -> None:
    """Copy the project, with `source` as its editable file, into a repository of its own."""
    new = root.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(ROOT, new, ignore=LEFT_OUT)
    (new / "train_mlx.py").write_text(source)
    (new / ".gitignore").write_text("/runs/\n__pycache__/\n/report.html\n/progress.png\n")
    git(new, "init", "-q", "-b", "main")
    git(new, "config", "user.name", "benchmark")
    git(new, "config", "user.email", "benchmark@localhost")
    git(new, "add", ".")
    git(new, "commit", "-q", "-m", "start")
    new.rename(root)


@dataclass(frozen=True)
class Study:
    """Folder of all machines, and the work to do there."""

    folder: Path
    work: Work
    deadline: float | None = None  # by time.time()

    def options(self, machine: Constrained, tag: str) -> Options:
        budget_s = self.work.budget_s * machine.budget
        return Options(tag, self.work.dataset, "tiny", budget_s, deadline=self.deadline)

    def night(self, machine: Constrained) -> Bundle | None:
        """Run a night of the listed ideas and export it, or load it; None when the deadline came first."""
        path = self.folder / f"{machine.name}.json"
        if path.exists():
            return bundle.load(path)
        with constrained(machine, self.folder, self.work) as root:
            proposer = Listed(self.work.ideas, root / "runs" / "night")
            options, rules = self.options(machine, "night"), Rules(branching=False)
            with open_night(root, options, PlainView(), lambda facts: proposer, rules) as research:
                research.run(done=lambda: None if proposer.left else "every idea was tried")
            if proposer.left:
                return None
            return named(sharing.bundle_of(Layout(root, "night")), machine, path)

    def replayed(self, machine: Constrained, there: Bundle) -> Bundle | None:
        """Try what `there` kept on this machine, under its own budget, from the same start; None at the deadline."""
        path = self.folder / f"{machine.name}-transfer.json"
        if path.exists():
            return bundle.load(path)
        with constrained(machine, self.folder, self.work) as root:
            git(root, "switch", "-q", "main")
            proposer = transfer.TransferProposer(there)
            transfer_night.begin(Layout(root, "transfer"), there)
            options, rules = self.options(machine, "transfer"), transfer_night.RULES
            with open_night(root, options, PlainView(), lambda facts: proposer, rules) as research:
                print(f"stopped: {transfer_night.replay(research, proposer)}")
                if proposer.left(research.context()):
                    return None
            return named(sharing.bundle_of(Layout(root, "transfer")), machine, path)


def named(found: Bundle, machine: Constrained, path: Path) -> Bundle:
    """Save findings with the constraint in the machine's name, since facts of the hardware show only the cores."""
    renamed = replace(found, machine=replace(found.machine, chip=f"{machine.name} of {found.machine.chip}"))
    bundle.save(renamed, path)
    return renamed


def show(bundles: Sequence[Bundle], page: Path) -> None:
    """Print a comparison and write its page."""
    comparison = compare.compare(bundles)
    comparison_tables.show(comparison)
    page.write_text(comparison_page.html(comparison))
    print(f"wrote {page}")


def run(bench: Study, machines: Sequence[Constrained]) -> bool:
    """Run the nights, then the transfers; return whether everything is done."""
    nights = [found for machine in machines if (found := bench.night(machine)) is not None]
    if len(nights) < len(machines):
        return False
    show(nights, bench.folder / "compare.html")
    if not transfer.changes(nights[0]):
        print(f"{machines[0].name} kept nothing: there is nothing to transfer")
        return True
    replays = [found for m in machines[1:] if (found := bench.replayed(m, nights[0])) is not None]
    show([nights[0], *replays], bench.folder / "matrix.html")
    return len(replays) == len(machines) - 1


def main(argv: Sequence[str]) -> int:
    options = parser("machines", __doc__)
    options.add_argument("--dataset", default="stdlib", help="as of prepare.py; a small one is cheap to evaluate")
    options.add_argument("--machines", default=",".join(DEFAULT), help="the first one's keeps are replayed on the rest")
    options.add_argument("--budget", type=float, default=4.0, metavar="S", help="seconds of training a run (4)")
    options.add_argument("--ideas", type=int, default=len(IDEAS), metavar="N", help="the first N of the list only")
    options.add_argument("--minutes", type=float, metavar="M", help="stop after M minutes")
    options.add_argument("--folder", type=Path, help="where to work (default: a temporary folder, which stays)")
    args = options.parse_args(argv)
    if not hasattr(os, "sched_setaffinity"):
        options.error("a machine is given few cores here, to which only Linux pins a process")
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="machines-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    known = {machine.name: machine for machine in MACHINES}
    wanted = list(QUICK) if args.quick else args.machines.split(",")
    if missing := [name for name in wanted if name not in known]:
        options.error(f"no machine {', '.join(missing)}; there are {', '.join(known)}")
    work = toy() if args.quick else real(args.dataset, args.budget, args.ideas)
    deadline = None if args.minutes is None else time.time() + 60 * args.minutes
    if not run(Study(folder, work, deadline), [known[name] for name in wanted]):
        print(f"not done yet; the same command resumes: --folder {folder}")
        return 1
    return 0
