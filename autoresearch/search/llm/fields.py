"""Read what a proposer says about its change: one line of text, and the name of a category. No I/O."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from autoresearch.formats import printable
from autoresearch.records import CATEGORIES

# Words that stand for a category, for texts that name none.
_SYNONYMS = {
    "lr": "learning_rate",
    "learning rate": "learning_rate",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "momentum": "optimizer",
    "normaliz": "normalisation",
    "norm": "normalisation",
    "init": "initialisation",
    "regulariz": "regularisation",
    "decay": "regularisation",
    "dropout": "regularisation",
    "layers": "depth",
    "embed": "embedding",
    "warm": "schedule",
    "simpl": "simplification",
    "throughput": "speed",
    "activation": "mlp",
    "dtype": "precision",
}


def named_category(text: str, categories: Sequence[str] = CATEGORIES) -> str:
    """Return the category that a text names, else "other": named_category("**Learning rate**") -> "learning_rate"."""
    text = text.lower()
    named = [
        (text.find(form), c) for c in categories for form in (c.lower(), c.lower().replace("_", " ")) if form in text
    ]
    similar = [(text.find(form), c) for form, c in _SYNONYMS.items() if form in text and c in categories]
    return min(named or similar or [(0, "other")])[1]


def plain_line(text: str, chars: int) -> str:
    """Return one line of printable text without Markdown's marks, cut at a word to at most `chars` characters.

    >>> plain_line("**Raise `LR`**", 79)
    'Raise LR'
    """
    text = printable(text[: 8 * chars].replace("`", "")).strip(" *_\"'#>-")
    short = textwrap.shorten(text, chars, placeholder="...")
    return short if short != "..." else text[:chars]
