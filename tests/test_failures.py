"""Kinds of failures: what a message says of its cause."""

from __future__ import annotations

import pytest

from autoresearch.failures import KINDS, classify, sayable
from autoresearch.records import Failure


def metal(said: str, code: str) -> str:
    """Return what MLX says of a command buffer that failed; the code is Metal's."""
    return f"[METAL] Command buffer execution failed: {said} ({code})."


CALLBACK = "kIOGPUCommandBufferCallbackError"
OUT_OF_MEMORY = metal("Insufficient Memory", f"00000008:{CALLBACK}OutOfMemory")
IGNORED = metal("Ignored (for causing prior/excessive GPU errors)", f"00000004:{CALLBACK}SubmissionsIgnored")
INTERNAL = metal("Internal Error", "0000000e:Internal Error")
COMPILER = (
    "[metal::Device] Unable to load kernel carg_block_sort_uint32_uint32_bn128_tn4\n"
    "Unable to reach MTLCompilerService. The process is unavailable because the compiler is no longer active. "
    "Latest invalidation reason: Connection init failed at lookup with error 32 - Broken pipe"
)
NO_DEVICE = (
    "[metal::load_device] No Metal device available. This typically occurs in headless, sandboxed, or virtualized "
    "macOS sessions where the GPU is not accessible."
)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (OUT_OF_MEMORY, "memory"),
        ("[metal::malloc] Attempting to allocate 17179869184 bytes which is greater than the maximum", "memory"),
        ("[malloc] Unable to allocate 1099511627776 bytes.", "memory"),
        ("[metal::malloc] Resource limit (499000) exceeded.", "memory"),  # live buffers of this very process
        (metal("Caused GPU Timeout Error", f"00000002:{CALLBACK}Timeout"), "machine"),
        (metal("Caused GPU Hang Error", f"00000003:{CALLBACK}Hang"), "machine"),
        (metal("Impacting Interactivity", f"0000000e:{CALLBACK}ImpactingInteractivity"), "machine"),
        (metal("Caused GPU Address Fault Error", f"0000000b:{CALLBACK}PageFault"), "machine"),
        (metal("Discarded (victim of GPU error/recovery)", f"00000005:{CALLBACK}InnocentVictim"), "machine"),
        (IGNORED, "machine"),
        (INTERNAL, "machine"),
        (COMPILER, "machine"),
        (NO_DEVICE, "machine"),
        ("[metal::CommandEncoder] Failed to make new command queue.", "machine"),
        ("[metal::Device] Unable to build metal library from source\nerror: unknown type name 'flaot'", "train"),
        ("[compile] Too many inputs/outputs fused in the Metal Compiled primitive which exhausted the ...", "train"),
        ("ValueError: shapes do not match", "train"),
    ],
)
def test_mlx_messages_are_recognised(message: str, kind: str) -> None:
    assert classify(Failure("train", message)).kind == kind
    log = f"libc++abi: terminating due to uncaught exception of type std::runtime_error: {message}\nAbort trap: 6"
    assert classify(Failure("train", "the process was killed by signal 6", log)).kind == kind


def test_the_first_of_several_messages_tells_the_cause() -> None:
    assert classify(Failure("exited", "killed by signal 6", f"{OUT_OF_MEMORY}\n{IGNORED}")).kind == "memory"
    assert classify(Failure("exited", "killed by signal 6", f"{INTERNAL}\n{OUT_OF_MEMORY}")).kind == "machine"


def test_a_candidate_is_to_blame_for_every_kind_that_its_own_process_reports() -> None:
    assert {kind.fault for kind in KINDS.values() if kind.said_by} == {"candidate"}
    assert sayable("train", "train") and not sayable("train", "model") and not sayable("machine", "train")
