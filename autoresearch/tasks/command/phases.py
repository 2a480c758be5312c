"""Take one version of the files through the phases of a run: guards, build, run and judge, each in its own place.

    RUN/candidate/tree/     the fixed files that it may see, the candidate's own, and ./out, where `run` may write
    RUN/candidate/judge/    the same with what is hidden, and a copy of ./out: here guards and the judge work
    RUN/candidate/tmp/      HOME and TMPDIR of the present command; fresh for each
    RUN/run.log, run.out    standard error and output of the latest command of each name

A process that judges never imports a candidate's file: its Python looks for modules in `base` alone, which holds no
editable file, and not in the folder where it works.
"""

from __future__ import annotations

import filecmp
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch.formats import shortened
from autoresearch.records import Failure, Purpose
from autoresearch.tasks.command import tree as trees
from autoresearch.tasks.command.command_words import PYTHON, script_of
from autoresearch.tasks.command.confined import Call, Confinement, Ended, execute
from autoresearch.tasks.command.keys import SIZES, Declaration, GuardTable, metric_kind, split_source, words
from autoresearch.tasks.command.metric import Observed, sizes

DOING = {"guard": "checking", "build": "building", "run": "running", "score": "judging"}  # for the live view

LAST_LINE = 160  # characters of what a command said last


class FailedError(Exception):
    """The run has no value; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the runs of a task share."""

    declared: Declaration
    base: Path  # the fixed files and what `prepare` made
    confinement: Confinement
    programs: frozenset[str] = frozenset()  # editable files that can be executed
    hidden: frozenset[str] = frozenset()  # paths that a candidate does not see
    shown_last: frozenset[str] = frozenset()  # of them, those that it sees in the final validation
    links: Mapping[str, Path] = field(default_factory=dict)
    run_limit_s: float = 60.0
    score_limit_s: float = 120.0


