"""Write and read a night's findings as one file, which travels to other machines.

A bundle holds all findings of one night (finding.py) with every source. Reading one checks it and runs nothing of it.
Its id is a hash of its content, and its sources are named by their hashes, so that a changed copy is noticed.

The file is JSON of the form {"format": FORMAT, "version": VERSION, "id": ..., and the fields of Bundle}, described by
findings/schema.json. A field that has its default is left out.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, with_config

from autoresearch import jsonable
from autoresearch.decide import validation
from autoresearch.errors import BundleError
from autoresearch.files import write_atomic
from autoresearch.findings import schema
from autoresearch.findings.finding import (
    Effect,
    Finding,
    SharedHint,
    SharedMachine,
    SharedMetric,
    SharedTask,
    TransferReport,
)
from autoresearch.findings.schema import (
    STRICT,
    Amount,
    Count,
    Day,
    Identifier,
    Line,
    Positive,
    Sha256,
    SourceText,
)
from autoresearch.formats import shortened
from autoresearch.metrics import VAL_BPB

FORMAT = "autoresearch-metal findings"
VERSION = 2
FILE_HEAD = {  # the fields of a file before those of its Bundle, as JSON Schema
    "format": {"const": FORMAT},
    "version": {"const": VERSION},
    "id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
MOST_LOG = 345.0  # of a score on a log scale: its value is between 1e-150 and 1e150, whose quotients a float can hold
MOST_FILE_BYTES = 64 << 20  # of a file: a thousand experiments on sources of the largest size


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Bundle:
    """One night's findings on one machine, with every source."""

    kind: Literal["night", "transfer", "imported"]
    created: Day  # on which the night began, in UTC
    machine: SharedMachine
    task: SharedTask
    findings: Annotated[tuple[Finding, ...], Field(max_length=5000)]
    sources: Annotated[Mapping[Sha256, SourceText], Field(max_length=5000)] = field(default_factory=dict)
    versions: Annotated[Mapping[Identifier, Line], Field(max_length=20)] = field(default_factory=dict)
    sigma_score: Amount | None = None  # standard deviation of one run, pooled; 0 where runs do not scatter
    sigma_df: Positive | None = None
    best: Count | None = None  # the incumbent at the end
    total: Effect | None = None  # baseline against the best on fresh seeds and the test split, where validated
    hours: Amount | None = None  # of research
    transfer: TransferReport | None = None
    hints: Annotated[tuple[SharedHint, ...], Field(max_length=100)] = ()  # findings from elsewhere that were tried

    @property
    def id(self) -> str:
        """The sha256 of the content, whatever the layout of the file."""
        return sha256(json.dumps(schema.write(ADAPTER, self), sort_keys=True, allow_nan=False))

    @property
    def night(self) -> str:
        """A key that all exports of one night share, however far it was: the machine, the task and the first run.

        Imported tables have no key but their id, since copies of one history may go different ways.
        """
        first = self.findings[0].runs[:1] if self.findings else ()
        if self.kind == "imported" or not first:
            return self.id
        shared = (self.machine.describe(), self.created, self.task, self.findings[0].source, first[0])
        if self.task.metric.metric != VAL_BPB:  # exact runs say the same in each night; the second begins when it may
            return sha256(repr((*shared, self.findings[0].runs[1:2])))
        return sha256(repr(shared))

    @property
    def label(self) -> str:
        """The name of the night in tables: "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2 · 2026-11-23"."""
        return f"{self.machine.describe()} · {self.created}"

    def finding(self, n: int | None) -> Finding | None:
        """Return the finding of experiment `n`."""
        return next((f for f in self.findings if f.n == n), None)

    @property
    def baseline(self) -> Finding | None:
        """The baseline that the best was built on, else the first one."""
        first = next((f for f in self.findings if f.role == "baseline"), None)
        return validation.root(self.finding(self.best), lambda f: self.finding(f.parent)) or first

    def source(self, f: Finding | None) -> str | None:
        """Return the source of a finding; None where the bundle lacks it, as imported ones do."""
        return self.sources.get(f.source) if f is not None and f.source is not None else None


