"""Measure the trainer on a GPU: by chunk of the loss, rows at once, type; compiled or not; against the plain port.

Every case is a step in a child of its own, of the Mac profile's baseline: 32,768 tokens of a context of 2048. While the
cases that are not compiled are timed, others compile the kernels of the rest. Lines appear as they are found; a case is
not begun after --seconds. On a CPU the cases are tiny and nothing is compiled.
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


def compiled() -> Iterator[StepCase]:
    for rows, chunks in ((16, (40, 28, 26)), (8, (28, 24, 40))):
        for chunk in chunks:
            name = "whole" if chunk == 40 else f"2^{chunk}"
            shape = "8 x 2" if rows == 8 else "16 rows"
            yield case(f"bfloat16, {shape}, chunk {name}", DEVICE_BATCH_SIZE=rows, LOSS_CHUNK=2**chunk)
    constants = {"DEVICE_BATCH_SIZE": 16, "LOSS_CHUNK": 2**40, "BIGRAM_ROWS": 16}
    yield case("bfloat16, 16 rows, chunk whole, a table of bigrams", **constants)


def ahead() -> list[StepCase]:
    """Return the parts of the compiled steps, to compile side by side."""
    eight, sixteen = {"DEVICE_BATCH_SIZE": 8, "LOSS_CHUNK": 2**24}, {"DEVICE_BATCH_SIZE": 16, "LOSS_CHUNK": 2**40}
    return [
        case("compile: gradients, 8 rows", "gradients", **eight),
        case("compile: gradients, 16 rows", "gradients", **sixteen),
        case("compile: optimizer", "optimizer", **eight),
    ]


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
    """Run calibrate's walk on random tokens, with the kernels that are there; its own lines are the result."""
    data = random_data(folder / "data" / "random" / "mac", MAC if device == "gpu" else TINY)
    bench = Workbench(harness(ROOT), DataFolder(data), seconds, Unconfined(), env=ENVIRONMENT, min_steps=0)
    bench = replace(bench, kernels=folder / "kept")
    if (folder / "kernels").exists():
        shutil.copytree(folder / "kernels", folder / "kept" / version("mlx") / "ptx")
    source, facts = (ROOT / "train_mlx.py").read_text(), machine.facts()
    best = roofline.measure(ENVIRONMENT)
    print(best.table(facts))
    found = calibrate.fit(bench, source, folder / "fit", facts.training_memory_mb, device, print, seconds)
    print(calibrate.efficiency(found, best, facts, source))


def main(argv: Sequence[str]) -> int:
    options = arguments("trainer gpu", __doc__)
    options.add_argument("--seconds", type=float, default=480.0, help="begin no case after this long (default: 480)")
    options.add_argument("--kernels", type=Path, help="keep the compiled kernels in this folder")
    options.add_argument("--fit", action="store_true", help="also run calibrate's walk")
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        return _measure(args, Path(name))


def _measure(args: argparse.Namespace, folder: Path) -> int:
    on_gpu = mx.default_device() == mx.gpu
    cuda = on_gpu and not mx.metal.is_available()
    bench = CaseTimer(args.seconds)
    plain, fused = list(uncompiled()), list(compiled()) if on_gpu else []
    if args.quick:
        plain, fused = plain[:2] + plain[-1:], fused[:1]
    with ThreadPoolExecutor() as pool:
        kernels = pool.submit(compiled_ahead, bench, ahead(), folder) if cuda else None
        for found in plain:
            bench.measure(found if on_gpu else tiny(found))
        if kernels is not None:
            kernels.result()
            compiled_ahead(bench, [replace(found, what=f"compile: {found.what}") for found in fused[::3]], folder)
    for found in fused:
        bench.measure(replace(found, env={"MLX_PTX_CACHE_DIR": str(folder / "kernels")}))
    if args.kernels and cuda:
        shutil.copytree(folder / "kernels", args.kernels, dirs_exist_ok=True)
    if args.fit:
        fitted(folder, 1.0, "gpu" if on_gpu else "cpu")
    report(bench.rows, args)
    return int(bench.failed)
