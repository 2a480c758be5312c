"""Answer what only a Mac can: run it for ten minutes, and paste the block that it prints into an issue.

It begins with what the doctor says of MLX and the sandbox, and with what kernels.py finds of MLX's kernels. After the
roofline, a training step of the Mac profile's baseline is timed with one thing changed at a time, each in a
process of its own: chunks of the loss and rows at once, the type, compiling, a table of bigrams, Newton-Schulz, and
attention alone by head dimension, context and kernel. Then come pairs without and with an idle language model (the loop
reads its cost later and unloads a model that costs over 1%), and the step with the display asleep, which a Mac puts to
sleep for the last minute. On other machines the cases that exist there run on the tiny profile's baseline, and the
others are listed.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoresearch.errors import AutoresearchError, ProposerError
from autoresearch.loop import checkup, doctor, mlx_check
from autoresearch.paths import Cache
from autoresearch.search.llm.installed import installed
from autoresearch.search.llm.model_choice import choose_model
from autoresearch.search.llm.ollama import USUAL_CONTEXT
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.own_server import connect
from autoresearch.search.scorecard import Scorecard
from autoresearch.system import machine
from autoresearch.tasks.gpt import roofline
from autoresearch.tasks.gpt.data.profiles import MAC, TINY
from benchmarks import kernels
from benchmarks.timing import ENVIRONMENT, TINY_CONSTANTS, arguments, report
from benchmarks.trainer.cases import CaseTimer, StepCase
from testbed.toy import ROOT

TOKENS, TINY_TOKENS = 2**14, 2**12  # a step
SECONDS = 600.0
STEP_S = 4.0  # of a case
IDLE_PAIRS = 4
DISPLAY_SLEEP = ("pmset", "displaysleepnow")
QUICK = ("baseline", "Newton-Schulz matrix by matrix")
KERNEL_T, QUICK_KERNEL_T = 1024, 64  # tokens of the context that kernels are compared at
WIDTHS, CONTEXTS = (64, 128), (512, 1024, 2048)  # of attention alone


def cases(device: str, quick: bool) -> Iterator[StepCase | str]:
    """Yield the cases that exist on this device, and a text for each that does not, with the reason."""
    gpu = device == "gpu"
    T, V, tokens = (MAC.seq_len, MAC.vocab_size, TOKENS) if gpu else (TINY.seq_len, TINY.vocab_size, TINY_TOKENS)
    tokens //= 8 if quick else 1
    base = {**({} if gpu else TINY_CONSTANTS), "TOTAL_BATCH_SIZE": tokens, "DEVICE_BATCH_SIZE": tokens // T}

    def case(what: str, env: Mapping[str, str | None] | None = None, **constants: Any) -> StepCase:
        return StepCase(what, T, V, tokens, {**base, **constants}, env or {}, seconds=0.0 if quick else STEP_S)

    yield case("baseline")
    if gpu:
        yield from (case(f"loss in chunks of 2^{k} bytes", LOSS_CHUNK=2**k) for k in (22, 26, 28))
        yield from (case(f"{rows} rows at once", DEVICE_BATCH_SIZE=rows) for rows in (2, 4))
        yield case("twice the rows, all at once", TOTAL_BATCH_SIZE=2 * tokens, DEVICE_BATCH_SIZE=2 * tokens // T)
        yield case("float32", COMPUTE_DTYPE="float32")
        yield case("not compiled", {"MLX_DISABLE_COMPILE": "1"})
    else:
        yield "chunks of the loss: a CPU's are fixed"
        yield "bfloat16: a CPU has no fast products in it; the trainer computes in float32"
    if gpu:
        yield case("a table of bigrams", BIGRAM_ROWS=16)
    else:
        yield case("no table of bigrams", BIGRAM_ROWS=0)
    yield case("Newton-Schulz matrix by matrix", STACK_MATRICES=False)
    if gpu:
        yield from attention(tokens)
    else:
        yield "MLX_SDPA_VJP_FALLBACK: a CPU has no fused attention to fall back from"
        if quick or shutil.which("g++") is None:
            yield "compiled: g++ is not installed, or takes too long for --quick"
        else:
            yield case("compiled", {"MLX_DISABLE_COMPILE": None})
    yield case("baseline again, for the heat")


def attention(tokens: int) -> Iterator[StepCase]:
    """Yield attention alone, forward and backward, with MLX's kernels and with their fallback, by width and context."""
    for D in WIDTHS:
        for T in CONTEXTS:
            for fallback, whose in ("0", "MLX's kernels"), ("1", "fallback"):
                what, env = f"attention, D {D}, T {T}, {whose}", {"MLX_SDPA_VJP_FALLBACK": fallback}
                constants = {"HEAD_DIM": D, "COMPUTE_DTYPE": "bfloat16"}
                yield StepCase(what, T, MAC.vocab_size, tokens, constants, env, kind="attention")


