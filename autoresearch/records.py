"""Define the data types that the packages share. They are frozen and do no I/O.

A *candidate* is one version of the files that may change. The *incumbent* is the best known one. A *proposal* is edits
to the incumbent with the reason for them; an *experiment* is a numbered candidate; a *run* measures it once, with one
seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from autoresearch.metrics import VAL_BPB, Metric

Verdict = Literal["keep", "discard", "crash"]
Say = Callable[[str], object]  # shows a line to a person
Role = Literal["baseline", "candidate"]
# Why a run is made. search: a candidate's first; repeat: a further one, which its first earned; incumbent: one more of
# the incumbent or the baseline; final: of the final validation, on the test split; newcomer: to compare a machine.
Purpose = Literal["search", "repeat", "incumbent", "final", "newcomer"]

CATEGORIES = (
    *("depth", "width", "attention", "mlp", "embedding", "normalisation", "initialisation", "optimizer"),
    *("learning_rate", "schedule", "regularisation", "batch", "precision", "speed", "simplification", "other"),
)
TITLE_CHARS = 79  # of a proposal's title, at most
HYPOTHESIS_CHARS = 600  # of its hypothesis, at most


# --- the task --------------------------------------------------------------------------------------------------------

GPT = "gpt"  # the name of the task of training


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is trained on, how it is scored, and for how long. What is not known is None."""

    dataset: str | None = None  # name in the cache, e.g. "climbmix"
    profile: str | None = None  # e.g. "mac"
    fingerprint: str | None = None  # hash of the prepared data
    seq_len: int | None = None  # tokens
    vocab_size: int | None = None
    eval_tokens: int | None = None  # that a score is made of
    eval_rows: int | None = None  # of one batch of the evaluation
    budget_s: float | None = None  # seconds of training a run
    source: str | None = None  # where the text came from, for people
    name: str = GPT  # of the task: training, or the folder of a declared one
    metric: Metric = VAL_BPB
    files: tuple[str, ...] = ("train_mlx.py",)  # that experiments change, the main one first
    has_test: bool = True  # the final validation judges by what the search never saw

    @property
    def unseen(self) -> str:
        """Say by what the final validation judges: "on the test split"."""
        if self.name == GPT:
            return "on the test split"
        return "on what was hidden" if self.has_test else "with fresh runs, since nothing is hidden"


# Fields of TaskFacts in which two results have to agree to be comparable, and what it means where they differ.
COMPARABLE: Mapping[str, str] = {
    "dataset": "the data differ, and so does what a value means",
    "fingerprint": "the data differ, and so does what a value means: values do not compare across them",
    "profile": "context, vocabulary and evaluation differ: values do not compare across them",
    "budget_s": "another budget is another question: what pays in one may not pay in the other",
}


# --- edits: the four ways to change a file ---------------------------------------------------------------------------
# `path` is the file's below the task's folder. None: training's one file, the only file that an edit fits, or the main
# one. edits.settled gives blocks and files of a declared task their paths, and constants the names of constants.read.


@dataclass(frozen=True, slots=True)
class Set:
    """Give a constant or a key a new value: Set("MATRIX_LR", "0.05") is `SET MATRIX_LR = 0.05` in a reply."""

    name: str
    literal: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class SearchReplace:
    """Replace the whole lines `search`, which occur exactly once, by `replace`; an empty `replace` deletes them."""

    search: str
    replace: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class ReplaceDefinition:
    """Replace the function or class `name` of a Python module, or the method `Class.method`, by `body`."""

    kind: Literal["def", "class"]
    name: str
    body: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class WholeFile:
    """Replace a whole file by `source`."""

    source: str
    path: str | None = None


Edit = Set | SearchReplace | ReplaceDefinition | WholeFile


