"""Turn a night's journal into a bundle that may leave the machine, without private matter."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    SharedMetric,
    SharedRun,
    SharedTask,
    TransferReport,
)
from autoresearch.findings.scrub import Scrubber, scrubber
from autoresearch.paths import Layout
from autoresearch.record import inbox, journal
from autoresearch.record.codec import decode_all
from autoresearch.record.events import Decided, Quarantined
from autoresearch.record.night import Experiment, Night, RunRecord
from autoresearch.record.replay import apply
from autoresearch.records import GPT, Measurement, SearchReplace, Set, TaskFacts, WholeFile
from autoresearch.system.invocation import command

SourceOf = Callable[[int], str]

PUBLIC = frozenset({"climbmix", "tinystories", "stdlib"})  # any other name is made from a path of the user's
OWN_TEXT, OWN_FILES = "own text", "own files"  # of training, and of a declared task
TITLE, PROSE, LINE = 300, 4000, 300  # characters
FIGURES = (  # of a Measurement
    *("score", "training_s", "num_steps", "total_tokens", "num_params"),
    *("tok_s", "peak_memory_mb", "mfu_percent", "speed_index"),
)


def export(
    night: Night,
    source_of: SourceOf,
    scrub: Scrubber,
    *,
    hours: Mapping[int, float] | None = None,
    prior: Noise | None = None,
    transfer: TransferReport | None = None,
) -> Bundle:
    """Return the night as a bundle. `source_of(n)` reads the source of experiment n; `hours` come from `decided_after`.

    Raises BundleError where there is nothing to share yet, or where the code of a source holds private matter.
    """
    settled = [x for x in night.experiments.values() if x.verdict or x.status == "quarantined"]
    if night.incumbent is None or not settled:
        raise BundleError(f"night {night.tag} has no baseline yet: there is nothing to share")
    now = estimates.read(night, prior)
    sources = {x.n: scrub.source(source_of(x.n), x.n, ran=bool(x.scores)) for x in settled}
    began = min(run.started for x in settled for run in x.runs.values())
    exporter = _Exporter(night, now, scrub, sources, hours or {}, began)
    bundle = Bundle(
        kind="transfer" if transfer else "night",
        created=datetime.fromtimestamp(began, UTC).date().isoformat(),
        machine=shared_machine(night.machine),
        task=shared_task(night.task),
        findings=tuple(exporter.finding(x) for x in settled),
        sources={sha256(source): source for source in sources.values()},
        versions={k: scrub.line(str(v), LINE) for k, v in night.versions.items() if k in ("mlx", "python", "harness")},
        sigma_score=now.noise.sigma_score,
        sigma_df=now.noise.df,
        best=night.incumbent_n,
        total=effects.validated(night),
        hours=night.elapsed_s / 3600,
        transfer=transfer,
    )
    return loads(dump(bundle))  # what loads() would refuse is never written


def read(layout: Layout, *, prior: Noise | None = None, transfer: TransferReport | None = None) -> Bundle:
    """Return a night as a bundle. Raises BundleError."""
    night = journal.read(layout)
    if night.incumbent is None:
        raise BundleError(
            f"{layout.folder} has no measured baseline: there is nothing to share. Run: {command('loop.py')}"
        )

    def source_of(n: int) -> str:
        return journal.read_source(layout, night.experiments[n])

    baseline = validation.baseline_of(night)
    scrub = scrubber(layout.root, source_of(baseline.n) if baseline else "", own_text(night.task))
    hours = decided_after(layout.journal.read_bytes())
    return export(night, source_of, scrub, hours=hours, prior=prior, transfer=transfer)


def decided_after(data: bytes) -> dict[int, float]:
    """Return the hours of research after which each experiment was decided; pauses do not count.

    `data` are the bytes of a journal; decided_after(...) -> {0: 0.1, 1: 0.2, 2: 0.4}
    """
    hours, night = {}, Night()
    for event in decode_all(data)[0]:
        night = apply(night, event)
        if isinstance(event, Decided | Quarantined):
            hours[event.n] = night.elapsed_s / 3600
    return hours


def shared_machine(facts: Mapping[str, Any]) -> SharedMachine:
    """Return the machine of a night from the facts in its journal."""
    memory_mb = facts.get("gpu_memory_mb") or facts.get("memory_mb")
    levels = tuple((str(name), int(count)) for name, count in facts.get("cpu_levels") or ())
    known = {k: facts.get(k) for k in ("system", "os", "model", "gpu_cores", "cpu_cores", "power", "low_power")}
    chip = str(facts.get("gpu") or facts.get("chip") or "unknown")
    if facts.get("gpu"):  # the GPU's own cores are not known, and the processor's do not train
        known |= {"cpu_cores": None, "gpu_cores": None}
    return SharedMachine(chip, cpu_levels=levels, memory_gb=memory_mb and round(memory_mb / 1024), **known)


def own_text(facts: TaskFacts) -> list[str]:
    """Return what identifies a user's own text: its name in the cache, and the path that it was made from."""
    if facts.dataset in PUBLIC:
        return []
    path = re.sub(r" \(\d+ files?\)$", "", facts.source or "")
    return [facts.dataset or "", path, Path(path).name if "." in Path(path).name else ""]


