"""Share findings: write a night as one file, and read the files, tables and nights that a command line names."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch.decide import earlier_nights, estimates
from autoresearch.decide.noise import Noise
from autoresearch.errors import BundleError, UsageError
from autoresearch.files import write_atomic
from autoresearch.findings import bundle, compare, export, foreign, hints, transfer
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import TransferReport
from autoresearch.formats import counted, printable
from autoresearch.loop import remotes
from autoresearch.metrics import VAL_BPB, Metric
from autoresearch.paths import STATE, Cache, Layout, tree
from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.report import comparison_page, comparison_tables, status
from autoresearch.report.curves_csv import curves_csv
from autoresearch.system import machine
from autoresearch.system.invocation import command
from autoresearch.tasks.command import base, declaration
from autoresearch.tasks.command.keys import metric_of

FOLDER = "findings"  # of the checkout: what people shared
SHARE = """To share it, open a pull request that adds the file:
  git switch -c findings-{id} main && git add {path} && git commit -m "Findings: {label}"
findings/README.md says what belongs there."""


# --- export -----------------------------------------------------------------------------------------------------------


def export_command(root: Path, args: argparse.Namespace) -> int:
    """Write a night as one file of findings, or its loss curves as CSV: `loop.py export`."""
    if args.curves is not None:
        _write(args.curves, curves_csv(journal.read(Layout(root, status.find_tag(root, args.tag)))))
        return 0
    path, found = _export(root, args.tag, args.output)
    if args.output is None and root.name == STATE:  # git ignores that folder
        print(f"To share it: {command('loop.py share --repo OWNER/NAME')}")
    elif args.output is None:
        print(SHARE.format(id=found.id[:8], path=path.relative_to(root), label=found.label))
    return 0


def _export(root: Path, tag: str | None, output: Path | None) -> tuple[Path, Bundle]:
    """Write a night to `output`, by default to a file in findings/ that replaces earlier exports of the same night."""
    found = bundle_of(Layout(root, status.find_tag(root, tag)))
    path = output or root / FOLDER / file_name(found)
    bundle.save(found, path)
    replaced = _remove_earlier(path, found) if output is None else []
    kept = sum(f.role == "candidate" and f.verdict == "keep" for f in found.findings)
    print(f"{path}: {counted(len(found.findings), 'experiment')}, {kept} kept, from {found.label}; id {found.id[:16]}")
    for old in replaced:
        print(f"it replaces an earlier export of the same night: {old.name}")
    return path, found


def share_command(root: Path, args: argparse.Namespace) -> int:
    """Write a night as `export` does, and open a pull request on a dataset repository of the hub: `loop.py share`."""
    repo = remotes.repository(args.repo)
    path, found = _export(root, args.tag, None)
    sources = counted(len(found.sources), "source")
    print(f"in it: the experiments with their texts, {sources}, {found.machine.describe()}, data {found.task.dataset}")
    if args.dry_run:
        print(f"nothing was sent; without --dry-run it goes to {repo} as a pull request, under your name there")
        return 0
    opened = remotes.propose(repo, path, f"Findings: {found.label}", f"id {found.id}, written by `loop.py share`")
    print(f"pull request: {opened}" if opened else f"{repo} has this very file already")
    return 0


def findings_command(root: Path, args: argparse.Namespace) -> int:
    """Fetch what other people shared into the cache, and say whose nights came: `loop.py findings pull`."""
    source = remotes.source_of(args.source)
    nights = bundle.newest(remotes.pull(source, print))
    machines = Counter(night.machine.describe() for night in nights)
    print(f"{source}: {counted(len(nights), 'night')} of {counted(len(machines), 'machine')}")
    for machine_name, count in machines.most_common():
        print(f"  {counted(count, 'night')}  {machine_name}")
    print(f"side by side: {command(f'loop.py compare {source}')}")
    print(f"as hints for a night: {command(f'loop.py --findings {source}')}")
    return 0


def bundle_of(layout: Layout) -> Bundle:
    """Return a night as findings, with its matrix if it replays another one."""
    night = journal.read(layout)
    prior = _prior(night)
    replayed = None
    if layout.origin.exists() and night.incumbent is not None:
        replayed = _outcome(bundle.load(layout.origin), layout, night, prior)
    found = export.read(layout, prior=prior, transfer=replayed)
    return bundle.loads(bundle.dump(replace(found, hints=hints.reported(night.hinted, found.findings))))


def _outcome(origin: Bundle, layout: Layout, night: Night, prior: Noise | None) -> TransferReport:
    def source_of(n: int) -> str:
        return journal.read_source(layout, night.experiments[n])

    return transfer.outcome(origin, night, source_of, estimates.read(night, prior))


def _prior(night: Night) -> Noise | None:
    """Return what earlier nights of this machine know of its noise, as the night itself used it."""
    if not night.machine:
        return None
    slug = machine.Facts.from_dict(night.machine).slug()
    return earlier_nights.load(Cache.default().noise(slug), night.task, night.tag)


def _remove_earlier(path: Path, found: Bundle) -> list[Path]:
    """Remove earlier exports of the same night beside `path`, and return what they were called."""
    removed = []
    for other in sorted(path.parent.glob("*.json")):
        with contextlib.suppress(BundleError):  # another file, or a damaged one: it stays
            if other != path and bundle.load(other).night == found.night:
                other.unlink()
                removed.append(other)
    return removed


def file_name(found: Bundle) -> str:
    """Name a bundle's file: "apple-m4-pro-20-gpu-cores-24-gb-macos-26-2-2026-11-23-1f0c39ae.json"."""
    slug = re.sub(r"[^a-z0-9]+", "-", found.label.lower()).strip("-")
    return f"{slug[:100]}-{found.id[:8]}.json"