@dataclass(frozen=True, slots=True)
class Proposal:
    """An idea: edits to the incumbent and the reason for them."""

    edits: tuple[Edit, ...]
    title: str  # at most TITLE_CHARS
    hypothesis: str
    category: str  # one of CATEGORIES
    proposer: str  # "tuner", "ollama:qwen3.5:9b", "command", "by hand"
    usage: Mapping[str, float] = field(default_factory=dict)  # prompt_tokens, answer_tokens, seconds, repairs, ...
    mends: int | None = None  # the experiment whose failure it mends; its own number where only the contract refused it
    origin: int | None = None  # the experiment on another machine that it repeats, when a transfer proposed it
    instead_of: Mapping[str, str] = field(default_factory=dict)  # proposer whose turn it was -> why it had no idea
    inbox_id: str | None = None  # of the hypothesis in the night's inbox that it tests


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal applied to its parent and checked against the contract. search/gate.py makes it; `source` is run."""

    source: str
    proposal: Proposal
    parent_n: int | None  # the experiment whose source the edits changed; None for a baseline
    violations: tuple[str, ...] = ()  # of the contract; with any, it is recorded as a crash and never run
    broken: Failure | None = None  # what it failed of on small arrays; with it, the same


# --- measurement ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason why a run has no score. `kind` is a row of failures.KINDS, or any word that a child sent."""

    kind: str
    message: str  # one line, for a person and for results.tsv
    detail: str = ""  # the relevant end of the traceback or log, for the proposer that mends it


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """State of the machine at one moment: power, heat, memory and clocks. What this machine cannot tell is None.

    `monotonic` stops while the machine sleeps and `since_boot` does not; `wall` can be set by hand.
    """

    monotonic: float  # seconds, from any origin
    since_boot: float  # seconds
    wall: float  # POSIX seconds
    free_memory_mb: int  # available without swapping
    swap_mb: int | None = None  # in use
    memory_pressure: str | None = None  # "normal", "warning" or "critical"; macOS only
    power: str | None = None  # "ac" or "battery"
    battery_percent: int | None = None  # None where there is no battery
    battery_left_s: int | None = None  # by the system's own estimate
    low_power: bool | None = None
    thermal: str | None = None  # one of machine.THERMAL_LEVELS; macOS only
    others_cpu_s: float | None = None  # since boot, by other programs, a core


@dataclass(frozen=True, slots=True)
class Measurement:
    """Result of one run of a candidate. A value that was not measured is None, never 0; units are in the names."""

    seed: int
    score: float | None = None  # lower is better; Metric.value turns it into what a person reads
    failure: Failure | None = None
    training_s: float | None = None  # clock_started to trained, by the parent's clock
    total_s: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)  # parts of total_s: startup, training, saving, ...
    num_steps: int | None = None
    total_tokens: int | None = None
    epochs: float | None = None
    num_params: int | None = None
    depth: int | None = None  # the candidate's DEPTH constant, when it has one
    tok_s: float | None = None  # training tokens per second
    peak_memory_mb: float | None = None  # MLX's peak in the training child, without its cache
    mfu_percent: float | None = None  # of product_tflops
    product_tflops: float | None = None  # a square matrix product's here, in the type that the candidate computes in
    train_loss: float | None = None  # nats per token, at the last logged step
    loss_curve: tuple[tuple[float, float], ...] = ()  # (progress, nats per token), at most 64 points
    behind_nats: float | None = None  # training loss minus the incumbent's at half the budget, if comparable
    stop_limit_nats: float | None = None  # the early stop's limit; None: it was off
    speed_index: float | None = None  # speed in a fixed benchmark around the training; 1.0 is this machine's usual
    probe_nats: float | None = None  # largest change of a target's loss in a probe; an honest model shows almost none
    figures: Mapping[str, float] = field(default_factory=dict)  # what else a declared task measured, by name
    cases: tuple[float, ...] = ()  # the score of each case, in a fixed order, where the task has cases
    beside: bool = False  # measured in turns with another version, to whose score the difference was added
    member: str | None = None  # of a fleet, that made the run
    machine_before: MachineState | None = None
    machine_after: MachineState | None = None

    @property
    def ok(self) -> bool:
        """Whether the run has a score."""
        return self.score is not None

    @property
    def past_limit(self) -> bool:
        """Whether the run was over the early stop's limit. Some such runs are completed, to test the limit."""
        behind, limit = self.behind_nats, self.stop_limit_nats
        return behind is not None and limit is not None and behind > limit

    @property
    def stopped(self) -> bool:
        """Whether the early stop ended the run."""
        return self.past_limit and self.score is None and self.failure is None


