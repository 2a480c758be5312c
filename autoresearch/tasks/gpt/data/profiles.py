"""Define the scales that a data set can be prepared at. A profile's numbers are stored with the data."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from autoresearch.system import gpu


@dataclass(frozen=True, slots=True)
class Profile:
    """A scale: what preparation fixes for a data set, and the constants that a night on it starts with."""

    name: str
    seq_len: int  # tokens of context
    vocab_size: int  # tokens, the four special ones included
    eval_tokens: int  # target tokens of the validation split, and of the test split
    eval_rows: int  # rows of one evaluation batch; its logits are eval_rows * seq_len * vocab_size * 4 bytes
    budget_s: int  # seconds of training
    train_tokens: int  # most tokens that are packed for training: several times what the budget can use
    shards: int  # training shards to download by default
    constants: Mapping[str, str] = field(default_factory=dict)  # starting constants, applied as SET edits


MAC = Profile(
    name="mac",
    seq_len=2048,
    vocab_size=8192,
    eval_tokens=3 * 524288,
    eval_rows=8,
    budget_s=300,
    train_tokens=2**27,
    shards=2,
)

TINY = Profile(
    name="tiny",
    seq_len=256,
    vocab_size=1024,
    eval_tokens=65536,
    eval_rows=32,
    budget_s=60,
    train_tokens=2**25,
    shards=1,
    constants={
        "DEPTH": "4",
        "ASPECT_RATIO": "32",
        "HEAD_DIM": "64",
        "TOTAL_BATCH_SIZE": "2**12",
        "DEVICE_BATCH_SIZE": "16",
        "WINDOW_PATTERN": '"L"',
        "BIGRAM_ROWS": "16",
    },
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (MAC, TINY)}


def default_profile() -> str:
    """Name the profile of this machine: "mac" where MLX computes on a GPU, "tiny" elsewhere."""
    on_gpu = (sys.platform, platform.machine()) == ("darwin", "arm64") or gpu.find() is not None
    return "mac" if on_gpu else "tiny"
