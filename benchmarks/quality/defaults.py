"""Try changes of the reference's constants and code: val_bpb after the same number of tokens, by text, scale and seed.

Each run is compared with one of the same seed without the change, on the same rows in the same order. A change is one
of quality/changes.py, a recipe (autoresearch/search/recipes/catalogue), a constant with a value ("MATRIX_LR 0.02"), or
several joined by " + ". A run is one line of the log, and is not made again when it stands there. `s_ratio` is the
processor's seconds a token relative to the run without the change: what costs more has to gain more than the steps
that it costs would. Where one run does not fill a GPU, start the command several times, each with its own --part.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch.decide.interval import paired
from benchmarks.quality.changes import CHANGES, RECIPES, REFERENCE, SCALES, changed
from benchmarks.quality.optimizers import data_set, datasets, trained
from benchmarks.timing import arguments, report


def row(dataset: str, scale: str, name: str, seed: int, steps: int) -> dict[str, Any]:
    """Train one version of the trainer; `steps` are the reference's, and a smaller batch has more of them."""
    data, train_mlx = data_set(dataset, SCALES[scale].profile), changed(name, scale)
    own_steps = round(steps * SCALES[scale].constants["TOTAL_BATCH_SIZE"] / train_mlx.TOTAL_BATCH_SIZE)
    bpb, step_s = trained(train_mlx, train_mlx.train, data, seed, own_steps)
    made = {"dataset": data[1].dataset, "scale": scale, "change": name, "seed": seed, "steps": steps}
    return {**made, "val_bpb": bpb, "step_s": step_s * own_steps / steps}


def done(log: Path) -> list[dict[str, Any]]:
    """Read the runs of the log."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def key(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells one run from another."""
    return tuple(run[name] for name in ("dataset", "scale", "steps", "seed", "change"))


def gains(runs: Sequence[Mapping[str, Any]], against: str = REFERENCE) -> list[dict[str, Any]]:
    """Return a row for each change, text, scale and number of steps; positive gains are better.

    A gain is the bpb by which a run lies below the one of the same seed with the change `against`. With two seeds or
    more, it has a 95% t interval.
    """
    without = {key(run)[:-1]: run for run in runs if run["change"] == against and run["val_bpb"] is not None}
    pairs: dict[tuple[Any, ...], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        base = without.get(key(run)[:-1])
        if run["change"] != against and base is not None and run["val_bpb"] is not None:
            pairs.setdefault((run["change"], run["dataset"], run["scale"], run["steps"]), []).append((base, run))
    return [
        {
            **dict(zip(("change", "dataset", "scale", "steps"), place, strict=True)),
            **interval([(base["val_bpb"], run["val_bpb"]) for base, run in found]),
            "by seed": ", ".join(f"{run['seed']}: {base['val_bpb'] - run['val_bpb']:+.4f}" for base, run in found),
            "s_ratio": statistics.median(run["step_s"] / base["step_s"] for base, run in found),
        }
        for place, found in pairs.items()
    ]


def interval(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the mean gain of (without, with) pairs, and the bounds of its interval, None for one pair."""
    if len(pairs) < 2:
        return {"gain": pairs[0][0] - pairs[0][1], "low": None, "high": None}
    found = paired(pairs)
    return {"gain": found.gain_score, "low": found.low_score, "high": found.high_score}


def part(text: str) -> tuple[int, int]:
    """Read "2/4", the second of four parts, as (1, 4). Raises ValueError."""
    number, of = map(int, text.split("/"))
    if not 1 <= number <= of:
        raise ValueError(text)
    return number - 1, of


def main(argv: Sequence[str]) -> int:
    options = arguments("quality defaults", __doc__)
    options.add_argument("--dataset", nargs="+", default=[], help="prepared data sets: names, or paths")
    options.add_argument("--scale", nargs="+", choices=SCALES, default=["tiny"])
    options.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    options.add_argument("--steps", type=int, default=150)
    options.add_argument("--only", nargs="+", metavar="NAME", default=[*CHANGES, *RECIPES])
    options.add_argument(
        "--against", metavar="NAME", default=REFERENCE, help="compare with this change instead of none"
    )
    options.add_argument("--part", type=part, default=(0, 1), metavar="I/N", help="make only every N-th run")
    options.add_argument("--log", type=Path, default=Path("defaults.jsonl"), help="runs done, one a line")
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        texts = datasets(options, args, args.dataset, Path(folder))
        if args.quick:
            args.only, args.steps, args.seeds, args.log = ["BIGRAM_ROWS 16"], 2, [42, 43], Path(folder) / "log.jsonl"
        names = list(dict.fromkeys([args.against, *args.only]))
        runs = list(itertools.product(texts, args.scale, args.seeds, names))
        for dataset, scale, seed, name in runs[args.part[0] :: args.part[1]]:
            place = (data_set(dataset, SCALES[scale].profile)[1].dataset, scale, args.steps, seed, name)
            if place not in map(key, done(args.log)):
                run = row(dataset, scale, name, seed, args.steps)
                with args.log.open("a") as file:
                    file.write(json.dumps(run) + "\n")
                print(f"\r{run}", file=sys.stderr, flush=True)
        return report(gains(done(args.log), args.against), args)
