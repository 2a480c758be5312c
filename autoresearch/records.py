"""The nouns that pass between the rooms of the house. Plain frozen data; no behaviour, no input or output.

A *candidate* is one version of train_mlx.py. The *incumbent* is the best known one. A *proposal* is edits to the
incumbent with the reason for them; an *experiment* is a numbered candidate; a *run* is one training and evaluation of
it with one seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Verdict = Literal["keep", "discard", "crash"]

CATEGORIES = (
    "depth",
    "width",
    "attention",
    "mlp",
    "embedding",
    "normalisation",
    "initialisation",
    "optimizer",
    "learning_rate",
    "schedule",
    "regularisation",
    "batch",
    "precision",
    "speed",
    "simplification",
    "other",
)
TITLE_CHARS = 79  # of a proposal's title, at most
HYPOTHESIS_CHARS = 600  # of its hypothesis, at most


# --- edits: the four ways to change the editable file ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Set:
    """`SET NAME = literal`: a module-level constant gets a new value, e.g. Set("MATRIX_LR", "0.05")."""

    name: str
    literal: str


@dataclass(frozen=True, slots=True)
class SearchReplace:
    """Exactly one occurrence of `search` (whole lines) becomes `replace`; an empty `replace` deletes."""

    search: str
    replace: str


@dataclass(frozen=True, slots=True)
class ReplaceDefinition:
    """The module-level function or class (or `Class.method`) `name` becomes `body`, its whole new source."""

    kind: Literal["def", "class"]
    name: str
    body: str


@dataclass(frozen=True, slots=True)
class WholeFile:
    source: str


Edit = Set | SearchReplace | ReplaceDefinition | WholeFile


@dataclass(frozen=True, slots=True)
class Proposal:
    """One idea: edits to the incumbent and the reason for them."""

    edits: tuple[Edit, ...]
    title: str  # at most TITLE_CHARS
    hypothesis: str
    category: str  # one of CATEGORIES
    proposer: str  # "tuner", "ollama:qwen3.5:9b", "command", "by hand"
    usage: Mapping[str, float] = field(default_factory=dict)  # prompt_tokens, answer_tokens, seconds, repairs, ...
    mends: int | None = None  # the experiment whose failure it mends; its own number where only the contract refused it
    origin: int | None = None  # the experiment on another machine that it repeats, when a transfer proposed it


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal made into a source: applied, new, and checked once. search/gate.py makes it; what runs is `source`."""

    source: str
    proposal: Proposal
    parent_n: int | None  # the experiment whose source the edits changed; None for a baseline
    violations: tuple[str, ...] = ()  # of the contract; with any, it is recorded as a crash and never run


# --- measurement ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run has no val_bpb. `kind` is a row of failures.KINDS, or a word of the child."""

    kind: str
    message: str  # one line for a person and for results
    detail: str = ""  # the relevant end of the traceback or log, for repair


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """State of the machine at one moment: power, heat, memory and clocks. None stands for what it cannot tell.

    `monotonic` stands still while the machine sleeps, `since_boot` does not, and `wall` can be set by hand.
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


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of a candidate. Absent is None: a crash has no val_bpb. Units are in the names."""

    seed: int
    val_bpb: float | None = None  # bits per UTF-8 byte, lower is better
    failure: Failure | None = None
    training_s: float | None = None  # clock_started to trained, by the parent's clock
    total_s: float = 0.0
    seconds: Mapping[str, float] = field(
        default_factory=dict
    )  # shares of total_s: startup, training, saving, evaluation, overhead
    num_steps: int | None = None
    total_tokens: int | None = None
    epochs: float | None = None
    num_params: int | None = None
    depth: int | None = None  # the candidate's DEPTH constant, when it has one
    tok_s: float | None = None  # training tokens a second
    peak_memory_mb: float | None = None  # MLX's peak in the train child, cache left out
    mfu_percent: float | None = None
    train_loss: float | None = None  # nats a token, the last logged step
    loss_curve: tuple[tuple[float, float], ...] = ()  # (progress, nats a token), at most 64 points
    behind_nats: float | None = None  # training loss above the incumbent's at half the budget, where both compare
    stop_limit_nats: float | None = None  # of the early stop in force; None: it was off
    speed_index: float | None = None  # a fixed micro-benchmark around the training, 1.0 = this machine's usual speed
    machine_before: MachineState | None = None
    machine_after: MachineState | None = None

    @property
    def ok(self) -> bool:
        return self.val_bpb is not None

    @property
    def past_limit(self) -> bool:
        """Whether it was so far behind that the early stop is for it; with a val_bpb, it ran on as a sample."""
        behind, limit = self.behind_nats, self.stop_limit_nats
        return behind is not None and limit is not None and behind > limit

    @property
    def stopped(self) -> bool:
        return self.past_limit and self.val_bpb is None and self.failure is None


# --- decision -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """What the keep rule says: a verdict, or one more run of `rerun` first."""

    verdict: Verdict | None
    rerun: Literal["candidate", "incumbent"] | None
    reason: str  # one line for a person
    delta_bpb: float | None = None  # incumbent - candidate: positive is better
    sigma_bpb: float | None = None
    z: float | None = None


# --- what a proposer sees ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """A decided experiment, as history for proposers."""

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
    delta_bpb: float | None  # against its incumbent of the time: positive is better
    sigma_bpb: float | None
    val_bpb: float | None
    failure: Failure | None = None
    tok_s: float | None = None
    num_steps: int | None = None
    peak_memory_mb: float | None = None
    origin: int | None = None  # as Proposal.origin


@dataclass(frozen=True, slots=True)
class Directive:
    """The kind of turn that the harness asks for, e.g. Directive("refine", "Turn one constant ...")."""

    kind: str
    text: str
    category: str | None = None  # a forced category
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class HintLine:
    """A finding of other machines. It is no trial: nothing of it was measured here."""

    text: str  # a line, in the words of whoever found it
    constants: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # numbers, there: (old, new); else empty
    gains_sigma: tuple[float, ...] = ()  # on each of the machines; below zero: it lost there


@dataclass(frozen=True, slots=True)
class Context:
    """All a proposer may know. History is oldest first and holds every decided experiment of the night."""

    source: str  # the incumbent's train_mlx.py
    incumbent_bpb: float
    sigma_bpb: float
    program: str  # program.md, verbatim
    task: Mapping[str, Any]  # meta.json's facts and budget_s
    machine: str  # one or two lines: chip, cores, memory, tokens a second, steps in the budget, peak memory, MFU
    history: Sequence[Trial] = ()
    directive: Directive | None = None
    seed: int = 0
    turn: int = 0  # the number of the next experiment
    hints: Sequence[HintLine] = ()  # what other machines found, the largest effects first


class Proposer(Protocol):
    """A source of ideas. `propose` raises ProposerError when it has none to give now; the loop goes on with another."""

    @property
    def name(self) -> str: ...

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """At most n proposals for the incumbent in `context`; their edits apply to `context.source`."""
        ...

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """A mended proposal after a failure that cost no training, or None."""
        ...

    def release(self) -> None:
        """Give the machine's memory back before training. Returns when it is free."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Learning(Protocol):
    """A proposer that keeps count of how its ideas ended."""

    def learn(self, history: Sequence[Trial]) -> None:
        """Told of every decided experiment of the night: as a session begins, before a proposal, as it ends."""
        ...
