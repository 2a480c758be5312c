"""The profiles' starting constants are the trainer's."""

from __future__ import annotations

from autoresearch.candidate import constants
from autoresearch.tasks.gpt.data.profiles import PROFILES
from testbed.texts import TINY
from testbed.toy import ROOT


def test_the_starting_constants_are_the_trainers() -> None:
    source = (ROOT / "train_mlx.py").read_text()
    for name, literal in TINY.constants.items():
        source = constants.assign(source, name, literal)
    values = constants.read(source)
    assert values["TOTAL_BATCH_SIZE"] == 4096
    assert -(-values["DEPTH"] * values["ASPECT_RATIO"] // values["HEAD_DIM"]) * values["HEAD_DIM"] == 128
    assert TINY.eval_tokens % (TINY.eval_rows * TINY.seq_len) == 0
    assert PROFILES["mac"].eval_tokens % (PROFILES["mac"].eval_rows * PROFILES["mac"].seq_len) == 0