class Side:
    """One version of the files in a run: the candidate, or the incumbent that alternates with it."""

    def __init__(
        self,
        bench: Bench,
        folder: Path,
        name: str,
        files: Mapping[str, bytes],
        *,
        seed: int,
        purpose: Purpose,
        listen: Callable[[str], None] = lambda phase: None,
    ) -> None:
        """Make the tree of a version. `listen` is told the name of each phase as it begins."""
        self.bench, self.folder, self.name, self.files, self.listen = bench, folder, name, files, listen
        self.tree, self.judge = folder / name / "tree", folder / name / "judge"
        self.env = {"AUTORESEARCH_SEED": str(seed)}
        self.seconds: dict[str, float] = {}
        final = purpose == "final"
        test = bench.declared.test if final else None
        self.run_command = (test.run if test else None) or bench.declared.run
        # The final validation has other data, for which the baseline's time on the search's does not count.
        self.run_limit_s = bench.declared.timeout_s if final else bench.run_limit_s
        self.score_limit_s = bench.declared.score_timeout_s if final else bench.score_limit_s
        self.score_command = (test.score if test else None) or bench.declared.score
        unseen = bench.hidden - (bench.shown_last if final else frozenset())
        trees.plant(bench.base, self.tree, files, without=unseen, programs=bench.programs, links=bench.links)

    # --- phases ---

    def guard(self, when: str) -> None:
        """Check the conditions that a candidate has to fulfil."""
        for i, guard in enumerate(self.bench.declared.guard, 1):
            if guard.when == when:
                self._guard(guard, f"guard-{i}")

    def build(self) -> None:
        """Build the version in its tree, and see that this left the fixed files and its own as they were."""
        declared = self.bench.declared
        if not declared.build:
            return
        limit_s = declared.build_timeout_s
        self._need("build", declared.build, self._candidate(declared.build, "build", limit_s, (self.tree,)))
        if changed := self._changed():
            raise FailedError(Failure("tampered", f"the build changed {changed}, which it may only read"))

    def run(self) -> Observed:
        """Run the version once, in an empty ./out."""
        if not self.run_command:
            return Observed(sizes=self._sizes())
        out = self.tree / trees.OUT
        trees.empty(out)
        ended = self._candidate(self.run_command, "run", self.run_limit_s, (out,))
        self._need("run", self.run_command, ended)
        return Observed(
            printed=ended.printed,
            wall_s=ended.wall_s,
            cpu_s=ended.cpu_s,
            peak_rss_mb=ended.peak_rss_mb,
            sizes=self._sizes(),
        )

    def score(self) -> str | None:
        """Let the judge look at what the latest run left; return what it printed, None where there is no judge."""
        if not self.score_command:
            return None
        self._hand_over()
        ended = self._judge(self.score_command, "score", self.score_limit_s)
        self._need("judge", self.score_command, ended)
        return ended.printed

    # --- parts ---

    def _guard(self, guard: GuardTable, name: str) -> None:
        declared = self.bench.declared
        limit_s = guard.timeout_s or declared.score_timeout_s
        if guard.candidate:
            ended = self._candidate(guard.run, name, limit_s, (self.tree / trees.OUT,))
        else:
            self._hand_over()
            ended = self._judge(guard.run, name, limit_s)
        self._need("guard", guard.run, ended)

    def _hand_over(self) -> None:
        """Copy ./out into the judge's tree, which is made when it is first needed."""
        if not self.judge.is_dir():
            bench = self.bench
            trees.plant(bench.base, self.judge, self.files, programs=bench.programs, links=bench.links)
        trees.empty(self.judge / trees.OUT)
        try:
            trees.hand_over(self.tree / trees.OUT, self.judge / trees.OUT)
        except (trees.UnfitError, OSError) as error:
            raise FailedError(Failure("output", str(error))) from None

    def _candidate(self, command: str, name: str, limit_s: float, write: tuple[Path, ...]) -> Ended:
        return self._execute(command, name, limit_s, self.tree, write, {"PYTHONSAFEPATH": ""}, [])

    def _judge(self, command: str, name: str, limit_s: float) -> Ended:
        base = self.bench.base
        script = script_of(command)
        places = dict.fromkeys([*([str((base / script).parent)] if script else []), str(base)])
        return self._execute(command, name, limit_s, self.judge, (), {"PYTHONPATH": ":".join(places)}, ["-P"])

    def _execute(
        self,
        command: str,
        name: str,
        limit_s: float,
        cwd: Path,
        write: tuple[Path, ...],
        env: Mapping[str, str],
        python: list[str],
    ) -> Ended:
        phase = name.partition("-")[0]
        self.listen(f"{DOING[phase]} the {self.name}")
        began = time.monotonic()
        scratch = self.folder / self.name / "tmp"
        trees.empty(scratch)
        first, *rest = words(command)
        argv = [sys.executable, *python, *rest] if first in PYTHON else [first, *rest]
        order = Call(
            argv=argv,
            cwd=cwd,
            scratch=scratch,
            log=self.folder / f"{name}.log" if self.name == "candidate" else self.folder / f"{self.name}-{name}.log",
            limit_s=limit_s,
            write=write,
            read=(self.bench.base,) if cwd == self.judge else (),
            env={**self.env, **env},
        )
        around = self.bench.confinement
        if cwd == self.judge and around.judging is not None:
            around = replace(around, sandbox=around.judging)
        ended = execute(order, around)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - began
        return ended

    def _need(self, kind: str, command: str, ended: Ended) -> None:
        """Raise FailedError where a command did not end with 0."""
        if ended.ok:
            return
        if ended.excess is not None:
            raise FailedError(Failure(ended.excess, ended.how, ended.detail))
        if ended.late and kind != "guard":
            raise FailedError(Failure("timeout", f"`{command}` {ended.how}", ended.detail))
        last = shortened(ended.last_line, LAST_LINE)
        raise FailedError(Failure(kind, f"`{command}` {ended.how}{': ' if last else ''}{last}", ended.detail))

    def _changed(self) -> str | None:
        """Return a file of the tree that is not as it was planted, None where all are."""
        for path, content in self.files.items():
            if not _holds(self.tree / path, content):
                return path
        for path, file in trees.files_below(self.bench.base).items():
            copy = self.tree / path
            if path in self.bench.hidden or file.is_symlink():
                continue
            if copy.is_symlink() or not copy.is_file() or not filecmp.cmp(file, copy, shallow=False):
                return path
        return None

    def _sizes(self) -> dict[str, float]:
        """Return the sizes that metric and limits name: of the version's own files, and those that were made."""
        declared = self.bench.declared
        sources = [declared.metric.source, *(limit.metric for limit in declared.limit)]
        sources = [source for source in sources if split_source(source)[0] in SIZES]
        if not sources:
            return {}
        found = trees.files_below(self.tree)
        return sizes(sources, {path: file for path, file in found.items() if not file.is_symlink()})


def needs_run(declared: Declaration) -> bool:
    """Return whether a value is taken of `run` or of its judge, so that it can be repeated."""
    return metric_kind(declared.metric) not in SIZES


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content
