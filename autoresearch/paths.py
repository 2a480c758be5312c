"""Name every file and folder of a checkout, of a night in runs/TAG, and of the cache. No I/O.

checkout/
    train_mlx.py, program.md, results.tsv, report.html, progress.png
    runs/.lock                         held by the loop of this checkout
    runs/resume.log                    the output of a loop that the login item started
    runs/TAG/journal.jsonl             the record of the night
    runs/TAG/harness/                  the copy of prepare.py and its children that the night uses
    runs/TAG/results.tsv               results.tsv as of the latest decision; it is committed with each keep
    runs/TAG/NNNN/train_mlx.py         the source of experiment NNNN
    runs/TAG/NNNN/run-K/               what its run K left, from run-1 on: checkpoint, logs
    runs/TAG/inbox/ID.json             a hypothesis from outside that waits for the loop
    runs/serve.token                   what `loop.py serve` asks of its callers
    runs/TAG/live.json, night.log      the live view, for `watch`; the lines of a loop whose terminal went away
cache/
    data/DATASET/PROFILE/              prepared data
    kernels/                           compiled kernels
    machines/SLUG/                     what earlier nights of this machine taught
    findings/                          copies of repositories of shared findings
    errors/                            tracebacks of unexpected errors
    machine.lock, member-id, scorecard.json, ollama.log
task/                                  the folder of a declared task
    task.toml, program.md              and the files that task.toml names
    .autoresearch/                     all that the loop leaves there: runs/TAG, report.html, results.tsv, as above
    .autoresearch/runs/TAG/NNNN/source.txt     the files of experiment NNNN as one text (candidate/pack.py)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoresearch import environment

EDITABLE = "train_mlx.py"  # the one file that experiments change
PROGRAM = "program.md"
RESULTS = "results.tsv"
JOURNAL = "journal.jsonl"
PAUSE = "pause"
TASK_FILE = "task.toml"  # declares a task
STATE = ".autoresearch"  # the folder of the loop in a declared task's
PACKED = "source.txt"  # the files of a version of a declared task, as one text


def tree(root: Path) -> Path:
    """Return the folder whose files experiments change: tree(Path("sql/.autoresearch")) -> Path("sql")"""
    return root.parent if root.name == STATE else root


@dataclass(frozen=True)
class Layout:
    """Paths of one night; `root` is the checkout or a declared task's .autoresearch, `tag` the night's name."""

    root: Path
    tag: str

    @classmethod
    def of(cls, folder: Path) -> Layout:
        """Return the layout of a night's folder: Layout.of(Path("/checkout/runs/nov23")) -> Layout(/checkout, nov23)"""
        return cls(folder.parents[1], folder.name)

    @property
    def folder(self) -> Path:
        """The night's folder: Layout(Path("/checkout"), "nov23").folder -> Path("/checkout/runs/nov23")"""
        return runs_folder(self.root) / self.tag

    @property
    def declared(self) -> bool:
        """Whether the night is of a declared task."""
        return self.root.name == STATE

    @property
    def program(self) -> Path:
        return tree(self.root) / PROGRAM

    @property
    def results(self) -> Path:
        return self.root / RESULTS

    @property
    def table(self) -> Path:
        """results.tsv as of the latest decision; the one of the checkout changes with commits alone."""
        return self.folder / RESULTS

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def progress(self) -> Path:
        return self.root / "progress.png"

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    @property
    def harness(self) -> Path:
        return self.folder / "harness"

    @property
    def fit(self) -> Path:
        """The scratch folder of the speed trials that fit the constants to the machine."""
        return self.folder / "fit"

    @property
    def preflight(self) -> Path:
        """The scratch folder in which a changed file is tried on small arrays."""
        return self.folder / "preflight"

    @property
    def live(self) -> Path:
        return self.folder / "live.json"

    @property
    def log(self) -> Path:
        return self.folder / "night.log"

    @property
    def awake_log(self) -> Path:
        return self.folder / "awake.log"

    @property
    def pause(self) -> Path:
        """The file whose presence asks the loop to pause."""
        return self.folder / PAUSE

    @property
    def inbox(self) -> Path:
        """The folder of the hypotheses from outside that wait for the loop."""
        return self.folder / "inbox"

    @property
    def samples(self) -> Path:
        """The texts that checkpoints of the night wrote, for the report."""
        return self.folder / "samples.json"

    @property
    def origin(self) -> Path:
        """The findings of another machine that a transfer replays."""
        return self.folder / "origin.json"

    @property
    def findings(self) -> Path:
        return self.folder / "findings.json"

    def experiment(self, n: int) -> Path:
        """Return the folder of experiment n: Layout(Path("/checkout"), "nov23").experiment(7) -> .../runs/nov23/0007"""
        return experiment_folder(self.folder, n)

    def source(self, n: int) -> Path:
        """Return the source of experiment n, as it was proposed."""
        return self.experiment(n) / (PACKED if self.declared else EDITABLE)

    def run(self, n: int, k: int) -> Path:
        """Return the folder of run k (from 0) of experiment n, the only place where its processes may write."""
        return self.experiment(n) / f"run-{k + 1}"


