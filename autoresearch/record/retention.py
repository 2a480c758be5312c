"""Free the disk space of runs/TAG: `plan` says what stays and what goes, and `apply` removes it.

Sources and logs always stay, because they are small and the report needs them. Of the large files of a run, above all
its checkpoint, those of one run stay for every baseline, every keep, and the three best candidates whatever their
verdict; the others go once their experiment is decided. Files of an undecided experiment are not touched.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autoresearch.formats import counted
from autoresearch.paths import Layout
from autoresearch.record.night import Experiment, Night

BEST = 3  # candidates whose checkpoint stays, besides those of the keeps
SMALL = (".log", ".py", ".json", ".jsonl", ".tsv", ".md", ".html")  # suffixes of files that always stay
RUN = re.compile(r"(\d{4,})/run-(\d+)/(.+)")  # relative to runs/TAG


@dataclass(frozen=True, slots=True)
class Item:
    """A file below runs/TAG, and why it stays or goes."""

    path: PurePosixPath  # relative to runs/TAG
    size: int  # bytes
    why: str  # for people: "keep", "top 3", "discard", "another run stays", ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What `apply` removes, and what it leaves."""

    keep: tuple[Item, ...] = ()
    free: tuple[Item, ...] = ()

    @property
    def freed(self) -> int:
        """Bytes that are freed."""
        return sum(item.size for item in self.free)

    @property
    def kept(self) -> int:
        """Bytes of large files that stay."""
        return sum(item.size for item in self.keep)

    def describe(self) -> str:
        """Return e.g. "frees 812 MB in 36 files, keeps 67 MB: baseline 22 MB, keep 22 MB, top 3 22 MB"."""
        by_why: dict[str, int] = {}
        for item in self.keep:
            by_why[item.why] = by_why.get(item.why, 0) + item.size
        shares = ", ".join(f"{why} {megabytes(size)}" for why, size in by_why.items())
        return f"frees {megabytes(self.freed)} in {counted(len(self.free), 'file')}, keeps {megabytes(self.kept)}" + (
            f": {shares}" if shares else ""
        )


def megabytes(size: int) -> str:
    """Format a size: megabytes(12_582_912) -> "12 MB", megabytes(4096) -> "4 kB"."""
    return f"{size / 2**20:.0f} MB" if size >= 2**20 else f"{size / 2**10:.0f} kB"


def plan(night: Night, files: Mapping[PurePosixPath, int]) -> Plan:
    """Plan for `files`, from path relative to runs/TAG to bytes, as `scan` returns them.

    Files that are not in a run's folder are not in the plan.
    """
    reasons = kept_experiments(night)
    bulky = [(path, size, m) for path, size in files.items() if (m := RUN.fullmatch(str(path))) and _is_bulky(path)]
    stays = {
        n: _run_to_keep(night.experiments[n], {int(m[2]) - 1 for _, _, m in bulky if int(m[1]) == n}) for n in reasons
    }
    keep, free = [], []
    for path, size, match in sorted(bulky, key=lambda entry: str(entry[0])):
        n, run = int(match[1]), int(match[2]) - 1
        x = night.experiments.get(n)
        if x is not None and x.open:
            keep.append(Item(path, size, "undecided"))
        elif run == stays.get(n) and "/" not in match[3]:
            keep.append(Item(path, size, reasons[n]))
        else:
            free.append(Item(path, size, _why_free(x, stays.get(n), run)))
    return Plan(tuple(keep), tuple(free))


def kept_experiments(night: Night) -> dict[int, str]:
    """Return the experiments whose checkpoint stays, by number, with the reason: "baseline", "keep" or "top 3"."""
    experiments = night.experiments.values()
    reasons = {x.n: "baseline" for x in experiments if x.role == "baseline" and x.verdict == "keep"}
    reasons |= {x.n: "keep" for x in experiments if x.role == "candidate" and x.verdict == "keep"}
    scored = [(x.estimate, x.n) for x in experiments if x.role == "candidate" and x.estimate is not None]
    return {n: f"top {BEST}" for _, n in sorted(scored)[:BEST]} | reasons


def _run_to_keep(x: Experiment, present: set[int]) -> int | None:
    """Return the newest measured run of which files are present.

    The first one led to the verdict by its good value, so a later one represents the candidate better.
    """
    good = [k for k, run in x.runs.items() if k in present and run.measurement and run.measurement.ok]
    return max(good, default=None)


def _is_bulky(path: PurePosixPath) -> bool:
    return path.suffix not in SMALL


def _why_free(x: Experiment | None, stays: int | None, run: int) -> str:
    if x is None:
        return "of no experiment"
    if stays is None:
        return x.verdict or x.status
    return "left over" if run == stays else "another run stays"


# --- the disk -------------------------------------------------------------------------------------------------------


def scan(layout: Layout) -> dict[PurePosixPath, int]:
    """Return the files below runs/TAG with their sizes in bytes. Links are not followed."""
    return {PurePosixPath(path.relative_to(layout.folder).as_posix()): size for path, size in _walk(layout.folder)}


def _walk(folder: Path) -> Iterator[tuple[Path, int]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            with contextlib.suppress(FileNotFoundError):  # a temporary file of a running child that is gone by now
                yield path, path.lstat().st_size


def apply(layout: Layout, planned: Plan) -> int:
    """Remove what the plan frees and the folders that this leaves empty; return the bytes freed.

    A file that is gone already is not an error. Raises OSError where a file cannot be removed.
    """
    freed = 0
    for item in planned.free:
        path = layout.folder / item.path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            freed += item.size
        _remove_empty(path.parent, layout.folder)
    return freed


def tidy(layout: Layout, night: Night) -> int:
    """Plan and apply for runs/TAG, as the loop does after each decision; return the bytes freed."""
    return apply(layout, plan(night, scan(layout)))


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
