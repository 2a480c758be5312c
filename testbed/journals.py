"""Write a journal event by event, with figures that the test chooses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from autoresearch.record.codec import decode_all, encode
from autoresearch.record.journal import Journal, store_source
from autoresearch.record.night import Night
from autoresearch.record.replay import replay
from autoresearch.records import Failure, Measurement, Proposal, ReplaceDefinition, SearchReplace, Set, WholeFile

TASK: dict[str, Any] = {"dataset": "stdlib", "profile": "tiny", "fingerprint": "00ff", "budget_s": 20.0}
VERSIONS = {"mlx": "0.32.4", "python": "3.12", "harness": "abc"}
OPENED = {"tag": "t", "task": TASK, "versions": VERSIONS, "machine": {}, "base_commit": "c0", "options": {}}
IDEA = Proposal((Set("DEPTH", "6"),), "deeper", "depth helps", "depth", "tuner", {"seconds": 0.5})


def night_of(events: Iterable[Mapping[str, Any]]) -> Night:
    """Replay events that are given by their fields, `type`, `v` and `t` included."""
    return replay(decode_all(b"".join(map(encode, events)))[0])


def measured(journal: Journal, n: int, bpb: float | None, purpose: str = "search", **more: Any) -> None:
    k = journal.night.experiments[n].next_run
    failure = None if bpb is not None else Failure("oom", "out of memory")
    journal.append("started", n=n, run=k, seed=k, machine="m4", purpose=purpose)
    journal.append("measured", n=n, run=k, measurement=Measurement(seed=k, score=bpb, failure=failure, **more))


def proposed(journal: Journal, role: str = "candidate", source: str | None = None) -> int:
    n = journal.night.next_n
    sha = store_source(journal.layout, n, source or f"DEPTH = {n}\n")
    parent = journal.night.incumbent_n
    fields = {"source_sha256": sha, "parent_n": parent, "parent_commit": "c0"}
    journal.append("proposed", n=n, role=role, proposal=IDEA, **fields)
    return n


def decided(journal: Journal, n: int, verdict: str, bpb: float | None = None) -> None:
    figures = {"delta_score": 0.01, "sigma_score": 0.005, "z": 1.4, "estimate": bpb}
    journal.append("decided", n=n, verdict=verdict, reason="r", parent_commit="c0", blob="b0", **figures)


def baseline(journal: Journal, bpb: float = 1.5) -> int:
    n = proposed(journal, "baseline")
    measured(journal, n, bpb)
    decided(journal, n, "keep", bpb)
    return n


texts = st.text(max_size=20)
numbers = st.none() | st.floats(0.1, 10)
edits = st.one_of(
    st.builds(Set, texts, texts),
    st.builds(SearchReplace, texts, texts),
    st.builds(ReplaceDefinition, st.sampled_from(["def", "class"]), texts, texts),
    st.builds(WholeFile, texts),
)
usage = st.dictionaries(texts, st.floats(0, 1e9), max_size=2)
proposals = st.builds(Proposal, st.lists(edits, max_size=2).map(tuple), texts, texts, texts, texts, usage)
measurements = st.builds(
    Measurement,
    seed=st.integers(0, 2**31),
    score=numbers,
    failure=st.none() | st.builds(Failure, texts, texts, texts),
    loss_curve=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 9)), max_size=3).map(tuple),
    num_steps=st.none() | st.integers(0, 9999),
    seconds=usage,
)
