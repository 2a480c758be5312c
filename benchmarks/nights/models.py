"""Run real nights with the tuner, a middling model, and both, and compare their winners.

The nights are loop.py's own, on train_mlx.py, with real training and a real HTTP server. Only the model behind it is
scripted: a third of its replies are good (edits that help at this scale, in an order that a student might find), a
third are wrong (they apply, train, and hurt or crash), a third are malformed (the tests' table of broken replies).
With --menu it is a model of 1.5 billion parameters that knows nothing: held to the menu by its JSON schema, it takes an
entry at random. Data, constants, seed and number of experiments are the same; each night has a cache of its own, so
that none profits from another's noise estimates or scorecard. At the end the winners are trained again on fresh seeds,
in turns: those are the figures that count. With --folder the parts (--only) run one at a time, and the table shows what
is there.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from autoresearch.candidate import constants
from autoresearch.decide.interval import interleaved, paired
from autoresearch.measure import experiment
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.night import Experiment, Night
from autoresearch.system import machine
from autoresearch.tasks.gpt.data import corpus
from autoresearch.tasks.gpt.workbench import workbench
from benchmarks.cli import command_line, parser, table
from benchmarks.texts import QUICK_CHARACTERS, SMALLER_START, excerpt, prepare
from testbed.fake_ollama import MODEL, SMALL, FakeOllama
from testbed.reply_cases import REFUSED
from testbed.toy import ROOT, git, make_repository

NIGHTS = {"tuner": "tuner", "model": "ollama", "hybrid": "hybrid"}  # name -> --proposer
TAG = "night"
KINDS = ("good", "wrong", "malformed", "chosen")  # of replies
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
    """Scripted model: of every six replies two are good, two wrong and two malformed, in a random order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.malformed = [case.reply for case in REFUSED if "reply" in (case.error or "").lower()]
        self.kinds = Counter[str]()
        self.bag: list[str] = []
        self.offered = Counter[int]()  # ideas of GOOD by how often: an idea is offered twice at most

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
        """Return the next idea that neither script nor history in the prompt holds; after the last, a small step."""
        prompt = messages[1]["content"]
        shown = re.findall(r"```python\n(.*?)\n```", prompt.split("## What has been tried", 1)[0], re.DOTALL)
        now = constants.read((ROOT / "train_mlx.py").read_text()) | constants.read("\n\n".join(shown))
        tried = prompt.split("## What has been tried", 1)[1].split("## Now", 1)[0]
        for i, idea in enumerate(GOOD):
            new = any(now[name] != constants.evaluate(literal) for name, literal in idea.items())
            text = ", ".join(f"{name} = {literal}" for name, literal in idea.items())
            if new and text not in tried and self.offered[i] < 2:
                self.offered[i] += 1
                return "\n".join(f"SET {name} = {literal}" for name, literal in idea.items())
        name = self.rng.choice(REFINED)
        return f"SET {name} = {now[name] * self.rng.choice((0.7, 0.85, 1.2, 1.4)):.4g}"


class NumberChooser(Student):
    """Scripted model that keeps to a schema and knows nothing: it takes an entry of the menu at random."""

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(schema := body.get("format"), dict):
            return super().__call__(body)
        self.kinds["chosen"] += 1
        choice = self.rng.choice(schema["properties"]["choice"]["enum"])
        return {"reply": json.dumps({"because": "It may suit so short a run.", "choice": choice})}


@dataclass(frozen=True)
class Nights:
    """Nights that share a folder, its data and their settings."""

    folder: Path
    experiments: int
    time_budget_s: float
    seed: int
    dataset: str
    characters: int
    menu: bool  # the model is a small one
    base_url: str | None  # of the OpenAI-compatible server with a real model; None for the scripted one

    @property
    def model(self) -> dict[str, Any]:
        """The installed model, as the server lists it."""
        return SMALL if self.menu else MODEL

    @property
    def text(self) -> Path:
        return self.folder / "text.jsonl"

    @property
    def cache(self) -> Path:
        """The cache with the prepared data, which every night copies."""
        return self.folder / "cache"

    def repository(self, name: str) -> Path:
        return self.folder / name / "repository"

    def layout(self, name: str) -> Layout:
        return Layout(self.repository(name), TAG)


