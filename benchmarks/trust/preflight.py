"""Measure what a try on small arrays finds, whom it accuses, and the seconds that it adds to a model's turn.

Each candidate is tried as in a night, in a confined child of its own: edits that cannot work, honest ones of a small
file, and the recipes on train_mlx.py, with the context and the vocabulary of this machine's profile. What fails is
tried once more at its own size, so that it takes twice as long.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch.candidate import edits
from autoresearch.measure.preflight import preflight
from autoresearch.measure.workbench import Workbench
from autoresearch.search.recipes.recipe import catalogue
from autoresearch.tasks.gpt.data.profiles import PROFILES, default_profile
from autoresearch.tasks.gpt.workbench import children_environment
from benchmarks.cli import Row, parser, report
from testbed import honest
from testbed.broken_edits import BROKEN
from testbed.toy import ROOT, toy_bench, write_toy_data

SPECIAL = 4  # tokens of a vocabulary


def sources() -> Mapping[str, Sequence[str]]:
    """Return the candidates by what they are."""
    trainer = (ROOT / "train_mlx.py").read_text()
    return {
        "edits that cannot work": [honest.BASE.replace(old, new) for old, new, _ in BROKEN.values()],
        "honest edits": [honest.edited(edit) for edit in honest.EDITS.values()],
        "train_mlx.py and its recipes": [trainer, *(edits.apply(trainer, recipe.edits) for recipe in catalogue())],
    }


def bench_in(folder: Path) -> Workbench:
    """Return a workbench with the numbers of this machine's profile; a preflight reads no data."""
    profile = PROFILES[default_profile()]
    data = write_toy_data(folder / "cache" / "data" / "toy" / profile.name)
    numbers = {"seq_len": profile.seq_len, "vocab_size": profile.vocab_size, "bos_id": profile.vocab_size - SPECIAL}
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps(meta | numbers))
    return toy_bench(data, env=children_environment(lambda line: None))


def row(what: str, tried: Sequence[str], bench: Workbench, folder: Path) -> Row:
    refused, took = 0, []
    for source in tried:
        began = time.monotonic()
        refused += preflight(bench, source, folder / "preflight") is not None
        took.append(time.monotonic() - began)
    row = {"candidates": what, "tried": len(tried), "refused": refused}
    return row | {"s, median": statistics.median(took), "s, most": max(took)}


def main(argv: Sequence[str]) -> int:
    options = parser("trust preflight", __doc__)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench, most = bench_in(folder), 2 if args.quick else None
        rows = [row(what, tried[:most], bench, folder) for what, tried in sources().items()]
    return report(rows, args)
