"""Measure the trainer on a GPU: by chunk of the loss, rows at once, type; compiled or not; against the plain port.

Every case is a step in a child of its own: of the Mac profile's default, and of the same with 32,768 tokens. While the
cases that are not compiled are timed, the kernels of the others are compiled, by part and side by side. Then come the
open questions once, calibrate's walk, the rest, and the open ones again. Lines appear as they are found; a case is not
begun after --seconds. It ends with the goals and what was found. On a CPU the cases are tiny and nothing is compiled.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx

from autoresearch.candidate.constants import assign
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder
from autoresearch.system import machine
from autoresearch.system.sandbox import Unconfined
from autoresearch.tasks.gpt import calibrate, roofline
from autoresearch.tasks.gpt.data.profiles import MAC, TINY
from autoresearch.tasks.gpt.workbench import harness
from benchmarks.timing import ENVIRONMENT, TINY_CONSTANTS, arguments, report
from benchmarks.trainer.cases import CaseTimer, StepCase
from benchmarks.trainer.steps import random_data
from testbed.toy import ROOT

TOKENS = 2**15  # a step
WHOLE = 40  # the power of two of a chunk that holds all logits
FIT_S = 75.0  # that calibrate's walk may take
PLAIN = {"MLX_DISABLE_COMPILE": "1"}  # the environment of a step that is not compiled


def case(what: str, kind: str = "step", env: Mapping[str, str | None] | None = None, **constants: Any) -> StepCase:
    constants = {"TOTAL_BATCH_SIZE": TOKENS, **constants}
    return StepCase(what, MAC.seq_len, MAC.vocab_size, TOKENS, constants, env or {}, kind=kind)


def uncompiled() -> Iterator[StepCase]:
    """Yield the steps as they come, ours beside the plain port's; then attention in types that have no fused kernel."""
    exact = {**PLAIN, "MLX_ENABLE_TF32": "0"}
    yield replace(case("gradients against the plain port's", "parity", exact, COMPUTE_DTYPE="float32"), tokens=2**12)
    for dtype in ("bfloat16", "float32"):
        yield case(f"plain port, {dtype}", "plain", PLAIN, COMPUTE_DTYPE=dtype)
        constants = {"COMPUTE_DTYPE": dtype, "DEVICE_BATCH_SIZE": 16, "LOSS_CHUNK": 2**28}
        yield case(f"not compiled, {dtype}, 16 rows, chunk 2^28", env=PLAIN, **constants)
    yield case("not compiled, bfloat16, 8 x 2, chunk 2^28", env=PLAIN, DEVICE_BATCH_SIZE=8, LOSS_CHUNK=2**28)
    for dtype, D in (("float32", 128), ("bfloat16", 256)):
        for T in (2048, 4096):
            found = case(f"attention, {dtype}, D {D}, T {T}", "attention", PLAIN, COMPUTE_DTYPE=dtype, HEAD_DIM=D)
            yield replace(found, T=T)


def compiled(rows: int, chunk: int, tokens: int = TOKENS, table: int = 0) -> StepCase:
    """Return a compiled step in bfloat16, with chunks of 2^chunk bytes; 2^40 are all logits."""
    shape = f"{rows} x {tokens // MAC.seq_len // rows}" if rows * MAC.seq_len < tokens else f"{rows} rows"
    what = f"bfloat16, {shape}, chunk {'whole' if chunk == WHOLE else f'2^{chunk}'}"
    constants = {"DEVICE_BATCH_SIZE": rows, "LOSS_CHUNK": 2**chunk, "TOTAL_BATCH_SIZE": tokens, "BIGRAM_ROWS": table}
    found = case(what + (", a table of bigrams" if table else ""), **constants)
    return replace(found, tokens=tokens)


OPEN = (compiled(16, WHOLE), compiled(16, WHOLE, table=16), compiled(8, WHOLE), compiled(8, WHOLE, tokens=2**14))
REST = (compiled(8, 28), compiled(8, 24), compiled(16, 28), compiled(16, 26), compiled(8, 24, tokens=2**14))


def ahead() -> list[StepCase]:
    """Return the parts of the compiled steps, to compile side by side."""
    sixteen, chunks = {"DEVICE_BATCH_SIZE": 16, "LOSS_CHUNK": 2**40}, {"DEVICE_BATCH_SIZE": 8, "LOSS_CHUNK": 2**24}
    return [
        case("compile: layers", "layers", **sixteen),
        case("compile: layers with a table", "layers", **sixteen, BIGRAM_ROWS=16),
        case("compile: head", "head", **sixteen),
        case("compile: head in chunks", "head", **chunks),
        case("compile: optimizer", "optimizer", **chunks),
        case("compile: optimizer with a table", "optimizer", **chunks, BIGRAM_ROWS=16),
    ]


# What is wanted: a case, the case or the tokens a second that it is held against, and the least ratio. The reference is
# autoresearch's training script in PyTorch (scaled_dot_product_attention, torch.compile), measured on an H100.
GOALS: tuple[tuple[str, str | tuple[str, float], float], ...] = (
    ("not compiled, bfloat16, 16 rows, chunk 2^28", "plain port, bfloat16", 1.0),
    ("not compiled, float32, 16 rows, chunk 2^28", "plain port, float32", 1.0),
    ("bfloat16, 8 x 2, chunk whole", ("the reference at 8 x 2 on an H100", 1.67e6), 1.0),
    ("bfloat16, 16 rows, chunk whole", ("the reference at 16 rows on an H100", 3.14e6), 0.8),
    ("bfloat16, 16 rows, chunk whole", "bfloat16, 16 rows, chunk whole, a table of bigrams", 1.0),
)


