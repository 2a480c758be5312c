"""The commands about findings that travel: export, compare, transfer. They compose; the rules are elsewhere."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch.candidate import constants
from autoresearch.decide import earlier_nights, estimates
from autoresearch.decide.noise import Noise
from autoresearch.errors import BundleError, UsageError
from autoresearch.files import write_atomic
from autoresearch.findings import bundle, compare, export, foreign, hints, transfer
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import TransferReport
from autoresearch.loop.research import Research
from autoresearch.loop.session import Options, open_night
from autoresearch.paths import Cache
from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.records import COMPARABLE
from autoresearch.report import comparison_page, status
from autoresearch.report.console import choose_view
from autoresearch.system import machine
from autoresearch.tasks.gpt.data.profiles import PROFILES

FOLDER = "findings"  # of the repository: what people shared
SHARE = """To share it, open a pull request that adds the file:
  git switch -c findings-{id} main && git add {path} && git commit -m "Findings: {label}"
findings/README.md says what belongs there."""


# --- export -----------------------------------------------------------------------------------------------------------


def export_command(root: Path, args: argparse.Namespace) -> int:
    found = bundle_of(root, root / "runs" / status.find_tag(root, args.tag))
    path = args.output or root / FOLDER / file_name(found)
    bundle.save(found, path)
    kept = sum(f.role == "candidate" and f.verdict == "keep" for f in found.findings)
    print(f"{path}: {len(found.findings)} experiments, {kept} kept, from {found.label}; id {found.id[:16]}")
    if args.output is None:
        print(SHARE.format(id=found.id[:8], path=path.relative_to(root), label=found.label))
    return 0


def bundle_of(root: Path, folder: Path) -> Bundle:
    """The night in runs/TAG; with its matrix where it replays another one."""
    night = journal.read(folder)
    prior = _prior(night)
    replayed = None
    if (folder / transfer.ORIGIN).exists() and night.incumbent is not None:
        origin = bundle.load(folder / transfer.ORIGIN)
        replayed = _outcome(origin, folder, night, prior)
    return export.read(folder, root, prior=prior, transfer=replayed)


def _outcome(origin: Bundle, folder: Path, night: Night, prior: Noise | None) -> TransferReport:
    def source_of(n: int) -> str:
        return journal.read_source(folder, night.experiments[n])

    return transfer.outcome(origin, night, source_of, estimates.read(night, prior))


def _prior(night: Night) -> Noise | None:
    """What earlier nights of this machine know of its noise, as the night itself used it."""
    try:
        slug = machine.Facts(**night.machine).slug()
    except TypeError:  # written by another version, with other facts
        return None
    return earlier_nights.load(Cache.default().noise(slug), night.task, night.tag)


def file_name(found: Bundle) -> str:
    """apple-m4-pro-20-gpu-cores-24-gb-macos-26-2-2026-11-23-1f0c39ae.json"""
    slug = re.sub(r"[^a-z0-9]+", "-", found.label.lower()).strip("-")
    return f"{slug[:100]}-{found.id[:8]}.json"


# --- compare ----------------------------------------------------------------------------------------------------------


def compare_command(root: Path, args: argparse.Namespace) -> int:
    comparison = compare.compare([found for name in args.nights for found in nights_of(root, name)])
    comparison_page.show(comparison)
    if args.html is not None:
        _write(args.html, comparison_page.html(comparison))
    if args.json is not None:
        _write(args.json, json.dumps(comparison.to_json(), indent=1, ensure_ascii=False) + "\n")
    return 0


def nights_of(root: Path, name: str) -> list[Bundle]:
    """What a name on the command line stands for. Raises UsageError, or BundleError for a file that is refused."""
    path = Path(name)
    if path.is_file():
        return foreign.read(path) if path.suffix == ".tsv" else [bundle.load(path)]
    if (path / "results.tsv").is_file() and path.resolve() != root:
        return foreign.read(path)
    if files := sorted(path.glob("*.json")):
        return [bundle.load(file) for file in files]
    if (root / "runs" / name / journal.NAME).is_file():
        return [bundle_of(root, root / "runs" / name)]
    if path.is_dir():
        raise UsageError(f"{name} holds no findings (*.json) and no results.tsv")
    raise UsageError(
        f"{name} is no file of findings, no results.tsv and no night of this checkout. See: ls runs findings"
    )


def hinted(root: Path, name: str) -> list[hints.Hint]:
    """The hints that the nights of `name` hold for another one. Raises UsageError where there are none."""
    nights = nights_of(root, name)
    found = hints.seeds(nights)
    if not found:
        raise UsageError(f"--findings {name}: none of its {len(nights)} nights holds a clear gain or loss to tell of")
    return found


def _write(path: Path, text: str) -> None:
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error}") from None
    print(f"wrote {path}")


# --- transfer ---------------------------------------------------------------------------------------------------------


def transfer_command(root: Path, args: argparse.Namespace, options: Options) -> int:
    """`options` are those of the command line; what they leave open is as it was on the other machine."""
    there = bundle.load(args.file)
    if there.kind == "imported" or not transfer.changes(there):
        raise UsageError(f"{args.file} has no kept changes to transfer")
    options = wanted(there, options)
    folder, view = root / "runs" / str(options.tag), choose_view()
    transfer.begin(folder, there)
    proposer = transfer.Transfer(there)
    try:
        with open_night(root, options, view, lambda facts: proposer) as research:
            research.recover()
            research.ensure_baseline()
            for line in differences(there, research):
                view.say(f"note: {line}")
            view.say(f"stopped: {transfer.replay(research, proposer)}")
    finally:
        view.close()
    finish(root, folder, there)
    return 0


def wanted(there: Bundle, options: Options) -> Options:
    """The options of a transfer: a night of its own, on the other's data, profile and budget where none are given.

    Raises BundleError for a profile that is not known here.
    """
    task = there.task
    if options.profile is None and task.profile not in PROFILES:
        known = ", ".join(PROFILES)
        raise BundleError(
            f"its profile {task.profile!a:.60} is not known here; there are {known}. Choose one: --profile"
        )
    return replace(
        options,
        tag=options.tag or f"transfer-{there.id[:8]}",
        dataset=options.dataset or (task.dataset if task.dataset in export.PUBLIC else None),
        profile=options.profile or task.profile,
        time_budget_s=options.time_budget_s or task.budget_s,
    )


def differences(there: Bundle, research: Research) -> Sequence[str]:
    """What is not as it was on the other machine, for a person who reads the matrix."""
    night = research.night
    here, lines = export.task(night.task), []
    for name in ("fingerprint", "profile", "budget_s"):
        a, b = getattr(there.task, name), getattr(here, name)
        if a != b:
            lines.append(f"{name} was {a} there and is {b} here: {COMPARABLE[name]}")
    baseline, theirs = research.baseline(), there.source(there.baseline)
    if theirs is not None:
        ours = research.source_of(baseline.n)
        if constants.structure(ours) != constants.structure(theirs):
            lines.append("the baselines differ in their code: some changes may not apply, or mean something else")
        if differ := constants.changed(theirs, ours):
            told = ", ".join(f"{name} {a} → {b}" for name, (a, b) in list(differ.items())[:8])
            lines.append(f"the baselines differ, there → here: {told}")
    return lines


def finish(root: Path, folder: Path, there: Bundle) -> None:
    """The matrix so far, and the transfer's own findings in runs/TAG/findings.json."""
    here = bundle_of(root, folder)
    bundle.save(here, folder / "findings.json")
    assert here.transfer is not None
    comparison_page.show_transfers(compare.compare([there, here]))
    counts = {
        name: sum(row.verdict == name for row in here.transfer.rows)
        for name in ("transfers", "null", "reverses", "cannot run")
    }
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    if left := len(transfer.changes(there)) - len(here.transfer.rows):
        print(f"{left} not tried yet; the same command goes on")
    print(f"its own findings: {folder / 'findings.json'}. To share them: uv run loop.py export --tag {folder.name}")
