"""Name changes of the reference's constants and code, which `defaults` tries on train_mlx.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

from autoresearch.candidate import constants, edits
from autoresearch.search.recipes.recipe import catalogue
from benchmarks.timing import REFERENCE_CONSTANTS, execute
from testbed.toy import ROOT


class SetupSize(NamedTuple):
    """A size of the reference setup, and the profile of the data that it trains on."""

    profile: str
    constants: Mapping[str, Any]


REFERENCE = "reference"
SMALL = {"ASPECT_RATIO": 16, "HEAD_DIM": 32, "TOTAL_BATCH_SIZE": 2**10, "DEVICE_BATCH_SIZE": 4}
WIDE = {"ASPECT_RATIO": 64}  # twice the channels, four times the arithmetic
SCALES: Mapping[str, SetupSize] = {
    "tiny": SetupSize("tiny", REFERENCE_CONSTANTS),
    "wide": SetupSize("tiny", {**REFERENCE_CONSTANTS, **WIDE}),
    "small": SetupSize("tiny", {**REFERENCE_CONSTANTS, **SMALL}),  # for many pairs on few cores
    "mac": SetupSize("mac", {"BIGRAM_ROWS": 0, "TOTAL_BATCH_SIZE": 2**15, "DEVICE_BATCH_SIZE": 16}),
}

# The places in train_mlx.py that changes of the code go to.
EMBEDDED = "        x = x0 = norm(x)\n"
HEAD = "def head(x, weight):\n"
LOSS = (
    "        return prepare.chunked_cross_entropy(head, self.features(idx), self.lm_head.weight, targets, LOSS_CHUNK)\n"
)
MATRIX_STATE = '            self.state["muon"][name] = [mx.zeros((n, rows, cols)), mx.zeros(second)]\n'
MOMENTS = '        m, v = self.state["adam"][path]\n'
PAIRED = """\
            before = mx.pad(idx[:, :-1], [(0, 0), (1, 0)])
            x = x + self.bigrams((36313 * before + idx) % len(self.bigrams.weight), dtype)
"""
RULES = "        rules = {"
MUON_STATE = '        buffer, second = self.state["muon"][name]\n'
MUON_DONE = """\
        self.state["muon"][name] = [buffer, second]
        return p - lr * g - lr * decay * p * (g * p >= 0)  # cautious: decay only where the step shrinks p as well
"""
SPLIT = (
    "        q, k = mx.split(norm(rotate(qk.transpose(0, 2, 1, 3))), [self.n_head], axis=1)  # (B, H or H_kv, T, D)\n"
)
TABLES = "        self.lm_head = Linear("

BEFORE = "mx.pad(idx[:, :-1], [(0, 0), (1, 0)])"
TWO_BEFORE = "mx.pad(idx[:, :-2], [(0, 0), (2, 0)])"
HASHED = f"(27191 * {TWO_BEFORE} + 36313 * {BEFORE} + idx) % len(self.trigrams.weight)"

CHANGES: Mapping[str, Mapping[str, str]] = {  # name -> texts in train_mlx.py and what replaces them
    "trigrams in a table of their own": {
        TABLES: f"        self.trigrams = Embedding(mx.zeros((16 * V, C)))\n{TABLES}",
        EMBEDDED: f"        x = x + self.trigrams({HASHED}, dtype)\n{EMBEDDED}",
    },
    "previous token's embedding": {
        TABLES: f"        self.previous = Embedding(mx.zeros((V, C)))\n{TABLES}",
        EMBEDDED: f"        x = x + self.previous({BEFORE}, dtype)\n{EMBEDDED}",
    },
    "half the keys a token late": {  # half of each key's channels are those of the token before
        SPLIT: SPLIT.replace("norm(rotate(qk.transpose(0, 2, 1, 3)))", "qk.transpose(0, 2, 1, 3)")
        + "        late, k = mx.split(k, 2, axis=-1)\n"
        "        late = mx.concatenate([late[:, :, :1], late[:, :, :-1]], axis=2)\n"
        "        q, k = norm(rotate(q)), norm(rotate(mx.concatenate([late, k], axis=-1)))\n",
    },
    "tables of pairs by rows": {  # Adagrad with one number a row, which changes no row that the batch has not
        MOMENTS: f"""{MOMENTS}\
        if "bigrams" in path:
            v = v + mx.square(g).mean(axis=-1, keepdims=True)
            self.state["adam"][path] = [m, v]
            return p - 5 * lr * g * mx.rsqrt(mx.maximum(v, 1e-30))
