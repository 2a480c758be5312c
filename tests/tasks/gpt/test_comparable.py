"""Which versions' training losses compare at half the budget: found in their code, for the trainer that ships."""

import pytest

from autoresearch.tasks.gpt.comparable import comparable
from testbed.toy import HONEST, ROOT

TRAINER = (ROOT / "train_mlx.py").read_text()
LOSS = "prepare.chunked_cross_entropy(head, self.features(idx), self.lm_head.weight, targets, LOSS_CHUNK)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "compares"),
    [
        ("DEPTH = 4 ", "DEPTH = 6 ", True),
        ("TOTAL_BATCH_SIZE = 2**14", "TOTAL_BATCH_SIZE = 2**13", True),
        ("MATRIX_LR = 0.04", "MATRIX_LR = 0.08", True),
        ("prepare.relu_squared(", "nn.gelu(", True),
        ("NS_STEPS = 5", "NS_STEPS = 3", True),
        ("WARMDOWN_RATIO = 0.5", "WARMDOWN_RATIO = 0.8", False),
        ("FINAL_LR_FRAC = 0.0", "FINAL_LR_FRAC = 0.1", False),
        ("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = 0.1", False),  # it falls with the progress
        ("MUON_MOMENTUM = 0.95", "MUON_MOMENTUM = 0.9", False),
        ("TRAIN_ROW_PIECES = 1", "TRAIN_ROW_PIECES = 2", False),  # less context, more loss
        (LOSS, f"{LOSS} + 1e-4 * mx.square(self(idx)).mean()", False),
        ("run.log(step - 1, previous)", "run.log(step - 1, 0.9 * previous)", False),
        ("\n        previous = loss\n", "\n        if run.progress > 0.8:\n            loss = 0.9 * loss\n", False),
    ],
)
def test_what_a_change_of_the_trainer_does_to_the_comparison(old, new, compares):
    assert TRAINER.count(old) == 1
    assert comparable(TRAINER, TRAINER.replace(old, new)) is compares


def test_comments_layout_and_spelling_do_not_count():
    assert comparable(TRAINER, TRAINER.replace("WARMDOWN_RATIO = 0.5", "WARMDOWN_RATIO = 1 / 2  # half"))


def test_a_rate_within_the_schedule_counts_as_the_schedule():
    toy = HONEST.read_text()
    assert not comparable(toy, toy.replace("LR = 0.01", "LR = 0.02"))
    assert comparable(toy, toy.replace("WIDTH = 32", "WIDTH = 64"))


def test_what_python_cannot_read_compares_with_nothing():
    assert not comparable("def train(", "def train(")
