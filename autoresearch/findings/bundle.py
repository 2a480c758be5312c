"""Findings that travel: a night as one file, and each of its changes as something that can be measured elsewhere.

A finding is a change (a patch against its parent), its effect with an interval, what it cost, and where it was found.
A bundle is all findings of one night with every source. It is data: reading one checks it and runs nothing. Its id is
a hash of its content and sources are known by their hashes, so that a copy can be told from a changed one.

The file is JSON of the form {"format": FORMAT, "version": 1, "id": ..., and the fields of Bundle}; its JSON Schema is
findings/schema.json. Absent is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from autoresearch.decide import validation
from autoresearch.errors import BundleError
from autoresearch.files import write_atomic
from autoresearch.findings import schema
from autoresearch.findings.schema import Many, Number, Text
from autoresearch.system import machine

FORMAT = "autoresearch-metal findings"
VERSION = 2
MOST_BYTES = 64 << 20  # of a file: a thousand experiments on sources of the largest size
LEVEL = 0.95  # of every interval

Sha256 = Annotated[str, Text(64, r"[0-9a-f]{64}")]
Line = Annotated[str, Text(300)]
Prose = Annotated[str, Text(4000, lines=True)]
Source = Annotated[str, Text(1_000_000, lines=True)]
Name = Annotated[str, Text(80, r"[A-Za-z_][A-Za-z0-9_.]*")]
Literals = Annotated[str, Text(30_000, lines=True)]
Count = Annotated[int, Number(0, 10**15)]
Amount = Annotated[float, Number(0.0, 1e15)]
Positive = Annotated[float, Number(most=1e15, above=0.0)]

SharedVerdict = Literal["keep", "discard", "crash", "quarantined"]
Outcome = Literal["transfers", "null", "reverses", "cannot run"]


@dataclass(frozen=True, slots=True)
class SharedMachine:
    """Where it was found. Nothing names the person or the one machine."""

    chip: Line  # "Apple M4 Pro"; "unknown" for what was imported
    system: Line | None = None
    os: Line | None = None  # "macOS 26.2"
    model: Line | None = None  # "Mac16,11"
    gpu_cores: Count | None = None
    cpu_cores: Count | None = None  # physical
    cpu_levels: Annotated[tuple[tuple[Line, Count], ...], Many(8)] = ()
    memory_gb: Count | None = None
    power: Line | None = None  # "ac" or "battery", at the start
    low_power: bool | None = None

    def describe(self) -> str:
        """One line: "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"."""
        known = self.gpu_cores or self.cpu_cores
        cores = machine.cores(self.gpu_cores, self.cpu_cores) if known else None
        memory = f"{self.memory_gb} GB" if self.memory_gb else None
        return ", ".join(str(part) for part in (self.chip, cores, memory, self.os) if part)


@dataclass(frozen=True, slots=True)
class SharedTask:
    """What was trained on and for how long. Figures compare within one fingerprint, profile and budget."""

    dataset: Line | None = None  # a public name, or "own text"
    profile: Line | None = None
    fingerprint: Line | None = None  # of the prepared data
    seq_len: Count | None = None
    vocab_size: Count | None = None
    eval_tokens: Count | None = None
    eval_rows: Count | None = None
    budget_s: Positive | None = None  # seconds of training a run


@dataclass(frozen=True, slots=True)
class Effect:
    """Bits per byte gained over the incumbent of its time: positive is better. No bounds: no replicates."""

    gain_bpb: float
    low_bpb: float | None = None  # the interval holds the gain at 95%
    high_bpb: float | None = None
    runs: Count = 1
    against: Count = 1  # runs of the incumbent
    method: Line = ""

    @property
    def direction(self) -> int | None:
        """1 better, -1 worse, 0 within the noise; None where there is no interval."""
        if self.low_bpb is None or self.high_bpb is None:
            return None
        return 1 if self.low_bpb > 0 else -1 if self.high_bpb < 0 else 0


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines `search`, which stand in one place of the parent, become `replace`."""

    search: Source
    replace: Source


@dataclass(frozen=True, slots=True)
class Change:
    """The patch against the parent: the blocks in their order, then the constants of `set`."""

    constants: Annotated[Mapping[Name, tuple[Literals | None, Literals | None]], Many(200)] = field(
        default_factory=dict
    )  # every one that differs: the source text of its value before and after; null where there is no such constant
    set: Annotated[Mapping[Name, Literals], Many(200)] = field(default_factory=dict)
    blocks: Annotated[tuple[Block, ...], Many(500)] = ()
    touches: Annotated[tuple[Line, ...], Many(500)] = ()  # definitions that the blocks are in, e.g. "GPT.__call__"
    code: Annotated[str, Text(16, "[0-9a-f]{16}")] | None = None  # a hash of the blocks, the same in any surroundings