def idle_rows(model: str, server: OllamaServer, run: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Run interleaved pairs of steps, without the model and with it loaded and idle; unload it at the end."""
    rows = []
    try:
        for number in range(1, IDLE_PAIRS + 1):
            server.unload(model)
            rows.append(run(f"no model, pair {number}"))
            server.load(model, num_ctx=USUAL_CONTEXT, keep_alive="60m")
            rows.append(run(f"{model} loaded and idle, pair {number}"))
    finally:
        server.unload(model)
    return rows


def idle_cost(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the share of speed that the idle model costs, the median over the pairs; None where a step failed.

    >>> idle_cost([{"tok_s": 100.0}, {"tok_s": 99.0}])
    0.01
    """
    if not rows or any("tok_s" not in found for found in rows):
        return None
    costs = [1 - with_it["tok_s"] / without["tok_s"] for without, with_it in zip(rows[::2], rows[1::2], strict=True)]
    return round(statistics.median(costs), 4)


def measure_idle(wanted: str | None, bench: CaseTimer, case: StepCase, facts: machine.Facts) -> str:
    """Measure what an idle model costs this machine, note it on the model's card, and say it.

    The model is the one of that name, or the one that a night would choose. Raises ProposerError.
    """
    server = connect(Cache.default().ollama_log)
    if server is None:
        raise ProposerError("no Ollama server answers, and `ollama` is not installed", reason="server_gone")
    try:
        choice = choose_model(installed(server, facts.memory_mb << 20), facts.memory_mb << 20, wanted)
        if choice.model is None:
            raise ProposerError(choice.line, reason="no_model")
        rows = idle_rows(choice.model, server, lambda what: bench.measure(replace(case, what=what)))
    finally:
        server.close()
    cost, scorecard = idle_cost(rows), Scorecard(Cache.default().scorecard, facts.slug())
    if cost is None:
        return f"{choice.model}, loaded and idle: a step failed"
    scorecard.card(f"ollama:{choice.model}").idle_cost = cost
    scorecard.save(f"ollama:{choice.model}")
    return f"{choice.model}, loaded and idle, costs {cost:.1%} of a step's speed"


def display_asleep(case: StepCase, asked: bool) -> Iterator[StepCase | str]:
    if sys.platform != "darwin":
        yield "display asleep: only a Mac's GPU watchdog minds a lit display"
    elif not asked:
        yield "display asleep: not with --no-display or --quick"
    else:
        yield replace(case, what="display on")
        yield replace(case, what="display asleep", before=DISPLAY_SLEEP)


def checked(facts: machine.Facts) -> list[str]:
    """Return what the doctor says of MLX and of the sandbox."""
    lines = []
    for check in (mlx_check.check_mlx, doctor.check_sandbox):
        try:
            lines += [checkup.line(found) for found in check(checkup.Host(ROOT, facts))]
        except AutoresearchError as error:
            lines.append(str(error))
    return lines


def measured(bench: CaseTimer, found: Iterable[StepCase | str]) -> list[str]:
    """Time the cases; return a line for each that does not exist here."""
    missing = []
    for case in found:
        if isinstance(case, StepCase):
            bench.measure(case)
        else:
            missing.append(f"not run: {case}")
    return missing


def with_mfu(found: Mapping[str, Any], best: roofline.Roofline) -> dict[str, Any]:
    """Return the row with its arithmetic as a share of the product of the type that trains, as it was measured here."""
    if "tflops" not in found:
        return dict(found)
    return {**found, "mfu_percent": 100 * found["tflops"] / best.tflops[found["type"]]}


def main(argv: Sequence[str]) -> int:
    options = arguments("mac", __doc__)
    options.add_argument("--no-display", action="store_true", help="leave the display on at the end")
    options.add_argument("--model", metavar="NAME", help="the Ollama model to measure; default: what a night would use")
    args = options.parse_args(argv)
    if not args.quick:
        print(f"this takes up to {SECONDS / 60:.0f} minutes; leave the machine alone meanwhile", file=sys.stderr)
    before = machine.facts()
    first = [] if args.quick else checked(before)
    first += kernels.told_by_child(QUICK_KERNEL_T if args.quick else KERNEL_T)
    best = roofline.measure(ENVIRONMENT)
    bench, found = CaseTimer(SECONDS), list(cases(best.device, args.quick))
    if args.quick:
        found = [case for case in found if isinstance(case, str) or case.what in QUICK]
    base = next(case for case in found if isinstance(case, StepCase))
    said = measured(bench, found)
    if args.quick and not args.model:
        said.append("not run: an idle model: not with --quick")
    else:
        try:
            said.append(measure_idle(args.model, bench, base, before))
        except ProposerError as error:
            said.append(f"not run: an idle model: {error}")
    said += measured(bench, display_asleep(base, not (args.no_display or args.quick)))
    after = machine.facts()
    print(f"{'-' * 40} from here into an issue")
    print("\n".join([*first, best.table(before), state(before, "before"), state(after, "after"), ""]))
    report([with_mfu(row, best) for row in bench.rows], args)
    print("\n".join(["", *said, "-" * 40]))
    return int(bench.failed or any("WRONG" in line for line in first))


def state(facts: machine.Facts, when: str) -> str:
    swap = "?" if facts.swap_mb is None else f"{facts.swap_mb} MB"
    low = ", low-power mode" if facts.low_power else ""
    return f"{when}: display {facts.display}, power {facts.power}{low}, heat {facts.thermal}, swap {swap}"
