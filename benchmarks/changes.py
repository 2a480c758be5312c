"""List changes of the reference's constants and code, which `quality defaults` tries on train_mlx.py."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from benchmarks.timing import REFERENCE_CONSTANTS, trainer

Change = Mapping[str, Any]  # constants to set; what is no constant is a text in train_mlx.py to replace

REFERENCE = "reference"
SCALES: dict[str, Change] = {"tiny": {}, "wide": {"ASPECT_RATIO": 64}}  # twice the channels, four times the arithmetic

# The places in train_mlx.py that changes of the code go to.
EMBEDDED = "        x = x0 = norm(x)\n"
TABLES = "        self.lm_head = Linear("
RULES = "        rules = {"
BEFORE = "mx.pad(idx[:, :-1], [(0, 0), (1, 0)])"
TWO_BEFORE = "mx.pad(idx[:, :-2], [(0, 0), (2, 0)])"
PAIRED = "            x = x + self.bigrams((36313 * before + idx) % len(self.bigrams.weight), dtype)\n"
TO_THREE = """\
            grams = before = idx.astype(mx.uint32)
            for _ in range(2):
                before = mx.pad(before[:, :-1], [(0, 0), (1, 0)])
                grams = 36313 * grams + before
                x = x + self.bigrams(grams % len(self.bigrams.weight), dtype)
"""
HASHED = f"(27191 * {TWO_BEFORE} + 36313 * {BEFORE} + idx) % len(self.trigrams.weight)"
SPLIT = (
    "        q, k = mx.split(norm(rotate(qk.transpose(0, 2, 1, 3))), [self.n_head], axis=1)  # (B, H or H_kv, T, D)\n"
)
PROJECTED = "        self.c_proj = Linear(mx.zeros((C, H * D)))"
OUT = "        return self.c_proj(y.transpose(0, 2, 1, 3).reshape(B, T, -1))"
GATED = "y.transpose(0, 2, 1, 3) * (2 * mx.sigmoid(self.gate(x[..., :GATE_CHANNELS])))[..., None]"
LEFT = "    left = max(0.0, 1 - progress) / WARMDOWN_RATIO\n"

CANDIDATES: dict[str, Change] = {
    REFERENCE: {},
    "MATRIX_LR 0.02": {"MATRIX_LR": 0.02},
    "MATRIX_LR 0.08": {"MATRIX_LR": 0.08},
    "EMBEDDING_LR 0.3": {"EMBEDDING_LR": 0.3},
    "EMBEDDING_LR 1.2": {"EMBEDDING_LR": 1.2},
    "UNEMBEDDING_LR 0.002": {"UNEMBEDDING_LR": 0.002},
    "UNEMBEDDING_LR 0.008": {"UNEMBEDDING_LR": 0.008},
    "WARMDOWN_RATIO 0.7": {"WARMDOWN_RATIO": 0.7},
    "WARMDOWN_RATIO 1.0": {"WARMDOWN_RATIO": 1.0},
    "ADAM_BETAS (0.9, 0.95)": {"ADAM_BETAS": (0.9, 0.95)},
    "ADAM_BETAS (0.8, 0.98)": {"ADAM_BETAS": (0.8, 0.98)},
    "HEAD_INIT_STD 0.02": {"HEAD_INIT_STD": 0.02},
    "X0_LAMBDA_INIT 0.3": {"X0_LAMBDA_INIT": 0.3},
    "MATRIX_INIT_SCALE 0.5": {"MATRIX_INIT_SCALE": 0.5},
    "LOGIT_SOFTCAP 30": {"LOGIT_SOFTCAP": 30.0},
    "ROPE_BASE 1000": {"ROPE_BASE": 1000.0},
    "VALUE_EMBED_EVERY 1": {"VALUE_EMBED_EVERY": 1},
    "bigram embedding": {"BIGRAM_ROWS": 16},
    "bigram embedding, 4 V rows": {"BIGRAM_ROWS": 4},
    "bigram embedding, 64 V rows": {"BIGRAM_ROWS": 64},
    "bigram embedding, half the rate": {
        "BIGRAM_ROWS": 16,
        RULES: f'{RULES}\n            "bigrams": (0.5 * tables[0], ADAM_BETAS),',
    },
    "bigram and trigram embedding": {
        "BIGRAM_ROWS": 16,
        TABLES: f"        self.trigrams = Embedding(mx.zeros((16 * V, C)))\n{TABLES}",
        EMBEDDED: f"        x = x + self.trigrams({HASHED}, dtype)\n{EMBEDDED}",
    },
    "bigrams and trigrams in one table": {"BIGRAM_ROWS": 16, PAIRED: TO_THREE},
    "bigrams and trigrams in one table, 32 V rows": {"BIGRAM_ROWS": 32, PAIRED: TO_THREE},
    "previous token's embedding": {
        TABLES: f"        self.previous = Embedding(mx.zeros((V, C)))\n{TABLES}",
        EMBEDDED: f"        x = x + self.previous({BEFORE}, dtype)\n{EMBEDDED}",
    },
    "smear": {  # a share of the embedding before, learned for each channel
        TABLES: f"        self.smear = mx.zeros((C,))\n{TABLES}",
        EMBEDDED: f"        x = x + self.smear.astype(dtype) * mx.pad(x[:, :-1], [(0, 0), (1, 0), (0, 0)])\n{EMBEDDED}",
        RULES: f'{RULES}\n            "smear": (0.02, ADAM_BETAS),',
    },
    "half the keys a token late": {  # half of each key's channels are those of the token before
        SPLIT: SPLIT.replace("norm(rotate(qk.transpose(0, 2, 1, 3)))", "qk.transpose(0, 2, 1, 3)")
        + "        late, k = mx.split(k, 2, axis=-1)\n"
        "        late = mx.concatenate([late[:, :, :1], late[:, :, :-1]], axis=2)\n"
        "        q, k = norm(rotate(q)), norm(rotate(mx.concatenate([late, k], axis=-1)))\n",
    },
    "attention gate": {
        PROJECTED: f"{PROJECTED}\n        self.gate = Linear(mx.zeros((H, min(C, GATE_CHANNELS))))",
        OUT: f"        return self.c_proj(({GATED}).reshape(B, T, -1))",
    },
    "attention scale x 1.5": {"scale=q.shape[-1] ** -0.5": "scale=1.5 * q.shape[-1] ** -0.5"},
    "1 - sqrt warmdown": {LEFT: f"{LEFT}    left = 1 - max(0.0, 1 - left) ** 0.5\n"},
}


def together(name: str) -> Change:
    """Return the change of a name, or of several joined by " + "."""
    return dict(itertools.chain(*(CANDIDATES[part].items() for part in name.split(" + "))))


def changed(name: str, scale: str) -> Any:
    """Load train_mlx.py with the reference's constants at this scale, and this change."""
    change = together(name)
    constants = {old: new for old, new in change.items() if old.isidentifier()}
    edits = [(old, new) for old, new in change.items() if not old.isidentifier()]
    return trainer(edits, **{**REFERENCE_CONSTANTS, **SCALES[scale], **constants})
