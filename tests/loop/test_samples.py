"""The texts that a checkpoint writes: its tokens, the child, a model that cannot write, the report's samples."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoresearch.errors import AutoresearchError, JournalError, UsageError
from autoresearch.loop import samples
from autoresearch.loop.samples import Sampling
from autoresearch.measure import experiment
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder, Layout, experiment_folder
from autoresearch.record import journal
from autoresearch.record.journal import Journal
from autoresearch.record.night import Experiment
from autoresearch.records import Proposal
from autoresearch.report.samples import samples_of
from testbed.toy import HONEST, ROOT, toy_bench

LETTERS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:;!?-"  # a token each, as many as the toy has
GREEDY = Sampling(tokens=5, temperature=0.0)


# --- the child ---


@pytest.fixture
def night(toy_data: Path, tmp_path: Path) -> tuple[Workbench, Layout]:
    """Return a workbench and runs/nov23 with a measured baseline and its checkpoint, over a tokenizer of letters."""
    letters(toy_data)
    bench = toy_bench(toy_data)
    layout = Layout(tmp_path, "nov23")
    for file in bench.harness:
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    folder = layout.folder
    task = {"dataset": "toy", "profile": "tiny", "fingerprint": "toy0" * 4, "budget_s": 1.0}
    with Journal(Layout.of(folder)) as book:
        book.append(
            "opened", tag="nov23", task=task, versions={}, machine={}, base_commit="b" * 40,
            options={"no_sandbox": True},
        )  # fmt: skip
        measure(bench, folder, book, HONEST.read_text())
    return bench, layout


def measure(bench: Workbench, folder: Path, book: Journal, source: str) -> None:
    """Record the next experiment as the loop does, and keep it."""
    n = book.night.next_n
    sha = journal.store_source(Layout.of(folder), n, source)
    parent = {"parent_n": n - 1 if n else None, "parent_commit": "b" * 40}
    idea = Proposal((), f"idea {n}", "", "other", "tuner")
    role = "candidate" if n else "baseline"
    book.append("proposed", n=n, role=role, proposal=idea, source_sha256=sha, **parent)
    book.append("started", n=n, run=0, seed=1, machine="m4", purpose="search")
    run_dir = experiment_folder(folder, n) / "run-1"
    m = experiment.rehearse(bench, experiment_folder(folder, n) / "train_mlx.py", run_dir, seed=1)
    assert m.failure is None, m.failure
    m = replace(m, score=1.6)
    book.append("measured", n=n, run=0, measurement=m)
    book.append(
        "decided", n=n, verdict="keep", reason="it is better", delta_score=0.1, sigma_score=0.01, estimate=m.score
    )


def experiment_0(folder: Path) -> Experiment:
    return journal.read(Layout.of(folder)).experiments[0]


@pytest.mark.slow
def test_checkpoints_write_and_the_report_s_samples_are_made_once(night: tuple[Workbench, Layout]) -> None:
    bench, layout = night
    folder = layout.folder
    x, checkpoint = experiment_0(folder), folder / "0000" / "run-1" / samples.CHECKPOINT
    before = checkpoint.read_bytes()
    first = samples.write(bench, layout, x, ["a", "Hello, world"], GREEDY)
    assert [len(text) for text in first] == [5, 5] and set("".join(first)) <= set(LETTERS)
    assert checkpoint.read_bytes() == before and not (folder / "samples").exists()
    said: list[str] = []

    def fill() -> None:
        samples.fill(layout, journal.read(Layout.of(folder)), said.append, bench)

    fill()
    assert said == [] and not (folder / "samples.json").exists()  # with the baseline alone there is nothing to compare
    with Journal(Layout.of(folder)) as book:  # this model works only with rows of the task's context
        old = "        return self.head"
        check = '        if idx.shape[1] != 64:\n            raise ValueError("fussy")\n'
        measure(bench, folder, book, HONEST.read_text().replace(old, check + old))
    fill()
    assert said == ["samples: baseline and winner continue some prompts for the report, once"]
    made = samples_of(folder / "samples.json", journal.read(Layout.of(folder)))
    assert len(made) == samples.PROMPTS and all(s.prompt and s.baseline and s.winner for s in made)
    fill()
    assert len(said) == 1

    checkpoint.write_bytes(b"torn")
    with pytest.raises(AutoresearchError, match="#0 cannot continue a text: "):
        samples.write(bench, layout, x, ["a"], GREEDY)
    checkpoint.unlink()
    with pytest.raises(UsageError, match=r"experiment 0 has no checkpoint \(keep\); there are checkpoints of #1"):
        samples.write(bench, layout, x, ["a"], GREEDY)
    (folder / "0000" / "train_mlx.py").write_text("import os")
    with pytest.raises(JournalError, match="was changed"):
        samples.write(bench, layout, x, ["a"], GREEDY)


def letters(data: Path) -> None:
    """Write a tokenizer for the toy data in which each token is a letter."""
    ranks = [base64.b64encode(letter.encode()).decode() for letter in LETTERS]
    special = {"<|bos|>": 60, **{f"<|reserved_{i}|>": 60 + i for i in range(1, 4)}}
    (data / "tokenizer.json").write_text(json.dumps({"pattern": ".", "special": special, "ranks": ranks}))


def test_prompts_are_beginnings_of_documents(toy_data: Path) -> None:
    letters(toy_data)
    assert len(samples.beginnings(DataFolder(toy_data))) == samples.PROMPTS
    rows = np.fromfile(toy_data / "eval" / "val.u16", "<u2").reshape(-1, 65)
    text = [LETTERS.index(c) for c in "The end of a night and more"]
    rows[:, 1] = LETTERS.index("a")
    rows[1, 20], rows[1, 21 : 21 + len(text)] = 60, text
    rows.tofile(toy_data / "eval" / "val.u16")
    assert samples.beginnings(DataFolder(toy_data))[0] == "The end of a"  # rows that begin like a sentence come first
