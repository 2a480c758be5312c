"""What does a middling model add to the tuner, and what can it cost? Three real nights: tuner, model, and both shared.

    uv run benchmarks/model_night.py [--experiments 40] [--time-budget 4] [--dataset stdlib] [--folder DIR]

The nights are loop.py's own, on train_mlx.py, with real training and a real HTTP server; only the model behind it is
scripted: a third of its replies are good (edits that help at this scale, in an order that a student might find), a
third are wrong (they apply, train, and hurt or crash), a third are malformed (the tests' table of broken replies). Same
data, constants, seed and number of experiments; each night has a cache of its own, so that none profits from another's
noise estimates or scorecard. At the end the winners are trained again on fresh seeds, in turns: the figures that count.

With --folder the parts (--only tuner, model, hybrid, winners) run one at a time; the table shows what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from autoresearch.candidate import constants
from autoresearch.decide.interval import interleaved, paired
from autoresearch.measure import experiment
from autoresearch.paths import JOURNAL
from autoresearch.record import journal
from autoresearch.record.night import Night
from autoresearch.system import machine
from autoresearch.tasks.gpt.data import corpus, sources
from autoresearch.tasks.gpt.workbench import workbench
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.reply_cases import REFUSED
from testbed.toy import make_repository

NIGHTS = {"tuner": "tuner", "model": "ollama", "hybrid": "hybrid"}  # name -> --proposer
TAG = "night"
# What helps on a CPU at a few seconds, in an order that a student might find.
GOOD: Sequence[Mapping[str, str]] = (
    {"DEPTH": "2", "ASPECT_RATIO": "64"},
    {"TOTAL_BATCH_SIZE": "2**11"},
    {"UNEMBEDDING_LR": "0.008"},
    {"TOTAL_BATCH_SIZE": "2**10"},
    {"DEPTH": "1", "ASPECT_RATIO": "128"},
    {"MLP_RATIO": "2"},
    {"UNEMBEDDING_LR": "0.012"},
    {"EMBEDDING_LR": "0.4"},
    {"TOTAL_BATCH_SIZE": "2**9"},
)
REFINED = ("MATRIX_LR", "EMBEDDING_LR", "UNEMBEDDING_LR", "WARMDOWN_RATIO", "SCALAR_LR", "X0_LAMBDA_INIT")
WRONG = (
    "SET DEPTH = 12",
    "SET DEPTH = 8\nSET ASPECT_RATIO = 64",
    "SET TOTAL_BATCH_SIZE = 2**15",
    "SET TOTAL_BATCH_SIZE = 2**14",
    "SET MATRIX_LR = 0.4",
    "SET MATRIX_LR = 0.0005",
    "SET EMBEDDING_LR = 0.005",
    "SET UNEMBEDDING_LR = 0.2",
    "SET WARMUP_RATIO = 0.9",
    "SET LOGIT_SOFTCAP = 0.5",
    "SET HEAD_DIM = 7",
    'SET WINDOW_PATTERN = "X"',
    "SET MATRIX_INIT_SCALE = 30.0",
    "SET X0_LAMBDA_INIT = 20.0",
    "SET ROPE_BASE = 1.01",
    "SET MLP_RATIO = 32",
    "SET HEAD_INIT_STD = 3.0",
)


class Student:
    """A third good, a third wrong, a third malformed: of every six replies, in a random order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.malformed = [case.reply for case in REFUSED if "reply" in (case.error or "").lower()]
        self.kinds = Counter[str]()
        self.bag: list[str] = []
        self.offered = Counter[int]()  # ideas of GOOD by how often: what is refused twice is dropped

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.bag:
            self.bag = self.rng.sample(("good", "wrong", "malformed") * 2, 6)
        kind = self.bag.pop()
        self.kinds[kind] += 1
        if kind == "malformed":
            return {"reply": self.rng.choice(self.malformed)}
        edit = self.rng.choice(WRONG) if kind == "wrong" else self._good(body["messages"])
        title = edit.replace("\n", ", ").replace("SET ", "")
        return {"reply": f"HYPOTHESIS: It may suit so short a run.\nCATEGORY: other\nTITLE: {title}\n{edit}\n"}

    def _good(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The next idea that neither the script nor the history in the prompt holds; then a step from what is."""
        prompt = messages[1]["content"]
        script = prompt.split("```python\n", 1)[1].split("\n```", 1)[0]
        now = constants.read(script)
        tried = prompt.split("## What has been tried", 1)[1].split("## Now", 1)[0]
        for i, idea in enumerate(GOOD):
            new = any(now[name] != constants.evaluate(literal) for name, literal in idea.items())
            text = ", ".join(f"{name} = {literal}" for name, literal in idea.items())
            if new and text not in tried and self.offered[i] < 2:
                self.offered[i] += 1
                return "\n".join(f"SET {name} = {literal}" for name, literal in idea.items())
        name = self.rng.choice(REFINED)
        return f"SET {name} = {now[name] * self.rng.choice((0.7, 0.85, 1.2, 1.4)):.4g}"


def start(folder: Path, dataset: str, chars: int, time_budget_s: float) -> dict[str, Any]:
    """What all nights share: the data in a cache, and a note of it; made once."""
    note = folder / "shared.json"
    if not note.exists():
        text = folder / "text.txt"
        source = sources.find(dataset, 1)
        source.fetch(print, offline=True)
        taken = 0
        with text.open("w", encoding="utf-8") as out:
            for _, document in source.documents(("train", "val", "test")):
                out.write(document + "\n\n")
                taken += len(document)
                if taken >= chars:
                    break
        corpus.prepare(str(text), "tiny", cache=folder / "cache")
        note.write_text(json.dumps({"dataset": dataset, "chars": taken, "time_budget_s": time_budget_s}))
    found: dict[str, Any] = json.loads(note.read_text())
    return found


def run_night(folder: Path, name: str, args: argparse.Namespace) -> None:
    """One night in a repository and a cache of its own; the fit to the machine is made once and shared."""
    own = folder / name
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(folder / "cache", own / "cache")
    root = make_repository(own / "repository")
    shutil.copy(ROOT / "train_mlx.py", root / "train_mlx.py")
    subprocess.run(["git", "commit", "-q", "-am", "the trainer"], cwd=root, check=True)
    task = ["--dataset", str(folder / "text.txt"), "--profile", "tiny", "--time-budget", str(args.time_budget)]
    command = [sys.executable, "loop.py", "--tag", TAG, "--proposer", NIGHTS[name], "--seed", str(args.seed), *task]
    student = Student(args.seed)
    with FakeOllama(student) as fake, (own / "night.log").open("w") as log:
        env = {**os.environ, "AUTORESEARCH_CACHE": str(own / "cache"), "OLLAMA_HOST": fake.url}
        command += ["--experiments", str(args.experiments)] + ([] if name == "tuner" else ["--model", MODEL["name"]])
        subprocess.run(command, cwd=root, env=env, stdout=log, stderr=subprocess.STDOUT, check=True)
    (own / "replies.json").write_text(json.dumps(student.kinds))
    for fits in (own / "cache").glob("machines/*/fits.json"):
        shared = folder / "cache" / fits.relative_to(own / "cache")
        shared.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fits, shared)


def night_of(folder: Path, name: str) -> Night | None:
    runs = folder / name / "repository" / "runs" / TAG
    return journal.read(runs) if (folder / name / "replies.json").exists() else None


def train_winners(folder: Path, rounds: int, time_budget_s: float) -> None:
    """The baseline and each night's winner on the same fresh seeds, in turns."""
    files = {}
    for name in NIGHTS:
        if (night := night_of(folder, name)) is not None and night.incumbent is not None:
            runs = folder / name / "repository" / "runs" / TAG
            files["baseline"] = journal.read_source(runs, night.experiments[0])
            files[name] = journal.read_source(runs, night.incumbent)
    data = corpus.locate(str(folder / "text.txt"), "tiny", folder / "cache")
    assert data is not None  # start has prepared it
    bench = workbench(data, folder / "winners", ROOT, time_budget_s, False, lambda line: None)
    bench = replace(bench, min_steps=0)  # the baseline takes few steps, and is measured all the same
    found: dict[str, list[float | None]] = {name: [] for name in files}
    for name, seed in interleaved(list(files), rounds, 9001):
        path = folder / "winners" / f"{name}.py"
        path.write_text(files[name])
        found[name].append(experiment.measure(bench, path, folder / "winners" / "run", seed).val_bpb)
    (folder / "winners.json").write_text(json.dumps(found))


# --- the table --------------------------------------------------------------------------------------------------------


def row(folder: Path, name: str, night: Night) -> dict[str, str]:
    events = [json.loads(line) for line in (folder / name / "repository/runs" / TAG / JOURNAL).open()]
    clock = [datetime.fromisoformat(e["t"]) for e in events]
    made = [x for x in night.decided if x.role == "candidate"]
    by = Counter("model" if x.proposal.proposer.startswith("ollama") else x.proposal.proposer for x in made)
    kept = Counter(
        "model" if x.proposal.proposer.startswith("ollama") else x.proposal.proposer
        for x in made
        if x.verdict == "keep"
    )
    replies = json.loads((folder / name / "replies.json").read_text())
    first, last = night.experiments[0].estimate, night.incumbent.estimate if night.incumbent else None
    return {
        "night": name,
        "experiments": ", ".join(f"{who} {count}" for who, count in sorted(by.items())),
        "kept": ", ".join(f"{who} {count}" for who, count in sorted(kept.items())) or "0",
        "crashed": str(sum(x.verdict == "crash" for x in made)),
        "replies (good, wrong, malformed)": ", ".join(str(replies.get(k, 0)) for k in ("good", "wrong", "malformed"))
        if replies
        else "",
        "runs": str(sum(e["type"] == "measured" for e in events)),
        "minutes": f"{(clock[-1] - clock[0]).total_seconds() / 60:.1f}",
        "val_bpb by the night": f"{first:.4f} -> {last:.4f}" if first and last else "",
    }


def report(folder: Path, args: argparse.Namespace, shared: Mapping[str, Any]) -> str:
    nights = {name: night for name in NIGHTS if (night := night_of(folder, name)) is not None}
    rows = [row(folder, name, night) for name, night in nights.items()]
    told = f"{args.experiments} experiments a night, {shared['time_budget_s']:g} s of training a run, seed {args.seed}"
    lines = [f"`python benchmarks/model_night.py` ({machine.facts().describe()}, {date.today()}; {told})", ""]
    if rows:
        lines += [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
        lines += [f"| {' | '.join(r.values())} |" for r in rows]
    if (folder / "winners.json").exists():
        lines += ["", *_winners(json.loads((folder / "winners.json").read_text()))]
    return "\n".join(lines)


def _winners(found: Mapping[str, Sequence[float | None]]) -> list[str]:
    """Means on fresh seeds, and the paired differences of the hybrid's winner to the other two's."""
    lines = ["| winner of | val_bpb on fresh seeds, mean | each |", "|---|---|---|"]
    for name, values in found.items():
        known = [v for v in values if v is not None]
        mean = f"{statistics.mean(known):.4f}" if known else "none"
        lines.append(f"| {name} | {mean} | {', '.join('—' if v is None else f'{v:.4f}' for v in values)} |")
    for other in ("tuner", "model"):
        pairs = zip(found.get("hybrid", ()), found.get(other, ()), strict=True)
        rounds = [(b, a) for a, b in pairs if a is not None and b is not None]
        if len(rounds) > 1:
            gain = paired(rounds)
            span = f"{gain.low_bpb:+.4f} to {gain.high_bpb:+.4f} at {gain.level:.0%}"
            lines += ["", f"{other} - hybrid: {gain.gain_bpb:+.4f} bpb ({span}); positive: the hybrid's is better"]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiments", type=int, default=40)
    parser.add_argument("--time-budget", type=float, default=4.0, metavar="S")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dataset", default="stdlib", help="as for prepare.py")
    parser.add_argument("--chars", type=int, default=700_000, help="of the dataset; few, so that evaluation is short")
    parser.add_argument("--rounds", type=int, default=5, help="fresh seeds that the winners are trained on")
    parser.add_argument("--folder", type=Path, help="where the nights stay (default: a temporary folder)")
    parser.add_argument("--only", choices=[*NIGHTS, "winners", "table"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        shared = start(folder, args.dataset, args.chars, args.time_budget)
        for name in NIGHTS:
            if args.only in (None, name):
                run_night(folder, name, args)
        if args.only in (None, "winners"):
            train_winners(folder, args.rounds, args.time_budget)
        print(report(folder, args, shared))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
