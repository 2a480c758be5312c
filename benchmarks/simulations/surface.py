"""Compute a made-up val_bpb from a trainer's constants; simulated searches are compared on it.

The budget trades size and batch against steps, the optima of the learning rates follow the batch, and runs crash when
they are too large or diverge. Each surface has its own machine speed and optima, so that no order of experiments can
know them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

from autoresearch.candidate import constants, edits
from autoresearch.search.tuner.axes import Axis, Value
from autoresearch.search.tuner.space import infer

SEQ_LEN = 2048

# The constants of a trainer, without its code: what the surface depends on, and others that do nothing here.
BASELINE = """\
DEPTH = 4
ASPECT_RATIO = 64
HEAD_DIM = 128
HEADS_PER_KV = 1
MLP_RATIO = 4
WINDOW_PATTERN = "L"
SHORT_WINDOW = 0.5
VALUE_EMBED_EVERY = 2
LOGIT_SOFTCAP = 15.0
ROPE_BASE = 10000.0
EMBED_INIT_STD = 1.0
HEAD_INIT_STD = 0.001
MATRIX_INIT_SCALE = 1.0
RESID_LAMBDA_INIT = 1.0
X0_LAMBDA_INIT = 0.1
TOTAL_BATCH_SIZE = 2**15
DEVICE_BATCH_SIZE = 8
TRAIN_ROW_PIECES = 1
MATRIX_LR = 0.04
EMBEDDING_LR = 0.6
UNEMBEDDING_LR = 0.004
SCALAR_LR = 0.5
ADAM_BETAS = (0.8, 0.95)
X0_BETAS = (0.96, 0.95)
ADAM_EPS = 1e-10
WEIGHT_DECAY = 0.2
MUON_MOMENTUM_START = 0.85
MUON_MOMENTUM = 0.95
MUON_MOMENTUM_STEPS = 300
MUON_BETA2 = 0.95
NS_STEPS = 5
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.5
FINAL_LR_FRAC = 0.0
COMPUTE_DTYPE = "bfloat16"
STACK_MATRICES = True
QUERY_BLOCK = 256
NORM_EPS = 1e-6
GATE_CHANNELS = 32


def build_model(task):
    return (
        DEPTH, ASPECT_RATIO, HEAD_DIM, HEADS_PER_KV, MLP_RATIO, WINDOW_PATTERN, SHORT_WINDOW,
        VALUE_EMBED_EVERY, LOGIT_SOFTCAP, ROPE_BASE, EMBED_INIT_STD, HEAD_INIT_STD, MATRIX_INIT_SCALE,
        RESID_LAMBDA_INIT, X0_LAMBDA_INIT, TOTAL_BATCH_SIZE, DEVICE_BATCH_SIZE, TRAIN_ROW_PIECES,
        MATRIX_LR, EMBEDDING_LR, UNEMBEDDING_LR, SCALAR_LR, ADAM_BETAS, X0_BETAS, ADAM_EPS,
        WEIGHT_DECAY, MUON_MOMENTUM_START, MUON_MOMENTUM, MUON_MOMENTUM_STEPS, MUON_BETA2, NS_STEPS,
        WARMUP_RATIO, WARMDOWN_RATIO, FINAL_LR_FRAC, COMPUTE_DTYPE, STACK_MATRICES, QUERY_BLOCK,
        NORM_EPS, GATE_CHANNELS
    )


