"""Measure the speed and the memory of a training step."""

from __future__ import annotations

PARTS = {
    "batches": "what a batch costs",
    "breakdown": "the parts of a step",
    "gpu": "the step on a GPU: chunks, rows, types, compiling, against a plain port of the model",
    "operations": "the operations that a GPU starts for a step, by part, beside a plain port's",
    "plain": "the trainer against a plain port of the same model",
    "scaling": "how a step's time and memory grow with the model",
    "step": "tokens a second and memory of a step",
    "warmup": "how well the warm-up forecasts the run",
}
WHERE = {
    "batches": "steps:batches",
    "breakdown": "steps:breakdown",
    "scaling": "steps:scaling",
    "step": "steps:step",
    "warmup": "steps:warmup",
}
