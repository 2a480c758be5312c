"""A night with a scripted model behind a real HTTP server, with every bad habit of a small model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoresearch.paths import Layout
from autoresearch.record import journal
from testbed.fake_ollama import FakeOllama
from testbed.toy import git

pytestmark = pytest.mark.slow

TRAIN = "def train(model: nn.Module, run: prepare.Run) -> None:\n"
ADAM = "    opt = optim.Adam(LR)\n"
STEP = "        loss, grads = loss_and_grad(x, y)\n"
HEAD = "        return self.head(self.wte(idx))  # (B, T, V)\n"


def block(title: str, search: str, replace: str) -> dict[str, str]:
    reply = f"HYPOTHESIS: it may help.\nCATEGORY: other\nTITLE: {title}\n"
    return {"reply": f"{reply}<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"}


FUTURE = "        x = self.wte(idx)\n        return self.head(x + mx.roll(x, -1, axis=1))\n"
NIGHT = [
    {"reply": "HYPOTHESIS: faster.\nCATEGORY: learning_rate\nTITLE: Learn faster\nSET LR = 0.03\n"},
    {"reply": "I would widen the model."},  # malformed; the repair turn gives the next reply
    {"reply": "HYPOTHESIS: wider.\nCATEGORY: width\nTITLE: Widen\nSET WIDTH = 48\n"},
    block("A syntax error", ADAM, "    opt = optim.Adam(LR\n"),  # refused before it is run
    block("Forget a name", ADAM, "    opt = optim.Nothing(LR)\n"),  # fails on small arrays; the next reply mends it
    block("Decay", ADAM, "    opt = optim.AdamW(LR)\n"),
    block("Hang", STEP, "        while step > 5:\n            pass\n" + STEP),  # too late for a preflight to see it
    block("Fill the memory", STEP, "        bytes(1 << 46)\n" + STEP),  # asked to mend that, it does not
    {"reply": "No."},
    {"reply": "No."},
    block("Look ahead", HEAD, FUTURE),  # asked to mend that, it does not
    {"reply": "No."},
    {"reply": "No."},
    block("Fake the metric", TRAIN, "prepare.cross_entropy = lambda a, b: mx.array(0.0)\n\n\n" + TRAIN),
    {"reply": "No."},  # asked to mend that, it does not
    {"reply": "No."},
    {"reply": "No."},
    {"reply": "TITLE: Rewrite prepare.py\n```python\n# prepare.py\ndef evaluate_bpb():\n    return 0\n```\n"},
    {"status": 500, "error": "llama runner process has terminated"},
    {"status": 500, "error": "llama runner process has terminated"},
]


class Stubborn:
    """Script of replies in order, which repeats the last one when told that the turn is for another category."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.lines, self.last = iter(lines), lines[0]

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        if "This turn is for one of the category" not in request["messages"][-1]["content"]:
            self.last = next(self.lines, {"status": 500, "error": "no line is left"})
        return self.last


def test_each_reply_ends_as_it_should_and_the_night_goes_on(repository: Path, toy_data: Path) -> None:
    before = (repository / "prepare.py").read_bytes()
    task = ("--dataset", "toy", "--profile", "tiny", "--time-budget", "1", "--experiments", "12")
    with FakeOllama(Stubborn(NIGHT)) as fake:
        env = {
            **os.environ,
            "AUTORESEARCH_CACHE": str(toy_data.parents[2]),
            "MLX_DISABLE_COMPILE": "1",
            "OLLAMA_HOST": fake.url,
        }
        command = [sys.executable, "loop.py", "--proposer", "ollama", *task]
        done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not fake.resident  # unloaded before training, and at the end
        measured, *loads = [num_ctx for _, num_ctx in fake.loads]  # first to see whether it fits
        assert loads == sorted(loads) and len(set(loads)) <= 2  # more only where a repair would not fit
        assert measured >= loads[0]
    night = journal.read(Layout.of(next((repository / "runs").glob("*/journal.jsonl")).parent))
    ends = {
        x.proposal.title: x.failure.kind
        if x.failure
        else (x.reason.partition(":")[0] if x.verdict == "crash" else x.verdict)
        for x in night.experiments.values()
        if x.proposal.proposer.startswith("ollama:")
    }
    measured = ("keep", "discard")
    set_by = {title.split()[0]: end for title, end in ends.items()}  # titles of constants are derived from the edits
    assert set_by["LR"] in measured and set_by["WIDTH"] in measured and ends["Decay"] in measured
    assert "Forget a name" not in ends  # it was mended within its turn
    assert ends["Hang"] == "overrun"
    assert ends["Fill the memory"] == "memory"
    assert ends["Look ahead"] == "preflight"
    assert ends["Fake the metric"] == "contract"
    assert "A syntax error" not in ends and "Rewrite prepare.py" not in ends
    # The tuner stands in when the model has no idea, and no reply changed another file.
    assert any(x.proposal.proposer == "tuner" for x in night.experiments.values())
    assert (repository / "prepare.py").read_bytes() == before
    assert git(repository, "status", "--porcelain") == ""
