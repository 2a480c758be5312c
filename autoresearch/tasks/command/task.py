"""Define the task that a folder declares by its task.toml, as the loop sees it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from autoresearch.candidate.pack import pack, unpack
from autoresearch.errors import SourceError, TaskError
from autoresearch.files import write_atomic
from autoresearch.measure.follower import Listener
from autoresearch.record.branch import Branch
from autoresearch.record.gitcall import call
from autoresearch.record.night import Night
from autoresearch.records import Brief, Failure, Measurement, Say, TaskFacts
from autoresearch.system.sandbox import Sandbox, Unconfined, select
from autoresearch.tasks.command import base as bases
from autoresearch.tasks.command import briefs, contract, declaration, knobs, proof, runs, toolchain, tree
from autoresearch.tasks.command.base import Base
from autoresearch.tasks.command.confined import Confinement
from autoresearch.tasks.command.keys import metric_of
from autoresearch.tasks.command.phases import Bench
from autoresearch.tasks.task import RunOrder

VERSION = "2"  # of how a declared task is measured; another one asks for a new baseline
SLOWER, PATIENCE_S = 10.0, 10.0  # a candidate's run may take SLOWER times the baseline's, and PATIENCE_S more


class CommandTask:
    """A task that is declared by a folder's task.toml."""

    def __init__(self, folder: Path, base: Base, bench: Bench) -> None:
        self.folder, self.base, self.bench = folder, base, bench
        self.declared = base.declared
        self.metric = metric_of(base.declared)
        self.baseline: dict[str, float] = {}  # figures of the baseline that limits compare with
        self.case_count: int | None = None
        self._run_s = 0.0

    @classmethod
    def open(
        cls, folder: Path, state: Path, say: Say, *, no_sandbox: bool = False, revision: str | None = "HEAD"
    ) -> CommandTask:
        """Open the task of a folder as of a commit, or as the folder is now where `revision` is None.

        What `prepare` makes, and what runs need, lies in `state`. Raises TaskError, with the lines of task.toml, where
        the declaration does not fit the folder, and SandboxError where a run could see or change what it must not.
        """
        folder = folder.resolve()
        if not folder.is_dir():
            raise TaskError(f"{folder} is not a folder. Run: loop.py new-task {folder}")
        text = bases.read_text(folder, revision)
        declared = declaration.read(text)
        state.mkdir(parents=True, exist_ok=True)
        state = state.resolve()
        if not (state / ".gitignore").exists():
            write_atomic(state / ".gitignore", b"*\n")
        sandbox = select(no_sandbox, network=declared.reach, forks=True)
        say(f"sandbox: {sandbox.describe()}")
        if declared.reach == "open":
            say("warning: task.toml opens the network: what a candidate reads, it can send away")
        links = {path: (folder / path).resolve() for path in declared.link}
        around = Confinement(
            sandbox=sandbox,
            judging=type(sandbox)(network="open" if declared.reach == "open" else "local", forks=True),
            hide=tuple(dict.fromkeys([folder, state, *_repository(folder)])),
            read=(*links.values(), *toolchain.needed(declared, links.values())),
            env=declared.env,
        )
        if revision is not None and (changed := tree.uncommitted(folder)):
            say(f"not committed, so that this night does not see it: {', '.join(changed[:5])}")
        base = bases.make(folder, state, revision, text, around, say)
        bench = Bench(
            declared=declared,
            base=base.folder,
            confinement=around,
            programs=base.programs,
            hidden=base.hidden,
            shown_last=base.shown_last,
            links=links,
            run_limit_s=declared.timeout_s,
            score_limit_s=declared.score_timeout_s,
        )
        proof.prove(bench, base, folder, state)
        for problem in briefs.unreadable(folder, tuple(base.edited), declared):
            say(f"warning: this idea is passed over: {problem.splitlines()[0]}")
        return cls(folder, base, bench)

    # --- what it is ---

    @property
    def sandbox(self) -> Sandbox:
        return self.bench.confinement.sandbox

    @property
    def confined(self) -> bool:
        """Whether runs are kept from what they must not see."""
        return not isinstance(self.sandbox, Unconfined)

    @property
    def facts(self) -> TaskFacts:
        """Name, metric, files and a fingerprint over all that may not change."""
        return TaskFacts(
            dataset=self.folder.name,
            fingerprint=self.base.fingerprint,
            name=self.folder.name,
            metric=self.metric,
            files=tuple(self.base.edited),
            has_test=self.declared.test is not None,
        )

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions that a baseline depends on."""
        return {"task": VERSION, "python": platform.python_version()}

    @property
    def run_s(self) -> float:
        """Seconds that one run took at least; 0 before the baseline is known."""
        return self._run_s

    def describe(self) -> str:
        """Return what a run does, in a line for people."""
        declared = self.declared
        steps = [declared.build, declared.run and f"{declared.metric.repeats} x {declared.run}", declared.score]
        return f"{', then '.join(filter(None, steps)) or 'sizes of files'} -> {self.metric.name} ({self.metric.trust})"

    # --- versions of its files ---

    def read(self, contents: Callable[[str], bytes]) -> str:
        """Return the source that the files make. Raises AutoresearchError where one is missing or is not text."""
        return pack({path: _text(contents(path), path) for path in self.base.edited})

    def files(self, source: str) -> dict[str, bytes]:
        """Return the files that a source holds, by their path below the task's folder."""
        return {path: text.encode("utf-8", "surrogatepass") for path, text in unpack(source).items()}

    def first_commits(self, branch: Branch, say: Say) -> None:
        """Commit nothing: the night begins with the files as they are."""

    def check(self, source: str, base: str) -> tuple[str, ...]:
        """Return what a source breaks of the task's contract; `base` is the baseline's source."""
        try:
            files, known = unpack(source), unpack(base)
            return (*contract.violations(files, known), *knobs.violations(files, known, self.declared.knobs))
        except SourceError as error:
            return (str(error),)

    def preflight(self, source: str) -> Failure | None:
        """Return None: guards and the build come first in a run, and cost little."""
        return None

    # --- runs ---

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        """Limit the time of a candidate and its judge, and note what limits and cases compare with."""
        good = [m for m in baseline if m.ok]
        if not good:
            return
        names = dict.fromkeys(name for m in good for name in m.figures)
        self.baseline = {name: median(m.figures[name] for m in good if name in m.figures) for name in names}
        self.case_count = len(good[0].cases) or None
        self._run_s = min(m.total_s for m in good)
        declared = self.declared
        run_s = max(m.figures.get("wall", 0.0) for m in good)
        score_s = max(m.seconds.get("score", 0.0) / max(1, m.figures.get("values", 1)) for m in good)
        self.bench = replace(
            self.bench,
            run_limit_s=min(declared.timeout_s, SLOWER * run_s + PATIENCE_S),
            score_limit_s=min(declared.score_timeout_s, SLOWER * score_s + PATIENCE_S),
        )

    def measure(self, order: RunOrder, listen: Listener = lambda event: None) -> Measurement:
        """Make one run. No candidate makes it raise."""
        incumbent = order.incumbent
        return runs.measure(
            self.bench,
            self.metric,
            replace(order, folder=order.folder.resolve()),
            self.files(_source(order.source)),
            self.files(_source(incumbent)) if incumbent is not None else None,
            baseline=self.baseline if order.role == "candidate" else None,
            case_count=self.case_count,
            listen=listen,
        )

    def score_again(self, order: RunOrder, run: int) -> Measurement | None:
        """Return None: a run leaves nothing that could be scored in another way."""
        return None

    # --- words ---

    def brief(self) -> Brief:
        """Return what proposers are told."""
        return briefs.brief(self.folder, self.base, self.metric)

    def program(self) -> str:
        """Return the person's own words, which `brief` of task.toml names; "" where there are none."""
        return briefs.program(self.folder, self.declared)

    def finish(self, night: Night, say: Say) -> None:
        """Add nothing to the report."""


def _text(content: bytes, path: str) -> str:
    """Return a file's text as it is. Raises TaskError where a candidate could not edit it."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path} is not UTF-8 text (byte {error.start}). Take it out of `edit` in task.toml") from None
    if "\0" in text:
        raise TaskError(f"{path} holds a NUL character. Take it out of `edit` in task.toml")
    return text


def _source(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogatepass")


def _repository(folder: Path) -> list[Path]:
    """Return the repository that a folder lies in, its working tree and its objects: they hold what is hidden."""
    done = call(folder, ("rev-parse", "--show-toplevel", "--git-common-dir"), check=False)
    lines = done.stdout.splitlines()
    return [(folder / line).resolve() for line in lines] if done.returncode == 0 and len(lines) == 2 else []