@dataclass(frozen=True, slots=True)
class SharedRun:
    """One training and evaluation: val_bpb and what it cost."""

    purpose: Literal["search", "repeat", "incumbent", "final"]
    val_bpb: Amount | None = None
    hour: Amount | None = None  # of the night, when it began
    training_s: Amount | None = None
    num_steps: Count | None = None
    total_tokens: Count | None = None
    num_params: Count | None = None
    tok_s: Amount | None = None
    peak_memory_mb: Amount | None = None
    mfu_percent: Amount | None = None
    speed_index: Amount | None = None  # of the machine at that moment
    power: Line | None = None
    low_power: bool | None = None
    thermal: Line | None = None
    failure: Line | None = None  # its kind


@dataclass(frozen=True, slots=True)
class Finding:
    """One experiment: what was changed and why, what came of it, and what it cost."""

    n: Count
    role: Literal["baseline", "candidate"]
    verdict: SharedVerdict
    title: Line
    hypothesis: Prose = ""
    category: Line = "other"
    proposer: Line = ""
    reason: Prose = ""  # of the verdict
    parent: Count | None = None  # the experiment that was the incumbent then
    source: Sha256 | None = None  # of its source, which the bundle holds
    change: Change | None = None
    effect: Effect | None = None
    val_bpb: Amount | None = None  # what is believed of it in the end, over all its runs
    hour: Amount | None = None  # of the night, when it was decided
    runs: Annotated[tuple[SharedRun, ...], Many(1000)] = ()
    failure: Prose | None = None  # its kind and message
    of: Count | None = None  # the experiment of another bundle that it repeats; see Bundle.transfer

    @property
    def cost(self) -> SharedRun | None:
        """A run that stands for what it costs: the first that was measured."""
        return next((run for run in self.runs if run.val_bpb is not None), None)


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one change of another machine."""

    n: Count  # the experiment there
    title: Line
    verdict: Outcome
    reason: Prose = ""
    experiment: Count | None = None  # the one here
    there: Effect | None = None
    here: Effect | None = None


@dataclass(frozen=True, slots=True)
class TransferOf:
    """Of a bundle that replays another one: which, where that was found, and the verdicts."""

    id: Sha256
    machine: Line
    sigma_bpb: Positive | None = None  # there
    rows: Annotated[tuple[Row, ...], Many(2000)] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """One night's findings on one machine, with every source."""

    kind: Literal["night", "transfer", "imported"]
    created: Annotated[str, Text(10, r"\d{4}-\d\d-\d\d")]  # the day on which the night began, in UTC
    machine: SharedMachine
    task: SharedTask
    findings: Annotated[tuple[Finding, ...], Many(5000)]
    sources: Annotated[Mapping[Sha256, Source], Many(5000)] = field(default_factory=dict)
    versions: Annotated[Mapping[Name, Line], Many(20)] = field(default_factory=dict)  # mlx, python, harness
    sigma_bpb: Positive | None = None  # standard deviation of one run, pooled over the night's replicates
    sigma_df: Positive | None = None
    best: Count | None = None  # the incumbent at the end
    total: Effect | None = None  # baseline against the best on fresh seeds and the test split, where validated
    hours: Amount | None = None  # of research
    transfer: TransferOf | None = None

    @property
    def id(self) -> str:
        """sha256 of the content, however the file is laid out."""
        return hashlib.sha256(json.dumps(schema.encode(self), sort_keys=True, allow_nan=False).encode()).hexdigest()

    @property
    def label(self) -> str:
        """For tables: "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2 · 2026-11-23"."""
        return f"{self.machine.describe()} · {self.created}"

    def finding(self, n: int | None) -> Finding | None:
        return next((f for f in self.findings if f.n == n), None)

    @property
    def baseline(self) -> Finding | None:
        """Return the one that the best grew from; where no best is known, the first."""
        first = next((f for f in self.findings if f.role == "baseline"), None)
        return validation.root(self.finding(self.best), lambda f: self.finding(f.parent)) or first

    def source(self, f: Finding | None) -> str | None:
        return self.sources.get(f.source) if f is not None and f.source is not None else None


