"""Define a finding as it is shared: a change, its effect with an interval, what it cost, and where it was found.

The constraints on the fields are those that schema.read() checks in files of other people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from pydantic import Field

from autoresearch.findings.schema import (
    Amount,
    CodeHash,
    ConstantName,
    Count,
    Line,
    LiteralText,
    Positive,
    Prose,
    Runs,
    Score,
    Sha256,
    SourceText,
)
from autoresearch.metrics import VAL_BPB, Direction, Metric, Scale, Scatter, Trust
from autoresearch.system import machine

SharedVerdict = Literal["keep", "discard", "crash", "quarantined"]
# Source text of a constant's value; None where the constant does not exist.
BeforeAfter = tuple[LiteralText | None, LiteralText | None]
TransferVerdict = Literal["transfers", "null", "reverses", "cannot run"]


@dataclass(frozen=True, slots=True)
class SharedMachine:
    """The kind of machine that a night ran on. Nothing in it identifies the person or the individual machine."""

    chip: Line  # "Apple M4 Pro"; "unknown" in imported results
    system: Line | None = None
    os: Line | None = None  # "macOS 26.2"
    model: Line | None = None  # "Mac16,11"
    gpu_cores: Count | None = None
    cpu_cores: Count | None = None  # physical
    cpu_levels: Annotated[tuple[tuple[Line, Count], ...], Field(max_length=8)] = ()
    memory_gb: Count | None = None
    power: Line | None = None  # "ac" or "battery", at the start
    low_power: bool | None = None

    def describe(self) -> str:
        """Return one line: "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"."""
        return f"{self.kind}, {self.os}" if self.os else self.kind

    @property
    def kind(self) -> str:
        """The class of machine, whatever its system: "Apple M4 Pro, 20 GPU cores, 24 GB"."""
        known = self.gpu_cores or self.cpu_cores
        cores = machine.cores(self.gpu_cores, self.cpu_cores) if known else None
        memory = f"{self.memory_gb} GB" if self.memory_gb else None
        return ", ".join(str(part) for part in (self.chip, cores, memory) if part)


@dataclass(frozen=True, slots=True)
class SharedMetric:
    """The number that a night's task is judged by: autoresearch.metrics.Metric, of whoever wrote the file."""

    name: Line = VAL_BPB.name
    unit: Line = VAL_BPB.unit
    direction: Direction = VAL_BPB.direction
    scale: Scale = VAL_BPB.scale
    trust: Trust = VAL_BPB.trust
    scatter: Scatter = VAL_BPB.scatter
    decimals: Annotated[int, Field(ge=0, le=12)] | None = VAL_BPB.decimals

    @classmethod
    def of(cls, metric: Metric) -> SharedMetric:
        return cls(**{f.name: getattr(metric, f.name) for f in fields(cls)})

    @property
    def metric(self) -> Metric:
        return Metric(**{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class SharedTask:
    """What was optimised, on what. Figures compare within one fingerprint, profile and budget only."""

    dataset: Line | None = None  # a public name, "own text" or "own files"
    profile: Line | None = None
    fingerprint: Line | None = None  # of the prepared data
    seq_len: Count | None = None
    vocab_size: Count | None = None
    eval_tokens: Count | None = None
    eval_rows: Count | None = None
    budget_s: Positive | None = None  # seconds of training a run
    metric: SharedMetric = field(default_factory=SharedMetric)


@dataclass(frozen=True, slots=True)
class Effect:
    """Gain in scores over the incumbent of that time; positive is better. Without replicates, no bounds."""

    gain_score: Score
    low_score: Score | None = None  # bounds of the 95% interval
    high_score: Score | None = None
    runs: Runs = 1
    against: Runs = 1  # of the incumbent
    method: Line = ""

    @property
    def direction(self) -> int | None:
        """1 better, -1 worse, 0 within the noise; None where there is no interval."""
        if self.low_score is None or self.high_score is None:
            return None
        return 1 if self.low_score > 0 else -1 if self.high_score < 0 else 0


@dataclass(frozen=True, slots=True)
class PatchBlock:
    """Whole lines `search`, which occur once in the parent, and the lines `replace` in their place."""

    search: SourceText
    replace: SourceText
    path: Line | None = None  # of the file of a declared task


@dataclass(frozen=True, slots=True)
class Change:
    """The patch against the parent: apply the blocks and whole files in their order, then set the constants of `set`.

    `constants` are all constants that differ, however the patch changes them.
    """

    constants: Annotated[Mapping[ConstantName, BeforeAfter], Field(max_length=200)] = field(default_factory=dict)
    set: Annotated[Mapping[ConstantName, LiteralText], Field(max_length=200)] = field(default_factory=dict)
    blocks: Annotated[tuple[PatchBlock, ...], Field(max_length=500)] = ()
    files: Annotated[Mapping[Line, SourceText], Field(max_length=500)] = field(default_factory=dict)  # whole, by path
    touches: Annotated[tuple[Line, ...], Field(max_length=500)] = ()  # the blocks' definitions: "GPT.__call__"
    code: CodeHash | None = None  # of the blocks, whatever surrounds them


@dataclass(frozen=True, slots=True)
class SharedRun:
    """One run: its score and its cost."""

    purpose: Literal["search", "repeat", "incumbent", "final"]
    score: Score | None = None
    hour: Amount | None = None  # hours into the night at its start
    training_s: Amount | None = None
    num_steps: Count | None = None
    total_tokens: Count | None = None
    num_params: Count | None = None
    tok_s: Amount | None = None
    peak_memory_mb: Amount | None = None
    mfu_percent: Amount | None = None
    speed_index: Amount | None = None  # the machine's speed at that moment
    power: Line | None = None
    low_power: bool | None = None
    thermal: Line | None = None
    failure: Line | None = None  # its kind


@dataclass(frozen=True, slots=True)
class Finding:
    """One experiment: the change and the reason for it, the result, and the cost."""

    n: Count
    role: Literal["baseline", "candidate"]
    verdict: SharedVerdict
    title: Line
    hypothesis: Prose = ""
    category: Line = "other"
    proposer: Line = ""
    reason: Prose = ""  # for the verdict
    parent: Count | None = None  # the experiment that was the incumbent at that time
    source: Sha256 | None = None  # hash of its source, which the bundle holds
    change: Change | None = None
    effect: Effect | None = None
    score: Score | None = None  # the estimate at the end of the night, over all its runs
    hour: Amount | None = None  # hours into the night when it was decided
    runs: Annotated[tuple[SharedRun, ...], Field(max_length=1000)] = ()
    failure: Prose | None = None  # its kind and message
    of: Count | None = None  # number of the experiment in another bundle that it repeats

    @property
    def cost(self) -> SharedRun | None:
        """The run that shows what the version costs: the first measured one."""
        return next((run for run in self.runs if run.score is not None), None)


@dataclass(frozen=True, slots=True)
class TransferOutcome:
    """The result here of one change that another machine kept."""

    n: Count  # the experiment there
    title: Line
    verdict: TransferVerdict
    reason: Prose = ""
    experiment: Count | None = None  # the experiment here
    there: Effect | None = None
    here: Effect | None = None


@dataclass(frozen=True, slots=True)
class SharedHint:
    """The result here of a change that the night's proposers were told of: `verdict` is on the claim from elsewhere."""

    change: Sha256  # agreement.change_id of the change that was told
    title: Line
    verdict: TransferVerdict
    experiment: Count  # the one here, with the same change or with one constant moved the same way
    there: Effect | None = None
    here: Effect | None = None


@dataclass(frozen=True, slots=True)
class TransferReport:
    """The bundle that a transfer replays: its id, its machine, and the verdict here on each of its changes."""

    id: Sha256
    machine: Line
    sigma_score: Amount | None = None  # there
    rows: Annotated[tuple[TransferOutcome, ...], Field(max_length=2000)] = ()
