"""Kinds of failures: what a message says of its cause."""

from __future__ import annotations

import pytest

from autoresearch.failures import KINDS, classify, sayable
from autoresearch.records import Failure


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPUCommandBuffer)", "memory"),
        ("[metal::malloc] Attempting to allocate 17179869184 bytes which is greater than the maximum", "memory"),
        ("[malloc] Unable to allocate 1099511627776 bytes.", "memory"),
        ("[METAL] Command buffer execution failed: Caused GPU Timeout Error (00000002)", "machine"),
        ("[METAL] Command buffer execution failed: Impacting Interactivity (0000000e)", "machine"),
        ("[metal::malloc] Resource limit (499000) exceeded.", "machine"),
        ("ValueError: shapes do not match", "train"),
    ],
)
def test_mlx_messages_are_recognised(message: str, kind: str) -> None:
    assert classify(Failure("train", message)).kind == kind


def test_a_candidate_is_to_blame_for_every_kind_that_its_own_process_reports() -> None:
    assert {kind.fault for kind in KINDS.values() if kind.said_by} == {"candidate"}
    assert sayable("train", "train") and not sayable("train", "model") and not sayable("machine", "train")