def train(model, run): ...
"""


class SimulatedCrash(Exception):
    """Raised when the simulated run has no val_bpb."""


class Surface:
    """Map from constants to val_bpb, without noise. The seed draws the machine's speed and where the optima lie."""

    WEIGHTS: Mapping[str, tuple[float, float, float]] = {  # bpb an octave off; the usual optimum; its spread in octaves
        "MATRIX_LR": (0.04, 0.04, 0.8),
        "EMBEDDING_LR": (0.02, 0.6, 1.0),
        "UNEMBEDDING_LR": (0.012, 0.004, 1.0),
        "WEIGHT_DECAY": (0.006, 0.15, 1.0),
        "EMBED_INIT_STD": (0.004, 1.0, 0.7),
        "MATRIX_INIT_SCALE": (0.006, 1.0, 0.7),
        "X0_LAMBDA_INIT": (0.003, 0.1, 0.7),
        "SCALAR_LR": (0.003, 0.5, 1.0),
    }
    AVERAGING: Mapping[str, tuple[float, float]] = {"MUON_MOMENTUM": (0.008, 0.05), "MUON_BETA2": (0.002, 0.05)}

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.speed = 120e3 * 2 ** rng.uniform(-2.5, 1.0)  # tokens a second of the baseline
        self.optimum = {
            name: math.log2(best) + rng.gauss(0, spread) for name, (_, best, spread) in self.WEIGHTS.items()
        }
        self.averaging = {name: math.log2(best) + rng.gauss(0, 0.6) for name, (_, best) in self.AVERAGING.items()}
        self.betas = (math.log2(0.15) + rng.gauss(0, 0.6), math.log2(0.05) + rng.gauss(0, 0.6))
        self.schedule = {
            "WARMDOWN_RATIO": (0.12, rng.uniform(0.3, 0.9)),
            "WARMUP_RATIO": (0.3, rng.uniform(0, 0.1)),
            "FINAL_LR_FRAC": (0.1, rng.uniform(0, 0.15)),
        }
        self.windows = rng.uniform(-0.006, 0.006)  # what short windows cost or give

    def bpb(self, c: Mapping[str, Any]) -> float:
        """Return the val_bpb of a setting. Raises SimulatedCrash when it needs too much memory or diverges."""
        width = math.ceil(c["DEPTH"] * c["ASPECT_RATIO"] / c["HEAD_DIM"]) * c["HEAD_DIM"]
        body = (8 + 2 * c["MLP_RATIO"]) / 16 * 12 * c["DEPTH"] * width**2 / 1e6  # M parameters
        embeddings = 2 * 8192 * width / 1e6
        if c["DEPTH"] * width * c["DEVICE_BATCH_SIZE"] > 8 * 4 * 256 * 16:
            raise SimulatedCrash("out of memory")
        steps = 300 * self._tokens_a_second(c, body, embeddings) / c["TOTAL_BATCH_SIZE"]
        size = 0.15 + 0.75 * (body + 0.5 * embeddings) ** -0.12 + 0.03 * max(0, 2 - c["DEPTH"]) ** 2
        progress = 4 * steps**-0.5 * (1 + 0.03 * c["DEPTH"]) + 0.03 * (2**14 / c["TOTAL_BATCH_SIZE"]) ** 0.5
        return 0.35 + size + progress + self._rates(c, width) + self._rest(c)

    def _tokens_a_second(self, c: Mapping[str, Any], body: float, embeddings: float) -> float:
        speed = self.speed * 6.5 / (1.6 * body + 0.2 * embeddings + 0.6)
        speed *= {"L": 1.0, "SL": 1.04, "SSL": 1.06}.get(c["WINDOW_PATTERN"], 1.07)
        return speed * (6.5 / (c["NS_STEPS"] + 1.5)) ** 0.1 * (1.05 if c["HEADS_PER_KV"] > 1 else 1.0)

    def _rates(self, c: Mapping[str, Any], width: int) -> float:
        """Add bowls in octaves; the best learning rates rise with the square root of the batch."""
        batch = 0.5 * math.log2(c["TOTAL_BATCH_SIZE"] / 2**15)
        shift = {"MATRIX_LR": batch - 0.3 * math.log2(width / 256), "EMBEDDING_LR": batch}
        total = 0.0
        for name, (weight, _, _) in self.WEIGHTS.items():
            octaves = math.log2(max(c[name], 1e-6)) - self.optimum[name] - shift.get(name, 0.0)
            if name == "MATRIX_LR" and octaves > 2.6:
                raise SimulatedCrash("diverged")
            total += _bowl(weight, octaves)
        return total

    def _rest(self, c: Mapping[str, Any]) -> float:
        total = sum(_bowl(w, math.log2(1 - c[name]) - self.averaging[name]) for name, (w, _) in self.AVERAGING.items())
        total += sum(
            _bowl(0.005, math.log2(1 - beta) - best) for beta, best in zip(c["ADAM_BETAS"], self.betas, strict=True)
        )
        total += sum(weight * (c[name] - best) ** 2 for name, (weight, best) in self.schedule.items())
        total += self.windows if "S" in c["WINDOW_PATTERN"] else 0.0
        total += (
            0.004 * max(0, 5 - c["NS_STEPS"]) + 0.003 * (c["HEADS_PER_KV"] - 1) + 0.01 * (c["TRAIN_ROW_PIECES"] - 1)
        )
        return total + 0.004 * abs(math.log2(c["HEAD_DIM"] / 128)) + 0.002 * abs(c["VALUE_EMBED_EVERY"] - 2)


def _bowl(weight: float, octaves: float) -> float:
    """Return a loss that is quadratic near the optimum and linear far from it."""
    return weight * octaves**2 / (1 + abs(octaves) / 2)


@cache
def descent(seed: int) -> float:
    """Return the val_bpb that a noise-free descent on a surface reaches, axis by axis, in ever smaller steps."""
    surface = Surface(seed)
    source, best = BASELINE, surface.bpb(constants.read(BASELINE))
    for size in (1.0, 0.5, 0.25, 0.25):
        names = [axis.name for axis in infer(source, SEQ_LEN).axes]
        for name, step in product(names, (size, -size)):
            there = _moved(source, name, step)
            bpb = math.inf if there is None else _without_noise(surface, there)
            if there is not None and bpb < best:
                source, best = there, bpb
    return best


def _moved(source: str, name: str, step: float) -> str | None:
    """Return the source with one axis moved, or None when it cannot move."""
    space = infer(source, SEQ_LEN)
    if name not in space:  # the use of a constant can depend on another
        return None
    axis = space[name]
    value = _other(axis) if axis.scale == "choice" else axis.moved(axis.value, step)
    values = None if value is None else space.settle({**space.current, name: value})
    changes = space.edits(values) if values is not None else ()
    return edits.apply(source, changes) if changes else None


def _other(axis: Axis) -> Value:
    return next(choice for choice in axis.grid if choice != axis.value)


def _without_noise(surface: Surface, source: str) -> float:
    try:
        return surface.bpb(constants.read(source))
    except SimulatedCrash:
        return math.inf