def shared_task(facts: TaskFacts) -> SharedTask:
    """Return the task of a night from the facts in its journal, without the name of a user's own text."""
    names = ("profile", "fingerprint", "seq_len", "vocab_size", "eval_tokens", "eval_rows", "budget_s")
    private = OWN_TEXT if facts.name == GPT else OWN_FILES
    dataset = facts.dataset if facts.dataset in PUBLIC else private
    return SharedTask(dataset, metric=SharedMetric.of(facts.metric), **{name: getattr(facts, name) for name in names})


@dataclass(frozen=True)
class _Exporter:
    """Converter of one night's experiments to findings. `sources` are scrubbed; `began` is in POSIX seconds."""

    night: Night
    now: Estimates
    scrub: Scrubber
    sources: Mapping[int, str]
    hours: Mapping[int, float]
    began: float

    def finding(self, experiment: Experiment) -> Finding:
        source, failure, scrub = self.sources[experiment.n], experiment.failure, self.scrub
        posted = experiment.proposal.inbox_id is not None  # its author is named on this machine alone
        return Finding(
            n=experiment.n,
            role=experiment.role,
            verdict=experiment.verdict or "quarantined",
            title=scrub.line(experiment.proposal.title, TITLE),
            hypothesis=scrub.prose(experiment.proposal.hypothesis, PROSE),
            category=scrub.line(experiment.proposal.category, LINE),
            proposer=inbox.PROPOSER if posted else scrub.line(experiment.proposal.proposer, LINE),
            reason=scrub.prose(experiment.reason, PROSE),
            parent=experiment.parent_n,
            source=sha256(source),
            change=None if experiment.parent_n is None else change(self.sources[experiment.parent_n], source),
            effect=effects.of(self.night, experiment, self.now),
            score=self._final_estimate(experiment),
            hour=self.hours.get(experiment.n),
            runs=tuple(self._run(r) for r in experiment.runs.values() if r.measurement and r.purpose != "newcomer"),
            failure=scrub.prose(f"{failure.kind}: {failure.message}", PROSE) if failure else None,
            of=experiment.proposal.origin,
        )

    def _final_estimate(self, experiment: Experiment) -> float | None:
        if not self.now.values(experiment):
            return None
        return self.now.estimate(experiment).mean if experiment.verdict == "keep" else experiment.estimate

    def _run(self, run: RunRecord) -> SharedRun:
        m = run.measurement
        assert m is not None and run.purpose != "newcomer"
        before = m.machine_before
        numbers = {name: _finite(getattr(m, name)) for name in FIGURES}
        return SharedRun(
            purpose=run.purpose,
            hour=max(0.0, run.started - self.began) / 3600,
            power=before.power if before else None,
            low_power=before.low_power if before else None,
            thermal=before.thermal if before else None,
            failure=_kind(m),
            **numbers,
        )


def change(parent: str, child: str) -> Change | None:
    """Return the change between two sources; None where there is none, or where no patch of blocks can express it."""
    try:
        patch = patches.derive(parent, child)
    except (SourceError, EditError):
        return None
    return Change(
        constants=patch.constants,
        set={edit.name: edit.literal for edit in patch.edits if isinstance(edit, Set)},
        blocks=tuple(PatchBlock(e.search, e.replace, e.path) for e in patch.edits if isinstance(e, SearchReplace)),
        files={edit.path or "": edit.source for edit in patch.edits if isinstance(edit, WholeFile)},
        touches=patch.touches,
        code=patch.code,
    )


def _kind(m: Measurement) -> str | None:
    return m.failure.kind[:LINE] if m.failure else None


def _finite(value: Any) -> Any:
    """Return a figure, or None for one that no bundle may hold: a candidate may report anything, even infinity."""
    return value if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1e15 else None
