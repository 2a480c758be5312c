"""From a night's journal to a bundle that may leave the machine: findings with intervals, sources, nothing private."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoresearch.candidate import patches
from autoresearch.decide import estimates, validation
from autoresearch.decide.estimates import Estimates
from autoresearch.decide.noise import Noise
from autoresearch.errors import BundleError, EditError, SourceError
from autoresearch.findings import effects
from autoresearch.findings.bundle import Bundle, dump, loads, sha256
from autoresearch.findings.finding import (
    Change,
    Finding,
    PatchBlock,
    SharedMachine,
    SharedRun,
    SharedTask,
    TransferReport,
)
from autoresearch.findings.scrub import Scrubber, scrubber
from autoresearch.record import journal
from autoresearch.record.codec import decode_all
from autoresearch.record.events import Decided, Quarantined
from autoresearch.record.night import Experiment, Night, RunRecord
from autoresearch.record.replay import apply
from autoresearch.records import Measurement, SearchReplace, Set, TaskFacts

SourceOf = Callable[[int], str]

PUBLIC = frozenset({"climbmix", "tinystories", "stdlib"})  # other names are made from a path
OWN_TEXT = "own text"
TITLE, PROSE, LINE = 300, 4000, 300  # characters


def export(
    night: Night,
    source_of: SourceOf,
    scrub: Scrubber,
    *,
    hours: Mapping[int, float] | None = None,
    prior: Noise | None = None,
    transfer: TransferReport | None = None,
) -> Bundle:
    """The night as a bundle. `source_of(n)` reads the source of experiment n; `hours` are those of `decided_after`.

    Raises BundleError where there is nothing to share yet, or a source holds what must not be shared.
    """
    settled = [x for x in night.experiments.values() if x.verdict or x.status == "quarantined"]
    if night.incumbent is None or not settled:
        raise BundleError(f"night {night.tag} has no baseline yet: there is nothing to share")
    now = estimates.read(night, prior)
    sources = {x.n: scrub.source(source_of(x.n), x.n, ran=bool(x.bpbs)) for x in settled}
    began = min(run.started for x in settled for run in x.runs.values())
    build = _Builder(night, now, scrub, sources, hours or {}, began)
    bundle = Bundle(
        kind="transfer" if transfer else "night",
        created=datetime.fromtimestamp(began, UTC).date().isoformat(),
        machine=machine(night.machine),
        task=task(night.task),
        findings=tuple(build.finding(x) for x in settled),
        sources={sha256(source): source for source in sources.values()},
        versions={k: scrub.line(str(v), LINE) for k, v in night.versions.items() if k in ("mlx", "python", "harness")},
        sigma_bpb=now.noise.sigma_bpb,
        sigma_df=now.noise.df,
        best=night.incumbent_n,
        total=effects.validated(night),
        hours=night.elapsed_s / 3600,
        transfer=transfer,
    )
    return loads(dump(bundle))  # nothing is written that could not be read


def read(folder: Path, root: Path, *, prior: Noise | None = None, transfer: TransferReport | None = None) -> Bundle:
    """`export` of the night in runs/TAG of the checkout `root`."""
    night = journal.read(folder)
    if night.incumbent is None:
        raise BundleError(f"{folder} has no measured baseline: there is nothing to share. Run: uv run loop.py")

    def source_of(n: int) -> str:
        return journal.read_source(folder, night.experiments[n])

    baseline = validation.baseline_of(night)
    scrub = scrubber(root, source_of(baseline.n) if baseline else "", own_text(night.task))
    hours = decided_after((folder / journal.NAME).read_bytes())
    return export(night, source_of, scrub, hours=hours, prior=prior, transfer=transfer)


def decided_after(data: bytes) -> dict[int, float]:
    """Hours of research after which each experiment was decided, from a journal's bytes; pauses do not count."""
    hours, night = {}, Night()
    for event in decode_all(data)[0]:
        night = apply(night, event)
        if isinstance(event, Decided | Quarantined):
            hours[event.n] = night.elapsed_s / 3600
    return hours