def experiment_folder(night: Path, n: int) -> Path:
    """Return the folder of experiment n: experiment_folder(Path("runs/nov23"), 7) -> Path("runs/nov23/0007")"""
    return night / f"{n:04}"


def runs_folder(root: Path) -> Path:
    """Return the folder of all nights of a checkout."""
    return root / "runs"


def checkout_lock(root: Path) -> Path:
    """Return the lock file of a checkout's loop."""
    return runs_folder(root) / ".lock"


def serve_token(root: Path) -> Path:
    """Return the file with the token that `loop.py serve` asks of its callers."""
    return runs_folder(root) / "serve.token"


def fleet_state(root: Path) -> Path:
    """Return the file in which a coordinator says who is there."""
    return runs_folder(root) / "fleet.json"


def fleet_key(root: Path) -> Path:
    """Return the file with tag and key of a fleet's night that has not ended."""
    return runs_folder(root) / "fleet.key"


def member_key(root: Path) -> Path:
    """Return the file with the address of the fleet that this machine makes runs for until it is dismissed."""
    return runs_folder(root) / "member.key"


def resume_log(root: Path) -> Path:
    """Return the log of a loop that the login item started."""
    return runs_folder(root) / "resume.log"


@dataclass(frozen=True)
class Cache:
    """Paths of the cache, which all checkouts of this machine share."""

    folder: Path

    @classmethod
    def default(cls) -> Cache:
        """Return the cache in the folder that AUTORESEARCH_CACHE names, else in ~/.cache/autoresearch-metal.

        Raises UsageError where that cannot be a folder.
        """
        return cls(environment.cache_folder())

    @property
    def machine_lock(self) -> Path:
        """The lock that is held by the one loop that may train on this machine."""
        return self.folder / "machine.lock"

    @property
    def member_id(self) -> Path:
        """The file with the number by which a fleet knows this machine again."""
        return self.folder / "member-id"

    @property
    def scorecard(self) -> Path:
        return self.folder / "scorecard.json"

    @property
    def error_logs(self) -> Path:
        """Tracebacks of unexpected errors, one file each."""
        return self.folder / "errors"

    @property
    def findings(self) -> Path:
        """Copies of the repositories that other people's findings are fetched from."""
        return self.folder / "findings"

    @property
    def ollama_log(self) -> Path:
        return self.folder / "ollama.log"

    def data(self, dataset: str, profile: str) -> DataFolder:
        """Return the prepared data of one data set and profile."""
        return DataFolder(self.folder / "data" / dataset / profile)

    def kernels(self, mlx_version: str) -> Path:
        """Return the folder of the compiled kernels that every run starts with."""
        return self.folder / "kernels" / f"mlx-{mlx_version}"

    def noise(self, slug: str) -> Path:
        """Return the file with sigma and the early-stop examples of earlier nights on the machine `slug`."""
        return self.folder / "machines" / slug / "noise.json"

    def fits(self, slug: str) -> Path:
        """Return the file with the constants that train fastest on the machine `slug`."""
        return self.folder / "machines" / slug / "fits.json"


@dataclass(frozen=True)
class DataFolder:
    """The files of one data set prepared for one profile: Cache(cache).data(dataset, profile)."""

    folder: Path

    @property
    def dataset(self) -> str:
        return self.folder.parent.name

    @property
    def profile(self) -> str:
        return self.folder.name

    @property
    def cache(self) -> Cache:
        """The cache that the folder belongs to: three levels up."""
        return Cache(self.folder.parents[2])

    @property
    def meta(self) -> Path:
        """The task's numbers, and size and hash of every other file."""
        return self.folder / "meta.json"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.json"

    @property
    def token_bytes(self) -> Path:
        """UTF-8 bytes of each token, (vocab_size,) int32."""
        return self.folder / "token_bytes.npy"

    @property
    def train(self) -> Path:
        return self.rows("train")

    def rows(self, split: str) -> Path:
        """Return the packed rows of a split; held-out ones lie apart, so that a sandbox can hide them from training."""
        return self.folder / "train.u16" if split == "train" else self.folder / "eval" / f"{split}.u16"

    @property
    def partial(self) -> DataFolder:
        """The folder in the making, which gets this one's name when it is complete."""
        return DataFolder(self.folder.with_name(f".{self.folder.name}.partial"))

    @property
    def state(self) -> Path:
        """The stages that are done, in a folder in the making."""
        return self.folder / "state.json"

    def name(self, file: Path) -> str:
        """Return a file's name in meta.json: data.name(data.rows("val")) -> "eval/val.u16"."""
        return file.relative_to(self.folder).as_posix()
