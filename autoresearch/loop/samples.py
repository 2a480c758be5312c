"""What a checkpoint writes: texts that go on from a prompt, made in a confined child like every run of a candidate.

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

from autoresearch.decide import validation
from autoresearch.errors import AutoresearchError, UsageError
from autoresearch.files import write_atomic
from autoresearch.measure import experiment
from autoresearch.measure import run_folder as rundir
from autoresearch.measure.follower import Follower
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.run_folder import CHECKPOINT
from autoresearch.measure.workbench import RunSpec, Workbench
from autoresearch.paths import SAMPLES, Cache, DataFolder
from autoresearch.record import journal
from autoresearch.record.journal import SOURCE_NAME, run_folder
from autoresearch.record.night import Experiment, Night
from autoresearch.records import Say
from autoresearch.report import status, watch
from autoresearch.report.samples import pair, samples_of, stored
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt.data import corpus, tokenizer
from autoresearch.tasks.gpt.workbench import harness, workbench

MOST_BEGINNINGS = 200  # that are looked at
PROMPTS, PROMPT_TOKENS = 3, 16  # of the report: the beginnings of so many documents of the validation split
LIMIT_S = 600.0
MOST_TOKENS = 8000  # of all texts together: what one event of a child may hold


@dataclass(frozen=True)
class Wanted:
    """What to write. Temperature 0 takes the likeliest token each time."""

    tokens: int = 120
    temperature: float = 0.7
    seed: int = 0


def write(bench: Workbench, folder: Path, x: Experiment, prompts: Sequence[str], wanted: Wanted) -> list[str]:
    """What the checkpoint of `x` writes after each prompt. Raises AutoresearchError where there is none, or it fails.

    The child works on a copy of the checkpoint in runs/TAG/samples, which goes afterwards: the night's stays as it is.
    """
    journal.read_source(folder, x)  # the source is the one that was measured
    run, checkpoint = checkpoint_of(folder, x)
    codec = tokenizer.load(bench.data.tokenizer)
    asked = {"prompts": [[codec.bos_id, *codec.encoding.encode_ordinary(p)] for p in prompts], **asdict(wanted)}
    work = folder / "samples"
    try:
        outcome = _child(bench, folder, x, run, checkpoint, work, {**asked, "whole": False})
        if outcome.failure is not None and outcome.failure.kind == "sample":  # a model for the task's context alone
            outcome = _child(bench, folder, x, run, checkpoint, work, {**asked, "whole": True})
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if outcome.failure is not None:
        raise AutoresearchError(f"#{x.n} cannot write: {outcome.failure.kind}: {outcome.failure.message}")
    return [codec.encoding.decode(ids, errors="replace") for ids in outcome.get("result", "texts")]


def _child(
    bench: Workbench, folder: Path, x: Experiment, run: int, checkpoint: Path, work: Path, asked: dict[str, object]
) -> Outcome:
    rundir.make(work, bench.kernels)
    shutil.copyfile(checkpoint, work / CHECKPOINT)
    request = work / "request.json"
    request.write_text(json.dumps(asked))
    source = run_folder(folder, x.n) / SOURCE_NAME
    spec = RunSpec.of(bench, source, work, x.runs[run].seed)
    child, token = experiment.start(spec, "sample", request)
    limits = {"start": bench.startup_limit_s, "ready": LIMIT_S, "result": 10.0}
    return Follower(child, token, spec, limits).follow()


def checkpoint_of(folder: Path, x: Experiment) -> tuple[int, Path]:
    """The newest measured run of `x` whose checkpoint is there. Raises UsageError."""
    good = [k for k, run in x.runs.items() if run.measurement and run.measurement.ok]
    for run in sorted(good, reverse=True):
        path = run_folder(folder, x.n) / f"run-{run}" / CHECKPOINT
        if path.is_file():
            return run, path
    there = sorted({int(path.parents[1].name) for path in folder.glob(f"[0-9]*/run-*/{CHECKPOINT}")})
    kept = f"they stay of {', '.join(f'#{n}' for n in there)}" if there else "none is there"
    raise UsageError(f"experiment {x.n} has no checkpoint ({x.verdict or x.status}); {kept}")


@contextlib.contextmanager
def workplace(root: Path, folder: Path, night: Night, no_sandbox: bool, say: Say) -> Iterator[Workbench]:
    """The night's workbench with this checkout's harness, and the machine to itself or a loop that pauses.

    Raises an AutoresearchError: another loop is training, the data is gone or another, no sandbox.
    """
    data = corpus.locate(str(night.task.dataset), str(night.task.profile))
    if data is None or corpus.load_meta(data)["fingerprint"] != night.task.fingerprint:
        known = f"{night.task.dataset}/{night.task.profile} {night.task.fingerprint}"
        where = Cache.default().folder
        raise UsageError(f"the data of {night.tag} ({known}) is not in {where}. Run: uv run prepare.py")
    live = watch.running(folder)
    pausing = live is not None and live.paused_at is not None
    lock = contextlib.nullcontext() if pausing else hold(Cache.default().machine_lock, "this machine")
    with lock:
        bench = workbench(data, folder, root, night.task.budget_s, no_sandbox, say)
        yield replace(bench, harness=harness(root))


# --- the report's samples ---------------------------------------------------------------------------------------------


def fill(root: Path, folder: Path, night: Night, say: Say, bench: Workbench | None = None) -> None:
    """Makes what is missing of the report's samples; a loop that holds the machine gives its workbench.

    What is in the way is said and no more: samples are no part of the research.
    """
    both = pair(night)
    if both is None or samples_of(folder / SAMPLES, night):
        return
    try:
        here = contextlib.nullcontext(bench) if bench else workplace(root, folder, night, _unconfined(night), _quiet)
        with here as place:
            say("samples: baseline and winner write for the report, once")
            _make(replace(place, harness=harness(root)), folder, both)
    except (AutoresearchError, OSError, LookupError, ValueError) as error:  # the last two: a damaged tokenizer
        say(f"no text samples in the report: {error}")


def _make(bench: Workbench, folder: Path, both: Sequence[Experiment]) -> None:
    known = stored(folder / SAMPLES)
    prompts, texts = known.prompts or beginnings(bench.data), known.texts
    for x in both:
        if x.source_sha256 not in texts:
            texts[x.source_sha256] = write(bench, folder, x, prompts, Wanted())
            said = {"prompts": prompts, "texts": texts}
            write_atomic(folder / SAMPLES, json.dumps(said, indent=1, ensure_ascii=False).encode())


def beginnings(data: DataFolder) -> list[str]:
    """How documents of the validation split begin: prompts that suit the data, whatever it is."""
    meta, codec = corpus.load_meta(data.folder), tokenizer.load(data.tokenizer)
    rows = np.fromfile(data.rows("val"), "<u2").reshape(-1, meta["seq_len"] + 1)
    found: dict[str, None] = {}
    bos_id = meta["bos_id"]
    for row, i in np.argwhere(rows == bos_id)[:MOST_BEGINNINGS]:
        ids = rows[row, i + 1 : i + 1 + PROMPT_TOKENS]
        text = codec.encoding.decode(ids.tolist(), errors="replace") if (ids < bos_id).all() else ""
        whole = text.rpartition(" ")[0].strip() or text.strip()  # the last word may be cut
        if whole and "\ufffd" not in whole:
            found[whole] = None
    # Most rows go on with a document where another was cut: what begins like a sentence is taken first.
    return sorted(found, key=lambda text: not text[0].isupper())[:PROMPTS]


def _unconfined(night: Night) -> bool:
    return bool(night.options.get("no_sandbox"))


def _quiet(line: str) -> None:
    pass


# --- the command ------------------------------------------------------------------------------------------------------


def sample_command(root: Path, args: Namespace) -> None:
    """`loop.py sample`: prints what a checkpoint of the night writes after each prompt. Raises UsageError."""
    folder = root / "runs" / status.find_tag(root, args.tag)
    night = journal.read(folder)
    x, wanted = _meant(night, args.of), Wanted(args.tokens, args.temperature, args.seed)
    most = MOST_TOKENS // len(args.prompt)
    if not 1 <= wanted.tokens <= most or not 0 <= wanted.temperature <= 10:
        raise UsageError(f"--tokens 1 to {most:,} for {len(args.prompt)} prompts, and --temperature 0 to 10")
    with workplace(root, folder, night, args.no_sandbox or _unconfined(night), _quiet) as bench:
        print(f"#{x.n} {x.proposal.title}")
        for prompt, text in zip(args.prompt, write(bench, folder, x, args.prompt, wanted), strict=True):
            print(f"\n{prompt}{text}")


def _meant(night: Night, of: str) -> Experiment:
    """`baseline`, `winner` or a number."""
    named = {"baseline": validation.baseline_of(night), "winner": night.incumbent}
    x = named.get(of) or (night.experiments.get(int(of)) if of.isdecimal() else None)
    if x is None:
        known = f"0 to {night.next_n - 1}" if night.experiments else "none yet"
        raise UsageError(f"--of {of}: baseline, winner, or an experiment of {night.tag} ({known})")
    return x
