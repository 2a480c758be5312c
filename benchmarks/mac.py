"""Time what only a Mac can answer: attention's backward pass, compiled or not, stacked or not, type, display.

After the roofline, a training step of the Mac profile's baseline is timed with one thing changed at a time, each in a
process of its own. With --model NAME, interleaved pairs of the baseline show what that model costs while it is loaded
and idle; the loop reads it later and unloads a model that costs over 1%. What is printed between the rulers is made to
be pasted into an issue. On other machines the cases that exist there run on the tiny profile's baseline, and the others
are listed. --display puts the display to sleep for the last case.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from autoresearch.errors import ProposerError
from autoresearch.paths import Cache
from autoresearch.search.llm.ollama import USUAL_CONTEXT
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.own_server import connect
from autoresearch.search.scorecard import Scorecard
from autoresearch.system import machine, process
from autoresearch.tasks.gpt import roofline
from autoresearch.tasks.gpt.data.profiles import MAC, TINY
from benchmarks.timing import ENVIRONMENT, TINY_CONSTANTS, arguments, measure, report, toy_task, trainer, training_step
from testbed.toy import ROOT

TOKENS, TINY_TOKENS = 2**14, 2**12  # a step
CASE_TIMEOUT_S = 600.0
IDLE_PAIRS = 4
ASLEEP_AFTER_S = 10.0
DISPLAY_SLEEP = ("pmset", "displaysleepnow")


@dataclass(frozen=True)
class Case:
    """Step to time. A value of None in `env` removes the variable."""

    what: str
    T: int
    V: int
    tokens: int
    constants: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str | None] = field(default_factory=dict)
    before: tuple[str, ...] = ()  # a command to run first


def cases(device: str, quick: bool, display: bool) -> Iterator[Case | str]:
    """Yield the cases that exist on this device, and a text for each that does not, with the reason."""
    gpu = device == "gpu"
    scale = (MAC.seq_len, MAC.vocab_size, TOKENS) if gpu else (TINY.seq_len, TINY.vocab_size, TINY_TOKENS)
    own = {"DEVICE_BATCH_SIZE": scale[2] // scale[0], "TOTAL_BATCH_SIZE": scale[2]}
    base = own if gpu else {**TINY_CONSTANTS, **own}

    def case(what: str, **more: Any) -> Case:
        return Case(what, *scale, **{"constants": base, **more})

    yield case("baseline")
    yield case("Newton-Schulz matrix by matrix", constants={**base, "STACK_MATRICES": False})
    if gpu:
        yield case("float32", constants={**base, "COMPUTE_DTYPE": "float32"})
        yield case("not compiled", env={"MLX_DISABLE_COMPILE": "1"})
        yield from attention(base, quick)
    else:
        yield "bfloat16: a CPU has no fast products in it; the trainer computes in float32"
        yield "MLX_SDPA_VJP_FALLBACK: a CPU has no fused attention to fall back from"
        if quick or shutil.which("g++") is None:
            yield "compiled: g++ is not installed, or takes too long for --quick"
        else:
            yield case("compiled", env={"MLX_DISABLE_COMPILE": None})
    if sys.platform != "darwin":
        yield "display asleep: only a Mac's GPU watchdog minds a lit display"
    elif not display:
        yield "display asleep: not asked for (--display)"
    else:
        yield case("display asleep", before=DISPLAY_SLEEP)


def attention(base: Mapping[str, Any], quick: bool) -> Iterator[Case]:
    """Yield steps with MLX's attention kernels and with their fallback, by head width and context."""
    for D in (64, 128):
        for T in (512,) if quick else (512, 1024, 2048):
            for fallback in "0", "1":
                constants = {**base, "HEAD_DIM": D, "DEVICE_BATCH_SIZE": TOKENS // T}
                env = {"MLX_SDPA_VJP_FALLBACK": fallback}
                yield Case(f"attention, D {D}, fallback {fallback}", T, MAC.vocab_size, TOKENS, constants, env)


def timed(case: Mapping[str, Any], repeats: int) -> dict[str, float]:
    """Measure tokens a second and peak memory of the case's step, in this process."""
    train_mlx, task = trainer(**case["constants"]), toy_task(case["T"], case["V"])
    found = measure({"step": lambda: training_step(train_mlx, task)}, repeats)["step"]
    return {"tok_s": case["tokens"] / found["s"], "peak_mib": found["peak_mib"]}


def row(case: Case, quick: bool) -> dict[str, Any]:
    """Run the case in a child of its own; a failure is a row too, with the last line of its errors."""
    if case.before:
        process.run(case.before)
        time.sleep(ASLEEP_AFTER_S)
    env = {name: value for name, value in {**os.environ, **case.env}.items() if value is not None}
    options = [*(["--quick"] if quick else []), "--case", json.dumps(asdict(case))]
    argv = [sys.executable, "-m", "benchmarks", "mac", *options]
    done = process.run(argv, cwd=ROOT, env=env, timeout=CASE_TIMEOUT_S, check=False)
    said = (done.stderr.strip() or "no message").splitlines()[-1]
    numbers = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": said}
    return {"what": case.what, "T": case.T, "tokens": case.tokens, **numbers}


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


def measure_idle(model: str, case: Case, quick: bool, facts: machine.Facts) -> list[dict[str, Any]]:
    """Measure what the idle model costs this machine, and note it on the model's card. Raises ProposerError."""
    server = connect(Cache.default().ollama_log)
    if server is None:
        raise ProposerError("no Ollama server answers, and `ollama` is not installed", reason="server_gone")
    try:
        rows = idle_rows(model, server, lambda what: row(replace(case, what=what), quick))
    finally:
        server.close()
    cost, scorecard = idle_cost(rows), Scorecard(Cache.default().scorecard, facts.slug())
    if cost is not None:
        scorecard.card(f"ollama:{model}").idle_cost = cost
        scorecard.save(f"ollama:{model}")
        print(f"{model}, loaded and idle, costs {cost:.1%} of a step's speed", file=sys.stderr)
    return rows


def main(argv: Sequence[str]) -> int:
    options = arguments("mac", __doc__)
    options.add_argument("--display", action="store_true", help="a Mac: put the display to sleep for the last case")
    options.add_argument("--model", metavar="NAME", help="also measure what this Ollama model costs while it is idle")
    options.add_argument("--case", type=json.loads, help="time this one case here (used by the benchmark itself)")
    args = options.parse_args(argv)
    if args.case:
        print(json.dumps(timed(args.case, 1 if args.quick else 10)))
        return 0
    best, rows, missing = roofline.measure(ENVIRONMENT), [], []
    for case in cases(best.device, args.quick, args.display):
        if isinstance(case, str):
            missing.append(case)
        else:
            rows.append(row(case, args.quick))
            print(rows[-1], file=sys.stderr, flush=True)
    facts = machine.facts()
    if args.model:
        base = next(case for case in cases(best.device, args.quick, display=False) if isinstance(case, Case))
        rows += measure_idle(args.model, base, args.quick, facts)
    print(f"{'-' * 40} from here into an issue")
    print(f"{best.table(facts)}\ndisplay {facts.display}, power {facts.power}, heat {facts.thermal}\n")
    report(rows, args)
    print("\n".join(["", *(f"not run: {text}" for text in missing)]))
    print("-" * 40)
    return int(any("failed" in found for found in rows))
