"""Make up a night of another machine, for tests that try its changes here."""

from __future__ import annotations

from autoresearch.findings.bundle import Bundle
from autoresearch.records import Proposal, SearchReplace, Set
from testbed.night_builder import GELU, NightBuilder, shared

SHARP = 1e-6  # bpb; a sigma so small that every made-up difference is significant
BASE = NightBuilder().sources[0].replace("ROWS = 4 ", "DEVICE_BATCH_SIZE = 16\nSTACK_MATRICES = True\nROWS = 4 ")


def idea(*edits: Set | SearchReplace, title: str = "an idea") -> Proposal:
    return Proposal(tuple(edits), title, "because", "other", "tuner")


def there() -> Bundle:
    """Return a night that kept six changes and discarded a width. Depth, GELU and half a norm gained the most."""
    made = NightBuilder(sigma_score=SHARP, source=BASE)
    made.candidate(idea(Set("LR", "0.02"), Set("DEVICE_BATCH_SIZE", "32"), title="faster"), 0.01, "keep")
    made.candidate(
        idea(SearchReplace("    return mx.fast.rms_norm(x, None, 1e-5)", "    return x"), title="no norm"), 0.02, "keep"
    )
    made.candidate(idea(Set("WIDTH", "64"), title="wider"), -0.30, "discard")
    made.candidate(idea(SearchReplace("    return x", "    return x * 0.5"), title="half"), 0.03, "keep")
    made.candidate(idea(GELU, title="GELU"), 0.05, "keep")
    made.candidate(idea(Set("DEPTH", "4"), title="deeper"), 0.40, "keep")
    made.candidate(idea(Set("STACK_MATRICES", "False"), title="unstacked"), 0.001, "keep")
    return shared(made)


THERE = there()