# --- files ----------------------------------------------------------------------------------------------------------


def to_json(bundle: Bundle) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "id": bundle.id, **schema.encode(bundle)}


def dump(bundle: Bundle) -> bytes:
    """The file's bytes: the same for the same content, one value a line so that a pull request can be read."""
    return json.dumps(to_json(bundle), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def save(bundle: Bundle, path: Path) -> None:
    """Writes the file whole or not at all. Raises BundleError."""
    try:
        write_atomic(path, dump(bundle))
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error}") from None


def load(path: Path) -> Bundle:
    """Reads and checks a file; nothing of it is run. Raises BundleError with the reason where it is refused."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BundleError(f"{path}: refused: {size >> 20} MB; findings have at most {MOST_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return loads(data)
    except BundleError as error:
        raise BundleError(f"{path}: refused: {error}") from None


def loads(data: bytes) -> Bundle:
    """The bundle in a file's bytes. Raises BundleError."""
    value = _json(data)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise BundleError("this is no file of findings")
    version = value.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        told = "Update this program: git pull" if newer else "No such version was ever written"
        raise BundleError(f"its version is {ascii(version)[:20]}; this program reads {VERSION}. {told}")
    try:
        content = {key: entry for key, entry in value.items() if key not in ("format", "version", "id")}
        bundle = schema.decode(Bundle, content)
    except schema.Mismatch as error:
        raise BundleError(str(error)) from None
    check(bundle)
    if value.get("id") != bundle.id:
        raise BundleError(f"its content has changed since it was written: it says {ascii(value.get('id'))[:20]}..., "
                          f"and hashes to {bundle.id[:16]}...")  # fmt: skip
    return bundle


def _json(data: bytes) -> Any:
    """JSON with nothing left to a reader's taste: no NaN, no name twice in an object."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            raise ValueError("a name stands twice in one object")
        return entries

    def refuse(text: str) -> None:
        raise ValueError(f"{text} is no JSON")

    try:
        return json.loads(data.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"not readable as JSON: {str(error)[:200] or type(error).__name__}") from None


def check(bundle: Bundle) -> None:
    """What types cannot say: hashes, references, and what a night must have. Raises BundleError."""
    seen: set[int] = set()
    for f in bundle.findings:
        _require(f.n not in seen, f"experiment {f.n} stands twice")
        known = f.parent is None or f.parent in seen
        _require(known, f"experiment {f.n} has the parent {f.parent}, which does not come before it")
        seen.add(f.n)
        if bundle.kind != "imported":
            _require(f.source is not None, f"experiment {f.n} has no source")
        _require(f.source is None or f.source in bundle.sources, f"the source of experiment {f.n} is missing")
    used = {f.source for f in bundle.findings}
    for name, source in bundle.sources.items():
        _require(sha256(source) == name, f"the source {name[:16]} hashes to {sha256(source)[:16]}: it was changed")
        _require(name in used, f"the source {name[:16]} belongs to no experiment")
    _require(bundle.best is None or bundle.best in seen, f"the best, experiment {bundle.best}, is missing")
    _require((bundle.transfer is not None) == (bundle.kind == "transfer"), "a transfer has to say of what, and only it")
    if bundle.kind != "imported":
        _require(bundle.best is not None and bundle.baseline is not None, "a night has to have a baseline and a best")
        named = {"sigma_bpb": bundle.sigma_bpb, "sigma_df": bundle.sigma_df, **schema.encode(bundle.task)}
        absent = [k for k in ("fingerprint", "profile", "budget_s", "sigma_bpb", "sigma_df") if named.get(k) is None]
        _require(not absent, f"a night has to say its {', '.join(absent)}")


def sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BundleError(otherwise)


# --- the schema -----------------------------------------------------------------------------------------------------

SCHEMA = Path(__file__).with_name("schema.json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a file; findings/schema.json holds it."""
    of = schema.schema(Bundle)
    head = {
        "format": {"const": FORMAT},
        "version": {"const": VERSION},
        "id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    top = of["$defs"].pop("Bundle")
    properties = {**head, **top["properties"]}
    top |= {"title": FORMAT, "properties": properties, "required": [*head, *top["required"]]}
    return {"$schema": of["$schema"], **top, "$defs": of["$defs"]}


def main() -> int:
    """`python -m autoresearch.findings.bundle` writes findings/schema.json anew, after a change of the fields."""
    write_atomic(SCHEMA, json.dumps(json_schema(), indent=1, ensure_ascii=False).encode() + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