def prepare_data(nights: Nights, start: Mapping[str, str]) -> None:
    """Cut and prepare the text, once."""
    if not nights.text.exists():
        prepare(excerpt(nights.dataset, nights.characters, nights.text), nights.cache, start)


def run_night(nights: Nights, name: str) -> None:
    """Run one night in a repository and a cache of its own; the fit to the machine is made once and shared.

    Raises RuntimeError with the end of the night's log when the loop fails.
    """
    own = nights.folder / name
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(nights.cache, own / "cache")
    root = make_repository(nights.repository(name))
    shutil.copy(ROOT / "train_mlx.py", root / "train_mlx.py")
    git(root, "commit", "-q", "-am", "the trainer")
    task = ["--dataset", str(nights.text), "--profile", "tiny", "--time-budget", str(nights.time_budget_s)]
    command = [sys.executable, "loop.py", "--tag", TAG, "--proposer", NIGHTS[name], "--seed", str(nights.seed), *task]
    command += ["--experiments", str(nights.experiments)]
    student = (NumberChooser if nights.menu else Student)(nights.seed)
    with FakeOllama(student, models=[nights.model]) as fake, (own / "night.log").open("w") as log:
        if name != "tuner":
            command += ["--base-url", nights.base_url] if nights.base_url else ["--model", nights.model["name"]]
        env = {**os.environ, "AUTORESEARCH_CACHE": str(own / "cache"), "OLLAMA_HOST": fake.url}
        code = subprocess.run(command, cwd=root, env=env, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        raise RuntimeError(f"exit code {code}: {(own / 'night.log').read_text()[-1000:]}")
    (own / "replies.json").write_text(json.dumps(student.kinds))
    for fits in (own / "cache").glob("machines/*/fits.json"):
        shared = nights.cache / fits.relative_to(own / "cache")
        shared.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fits, shared)


def night_of(nights: Nights, name: str) -> Night | None:
    """Read a night that ran to its end."""
    done = (nights.folder / name / "replies.json").exists()
    return journal.read(nights.layout(name)) if done else None


def train_winners(nights: Nights, rounds: int) -> None:
    """Train the baseline and each night's winner on the same fresh seeds, in turns."""
    files = {}
    for name in NIGHTS:
        if (night := night_of(nights, name)) is not None and night.incumbent is not None:
            layout = nights.layout(name)
            files["baseline"] = journal.read_source(layout, night.experiments[0])
            files[name] = journal.read_source(layout, night.incumbent)
    data = corpus.locate(str(nights.text), "tiny", nights.cache)
    assert data is not None, "prepare_data has prepared it"
    scratch = nights.folder / "winners"
    bench = workbench(data, scratch, ROOT, nights.time_budget_s, False, lambda line: None)
    bench = replace(bench, min_steps=0)  # the baseline takes few steps, and is measured all the same
    found: dict[str, list[float | None]] = {name: [] for name in files}
    for name, seed in interleaved(list(files), rounds, 9001):
        path = scratch / f"{name}.py"
        path.write_text(files[name])
        found[name].append(experiment.measure(bench, path, scratch / "run", seed).score)
    (nights.folder / "winners.json").write_text(json.dumps(found))


# --- the table --------------------------------------------------------------------------------------------------------


def proposers(experiments: Sequence[Experiment]) -> str:
    """Format how many experiments each proposer made: "model 11, tuner 29"."""
    names = (x.proposal.proposer for x in experiments)
    counts = Counter("model" if name.startswith(("ollama", "openai")) else name for name in names)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "0"


