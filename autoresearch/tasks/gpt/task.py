"""Make training a task of the loop: a language model's, judged by its val_bpb.

Nothing of it can be declared or changed by a file: the judge, the clock, the probes and the contract are the harness's.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from autoresearch import texts
from autoresearch.errors import AutoresearchError
from autoresearch.measure import experiment
from autoresearch.measure.follower import Listener
from autoresearch.measure.preflight import preflight
from autoresearch.measure.workbench import Workbench, probe_tolerance
from autoresearch.paths import EDITABLE, Cache, Layout
from autoresearch.record.branch import Branch
from autoresearch.records import Brief, Failure, Measurement, Say, TaskFacts
from autoresearch.system import gpu
from autoresearch.system.machine import Facts
from autoresearch.tasks.gpt import contract, first_commits
from autoresearch.tasks.gpt.data import corpus, prepared
from autoresearch.tasks.gpt.data.prepared import Meta
from autoresearch.tasks.gpt.workbench import choose_data, workbench
from autoresearch.tasks.task import RunOrder

TASK_FACTS = ("dataset", "profile", "fingerprint", "seq_len", "vocab_size", "eval_tokens", "eval_rows", "source")
EVALUATION_FLOOR_S = 120.0  # what a candidate's evaluation may take in any case
EVALUATIONS = 10  # times the baseline's slowest that it may take: a candidate may be deeper, and learn by it
LEAST_STEPS = 3  # in the budget, of a baseline or an incumbent: with fewer no training ends in time
STARTUP_FLOOR_S = 60.0  # what a candidate's start may take in any case: new kernels, a busy machine
COMPILING_FLOOR_S = 180.0  # the same where g++ compiles the kernels
COMPILING_PREFLIGHT_S = 60.0  # what a try on small arrays may take where kernels are compiled
CUDA_FLOOR_S = 300.0  # the same with CUDA: a first step without any kernel took 147 s on an H100


@dataclass
class GptTask:
    """Training train_mlx.py for a fixed time, scored in bits per byte of held-out text."""

    layout: Layout
    bench: Workbench
    meta: Meta  # of the prepared data
    machine: Facts

    @classmethod
    def open(
        cls,
        layout: Layout,
        before: TaskFacts,
        machine: Facts,
        say: Say,
        *,
        dataset: str | None = None,
        profile: str | None = None,
        budget_s: float | None = None,
        no_sandbox: bool = False,
    ) -> GptTask:
        """Return the task on the data that is asked for, else on what the tag was begun on, else on the best there is.

        Raises an AutoresearchError where the data or the sandbox is not fit for a night.
        """
        data = choose_data(dataset or before.dataset, profile or before.profile, say)
        bench = workbench(data, layout.folder, layout.root, budget_s or before.budget_s, no_sandbox, say)
        meta = prepared.load_meta(data)
        if changed := corpus.changed_source(meta):
            say(f"data: {changed}")
        return cls(layout, bench, meta, machine)

    # --- what it is ---

    @property
    def facts(self) -> TaskFacts:
        return TaskFacts(**{name: getattr(self.meta, name) for name in TASK_FACTS}, budget_s=self.bench.budget_s)

    @property
    def versions(self) -> Mapping[str, str]:
        """MLX, Python and the hash of the harness."""
        harness = hashlib.sha256(b"".join(f.read_bytes() for f in self.bench.harness)).hexdigest()[:16]
        return {"mlx": version("mlx"), "python": platform.python_version(), "harness": harness}

    @property
    def run_s(self) -> float:
        return self.bench.budget_s

    def describe(self) -> str:
        """Return what a run does, for people: "climbmix/mac, 300 s of training per run"."""
        facts = self.facts
        return f"{facts.dataset}/{facts.profile}, {self.bench.budget_s:g} s of training per run"

    def program(self) -> str:
        return texts.brief(self.layout.program)

    def brief(self) -> Brief | None:
        return None

    # --- its file ---

    def read(self, contents: Callable[[str], bytes]) -> str:
        content = contents(EDITABLE)
        if not content.strip():
            raise AutoresearchError(
                f"{EDITABLE} is not there. Bring it back: git checkout COMMIT -- {EDITABLE} && git commit -m back"
            )
        return texts.source(content, EDITABLE)

    def files(self, source: str) -> dict[str, bytes]:
        return {EDITABLE: source.encode()}

    def check(self, source: str, base: str) -> tuple[str, ...]:
        return tuple(str(violation) for violation in contract.check(source, base))

    def preflight(self, source: str) -> Failure | None:
        """Try the source on small arrays, confined; see measure/preflight.py."""
        return preflight(self.bench, source, self.layout.preflight)

    def first_commits(self, branch: Branch, say: Say) -> None:
        """Commit the constants of the data's profile, and those that train fastest on this machine."""
        fits = Cache.default().fits(self.machine.slug())
        first_commits.from_profile(branch, self.meta, say)
        first_commits.fit_to_machine(branch, self.bench, self.machine, self.layout.fit, fits, say)

    # --- its runs ---

    def limit_candidates(self, baseline: Sequence[Measurement]) -> None:
        """Limit what candidates may take by the baseline's slowest start and evaluation, and by a sixth of its steps.

        A start that takes over twice as long and 5 s is taken off the training, and ends the run only where it is past
        a floor as well. How far a probe may move their scores follows from how far it moves the baseline's.
        """
        compiling = sys.platform != "darwin" and "MLX_DISABLE_COMPILE" not in self.bench.env
        slow_s = CUDA_FLOOR_S if gpu.find() is not None else COMPILING_FLOOR_S
        floor_s = slow_s if compiling else STARTUP_FLOOR_S
        starts = [m.seconds.get("startup", 0.0) + m.seconds.get("warmup", 0.0) for m in baseline]
        scorings = [m.seconds.get("evaluation", 0.0) for m in baseline]
        usual_s = 2 * max(starts, default=0.0) + 5
        steps = min((m.num_steps for m in baseline if m.num_steps), default=0)
        self.bench = replace(
            self.bench,
            startup_limit_s=max(floor_s, usual_s),
            preflight_limit_s=COMPILING_PREFLIGHT_S if compiling else self.bench.preflight_limit_s,
            free_start_s=max(floor_s, usual_s) if compiling else usual_s,
            evaluation_limit_s=max(EVALUATION_FLOOR_S, EVALUATIONS * max(scorings, default=EVALUATION_FLOOR_S)),
            min_steps=min(self.bench.min_steps, steps // 6),
            probe_nats=probe_tolerance([m.probe_nats for m in baseline if m.probe_nats is not None]),
        )

    def measure(self, order: RunOrder, listen: Listener) -> Measurement:
        """Train and score once. A baseline, which a person wrote, is measured however slow; its kernels are kept."""
        ours, first = order.role == "baseline", order.purpose == "search"
        bench = replace(self.bench, min_steps=LEAST_STEPS) if ours or not first else self.bench
        return experiment.measure(
            bench,
            order.source,
            order.folder,
            order.seed,
            listen,
            split="test" if order.purpose == "final" else "val",
            keep_kernels=ours,
            early_stop=order.early_stop,
            ceiling_score=order.ceiling_score,
        )

    def score_again(self, order: RunOrder, run: int) -> Measurement | None:
        """Score the checkpoint of a run again, in batches of other rows and in another order."""
        rows = max(1, (self.facts.eval_rows or 8) // 2 - 1)
        return experiment.evaluate(self.bench, order.source, order.folder, order.seed, "val", rows=rows, order=run + 1)