# --- decision -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """Result of the keep rule: a verdict, or a request for one more run of `rerun` first."""

    verdict: Verdict | None
    rerun: Literal["candidate", "incumbent"] | None
    reason: str  # one line for a person
    delta_score: float | None = None  # incumbent minus candidate: positive is better
    sigma_score: float | None = None
    z: float | None = None


# --- what a proposer sees ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """A decided experiment, as proposers see it."""

    n: int
    proposer: str
    title: str
    hypothesis: str
    category: str
    edits: tuple[Edit, ...]
    source: str
    parent_source: str
    verdict: Verdict
    reason: str
    delta_score: float | None  # the incumbent of that time minus this: positive is better
    sigma_score: float | None
    score: float | None
    failure: Failure | None = None
    tok_s: float | None = None
    num_steps: int | None = None
    peak_memory_mb: float | None = None
    origin: int | None = None  # as Proposal.origin


@dataclass(frozen=True, slots=True)
class Directive:
    """Instruction for the next turn, e.g. Directive("refine", "Turn one constant ...")."""

    kind: str
    text: str
    category: str | None = None  # that the proposal must have
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class HintLine:
    """A finding of other machines, as a proposer is told it. Nothing of it was measured on this machine."""

    text: str  # one line, in the words of its finder
    constants: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # numbers that it changed: (old, new)
    gains: tuple[float, ...] = ()  # per machine; negative where it lost
    unit: str = "s"  # of the gains: sigma of one run, percent of the value, or the metric's own


@dataclass(frozen=True, slots=True)
class Brief:
    """What a proposer is told of a task beside its files and its history."""

    role: str  # what is edited, what judges it, what the proposer's job is: the beginning of a prompt
    api: str = ""  # what the files can use
    categories: tuple[str, ...] = CATEGORIES
    levers: Mapping[str, str] = field(default_factory=dict)  # category -> what to try first
    knobs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # declared: constant -> its values or its range
    read: Mapping[str, str] = field(default_factory=dict)  # files that are shown and may not change
    ideas: Mapping[str, str] = field(default_factory=dict)  # ready-made changes: name -> text, as a reply would be


@dataclass(frozen=True, slots=True)
class Context:
    """All that a proposer may know. `history` holds every decided experiment of the night, oldest first."""

    source: str  # to edit: train_mlx.py, or packed files (candidate/pack.py)
    incumbent_score: float
    sigma_score: float
    program: str  # program.md, verbatim
    task: TaskFacts
    machine: str  # one or two lines: chip, cores, memory, tokens a second, steps in the budget, peak memory, MFU
    history: Sequence[Trial] = ()
    directive: Directive | None = None
    seed: int = 0
    turn: int = 0  # the number of the next experiment
    hints: Sequence[HintLine] = ()  # findings of other machines, the most replicated first
    parent_n: int = 0  # the experiment whose source is `source`: the incumbent, or an ancestor of it
    brief: Brief | None = None  # of the task; None: training


class Proposer(Protocol):
    """A source of ideas."""

    @property
    def name(self) -> str: ...

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return at most n proposals, whose edits apply to `context.source`. Raises ProposerError when it has none."""
        ...

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """Return a mended proposal after a failure that cost no training; None when it has none."""
        ...

    def release(self, training_mb: float | None = None) -> bool:
        """Free the memory that the proposer holds, and return when it is free. Raises ProposerError when it is not.

        Where a training of `training_mb` fits beside it, it may stay. Return whether anything stays.
        """
        ...

    def close(self) -> None:
        """End what the proposer has started."""
        ...


@runtime_checkable
class LearningProposer(Protocol):
    """A proposer that counts how its ideas ended."""

    def learn(self, history: Sequence[Trial]) -> None:
        """Take in every decided experiment of the night; called at the loop's start and end, and before a proposal."""
        ...