def goals(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each goal whose cases were timed, with the best of each case's times."""
    best: dict[str, float] = {}
    for row in rows:
        if "tok_s" in row:
            best[row["what"]] = max(row["tok_s"], best.get(row["what"], 0.0))
    lines = []
    for what, against, least in GOALS:
        name, speed = (against, best.get(against)) if isinstance(against, str) else against
        if what in best and speed:
            lines.append(f"{what}: {best[what] / speed:.2f} of {name}, wanted {least:g}")
    return lines


def tiny(found: StepCase) -> StepCase:
    """Return the case on the tiny profile's scale, for a CPU."""
    constants = {**TINY_CONSTANTS, **found.constants, "TOTAL_BATCH_SIZE": 512, "DEVICE_BATCH_SIZE": 2}
    T = TINY.seq_len * MAC.seq_len // found.T
    return replace(found, T=T, V=512, tokens=512, constants=constants, seconds=0.0)


def compiled_ahead(bench: CaseTimer, cases: Sequence[StepCase], folder: Path) -> None:
    """Compile the cases' kernels side by side, each into a cache of its own, and merge these in folder/kernels."""
    kernels = folder / "kernels"
    kernels.mkdir(exist_ok=True)

    def one(case: StepCase) -> None:
        own = Path(tempfile.mkdtemp(dir=folder))
        shutil.copytree(kernels, own, dirs_exist_ok=True)
        bench.measure(replace(case, env={"MLX_PTX_CACHE_DIR": str(own)}, seconds=0.0))
        found.append(own)

    found: list[Path] = []
    with ThreadPoolExecutor() as pool:
        list(pool.map(one, cases))
    for own in found:
        shutil.copytree(own, kernels, dirs_exist_ok=True)


def fitted(folder: Path, seconds: float, device: str) -> None:
    """Run calibrate's walk on random tokens, with the kernels that are there; its own lines are the result.

    On a GPU a step has four times the tokens of the default, so that there are more rows to try.
    """
    data = random_data(folder / "data" / "random" / "mac", MAC if device == "gpu" else TINY)
    bench = Workbench(harness(ROOT), DataFolder(data), seconds, Unconfined(), env=ENVIRONMENT, min_steps=0)
    bench = replace(bench, kernels=folder / "kept")
    if (folder / "kernels").exists():
        shutil.copytree(folder / "kernels", folder / "kept" / version("mlx") / "ptx")
    changes = {"TOTAL_BATCH_SIZE": 2**16} if device == "gpu" else TINY_CONSTANTS
    source, facts = (ROOT / "train_mlx.py").read_text(), machine.facts()
    for name, value in changes.items():
        source = assign(source, name, repr(value))
    best = roofline.measure(ENVIRONMENT)
    print(best.table(facts))
    found = calibrate.fit(bench, source, folder / "fit", facts.training_memory_mb, device, print, seconds)
    print(calibrate.efficiency(found, best, facts, source))


def main(argv: Sequence[str]) -> int:
    options = arguments("trainer gpu", __doc__)
    options.add_argument("--seconds", type=float, default=230.0, help="begin no case after this long (default: 230)")
    options.add_argument("--kernels", type=Path, help="keep the compiled kernels in this folder, and begin with them")
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        return _measure(args, Path(name))


def _measure(args: argparse.Namespace, folder: Path) -> int:
    on_gpu = mx.default_device() == mx.gpu
    cuda = on_gpu and not mx.metal.is_available()
    bench, plain = CaseTimer(args.seconds), list(uncompiled())
    if args.kernels and args.kernels.exists():
        shutil.copytree(args.kernels, folder / "kernels")
    with ThreadPoolExecutor() as pool:
        kernels = pool.submit(_compile, bench, folder) if cuda else None
        for found in plain[:2] + plain[-1:] if args.quick else plain:
            bench.measure(found if on_gpu else tiny(found))
        if kernels is not None:
            kernels.result()
    if on_gpu:
        _time(bench, OPEN, folder)
    elif args.quick:
        for found in (*ahead()[::2], OPEN[0]):
            bench.measure(tiny(found))
    if args.quick or bench.left_s > FIT_S:
        fitted(folder, 0.2 if args.quick else 1.0, "gpu" if on_gpu else "cpu")
    if on_gpu and not args.quick:
        _time(bench, [*REST, *OPEN], folder)
    if args.kernels and cuda:
        shutil.copytree(folder / "kernels", args.kernels, dirs_exist_ok=True)
    report(bench.rows, args)
    if on_gpu:
        print("\n".join(["", *goals(bench.rows)]))
    return int(bench.failed)


def _compile(bench: CaseTimer, folder: Path) -> None:
    """Compile the kernels of the parts, and then what whole steps have beside."""
    compiled_ahead(bench, ahead(), folder)
    compiled_ahead(bench, [replace(found, what=f"compile: {found.what}") for found in (*OPEN[:2], REST[1])], folder)


def _time(bench: CaseTimer, cases: Sequence[StepCase], folder: Path) -> None:
    for found in cases:
        bench.measure(replace(found, env={"MLX_PTX_CACHE_DIR": str(folder / "kernels")}))
