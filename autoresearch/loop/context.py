"""Tell a proposer what it may know: the incumbent, the history, the machine, the kind of turn, others' findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoresearch.findings import hints
from autoresearch.loop.notebook import Notebook
from autoresearch.record.night import Experiment
from autoresearch.records import Brief, Context, Trial
from autoresearch.search import policy
from autoresearch.system import chips, machine

PENDING_SIGMA = 2.0  # by which a candidate that runs is taken to be worse: too much for a near miss
RUNNING = "it runs at this moment"


def context_of(
    notebook: Notebook,
    facts: machine.Facts,
    seed: int,
    *,
    branching: bool,
    program: str = "",
    brief: Brief | None = None,
) -> Context:
    """Return the context of the next turn. With `branching`, on a long plateau it starts from an ancestor.

    `program` is the person's brief, and `brief` what a declared task says of itself.
    """
    night, incumbent, now = notebook.night, notebook.incumbent, notebook.estimates
    history, turn = [*night.trials(notebook.source_of), *_running(notebook)], night.next_n
    parent_n = _parent(notebook, history) if branching else incumbent.n
    return Context(
        source=notebook.source_of(parent_n),
        parent_n=parent_n,
        incumbent_score=now.estimate(incumbent).mean,
        sigma_score=now.noise.sigma_score,
        program=program,
        task=night.task,
        machine=describe_machine(facts, incumbent),
        history=history,
        directive=policy.next_directive(history, turn, brief),
        seed=seed,
        turn=turn,
        hints=hints.lines(night.hinted),
        brief=brief,
    )


def _running(notebook: Notebook) -> list[Trial]:
    """Return the candidates of a fleet that run at this moment, as trials that came out a little worse.

    So nobody proposes them again, and the tuner spreads its proposals. Each made-up result (a "constant liar") is
    replaced once the run has ended.
    """
    night, now = notebook.night, notebook.estimates
    sigma = now.noise.sigma_score
    worse = PENDING_SIGMA * sigma
    score = now.estimate(notebook.incumbent).mean + worse
    pending = [x for x in night.experiments.values() if x.open and x.role == "candidate"]
    return [
        replace(
            night.trial(x, notebook.source_of),
            verdict="discard",
            reason=RUNNING,
            delta_score=-worse,
            sigma_score=sigma,
            score=score,
        )
        for x in pending
    ]


def describe_machine(facts: machine.Facts, incumbent: Experiment) -> str:
    """Return a line on the machine and what the incumbent makes of it.

    "Apple M4 Pro, ...; 82,000 tokens a second, 751 steps in the budget, peak memory 4.1 GB, 27% MFU (24% of ...)"

    MFU is against the float32 product measured around the training, and against the chip's table where it is in it.
    """
    m = next((m for m in reversed(incumbent.measurements) if m.ok), None)
    if m is None or m.tok_s is None or m.peak_memory_mb is None:
        return facts.describe()
    mfu = f", {m.mfu_percent:.0f}% MFU" if m.mfu_percent is not None else ""
    tabled = chips.peak_tflops(facts, "float32")
    if m.mfu_percent is not None and m.speed_index and tabled:
        mfu += f" ({m.mfu_percent * m.speed_index / tabled:.0f}% of the chip's tabled peak)"
    speed = f"{m.tok_s:,.0f} tokens a second, {m.num_steps} steps in the budget"
    return f"{facts.describe()}; {speed}, peak memory {m.peak_memory_mb / 1024:.2f} GB{mfu}"


def _parent(notebook: Notebook, history: Sequence[Trial]) -> int:
    """Return the experiment that the next idea edits: the incumbent, or one of its ancestors on a long plateau."""
    ancestor = policy.branch_point(history)
    if ancestor is None:
        return notebook.incumbent.n
    return notebook.baseline.n if ancestor == 0 else ancestor