def machine(facts: Mapping[str, Any]) -> SharedMachine:
    """What a journal knows of its machine, without the state of the moment."""
    memory_mb = facts.get("memory_mb")
    levels = tuple((str(name), int(count)) for name, count in facts.get("cpu_levels") or ())
    known = {k: facts.get(k) for k in ("system", "os", "model", "gpu_cores", "cpu_cores", "power", "low_power")}
    chip = str(facts.get("chip") or "unknown")
    return SharedMachine(chip, cpu_levels=levels, memory_gb=memory_mb and round(memory_mb / 1024), **known)


def own_text(facts: TaskFacts) -> list[str]:
    """What a journal knows of a person's own text: its name in the cache, and the path that it is made from."""
    if facts.dataset in PUBLIC:
        return []
    path = re.sub(r" \(\d+ files?\)$", "", facts.source or "")
    return [facts.dataset or "", path, Path(path).name if "." in Path(path).name else ""]


def task(facts: TaskFacts) -> SharedTask:
    """What a journal knows of its task; the name of a person's own text is made from its path, and stays here."""
    names = ("profile", "fingerprint", "seq_len", "vocab_size", "eval_tokens", "eval_rows", "budget_s")
    dataset = facts.dataset if facts.dataset in PUBLIC else OWN_TEXT
    return SharedTask(dataset, **{name: getattr(facts, name) for name in names})


class _Builder:
    """One finding after another, from the experiments of a night."""

    def __init__(
        self,
        night: Night,
        now: Estimates,
        scrub: Scrubber,
        sources: Mapping[int, str],
        hours: Mapping[int, float],
        began: float,
    ) -> None:
        self.night, self.now, self.scrub, self.sources = night, now, scrub, sources
        self.hours, self.began = hours, began

    def finding(self, x: Experiment) -> Finding:
        source, scrub = self.sources[x.n], self.scrub
        return Finding(
            n=x.n,
            role=x.role,
            verdict=x.verdict or "quarantined",
            title=scrub.line(x.proposal.title, TITLE),
            hypothesis=scrub.prose(x.proposal.hypothesis, PROSE),
            category=scrub.line(x.proposal.category, LINE),
            proposer=scrub.line(x.proposal.proposer, LINE),
            reason=scrub.prose(x.reason, PROSE),
            parent=x.parent_n,
            source=sha256(source),
            change=None if x.parent_n is None else change(self.sources[x.parent_n], source),
            effect=effects.of(self.night, x, self.now),
            val_bpb=self._believed(x),
            hour=self.hours.get(x.n),
            runs=tuple(self._run(run) for run in x.runs.values() if run.measurement is not None),
            failure=scrub.prose(f"{x.failure.kind}: {x.failure.message}", PROSE) if x.failure else None,
            of=x.proposal.origin,
        )

    def _believed(self, x: Experiment) -> float | None:
        if not self.now.values(x):
            return None
        return self.now.estimate(x).mean if x.verdict == "keep" else x.estimate

    def _run(self, run: RunRecord) -> SharedRun:
        m = run.measurement
        assert m is not None
        before = m.machine_before
        numbers = {name: _finite(getattr(m, name)) for name in NUMBERS}
        return SharedRun(
            purpose=run.purpose,
            hour=max(0.0, run.started - self.began) / 3600,
            power=before.power if before else None,
            low_power=before.low_power if before else None,
            thermal=before.thermal if before else None,
            failure=_kind(m),
            **numbers,
        )


NUMBERS = (
    "val_bpb",
    "training_s",
    "num_steps",
    "total_tokens",
    "num_params",
    "tok_s",
    "peak_memory_mb",
    "mfu_percent",
    "speed_index",
)


def change(parent: str, child: str) -> Change | None:
    """The change between two sources; None where there is none, or it is more than blocks can say."""
    try:
        patch = patches.derive(parent, child)
    except (SourceError, EditError):
        return None
    return Change(
        constants=patch.constants,
        set={edit.name: edit.literal for edit in patch.edits if isinstance(edit, Set)},
        blocks=tuple(PatchBlock(e.search, e.replace) for e in patch.edits if isinstance(e, SearchReplace)),
        touches=patch.touches,
        code=patch.code,
    )


def _kind(m: Measurement) -> str | None:
    return m.failure.kind[:LINE] if m.failure else None


def _finite(value: Any) -> Any:
    """A candidate may report anything, a perplexity of infinity too."""
    return value if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1e15 else None
