"""Nights for the report's tests: events as the loop writes them, of any length, replayed by the reducer itself."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from autoresearch.record import codec
from autoresearch.record.night import Night
from autoresearch.records import Set
from autoresearch.system import machine
from testbed.journals import night_of
from testbed.recorded import replay as recorded

BASE = """import mlx.core as mx

DEPTH = 8  # layers
MATRIX_LR = 0.04  # Muon
WINDOW = "SSSL"
BATCH = 65536  # tokens a step
EXTRA = 0


def norm(x):
    return mx.fast.rms_norm(x, None, 1e-6)
"""
SIGMA = 0.0065  # of one run
LEARNING = [(p / 40, 9.0 - 5.8 * (1 - 2.718 ** (-6 * p / 40))) for p in range(41)]
IDEAS = [  # title, category, proposer, gain in bits per byte
    ("Depth 8 -> 4: more steps in the budget", "depth", "tuner", 0.062),
    ("Halve the batch to 32768 tokens", "batch", "ollama:qwen3.6:27b", 0.041),
    ("Full attention on every layer (LLLL)", "attention", "ollama:qwen3.6:27b", 0.018),
    ("Matrix learning rate 0.04 -> 0.06", "learning_rate", "tuner", 0.012),
    ("Warm down over the last 60%", "schedule", "ollama:qwen3.6:27b", 0.0145),
    ("Squared ReLU by mx.square instead of pow", "speed", "ollama:qwen3.6:27b", 0.008),
    ("Drop the value-embedding gate", "simplification", "tuner", 0.004),
]


class Builder:
    """Writes events with a running clock; `machine_state(t)` says what the samples at t show."""

    def __init__(self, seed: int = 0, mac: str = "mac-mini-m4-pro") -> None:
        self.random, self.events = random.Random(seed), []
        self.t = datetime(2026, 11, 23, 23, 2, tzinfo=timezone(timedelta(hours=1)))
        self.facts = machine.facts(recorded(mac), "Darwin").to_dict()
        self.boot = self.t.timestamp() - 5000
        self.hot_between, self.battery_after = (60, 75), 10**9

    def event(self, type: str, **fields: Any) -> None:
        line = codec.encode({"v": 2, "t": self.t.isoformat(timespec="milliseconds"), "type": type, **fields})
        self.events.append(json.loads(line))

    def open(self) -> None:
        task = {"dataset": "climbmix", "profile": "mac", "fingerprint": "5f2a90c1d2e3b4a5", "budget_s": 300.0}
        versions = {"mlx": "0.32.4", "python": "3.12.7", "harness": "fd21b3d8d8d01ceb"}
        self.event(
            "opened", tag="nov23", task=task, versions=versions, machine=self.facts, base_commit="bc763b1650" * 4
        )

    def propose(
        self, n: int, title: str, category: str, proposer: str, parent: int | None, role: str = "candidate"
    ) -> None:
        self.t += timedelta(seconds=self.random.uniform(20, 60))
        words = "More steps fit the same five minutes, and the loss at this scale is limited by steps, not by capacity."
        edits = [Set("EXTRA", str(n))]
        usage = {"seconds": 31.0 + n % 7, "repairs": 0}
        proposal = {
            "edits": edits,
            "title": title,
            "hypothesis": words,
            "category": category,
            "proposer": proposer,
            "usage": usage,
        }
        self.event(
            "proposed",
            n=n,
            role=role,
            proposal=proposal,
            source_sha256=f"{n:064x}",
            parent_n=parent,
            parent_commit="b" * 40,
        )

    def sample(self, n: int) -> dict[str, Any]:
        battery = n >= self.battery_after
        hot = self.hot_between[0] <= n % 100 < self.hot_between[1]
        return {
            "power": "battery" if battery else "ac",
            "battery_percent": max(20, 96 - 3 * (n - self.battery_after)) if battery else None,
            "low_power": False,
            "thermal": "heavy" if hot else "nominal",
            "free_memory_mb": 15000 + self.random.randint(-900, 900) - (3000 if hot else 0),
            "swap_mb": 512 + (800 if hot else 0),
            "monotonic": self.t.timestamp() - self.boot,
            "since_boot": self.t.timestamp() - self.boot,
            "wall": self.t.timestamp(),
        }

    def run(
        self, n: int, run: int, bpb: float | None, purpose: str = "search", failure: tuple[str, str] | None = None
    ) -> None:
        hot = self.hot_between[0] <= n % 100 < self.hot_between[1]
        speed = 5.9 * (0.9 if hot else 1.0) * self.random.gauss(1, 0.006)
        self.event("started", n=n, run=run, seed=n * 1000 + run, machine="m4", purpose=purpose)
        start, took = self.sample(n), 300.0 if failure is None else 12.0
        self.t += timedelta(seconds=took + 41)
        measurement: dict[str, Any] = {"seed": n * 1000 + run, "total_s": took + 41}
        measurement |= {"machine_before": start, "machine_after": self.sample(n)}
        if failure is not None:
            measurement["failure"] = {"kind": failure[0], "message": failure[1], "detail": ""}
        else:
            seconds = {
                "startup": 2.1,
                "warmup": 3.2,
                "training": 300.0,
                "saving": 0.7,
                "evaluation": 33.0,
                "overhead": 1.1,
            }
            curve = [(p, loss + (bpb or 0) - 1.6) for p, loss in LEARNING]
            rates = {
                "tok_s": 14000 * speed * self.random.gauss(1, 0.04),
                "speed_index": speed,
                "peak_memory_mb": 4200.0 + 40 * (n % 9),
            }
            measurement |= {
                "val_bpb": bpb,
                "training_s": 300.0,
                "num_steps": 751,
                "seconds": seconds,
                "loss_curve": curve,
                **rates,
            }
        self.event("measured", n=n, run=run, measurement=measurement)

    def decide(
        self, n: int, verdict: str, reason: str, estimate: float | None, delta: float | None, keep: bool = False
    ) -> None:
        self.t += timedelta(seconds=1)
        z = None if delta is None else delta / SIGMA
        said = {"delta_bpb": delta, "sigma_bpb": SIGMA if delta is not None else None, "z": z, "estimate": estimate}
        self.event("decided", n=n, verdict=verdict, reason=reason, **said)
        if verdict != "keep" or n:
            ref = "refs/heads/autoresearch/nov23" if verdict == "keep" else f"refs/autoresearch/nov23/{n:04}"
            self.event("committed", n=n, commit=hashlib.sha1(str(n).encode()).hexdigest(), ref=ref)


CRASHES = [
    (
        "memory",
        "[metal::malloc] Attempting to allocate 17179869184 bytes, greater than the maximum allowed buffer size",
    ),
    ("diverged", "the loss is nan at step 214"),
    ("warmup", "ValueError: [matmul] Last dimension of first input with shape (8,2048,512) must match (384,1536)"),
    ("probe_causality", "a logit moved by 3.2 nats when a later token was replaced"),
]


def night(
    experiments: int = 60, seed: int = 0, validate: bool = True, edit: Callable[[Builder], None] | None = None
) -> Night:
    """A night of that many candidates: a handful of real gains, lucky runs, crashes, heat, and a final validation."""
    b = Builder(seed)
    if edit:
        edit(b)
    return night_of(list(_events(b, experiments, validate)))


def _events(b: Builder, experiments: int, validate: bool) -> Iterator[dict[str, Any]]:
    b.open()
    noise = lambda: b.random.gauss(0, SIGMA)  # noqa: E731
    truth, incumbent, estimate = 1.5964, 0, 1.5964
    b.propose(0, "baseline", "other", "by hand", None, "baseline")
    runs = [truth + noise() for _ in range(3)]
    for i, bpb in enumerate(runs):
        b.run(0, i, bpb, "search" if i == 0 else "repeat")
    estimate = sum(runs) / 3
    b.decide(0, "keep", "the baseline, 3 runs", estimate, None)
    gains = {
        1 + round(i * i * experiments / 55): idea
        for i, idea in enumerate(IDEAS)
        if 1 + i * i * experiments / 55 <= experiments
    }
    for n in range(1, experiments + 1):
        title, category, who, gain = gains.get(n) or _dull_idea(b.random)
        b.propose(n, title, category, who, incumbent)
        if n not in gains and n % 11 == 4:
            kind, message = CRASHES[n // 11 % len(CRASHES)]
            b.run(n, 0, None, failure=(kind, message))
            b.decide(n, "crash", f"{kind}: {message}", None, None)
            continue
        found = [truth - gain + noise()]
        b.run(n, 0, found[0])
        wanted = 2 if n in gains else 3 if found[0] < estimate - 0.5 * SIGMA else 1
        while len(found) < wanted:
            found.append(truth - gain + noise())
            b.run(n, len(found) - 1, found[-1], "repeat")
        mean = sum(found) / len(found)
        delta = estimate - mean
        if n in gains and delta > 0:
            b.decide(n, "keep", f"{delta / SIGMA:.1f} sigma better over {len(found)} runs", mean, delta)
            truth, incumbent = truth - gain, n
            estimate = truth + noise() / 4
        else:
            b.decide(
                n, "discard", f"{-delta / SIGMA:.1f} sigma worse" if delta < 0 else "within the noise", mean, delta
            )
    if validate:
        for i in range(5):
            b.run(0, 100 + i, 1.5981 + noise(), "final")
            b.run(incumbent, 100 + i, truth + 0.0017 + noise(), "final")
            for e in b.events[-4:]:
                if e["type"] == "started":
                    e["seed"] = 9000 + i
    b.event("turn_failed", proposer="ollama:qwen3.6:27b", reason="no edit applies", usage={})
    b.event("closed", why="the time is up")
    yield from b.events


def _dull_idea(r: random.Random) -> tuple[str, str, str, float]:
    verb = r.choice(["Raise", "Lower", "Anneal", "Tie", "Remove"])
    what = r.choice(["beta2", "the embedding rate", "weight decay", "the softcap", "the QK scale", "the lambdas"])
    category = r.choice(["optimizer", "embedding", "mlp", "initialisation", "regularisation", "precision", "width"])
    gain = -abs(r.gauss(0, 0.02)) if r.random() < 0.7 else r.gauss(0, 0.0015)
    return f"{verb} {what}", category, r.choice(["tuner", "ollama:qwen3.6:27b"]), gain


def source_of(n: int) -> str:
    """Every experiment has set EXTRA to its own number, and the odd ones another norm."""
    text = BASE.replace("EXTRA = 0", f"EXTRA = {n}")
    return text.replace("None, 1e-6", "None, 1e-5") if n % 2 else text


def changed(change: Callable[[dict[str, Any]], None], experiments: int = 12) -> Night:
    """A night whose events were changed before they were replayed."""

    def edit(builder: Builder) -> None:
        original = builder.event

        def event(type: str, **fields: Any) -> None:
            original(type, **fields)
            change(builder.events[-1])

        builder.event = event  # type: ignore[method-assign]

    return night(experiments, edit=edit)
