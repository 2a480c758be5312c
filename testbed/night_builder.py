"""Make up nights, for tests of what reads journals: drawn figures, but real sources and real edits."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from autoresearch.candidate import constants, edits
from autoresearch.findings import export
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.scrub import Scrubber
from autoresearch.paths import JOURNAL, Layout
from autoresearch.record import codec, journal
from autoresearch.records import Failure, MachineState, Measurement, Proposal, SearchReplace, Set
from testbed.honest import BASE
from testbed.journals import night_of

M4 = {
    "system": "Darwin",
    "chip": "Apple M4 Pro",
    "gpu_cores": 20,
    "cpu_cores": 12,
    "memory_mb": 24576,
    "os": "macOS 26.2",
}
M1 = {"system": "Darwin", "chip": "Apple M1", "gpu_cores": 8, "cpu_cores": 8, "memory_mb": 8192, "os": "macOS 26.2"}
TASK = {
    "dataset": "climbmix",
    "profile": "mac",
    "fingerprint": "0123456789abcdef",
    "seq_len": 2048,
    "vocab_size": 8192,
    "eval_tokens": 1572864,
    "eval_rows": 8,
    "budget_s": 300.0,
}
FIRST_FINAL_SEED = 1_000_000
EXACT = 1e-9  # bpb; a sigma so small that noise changes no assertion
GELU = SearchReplace(
    "        return self.out(mx.square(nn.relu(self.fc(x))))", "        return self.out(nn.gelu(self.fc(x)))"
)
# What is tried, in turn: (name of the constant or the block, values, category, gain in bpb of the first)
IDEAS: list[tuple[str, tuple[Any, ...], str, float]] = [
    ("DEPTH", (3, 4, 1, 6), "depth", 0.05),
    ("WIDTH", (64, 48, 96, 16), "width", 0.03),
    ("LR", (0.02, 0.005, 0.03, 0.04), "learning_rate", 0.02),
    ("ROWS", (8, 2, 16, 6), "batch", -0.04),
    ("HEADS", (4, 1), "attention", 0.0),
]


class RunSource(Protocol):
    """Machine on which the runs of a made-up night take place."""

    def measure(self, n: int, seed: int, bpb: float | None, failure: Failure | None, now: datetime) -> Measurement: ...


@dataclass(frozen=True)
class SteadyMachine:
    """Machine whose state never changes: every run takes the same time and shows the same values."""

    tok_s: float

    def measure(self, n: int, seed: int, bpb: float | None, failure: Failure | None, now: datetime) -> Measurement:
        state = MachineState(
            monotonic=0.0, since_boot=0.0, wall=now.timestamp(), free_memory_mb=16_000,
            power="ac", thermal="nominal", low_power=False,
        )  # fmt: skip
        return Measurement(
            seed, bpb, failure, 300.0, 330.0, num_steps=700, tok_s=self.tok_s, machine_before=state,
            peak_memory_mb=4000.0, mfu_percent=25.0, num_params=11_500_000,
        )  # fmt: skip


class NightBuilder:
    """Builder of a night: its `events` as the journal would hold them, and its `sources` by experiment."""

    def __init__(
        self,
        facts: Mapping[str, Any] = M4,
        task: Mapping[str, Any] = TASK,
        *,
        machine: RunSource | None = None,
        baseline_score: float = 1.6,
        sigma_score: float = 0.004,
        seed: int = 0,
        tag: str = "nov23",
        source: str = BASE,
    ) -> None:
        self.random = random.Random(seed)
        self.sigma_score, self.machine = sigma_score, machine or SteadyMachine(80_000.0 * baseline_score)
        self.events: list[dict[str, Any]] = []
        self.sources: dict[int, str] = {}
        self.truth: dict[int, float] = {}
        self.now = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
        self.incumbent: int | None = None
        self.facts, self.task, self.tag = dict(facts), dict(task), tag
        self.open()
        self.propose("baseline", Proposal((), "baseline", "", "other", "by hand"), source, baseline_score)
        self.run(0, "search", "repeat", "repeat")
        self.decide(0, "keep")

    def open(self) -> None:
        """Begin a session of the loop."""
        versions = {"mlx": "0.32.4", "python": "3.12.1", "harness": "feedbeef"}
        self.add("opened", tag=self.tag, task=self.task, versions=versions, machine=self.facts, base_commit="0" * 40)

    def add(self, type: str, seconds: float = 5.0, **fields: Any) -> None:
        self.now += timedelta(seconds=seconds)
        self.events.append({"v": 2, "t": self.now.isoformat(timespec="milliseconds"), "type": type, **fields})

    def propose(self, role: str, proposal: Proposal, source: str, truth_score: float) -> int:
        n = len(self.sources)
        self.sources[n], self.truth[n] = source, truth_score
        parent = self.incumbent if role == "candidate" else None
        sha = hashlib.sha256(source.encode()).hexdigest()
        self.add(
            "proposed", n=n, role=role, proposal=proposal, source_sha256=sha, parent_n=parent, parent_commit="0" * 40
        )
        return n

    def run(self, n: int, *purposes: str, failure: Failure | None = None, seed: int | None = None) -> list[float]:
        first = sum(e["type"] == "started" and e["n"] == n for e in self.events)
        values = []
        for i, purpose in enumerate(purposes, first):
            drawn = 1000 * n + i if seed is None else seed
            bpb = None if failure else self.truth[n] + self.random.gauss(0, self.sigma_score)
            self.add("started", n=n, run=i, seed=drawn, machine="m4", purpose=purpose)
            m = self.machine.measure(n, drawn, bpb, failure, self.now)
            self.add("measured", seconds=m.total_s, n=n, run=i, measurement=m)
            values += [bpb] if bpb is not None else []
        return values

    def validate(self, rounds: int) -> None:
        """Run the final validation: baseline and winner in turn, with one seed a round."""
        assert self.incumbent is not None
        for i in range(rounds):
            for n in (0, self.incumbent):
                self.run(n, "final", seed=FIRST_FINAL_SEED + i)

    def decide(self, n: int, verdict: str, reason: str = "", **said: Any) -> None:
        self.add("decided", n=n, verdict=verdict, reason=reason or f"it is {verdict}", **said)
        if verdict == "keep":
            self.incumbent = n

    def candidate(self, proposal: Proposal, gain_score: float, verdict: str | None = None) -> int:
        """Try an idea on top of the incumbent, with its true gain; keep it where it looks better in two runs."""
        assert self.incumbent is not None
        parent = self.incumbent
        source = edits.apply(self.sources[parent], proposal.edits)
        n = self.propose("candidate", proposal, source, self.truth[parent] - gain_score)
        first = self.run(n, "search")[0]
        gain = self.truth[parent] - first
        if gain > self.sigma_score if verdict is None else verdict == "keep":
            first = sum([first, *self.run(n, "repeat")]) / 2
            gain = self.truth[parent] - first
        verdict = verdict or ("keep" if gain > self.sigma_score else "discard")
        self.decide(n, verdict, delta_score=gain, sigma_score=self.sigma_score, estimate=first)
        return n

    def crash(self, proposal: Proposal, kind: str = "memory") -> int:
        assert self.incumbent is not None
        source = edits.apply(self.sources[self.incumbent], proposal.edits)
        n = self.propose("candidate", proposal, source, 0.0)
        self.run(n, "search", failure=Failure(kind, "held 9.1 GB of memory (limit 8.0 GB)", "a traceback"))
        self.decide(n, "crash", f"{kind}: held 9.1 GB of memory")
        return n

    def try_all(self, experiments: int) -> NightBuilder:
        """Try ideas in turn, up to so many experiments, each on top of what was kept; every eighth crashes."""
        while len(self.sources) <= experiments:
            i = len(self.sources) - 1
            name, values, category, gain = IDEAS[i % len(IDEAS)]
            value = values[(i // len(IDEAS)) % len(values)] if i < 20 else self.random.choice(values)
            assert self.incumbent is not None
            while constants.read(self.sources[self.incumbent])[name] == value:
                value = (
                    round(value * self.random.uniform(0.5, 1.5), 5)
                    if isinstance(value, float)
                    else value + len(self.sources)
                )
            proposal = Proposal((Set(name, repr(value)),), f"{name} -> {value}", f"{name} matters", category, "tuner")
            if i % 8 == 7:
                self.crash(proposal)
            else:
                shift = gain if i < len(IDEAS) else self.random.gauss(-0.004, 0.006)
                self.candidate(proposal, shift)
        return self

    @property
    def night(self) -> Any:
        return night_of(self.events)

    def write(self, folder: Path) -> Path:
        """Write the journal and the sources as runs/TAG holds them."""
        folder.mkdir(parents=True)
        (folder / JOURNAL).write_bytes(b"".join(map(codec.encode, self.events)))
        for n, source in self.sources.items():
            journal.store_source(Layout.of(folder), n, source)
        return folder


def shared(made: NightBuilder) -> Bundle:
    """Export the night on a machine that has nothing to hide."""
    return export.export(made.night, made.sources.__getitem__, Scrubber())


def set_to(name: str, value: object, category: str = "other") -> Proposal:
    return Proposal((Set(name, repr(value)),), f"{name} -> {value}", "", category, "tuner")


def four_ideas(
    machine: Mapping[str, Any], gains: Mapping[str, float], *, sigma_score: float = EXACT, **task: object
) -> Bundle:
    """Make a night that tries depth, rate and GELU with the given gains, and a width that crashes."""
    made = NightBuilder(machine, {**TASK, **task}, sigma_score=sigma_score)
    gelu = Proposal((GELU,), "GELU", "", "mlp", "tuner")
    ideas = {"depth": set_to("DEPTH", 4, "depth"), "lr": set_to("LR", 0.02, "learning_rate"), "gelu": gelu}
    for name, proposal in ideas.items():
        made.candidate(proposal, gains[name], "keep" if gains[name] > 0 else "discard")
    made.crash(set_to("WIDTH", 96, "width"))
    return shared(made)


A = four_ideas(M4, {"depth": 0.10, "lr": 0.02, "gelu": 0.05})
B = four_ideas(M1, {"depth": 0.08, "lr": 0.00, "gelu": -0.05}, budget_s=600.0)