def row(nights: Nights, name: str, night: Night) -> dict[str, str]:
    """Return the table's row of a night."""
    events = [json.loads(line) for line in nights.layout(name).journal.open()]
    clock = [datetime.fromisoformat(e["t"]) for e in events]
    made = [x for x in night.decided if x.role == "candidate"]
    replies = json.loads((nights.folder / name / "replies.json").read_text())
    first, last = night.experiments[0].estimate, night.incumbent.estimate if night.incumbent else None
    kinds = ", ".join(str(replies.get(kind, 0)) for kind in KINDS)
    return {
        "night": name,
        "experiments": proposers(made),
        "kept": proposers([x for x in made if x.verdict == "keep"]),
        "crashed": str(sum(x.verdict == "crash" for x in made)),
        f"replies ({', '.join(KINDS)})": kinds if replies else "",
        "runs": str(sum(e["type"] == "measured" for e in events)),
        "minutes": f"{(clock[-1] - clock[0]).total_seconds() / 60:.1f}",
        "val_bpb by the night": f"{first:.4f} -> {last:.4f}" if first and last else "",
    }


def report(nights: Nights) -> str:
    """Format the nights that are done and, if they were trained, their winners."""
    found = {name: night for name in NIGHTS if (night := night_of(nights, name)) is not None}
    setting = f"{nights.experiments} experiments a night, {nights.time_budget_s:g} s of training per run"
    lines = [f"`{command_line()}` ({machine.facts().describe()}, {date.today()}; {setting}, seed {nights.seed})", ""]
    if found:
        lines.append(table([row(nights, name, night) for name, night in found.items()]))
    if (nights.folder / "winners.json").exists():
        lines += ["", *winners(json.loads((nights.folder / "winners.json").read_text()))]
    return "\n".join(lines)


def winners(found: Mapping[str, Sequence[float | None]]) -> list[str]:
    """Format means on fresh seeds, and the paired differences of the hybrid's winner to the other two's."""
    lines = ["| winner of | val_bpb on fresh seeds, mean | each |", "|---|---|---|"]
    for name, values in found.items():
        known = [v for v in values if v is not None]
        mean = f"{statistics.mean(known):.4f}" if known else "none"
        lines.append(f"| {name} | {mean} | {', '.join('—' if v is None else f'{v:.4f}' for v in values)} |")
    for other in ("tuner", "model"):
        pairs = zip(found.get("hybrid", ()), found.get(other, ()), strict=False)  # one of the nights may be missing
        rounds = [(b, a) for a, b in pairs if a is not None and b is not None]
        if len(rounds) > 1:
            gain = paired(rounds)
            span = f"{gain.low_score:+.4f} to {gain.high_score:+.4f} at {gain.level:.0%}"
            lines += ["", f"{other} - hybrid: {gain.gain_score:+.4f} bpb ({span}); positive: the hybrid's is better"]
    return lines


def main(argv: Sequence[str]) -> int:
    options = parser("nights models", __doc__)
    options.add_argument("--experiments", type=int, default=40)
    options.add_argument("--time-budget", type=float, default=4.0, metavar="S")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--dataset", default="stdlib", help="as for prepare.py")
    options.add_argument("--chars", type=int, default=700_000, help="of the dataset; few, so that evaluation is short")
    options.add_argument("--rounds", type=int, default=5, help="fresh seeds that the winners are trained on")
    options.add_argument("--menu", action="store_true", help="a small model that chooses from the menu at random")
    options.add_argument("--base-url", metavar="URL", help="a real model behind this OpenAI-compatible server instead")
    options.add_argument("--folder", type=Path, help="where the nights stay (default: a temporary folder)")
    options.add_argument("--only", choices=[*NIGHTS, "winners", "table"])
    args = options.parse_args(argv)
    if args.quick:
        args.experiments, args.time_budget, args.chars, args.only = 1, 1.0, QUICK_CHARACTERS, "hybrid"
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        start = (args.experiments, args.time_budget, args.seed, args.dataset, args.chars, args.menu, args.base_url)
        nights = Nights(folder, *start)
        prepare_data(nights, SMALLER_START if args.quick else {})
        for name in NIGHTS:
            if args.only in (None, name):
                run_night(nights, name)
        if args.only in (None, "winners"):
            train_winners(nights, args.rounds)
        print(report(nights))
    return 0
