"""Let checkpoints write texts that continue a prompt, in a confined child like every run of a candidate.

The report's samples of baseline and winner are made once a checkpoint and kept in runs/TAG/samples.json.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from autoresearch import jsonable
from autoresearch.decide import validation
from autoresearch.errors import AutoresearchError, UsageError
from autoresearch.files import write_atomic
from autoresearch.formats import counted
from autoresearch.measure import launch
from autoresearch.measure import run_folder as rundir
from autoresearch.measure.follower import Follower
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.run_folder import CHECKPOINT
from autoresearch.measure.workbench import RunSpec, Workbench
from autoresearch.paths import Cache, DataFolder, Layout
from autoresearch.record import journal
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Say
from autoresearch.report import live_state, status
from autoresearch.report.samples import StoredTexts, pair, samples_of, stored
from autoresearch.system.invocation import command
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt.data import corpus, prepared, tokenizer
from autoresearch.tasks.gpt.workbench import harness, workbench

MOST_BEGINNINGS = 200  # that are looked at
PROMPTS, PROMPT_TOKENS = 3, 16  # of the report: the beginnings of so many documents of the validation split
WORK = "samples"  # the folder in runs/TAG where a child works
LIMIT_S = 600.0
MOST_TOKENS = 8000  # of all texts together: what one event of a child may hold


@dataclass(frozen=True)
class Sampling:
    """Settings of the sampling. Temperature 0 takes the likeliest token each time."""

    tokens: int = 120
    temperature: float = 0.7
    seed: int = 0


def write(bench: Workbench, layout: Layout, x: Experiment, prompts: Sequence[str], sampling: Sampling) -> list[str]:
    """Return what the checkpoint of `x` writes after each prompt. Raises AutoresearchError where it cannot.

    The child works on a copy of the checkpoint in runs/TAG/samples, which is removed afterwards.
    """
    journal.read_source(layout, x)  # raises where the file is no longer what was measured
    run = run_with_checkpoint(layout, x)
    codec = tokenizer.load(bench.data.tokenizer)
    asked = {"prompts": [[codec.bos_id, *codec.encoding.encode_ordinary(p)] for p in prompts], **asdict(sampling)}
    try:
        outcome = _child(bench, layout, x, run, {**asked, "whole": False})
        if outcome.failure is not None and outcome.failure.kind == "sample":  # a model for the task's context alone
            outcome = _child(bench, layout, x, run, {**asked, "whole": True})
    finally:
        shutil.rmtree(layout.folder / WORK, ignore_errors=True)
    if outcome.failure is not None:
        raise AutoresearchError(f"#{x.n} cannot continue a text: {outcome.failure.kind}: {outcome.failure.message}")
    return [codec.encoding.decode(ids, errors="replace") for ids in outcome.get("result", "texts")]


def _child(bench: Workbench, layout: Layout, x: Experiment, run: int, asked: dict[str, object]) -> Outcome:
    work = layout.folder / WORK
    rundir.make(work, bench.kernels)
    shutil.copyfile(layout.run(x.n, run) / CHECKPOINT, work / CHECKPOINT)
    request = work / "request.json"
    request.write_text(json.dumps(asked), "utf-8")
    spec = RunSpec.of(bench, layout.source(x.n), work, x.runs[run].seed)
    child, token = launch.start(spec, "sample", request)
    limits = {"start": bench.startup_limit_s, "ready": LIMIT_S, "result": 10.0}
    return Follower(child, token, spec, limits, name="sample").follow()


def run_with_checkpoint(layout: Layout, x: Experiment) -> int:
    """Return the newest measured run of `x` whose checkpoint is there. Raises UsageError where none is."""
    good = [k for k, run in x.runs.items() if run.measurement and run.measurement.ok]
    there = [k for k in good if (layout.run(x.n, k) / CHECKPOINT).is_file()]
    if there:
        return max(there)
    checkpoints = layout.folder.glob(f"[0-9]*/run-*/{CHECKPOINT}")
    there = sorted({int(n) for path in checkpoints if (n := path.parents[1].name).isdecimal()})
    kept = f"there are checkpoints of {', '.join(f'#{n}' for n in there)}" if there else "there are none"
    raise UsageError(f"experiment {x.n} has no checkpoint ({x.verdict or x.status}); {kept}")


@contextlib.contextmanager
def workplace(layout: Layout, night: Night, no_sandbox: bool, say: Say) -> Iterator[Workbench]:
    """Yield the night's workbench with this checkout's harness, while no loop trains on this machine.

    Raises an AutoresearchError where another loop is training and does not pause, the data is gone or has changed, or
    there is no sandbox.
    """
    cache = Cache.default()
    data = corpus.locate(str(night.task.dataset), str(night.task.profile))
    if data is None or prepared.load_meta(data).fingerprint != night.task.fingerprint:
        known = f"{night.task.dataset}/{night.task.profile} {night.task.fingerprint}"
        raise UsageError(f"the data of {night.tag} ({known}) is not in {cache.folder}. Run: {command('prepare.py')}")
    live = live_state.running(layout)
    pausing = live is not None and live.paused_at is not None
    with contextlib.nullcontext() if pausing else hold(cache.machine_lock, "this machine"):
        bench = workbench(data, layout.folder, layout.root, night.task.budget_s, no_sandbox, say)
        yield replace(bench, harness=harness(layout.root))


# --- the report's samples ---------------------------------------------------------------------------------------------


def fill(layout: Layout, night: Night, say: Say, bench: Workbench | None = None) -> None:
    """Make the missing samples of the report. A loop that holds the machine passes its workbench.

    Errors are reported and not raised, since samples are not part of the research.
    """
    both = pair(night)
    if both is None or samples_of(layout.samples, night):
        return
    try:
        here = contextlib.nullcontext(bench) if bench else workplace(layout, night, _unconfined(night), _quiet)
        with here as place:
            say("samples: baseline and winner continue some prompts for the report, once")
            _make(replace(place, harness=harness(layout.root)), layout, both)
    except (AutoresearchError, OSError, LookupError, ValueError) as error:  # the last two: a damaged tokenizer
        say(f"no text samples in the report: {error}")


def _make(bench: Workbench, layout: Layout, both: Sequence[Experiment]) -> None:
    known = stored(layout.samples)
    prompts, texts = known.prompts or beginnings(bench.data), known.texts
    for x in both:
        if x.source_sha256 not in texts:
            texts[x.source_sha256] = write(bench, layout, x, prompts, Sampling())
            write_atomic(layout.samples, jsonable.to_json(StoredTexts(prompts, texts), indent=1))


def beginnings(data: DataFolder) -> list[str]:
    """Return the beginnings of documents of the validation split, which suit any data as prompts."""
    meta, codec = prepared.load_meta(data.folder), tokenizer.load(data.tokenizer)
    rows = np.fromfile(data.rows("val"), "<u2").reshape(-1, meta.seq_len + 1)
    found: dict[str, None] = {}
    bos_id = meta.bos_id
    for row, i in np.argwhere(rows == bos_id)[:MOST_BEGINNINGS]:
        ids = rows[row, i + 1 : i + 1 + PROMPT_TOKENS]
        text = codec.encoding.decode(ids.tolist(), errors="replace") if (ids < bos_id).all() else ""
        whole = text.rpartition(" ")[0].strip() or text.strip()  # the last word may be cut
        if whole and "\ufffd" not in whole:
            found[whole] = None
    # Most rows begin in the middle of a document, so what begins like a sentence is taken first.
    return sorted(found, key=lambda text: not text[0].isupper())[:PROMPTS]


def _unconfined(night: Night) -> bool:
    return bool(night.options.get("no_sandbox"))


def _quiet(line: str) -> None:
    pass


# --- the command ------------------------------------------------------------------------------------------------------


def sample_command(root: Path, args: Namespace) -> int:
    """Print what a checkpoint of the night writes after each prompt: `loop.py sample`. Raises UsageError."""
    layout = Layout(root, status.find_tag(root, args.tag))
    night = journal.read(layout)
    x, sampling = _named(night, args.of), Sampling(args.tokens, args.temperature, args.seed)
    most = MOST_TOKENS // len(args.prompt)
    if not 1 <= sampling.tokens <= most or not 0 <= sampling.temperature <= 10:
        raise UsageError(f"--tokens 1 to {most:,} for {counted(len(args.prompt), 'prompt')}, and --temperature 0 to 10")
    with workplace(layout, night, args.no_sandbox or _unconfined(night), _quiet) as bench:
        print(f"#{x.n} {x.proposal.title}")
        for prompt, text in zip(args.prompt, write(bench, layout, x, args.prompt, sampling), strict=True):
            print(f"\n{prompt}{text}")
    return 0


def _named(night: Night, of: str) -> Experiment:
    """Return the experiment that `--of` names: baseline, winner or a number. Raises UsageError."""
    named = {"baseline": validation.baseline_of(night), "winner": night.incumbent}
    x = named.get(of) or (night.experiments.get(int(of)) if of.isdecimal() else None)
    if x is None:
        known = f"0 to {night.next_n - 1}" if night.experiments else "none yet"
        raise UsageError(f"--of {of}: baseline, winner, or an experiment of {night.tag} ({known})")
    return x
