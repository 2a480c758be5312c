"""Define the kinds of failure that end a run without a score: what each means, when it happens, whose fault it is.

KINDS is the only table of them. The loop reads from it which failures are repeated or mended, and which a child may
report; the report reads their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from autoresearch.records import Failure

Phase = Literal["check", "start", "training", "saving", "evaluation", "any"]
Fault = Literal["candidate", "machine", "either"]
Mendable = Literal["always", "early", "never"]


@dataclass(frozen=True, slots=True)
class FailureKind:
    """One row of the table.

    `fault` is "either" when the candidate or the machine can be to blame; a candidate that ran before is not blamed.
    `mendable` tells whether the proposer is asked to mend the failure: always, only early in the budget, or never.
    """

    meaning: str  # for a person, after "the candidate ..."
    phase: Phase
    fault: Fault = "candidate"
    mendable: Mendable = "never"
    explicit: bool = False  # the kind alone tells whose fault it is; `classify` does not search the message for another
    said_by: tuple[str, ...] = ()  # children that run a candidate's code and may report it; others find it themselves


EVERY = ("preflight", "train", "model", "sample")

KINDS: Mapping[str, FailureKind] = {
    # before any training is paid for
    "contract": FailureKind("broke a rule of the editable file; was not run", "check", mendable="always"),
    "preflight": FailureKind("failed on small arrays; was not run", "check", mendable="always"),
    "source": FailureKind("could not be read as Python", "start", mendable="always", said_by=EVERY),
    "import": FailureKind("failed while it was imported", "start", mendable="always", said_by=EVERY),
    "build": FailureKind("could not be built", "start", mendable="always", said_by=EVERY),
    "warmup": FailureKind(
        "failed in its first steps, before the clock", "start", mendable="always", said_by=("preflight", "train")
    ),
    "interface": FailureKind(
        "its model is not what build_model(task) promises", "start", mendable="always", said_by=EVERY
    ),
    "slow": FailureKind("so slow that too few steps would fit the budget", "start", mendable="always", explicit=True),
    "startup": FailureKind("took too long to start", "start", fault="either", mendable="always"),
    # training
    "diverged": FailureKind(
        "the loss exploded", "training", mendable="early", explicit=True, said_by=("preflight", "train")
    ),
    "train": FailureKind("training raised an exception", "training", said_by=("preflight", "train")),
    "tampered": FailureKind(
        "replaced a function of the harness or of a library, or spoke in its name",
        "training",
        mendable="early",
        said_by=EVERY,
    ),
    "overrun": FailureKind("trained past its budget", "training", fault="either", explicit=True),
    "late": FailureKind("ended after its budget, again and again", "training", explicit=True),
    "hang": FailureKind("went silent", "any", fault="either"),
    "exited": FailureKind("left without a result", "any", mendable="early"),
    "save": FailureKind("saving failed", "saving", said_by=("train",)),
    # evaluation
    "nonfinite": FailureKind(
        "its parameters or its score were not finite", "evaluation", mendable="early", said_by=EVERY
    ),
    "checkpoint": FailureKind("its checkpoint does not fit its model", "evaluation", said_by=("model", "sample")),
    "evaluate": FailureKind("scoring failed", "evaluation", said_by=("model",)),
    "probe_causality": FailureKind("saw later tokens", "evaluation", explicit=True, said_by=("preflight",)),
    "probe_rows": FailureKind("saw other rows", "evaluation", explicit=True),
    "probe_adapts": FailureKind("learned while it was scored", "evaluation", explicit=True),
    "implausible": FailureKind("its gain vanished when it was scored again", "evaluation"),
    "sample": FailureKind("failed while it continued a text", "evaluation", said_by=("sample",)),
    # a declared task
    "guard": FailureKind("did not pass a guard of the task", "start", mendable="always"),
    "run": FailureKind("its run did not end well", "training", mendable="always"),
    "timeout": FailureKind("took longer than the task allows", "training", fault="either", explicit=True),
    "output": FailureKind("left something in ./out that is not a plain file", "training", mendable="always"),
    "judge": FailureKind("the judge could not use what it left", "evaluation", mendable="always"),
    "metric": FailureKind("the number that judges it is missing", "evaluation", mendable="always"),
    "limit": FailureKind("was over a limit of the task", "evaluation", explicit=True),
    # resources, at any time
    "memory": FailureKind("did not fit into memory", "any", fault="either", mendable="early", explicit=True),
    "disk": FailureKind("wrote more than a run may, or the disk was full", "any", fault="either", explicit=True),
    "machine": FailureKind("the GPU or the machine failed", "any", fault="machine", explicit=True),
    "quarantined": FailureKind("took the machine down twice", "any"),
}

MACHINE_FAILURE = re.compile(
    r"Caused GPU Timeout|Impacting Interactivity|No Metal device available|Failed to make new command queue"
    r"|MTLCompilerService|XPC_ERROR_CONNECTION|Command buffer execution failed(?!.*Insufficient Memory)"
)
MEMORY_FAILURE = re.compile(
    r"Insufficient Memory|\[metal::malloc\]|maximum allowed buffer size|Unable to allocate|std::bad_alloc|MemoryError"
    r"|cudaErrorMemoryAllocation|out of memory",
    re.IGNORECASE,
)


def classify(failure: Failure) -> Failure:
    """Return `failure` with the kind "machine" or "memory" if a message of MLX or Metal shows it, else unchanged.

    classify(Failure("train", "[metal::malloc] ...")).kind -> "memory"

    The first such message decides, since one failed command buffer makes Metal refuse the next ones for other reasons.
    MLX's limit of live buffers in a process, [metal::malloc] Resource limit (499000) exceeded, counts as memory.
    """
    known = KINDS.get(failure.kind)
    if known is not None and known.explicit:
        return failure
    text = f"{failure.message}\n{failure.detail}"
    memory, machine = MEMORY_FAILURE.search(text), MACHINE_FAILURE.search(text)
    if memory is not None and (machine is None or memory.start() < machine.start()):
        return replace(failure, kind="memory")
    return replace(failure, kind="machine") if machine is not None else failure


def sayable(kind: str, child: str) -> bool:
    """Return whether a child that runs a candidate's code can know of a failure of this kind."""
    return kind in KINDS and child in KINDS[kind].said_by


def cost_no_training(failure: Failure) -> bool:
    """Return whether the candidate failed before it had warmed up."""
    kind = KINDS.get(failure.kind)
    return kind is not None and kind.phase in ("check", "start")


def meaning(kind: str) -> str:
    """Describe a kind of failure to a person; return "" for an unknown kind."""
    return KINDS[kind].meaning if kind in KINDS else ""
