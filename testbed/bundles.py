"""Make a bundle of findings from a made-up night, and files like it with other contents."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from autoresearch.findings import bundle, export, schema
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.scrub import Scrubber
from autoresearch.records import Proposal
from testbed.night_builder import GELU, NightBuilder

OPEN = Scrubber()
MADE = NightBuilder().try_all(14)
MADE.candidate(Proposal((GELU,), "GELU", "smooth", "mlp", "tuner"), 0.03)
BUNDLE = export.export(MADE.night, MADE.sources.__getitem__, OPEN)
DATA = bundle.dump(BUNDLE)


def changed(**top: Any) -> bytes:
    """Return the file with other top-level fields, and with the id that belongs to them where one can be computed."""
    value = {**json.loads(DATA), **top}
    content = {key: entry for key, entry in value.items() if key not in ("format", "version", "id")}
    with contextlib.suppress(ValueError):
        value["id"] = schema.read(bundle.ADAPTER, json.dumps(content).encode()).id
    return json.dumps(value).encode()


def finding(index: int, **fields: Any) -> bytes:
    value = json.loads(DATA)["findings"]
    value[index] = {**value[index], **fields}
    return changed(findings=value)


NAMES = st.sampled_from([f.name for f in fields(Bundle)])
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
