"""Make long nights with every kind of experiment, on a Mac that grows warm, for the report and the live view."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

from autoresearch.candidate import edits
from autoresearch.record import codec
from autoresearch.record.night import Night
from autoresearch.records import Failure, MachineState, Measurement, Proposal, Set
from autoresearch.system import machine
from testbed.journals import night_of
from testbed.night_builder import NightBuilder
from testbed.recorded import replay as recorded

SOURCE = """import mlx.core as mx

DEPTH = 8  # layers
MATRIX_LR = 0.04  # Muon
WINDOW = "SSSL"
BATCH = 65536  # tokens a step
EXTRA = 0


def norm(x):
    return mx.fast.rms_norm(x, None, 1e-6)
"""
TASK = {"dataset": "climbmix", "profile": "mac", "fingerprint": "5f2a90c1d2e3b4a5", "budget_s": 300.0}
SIGMA = 0.0065  # of one run
LEARNING = [(p / 40, 9.0 - 5.8 * (1 - 2.718 ** (-6 * p / 40))) for p in range(41)]
SECONDS = {"startup": 2.1, "warmup": 3.2, "training": 300.0, "saving": 0.7, "evaluation": 33.0, "overhead": 1.1}
MODEL = "ollama:qwen3.6:27b"
IDEAS = [  # title, category, proposer, gain in bits per byte
    ("Depth 8 -> 4: more steps in the budget", "depth", "tuner", 0.062),
    ("Halve the batch to 32768 tokens", "batch", MODEL, 0.041),
    ("Full attention on every layer (LLLL)", "attention", MODEL, 0.018),
    ("Matrix learning rate 0.04 -> 0.06", "learning_rate", "tuner", 0.012),
    ("Warm down over the last 60%", "schedule", MODEL, 0.0145),
    ("Squared ReLU by mx.square instead of pow", "speed", MODEL, 0.008),
    ("Drop the value-embedding gate", "simplification", "tuner", 0.004),
]
CRASHES = [
    Failure(
        "memory",
        "[metal::malloc] Attempting to allocate 17179869184 bytes, greater than the maximum allowed buffer size",
    ),
    Failure("diverged", "the loss is nan at step 214"),
    Failure(
        "warmup", "ValueError: [matmul] Last dimension of first input with shape (8,2048,512) must match (384,1536)"
    ),
    Failure("probe_causality", "a logit moved by 3.2 nats when a later token was replaced"),
]


@dataclass
class MacMini:
    """Mac that is hot between two experiments (of every hundred), and on battery from another one on."""

    hot_between: tuple[int, int] = (60, 75)
    battery_after: int = 10**9
    random: random.Random = field(default_factory=lambda: random.Random(1))
    booted: float = datetime(2026, 11, 23, 20, tzinfo=UTC).timestamp()

    def measure(self, n: int, seed: int, bpb: float | None, failure: Failure | None, now: datetime) -> Measurement:
        took_s = 341.0 if failure is None else 53.0
        states = {
            "machine_before": self.state(n, now.timestamp()),
            "machine_after": self.state(n, now.timestamp() + took_s),
        }
        if bpb is None:
            return Measurement(seed, None, failure, total_s=took_s, **states)
        speed = 5.9 * (0.9 if self.hot(n) else 1.0) * self.random.gauss(1, 0.006)
        return Measurement(
            seed, bpb, None, 300.0, took_s, SECONDS, num_steps=751, tok_s=14000 * speed * self.random.gauss(1, 0.04),
            speed_index=speed, peak_memory_mb=4200.0 + 40 * (n % 9),
            loss_curve=tuple((p, loss + bpb - 1.6) for p, loss in LEARNING), **states,
        )  # fmt: skip

    def hot(self, n: int) -> bool:
        return self.hot_between[0] <= n % 100 < self.hot_between[1]

    def state(self, n: int, wall: float) -> MachineState:
        battery, hot = n >= self.battery_after, self.hot(n)
        return MachineState(
            monotonic=wall - self.booted,
            since_boot=wall - self.booted,
            wall=wall,
            free_memory_mb=15000 + self.random.randint(-900, 900) - (3000 if hot else 0),
            swap_mb=512 + (800 if hot else 0),
            power="battery" if battery else "ac",
            battery_percent=max(20, 96 - 3 * (n - self.battery_after)) if battery else None,
            low_power=False,
            thermal="heavy" if hot else "nominal",
        )


def long_night(
    experiments: int = 60, *, seed: int = 0, validate: bool = True, mac: MacMini | None = None
) -> NightBuilder:
    """Make a night with a handful of real gains, lucky runs, crashes, heat, and a final validation."""
    facts = machine.facts(recorded("mac-mini-m4-pro"), "Darwin").to_dict()
    made = NightBuilder(
        facts, TASK, machine=mac or MacMini(), baseline_score=1.5964, sigma_score=SIGMA, seed=seed, source=SOURCE
    )
    gains = {1 + round(i * i * experiments / 55): idea for i, idea in enumerate(IDEAS)}
    for n in range(1, experiments + 1):
        title, category, proposer, gain = gains.get(n) or _dull_idea(made.random)
        words = "More steps fit the same five minutes, and the loss at this scale is limited by steps, not by capacity."
        usage = {"seconds": 31.0 + n % 7, "repairs": 0}
        proposal = Proposal((Set("EXTRA", str(n)),), title, words, category, proposer, usage)
        made.now += timedelta(seconds=made.random.uniform(20, 60))
        if n not in gains and n % 11 == 4:
            _crash(made, proposal, CRASHES[n // 11 % len(CRASHES)])
        else:
            _try(made, proposal, gain, real=n in gains)
    if validate:
        made.validate(5)
    made.add("turn_failed", proposer=MODEL, reason="no edit applies", usage={})
    made.add("closed", why="the time is up")
    return made


def night(experiments: int = 60, *, validate: bool = True, mac: MacMini | None = None) -> Night:
    return long_night(experiments, validate=validate, mac=mac).night


def changed(change: Callable[[dict[str, Any]], None], experiments: int = 12) -> Night:
    """Replay a night after a change of each of its events, which are given as JSON."""
    events = [json.loads(codec.encode(event)) for event in long_night(experiments).events]
    for event in events:
        change(event)
    return night_of(events)


def _propose(made: NightBuilder, proposal: Proposal, gain_score: float) -> int:
    assert made.incumbent is not None
    source = edits.apply(made.sources[made.incumbent], proposal.edits)
    return made.propose("candidate", proposal, source, made.truth[made.incumbent] - gain_score)


def _crash(made: NightBuilder, proposal: Proposal, failure: Failure) -> None:
    n = _propose(made, proposal, 0.0)
    made.run(n, "search", failure=failure)
    made.decide(n, "crash", f"{failure.kind}: {failure.message}")
    _commit(made, n)


def _try(made: NightBuilder, proposal: Proposal, gain_score: float, *, real: bool) -> None:
    """Run real gains twice and keep those that look better; run three times what looks better by luck."""
    incumbent_score = made.truth[made.incumbent or 0]
    n = _propose(made, proposal, gain_score)
    values = made.run(n, "search")
    again = 1 if real else 2 if values[0] < incumbent_score - 0.5 * SIGMA else 0
    values += made.run(n, *["repeat"] * again)
    delta = incumbent_score - fmean(values)
    verdict, reason = "discard", f"{-delta / SIGMA:.1f} sigma worse" if delta < 0 else "within the noise"
    if real and delta > 0:
        verdict, reason = "keep", f"{delta / SIGMA:.1f} sigma better over {len(values)} runs"
    figures = {"delta_score": delta, "sigma_score": SIGMA, "z": delta / SIGMA, "estimate": fmean(values)}
    made.decide(n, verdict, reason, **figures)
    _commit(made, n)


def _commit(made: NightBuilder, n: int) -> None:
    kept = made.incumbent == n
    ref = f"refs/heads/autoresearch/{made.tag}" if kept else f"refs/autoresearch/{made.tag}/{n:04}"
    made.add("committed", n=n, commit=hashlib.sha1(str(n).encode()).hexdigest(), ref=ref)


def _dull_idea(r: random.Random) -> tuple[str, str, str, float]:
    verb = r.choice(["Raise", "Lower", "Anneal", "Tie", "Remove"])
    what = r.choice(["beta2", "the embedding rate", "weight decay", "the softcap", "the QK scale", "the lambdas"])
    category = r.choice(["optimizer", "embedding", "mlp", "initialisation", "regularisation", "precision", "width"])
    gain = -abs(r.gauss(0, 0.02)) if r.random() < 0.7 else r.gauss(0, 0.0015)
    return f"{verb} {what}", category, r.choice(["tuner", MODEL]), gain