""",
    },
    "narrow table with signs": {  # pairs and triples in a quarter of the channels, each with a pattern of signs
        "mx.zeros((BIGRAM_ROWS * V, C))": "mx.zeros((BIGRAM_ROWS * V, C // 4))",
        TABLES: f"        self.widen = Linear(uniform((C, C // 4), math.sqrt(12 / C)))\n{TABLES}",
        PAIRED: """\
            word, entry = idx.astype(mx.uint32), 0
            pairs = 36313 * mx.pad(word[:, :-1], [(0, 0), (1, 0)]) + word
            triples = pairs + 2654435761 * mx.pad(word[:, :-2], [(0, 0), (2, 0)]) + 977
            signs = mx.sign(mx.random.uniform(-1, 1, (61, x.shape[-1] // 4), key=mx.random.key(5)))
            for key in (pairs, triples):
                found = self.bigrams(key % len(self.bigrams.weight), dtype)
                entry = entry + found * signs[key // 7 % 61].astype(dtype)
            x = x + self.widen(entry)
""",
        RULES: f'{RULES}\n            "widen": (UNEMBEDDING_LR * width_scale, ADAM_BETAS),',
    },
    "EMA-Nesterov": {  # gradients where the mean of past steps leads, until the learning rate has halved
        MATRIX_STATE: MATRIX_STATE.replace(
            "mx.zeros(second)]", "mx.zeros(second), mx.zeros((n, rows, cols)), mx.zeros((n, rows, cols))]"
        ),
        MUON_STATE: MUON_STATE.replace("buffer, second", "buffer, second, drift, lead"),
        MUON_DONE: """\
        at = p - lead
        new = p - lr * g - lr * decay * p * (g * p >= 0)
        drift = drift + 0.05 * (new - at - drift)
        scale = lr / (MATRIX_LR * max(1, p.shape[-2] / p.shape[-1]) ** 0.5)
        lead = 0.6 * scale * (scale > 0.5) * drift
        self.state["muon"][name] = [buffer, second, drift, lead]
        return new + lead
""",
    },
    "Muown": {  # rows as a length, which Adam moves, times a direction, which Muon moves
        MATRIX_STATE: """\
            p = mx.stack([params[path] for path in paths])
            size = mx.sqrt(mx.square(p).sum(axis=-1, keepdims=True))
            free = mx.random.uniform(-1, 1, p.shape, key=mx.random.key(7)) * math.sqrt(3 / cols)
            moments = [mx.zeros_like(size), mx.zeros_like(size)]
            self.state["muon"][name] = [mx.zeros((n, rows, cols)), mx.zeros(second), mx.where(size > 0, p, free), size]
            self.state["muon"][name] += moments
""",
        MUON_STATE: """\
        buffer, second, direction, size, first, square = self.state["muon"][name]
        norm = mx.sqrt(mx.square(direction).sum(axis=-1, keepdims=True))
        unit = direction / norm
        along = (g * unit).sum(axis=-1, keepdims=True)
        g = (size / norm) * (g - unit * along)
        first, square = first + 0.2 * (along - first), square + 0.05 * (mx.square(along) - square)
        step, rate = self.state["step"], lr / 5
        moved = first / (1 - 0.8**step) / (mx.sqrt(square / (1 - 0.95**step)) + 1e-10)
        size = size - rate * moved - rate * decay * size
""",
        MUON_DONE: """\
        direction = direction - lr * g
        self.state["muon"][name] = [buffer, second, direction, size, first, square]
        return size * direction / mx.sqrt(mx.square(direction).sum(axis=-1, keepdims=True))
""",
    },
    "sampled softmax": {  # the first sixteenth of the tokens, and an eighth of the others, which changes with the batch
        LOSS: """\
        V, W = self.config.vocab_size, self.lm_head.weight
        ids = mx.concatenate([mx.arange(V // 16), mx.arange(V // 16, V - 7, 8) + idx.sum() % 8])
        stands_for = mx.where(mx.arange(len(ids)) < V // 16, 0.0, math.log(8))
        x, y = self.features(idx).reshape(-1, W.shape[1]), targets.reshape(-1)
        return sampled_loss(x, W[ids], W[y], stands_for, ids == y[:, None])
""",
        HEAD: f"""\
def sampled_loss(x, rows, own, stands_for, hits):
    target = prepare.soft_cap((x.astype(mx.float32) * own).sum(axis=-1), LOGIT_SOFTCAP)
    others = mx.where(hits, -1e9, head(x, rows) + stands_for)
    logits = mx.concatenate([target[:, None], others], axis=-1)
    return prepare.cross_entropy(logits, mx.zeros(target.shape, dtype=mx.int32))


{HEAD}""",
    },
}
RECIPES = {recipe.name: recipe for recipe in catalogue()}


def changed(name: str, scale: str) -> ModuleType:
    """Load train_mlx.py with the reference's constants at this scale, and a change.

    `name` is one of CHANGES, a recipe, a constant with a value ("MATRIX_LR 0.02"), or several of them joined by " + ".
    Raises ValueError for an unknown name, and where a text to replace does not stand in the file exactly once.
    """
    source = (ROOT / "train_mlx.py").read_text()
    for constant, value in SCALES[scale].constants.items():
        source = constants.assign(source, constant, repr(value))
    for part in [] if name == REFERENCE else name.split(" + "):
        source = apply(source, part)
    return execute(source)


def apply(source: str, name: str) -> str:
    """Apply one change to a source. Raises ValueError for an unknown name, or one that does not fit."""
    if name in RECIPES:
        return edits.apply(source, RECIPES[name].edits)
    if name in CHANGES:
        for old, new in CHANGES[name].items():
            if source.count(old) != 1:
                raise ValueError(f"{name}: the source has {source.count(old)} places that read {old!r}, not one")
            source = source.replace(old, new)
        return source
    constant, _, value = name.partition(" ")
    if constant not in constants.read(source):
        known = ", ".join([*CHANGES, *RECIPES])
        raise ValueError(f"{name!r} is not a constant with a value, and none of: {known}")
    return constants.assign(source, constant, value)