ADAPTER = TypeAdapter(Bundle)


# --- files ----------------------------------------------------------------------------------------------------------


def to_json(bundle: Bundle) -> dict[str, Any]:
    """Return the content of the file, head included."""
    return {"format": FORMAT, "version": VERSION, "id": bundle.id, **schema.write(ADAPTER, bundle)}


def dump(bundle: Bundle) -> bytes:
    """Return the file's bytes: the same for the same content, one value a line so that a pull request can be read."""
    return json.dumps(to_json(bundle), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def save(bundle: Bundle, path: Path) -> None:
    """Write the file whole or not at all. Raises BundleError."""
    try:
        write_atomic(path, dump(bundle))
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error}") from None


def load(path: Path) -> Bundle:
    """Read and check a file without running anything in it. Raises BundleError with the reason for refusing it."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{path}: refused: it is no file, but a folder, a pipe or a device")
        if found.st_size > MOST_FILE_BYTES:
            size = found.st_size >> 20
            raise BundleError(f"{path}: refused: {size} MB; findings have at most {MOST_FILE_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return loads(data)
    except BundleError as error:
        raise BundleError(f"{path}: refused: {error}") from None


def loads(data: bytes) -> Bundle:
    """Return the bundle in a file's bytes. Raises BundleError."""
    value = _json(data)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise BundleError("this is not a file of findings")
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        told = "Update this program: git pull" if newer else "No such version was ever written"
        raise BundleError(f"its version is {ascii(version)[:20]}; this program reads {VERSION}. {told}")
    content = {key: entry for key, entry in value.items() if key not in FILE_HEAD}
    try:
        bundle = schema.read(ADAPTER, json.dumps(content, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:  # half of a surrogate pair, which is no character
        raise BundleError(f"not readable as text: {error}") from None
    except schema.Mismatch as error:
        raise BundleError(str(error)) from None
    check(bundle)
    if value.get("id") != bundle.id:
        told = f"it says {ascii(value.get('id'))[:20]}..., and hashes to {bundle.id[:16]}..."
        raise BundleError(f"its content has changed since it was written: {told}")
    return bundle


def _json(data: bytes) -> Any:
    """Return the JSON value in `data`. Raises BundleError."""
    try:
        return jsonable.exact(data)
    except jsonable.MalformedError as error:
        raise BundleError(f"not readable as JSON: {error}") from None


def check(bundle: Bundle) -> None:
    """Check what types cannot express: hashes, references, what a night must have. Raises BundleError."""
    seen: set[int] = set()
    for f in bundle.findings:
        _require(f.n not in seen, f"experiment {f.n} appears twice")
        known = f.parent is None or f.parent in seen
        _require(known, f"experiment {f.n} has the parent {f.parent}, which does not come before it")
        seen.add(f.n)
        if bundle.kind != "imported":
            _require(f.source is not None, f"experiment {f.n} has no source")
        _require(f.source is None or f.source in bundle.sources, f"the source of experiment {f.n} is missing")
    for hint in bundle.hints:
        _require(hint.experiment in seen, f"experiment {hint.experiment}, which tried a hint, is missing")
    for place, effect in _effects(bundle):
        _check_effect(place, effect)
    if bundle.task.metric.scale == "log":
        most = max((abs(score) for score in _scores(bundle)), default=0.0)
        _require(most <= MOST_LOG, f"a score of {most:g} is none of a log scale")
    used = {f.source for f in bundle.findings}
    for name, source in bundle.sources.items():
        _require(sha256(source) == name, f"the source {name[:16]} hashes to {sha256(source)[:16]}: it was changed")
        _require(name in used, f"the source {name[:16]} belongs to no experiment")
    _require(bundle.best is None or bundle.best in seen, f"the best, experiment {bundle.best}, is missing")
    _require(
        (bundle.transfer is not None) == (bundle.kind == "transfer"),
        "a transfer must say what it replays, and nothing else may",
    )
    if bundle.kind != "imported":
        _require(bundle.best is not None and bundle.baseline is not None, "a night must have a baseline and a best")
        training = bundle.task.metric == SharedMetric()
        names = ("fingerprint", "profile", "budget_s") if training else ("fingerprint",)
        task = {name: getattr(bundle.task, name) for name in names}
        needed = {**task, "sigma_score": bundle.sigma_score, "sigma_df": bundle.sigma_df}
        absent = [name for name, value in needed.items() if value is None]
        _require(not absent, f"a night must state its {', '.join(absent)}")


def _effects(bundle: Bundle) -> Iterator[tuple[str, Effect]]:
    """Yield every effect with the place where it stands."""
    outcomes = bundle.transfer.rows if bundle.transfer is not None else ()
    found = [("total", bundle.total), *((f"experiment {f.n}", f.effect) for f in bundle.findings)]
    for place, ends in [("transfer", one) for one in outcomes] + [("hint", one) for one in bundle.hints]:
        found += [(f"{place} {shortened(ends.title, 40)!a}", effect) for effect in (ends.there, ends.here)]
    return ((place, effect) for place, effect in found if effect is not None)


def _check_effect(place: str, effect: Effect) -> None:
    low, gain, high = effect.low_score, effect.gain_score, effect.high_score
    _require((low is None) == (high is None), f"the effect of {place} has one bound; an interval has two")
    if low is not None and high is not None:
        _require(low <= gain <= high, f"the gain of {place}, {gain:g}, is outside its interval, {low:g} to {high:g}")


def _scores(bundle: Bundle) -> Iterator[float]:
    """Yield every score, gain and bound."""
    for f in bundle.findings:
        yield from (score for score in (f.score, *(run.score for run in f.runs)) if score is not None)
    for _, effect in _effects(bundle):
        yield from (x for x in (effect.gain_score, effect.low_score, effect.high_score) if x is not None)


def sha256(source: str) -> str:
    """Return the hash by which a bundle names a source."""
    return hashlib.sha256(source.encode()).hexdigest()


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BundleError(otherwise)


# --- several files of one night ---------------------------------------------------------------------------------------


def newest(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Return each night once, by the export that holds most of it, in the order of the first exports.

    Files that say they are of one night and contradict each other both stay: one of them was made up.
    """
    found: dict[str, list[Bundle]] = {}
    for bundle in bundles:
        same = found.setdefault(bundle.night, [])
        for i, other in enumerate(same):
            if _continues(other, bundle):
                same[i] = max(other, bundle, key=_extent)
                break
        else:
            same.append(bundle)
    return [bundle for same in found.values() for bundle in same]


def _continues(one: Bundle, other: Bundle) -> bool:
    """Return whether one of two exports goes on where the other ends."""
    pairs = zip(one.findings, other.findings, strict=False)
    return all(a.n == b.n and all(x.score == y.score for x, y in zip(a.runs, b.runs, strict=False)) for a, b in pairs)


def _extent(bundle: Bundle) -> tuple[int, int]:
    return len(bundle.findings), sum(len(f.runs) for f in bundle.findings)


# --- the schema -----------------------------------------------------------------------------------------------------

SCHEMA = Path(__file__).with_name("schema.json")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file; findings/schema.json holds it."""
    content = schema.json_schema(ADAPTER)
    properties = {**FILE_HEAD, **content["properties"]}
    return {**content, "title": FORMAT, "properties": properties, "required": [*FILE_HEAD, *content["required"]]}


def main() -> int:
    """Write findings/schema.json. Run after a change of the fields: python -m autoresearch.findings.bundle"""
    write_atomic(SCHEMA, json.dumps(json_schema(), indent=1, ensure_ascii=False).encode() + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
