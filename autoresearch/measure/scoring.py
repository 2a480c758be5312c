"""Score a checkpoint: a judge that runs no line of the candidate, and two processes of the model, one after the other.

The judge (tasks/gpt/judge.py) holds the rows and says the result. The first model's process scores the rows and ends;
then the second, which never sees a whole row, scores altered copies of them. They share no folder, and each has a
connection to the judge of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from autoresearch.failures import classify
from autoresearch.measure import child_events, run_folder
from autoresearch.measure.follower import Follower, Listener, exited
from autoresearch.measure.launch import RESULT_S, start
from autoresearch.measure.outcome import Outcome
from autoresearch.measure.workbench import RunSpec
from autoresearch.records import Failure
from autoresearch.system.connection import End, connection
from autoresearch.system.pipes import ChildEvent
from autoresearch.system.process import Child

SHARED_BYTES = 2**27  # of a connection: two chunks of logits and the tokens of two batches, with room to spare
LEFT_S = 2.0  # seconds that a process whose pipe is closed may take to end


@dataclass(frozen=True)
class Scoring:
    """What is scored, and how: a split, in batches of `rows` (None: the profile's), in an order drawn from `order`."""

    split: str
    rows: int | None = None
    order: int | None = None
    ceiling_score: float | None = None  # a val_bpb above it is probed only a little
    keep_kernels: bool = False


def score(spec: RunSpec, how: Scoring, listen: Listener) -> Outcome:
    """Score the checkpoint in the run's folder; where memory does not suffice, once more row by row."""
    bench = spec.bench
    limits = {
        "start": bench.startup_limit_s + bench.save_limit_s,
        "ready": bench.evaluation_limit_s,
        "scored": bench.startup_limit_s + bench.save_limit_s + bench.evaluation_limit_s,
        "result": RESULT_S,
    }
    with _models(spec, how) as models:
        judge, token = models.start_judge()
        models.start_next()

        def hear(event: ChildEvent) -> None:
            if event["event"] == "scored":
                models.start_next()
            listen(event)

        scored = Follower(judge, token, spec, limits, hear, name="judge", beside=models.held_bytes).follow()
        if scored.get("failed", "kind") == "exited":  # the judge's word for a model's process that left
            scored.failure = models.failure() or scored.failure
        models.end()
        scored.built = frozenset(models.built)
        if how.keep_kernels:
            run_folder.keep_kernels(models.home, bench.kernels)
    if scored.failure is not None and scored.failure.kind == "memory" and how.rows != 1:
        return score(spec, replace(how, rows=1), listen)
    return scored


class _Models:
    """The model's processes of one evaluation: at most one runs, and none sees what an earlier one left."""

    def __init__(self, spec: RunSpec, how: Scoring, ends: list[tuple[End, End]]) -> None:
        self.spec, self.how = spec, how
        self.judges, self.waiting = [a for a, _ in ends], [b for _, b in ends]
        self.home = spec.folder / "model"
        self.child: Child | None = None
        self.token = ""
        self.built: set[str] = set()  # hashes of the parameters that build_model gave

    def start_judge(self) -> tuple[Child, str]:
        """Start the judge with its ends of both connections."""
        spec, how, data = self.spec, self.how, self.spec.bench.data
        home = spec.folder / "judge"
        run_folder.make(home, spec.bench.kernels)
        options = ["--train", str(data.train), "--tolerance", str(spec.bench.probe_nats)]
        options += ["--order", str(how.order)] if how.order is not None else []
        options += ["--ceiling", str(how.ceiling_score)] if how.ceiling_score is not None else []
        read = [data.train, spec.folder / "fixed.safetensors"]
        rows = data.rows(how.split)
        judge = start(spec, "judge", rows, options + self._rows(), home=home, read=read, wires=self.judges)
        for end in self.judges:
            end.close()
        return judge

    def start_next(self) -> None:
        """End the model's process that runs, with all that it left, and start the next one."""
        self.end()
        run_folder.make(self.home, self.spec.bench.kernels)
        end = self.waiting.pop(0)
        log = "probe" if not self.waiting else "evaluate"
        read = [self.spec.folder / run_folder.CHECKPOINT]
        self.child, self.token = start(
            self.spec, "model", None, self._rows(), home=self.home, read=read, wires=[end], log=log
        )
        end.close()

    def _rows(self) -> list[str]:
        return ["--rows", str(self.how.rows)] if self.how.rows else []

    def end(self) -> None:
        if self.child is not None:
            self.child.kill()
            self._said(self.child)

    def held_bytes(self) -> int:
        return self.child.held_bytes() if self.child is not None else 0

    def failure(self) -> Failure | None:
        """Return why the model's process left: what it said of itself, or how it ended."""
        child = self.child
        if child is None:
            return None
        left = child.wait(LEFT_S) is not None
        child.kill()
        if (said := self._said(child)) is not None:
            return said
        if not left:
            return Failure("exited", "the model's process closed its connection to the judge, and stayed")
        return exited(child, "scoring")

    def _said(self, child: Child) -> Failure | None:
        """Read what a process that has ended said: the hash of what it built, or its failure."""
        imported = False
        while (got := child.next_event(timeout=0)) is not None:
            if got[1].get("token") != self.token:
                continue
            try:
                event = child_events.read("model", got[1])
            except child_events.IllFormedError as error:
                return Failure("tampered", f"the model's process sent {error}")
            if event["event"] == "failed":
                return classify(child_events.failure("model", event, imported=imported))
            imported = imported or event["event"] == "importing"
            if event["event"] == "ready":
                self.built.add(event.get("parameters", ""))
        return None


@contextlib.contextmanager
def _models(spec: RunSpec, how: Scoring) -> Iterator[_Models]:
    with connection(SHARED_BYTES) as first, connection(SHARED_BYTES) as second:
        models = _Models(spec, how, [first, second])
        try:
            yield models
        finally:
            models.end()