# --- compare ----------------------------------------------------------------------------------------------------------


def compare_command(root: Path, args: argparse.Namespace) -> int:
    """Print several nights or machines side by side: `loop.py compare`."""
    given = [found for name in args.nights for found in nights_of(root, name)]
    nights = bundle.newest(given)
    if repeated := len(given) - len(nights):
        print(f"left out: {counted(repeated, 'other export')} of the same nights")
    comparison = compare.compare(nights)
    comparison_tables.show(comparison)
    if args.html is not None:
        _write(args.html, comparison_page.html(comparison))
    if args.json is not None:
        _write(args.json, json.dumps(comparison.to_json(), indent=1, ensure_ascii=False) + "\n")
    return 0


def nights_of(root: Path, name: str) -> list[Bundle]:
    """Return what a name on the command line stands for. Raises UsageError, or BundleError for a refused file."""
    if remotes.is_remote(name):
        return remotes.pull(remotes.source_of(name), print)
    path = Path(name)
    if path.is_file():
        return foreign.read(path) if path.suffix == ".tsv" else [bundle.load(path)]
    if (path / "results.tsv").is_file() and path.resolve() != root:
        return foreign.read(path)
    if files := sorted(path.glob("[!.]*.json")):
        return _readable(name, files)
    if (layout := Layout(root, name)).journal.is_file():
        return [bundle_of(layout)]
    state = path.resolve() / STATE  # the folder of a declared task: all its nights
    if found := journal.nights(state) if state.is_dir() else []:
        return [bundle_of(Layout(state, tag)) for tag in found]
    if path.is_dir():
        raise UsageError(f"{name} holds no findings (*.json) and no results.tsv")
    raise UsageError(
        f"{name} is not a file of findings, a results.tsv or a night of this checkout. See: ls runs findings"
    )


def _readable(name: str, files: Sequence[Path]) -> list[Bundle]:
    """Return the nights in the files of a folder; each one that is refused is told with the reason, and left out."""
    found = []
    for path in files:
        try:
            found.append(bundle.load(path))
        except BundleError as error:
            why = str(error).removeprefix(f"{path}: ")
            print(printable(f"left out: {path.name}: {why}"))
    if not found:
        raise BundleError(f"{name}: none of its {counted(len(files), 'file')} (*.json) can be taken as findings")
    return found


def hinted(root: Path, name: str) -> list[hints.Hint]:
    """Return the hints that the nights of `name` hold for another one. Raises UsageError where there are none.

    A night is told of those alone that were judged by the same number as itself.
    """
    nights, metric = bundle.newest(nights_of(root, name)), _judged_by(root)
    alike = [night for night in nights if _same_number(night.task.metric.metric, metric)]
    if not alike:
        raise UsageError(f"--findings {name}: {counted(len(nights), 'night')}, and none was judged by {metric.name}")
    found = hints.choose(alike, here=export.shared_machine(machine.facts().to_dict()))
    if not found:
        raise UsageError(f"--findings {name}: {counted(len(alike), 'night')}, and no clear gain or loss to tell of")
    return found


def _judged_by(root: Path) -> Metric:
    """Return the number by which the next night of a checkout, or of a declared task, is judged."""
    folder = tree(root)
    return VAL_BPB if folder == root else metric_of(declaration.read(base.read_text(folder, None)))


def _same_number(one: Metric, other: Metric) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("name", "unit", "direction", "scale"))


def _write(path: Path, text: str) -> None:
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error}") from None
    print(f"wrote {path}")
