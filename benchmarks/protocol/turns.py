"""Measure the protocol with language models: the cost of turns, broken replies, and what a real model replies.

turns, replies and recorded use a scripted model behind a real HTTP server; real needs an OpenAI-compatible server.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from autoresearch.candidate import constants, edits
from autoresearch.errors import ProposerError
from autoresearch.records import Context, Directive, Proposal, TaskFacts, Trial, WholeFile
from autoresearch.search import policy
from autoresearch.search.llm.backend import Answer, Question
from autoresearch.search.llm.dialogue import Dialogue
from autoresearch.search.llm.installed import useless
from autoresearch.search.llm.ollama import OllamaProposer
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.llm.openai import OpenAIBackend
from autoresearch.search.llm.replies import parse
from autoresearch.search.llm.transport import Timeouts
from autoresearch.search.scorecard import Card, Scorecard
from autoresearch.system import machine
from benchmarks.cli import command_line, parser
from benchmarks.protocol import recorded_turns
from testbed.fake_ollama import MODEL, FakeOllama
from testbed.proposer_kit import CONTEXT, GOOD, proposer
from testbed.reply_cases import APPLIED, REFUSED, Case
from testbed.reply_cases import SOURCE as SMALL_SCRIPT
from testbed.toy import ROOT

# --- the night that turns belong to -----------------------------------------------------------------------------------

SOURCE = (ROOT / "train_mlx.py").read_text()
PROGRAM = (ROOT / "program.md").read_text()
TASK = TaskFacts(seq_len=2048, vocab_size=8192, budget_s=300)
FACTS = "Apple M4, 10 cores, 16 GB, 48,000 tokens a second, 440 steps in the budget, peak 6.1 GB, MFU 24%"
SIGMA = 0.004


def context(history: Sequence[Trial], seed: int, turn: int, directive: Directive | None = None) -> Context:
    return Context(SOURCE, 1.29, SIGMA, PROGRAM, TASK, FACTS, tuple(history), directive, seed, turn)


def discarded(n: int, proposal: Proposal) -> Trial:
    """Return a proposal as the history shows it after a discard."""
    return Trial(
        n, proposal.proposer, proposal.title, proposal.hypothesis, proposal.category, proposal.edits,
        edits.apply(SOURCE, proposal.edits), SOURCE, "discard", "within noise", -SIGMA, SIGMA, 1.3,
    )  # fmt: skip


# --- turns: the cost --------------------------------------------------------------------------------------------------


def turns(argv: Sequence[str]) -> int:
    """Count tokens, seconds and repairs of turns with a model whose replies are a third good, wrong and malformed.

    The model answers for train_mlx.py and program.md while the history grows by a discard a turn. It takes no time, so
    the seconds are the harness's: building the prompt, HTTP, reading and applying edits. A token is counted as 4 bytes,
    which is what tokenizers take of this mixture of code and prose, within a tenth or two.
    """
    options = parser("protocol turns", turns.__doc__)
    options.add_argument("--turns", type=int, default=60)
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    count = 6 if args.quick else args.turns
    with tempfile.TemporaryDirectory() as folder:
        columns = {form: played(count, args.seed, form, Path(folder)) for form in ("blocks", "set", "menu")}
    print(columns_table(columns, f"{count} turns"))
    return 0


def columns_table(columns: Mapping[str, Mapping[str, Any]], head: str = "") -> str:
    """Format columns by their names as a Markdown table, whose first column holds the names of their values."""
    lines = [f"| {head} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    names = next(iter(columns.values()))
    return "\n".join(
        [*lines, *(f"| {name} | {' | '.join(str(c[name]) for c in columns.values())} |" for name in names)]
    )


class ScriptedModel:
    """Scripted model: a third of its replies are good, a third do not apply, a third are malformed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rates = [name for name, value in constants.read(SOURCE).items() if isinstance(value, float) and value]
        told = [case.reply for case in REFUSED if case.error and "reply" in case.error.lower()]
        self.malformed = [reply.replace("<think>", "") for reply in told]  # thinking needs more room

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        if isinstance(schema := body.get("format"), dict):  # the server lets it write nothing else
            choice = self.rng.choice(schema["properties"]["choice"]["enum"])
            return {"reply": json.dumps({"because": "The run is short.", "choice": choice})}
        kind = self.rng.choice(("good", "wrong", "malformed"))
        if kind == "malformed":
            return {"reply": self.rng.choice(self.malformed)}
        name, factor = self.rng.choice(self.rates), round(self.rng.uniform(0.3, 3.0), 3)
        value = f"{factor * constants.read(SOURCE)[name]:.4g}"
        name = name if kind == "good" else name.replace("_", "", 1) + "X"
        fields = f"HYPOTHESIS: {name} is off by a factor, and the run is short.\nCATEGORY: other\nTITLE: Move {name}\n"
        return {"reply": f"{fields}SET {name} = {value}\n"}


def played(count: int, seed: int, form: str, folder: Path) -> dict[str, Any]:
    """Play so many turns in one reply format; return the table's column."""
    history: list[Trial] = []
    prompts, answers, harness, tries = [], [], [], []
    with FakeOllama(ScriptedModel(seed), models=[MODEL]) as fake:
        server = OllamaServer(fake.url, Timeouts(retry_s=0.0))
        own = OllamaProposer(server, MODEL["name"], Scorecard(folder / f"{form}.json", "here"), formats=(form,))
        for turn in range(1, count + 1):
            began = time.perf_counter()
            try:
                (proposal,) = own.propose(context(history, seed, turn))
                usage = dict(proposal.usage)
                tries.append(int(usage["answers"]))
                history.append(discarded(turn, proposal))
            except ProposerError as error:
                usage = error.usage
                tries.append(0)
            harness.append(time.perf_counter() - began)
            prompts.append(usage["prompt_tokens"])
            answers.append(usage["answer_tokens"])
        own.close()
        first = fake.chats()[0]["messages"]
    return {
        "first prompt, tokens": sum(len(m["content"].encode()) for m in first) // 4,
        "prompt tokens a turn": round(statistics.mean(prompts)),
        "tokens read anew a turn": round(sum(fake.read) / count),
        "answer tokens a turn": round(statistics.mean(answers)),
        "harness s a turn, median": round(statistics.median(harness), 2),
        "harness s a turn, most": round(max(harness), 2),
        "answers a turn": round(own.card.asked / count, 2),
        "turns with a proposal at once": tries.count(1),
        "turns saved by a repair": tries.count(2) + tries.count(3),
        "turns saved by a fresh sample": tries.count(4),
        "turns given up": tries.count(0),
        "loads": len(fake.loads),
    }


# --- replies: broken and odd ones -------------------------------------------------------------------------------------

SHOWN = 60  # characters of a reply


def replies(argv: Sequence[str]) -> int:
    """Send each broken or odd reply of testbed/reply_cases.py through the protocol and print what became of it.

    The scripted model answers with one of them and then, when it is sent back, with a good one. Each is used at once or
    goes back with an error that the model reads; anything else would end this benchmark.
    """
    args = parser("protocol replies", replies.__doc__).parse_args(argv)
    cases = [*APPLIED[:5], *REFUSED[:5]] if args.quick else [*APPLIED, *REFUSED]
    with tempfile.TemporaryDirectory() as folder:
        found = [outcome(case, Path(folder)) for case in cases]
    used = sum(used for used, _ in found)
    print(f"`{command_line()}` ({date.today()}): {len(found)} replies as small models write them, each sent")
    print(f"through the protocol over HTTP. {used} are used at once, {len(found) - used} go back with their error, and")
    print("the next reply mends them; none is lost, and none ends the loop.\n")
    print("| habit | the reply | what became of it |\n|---|---|---|")
    for case, (used, what) in zip(cases, found, strict=True):
        text = f"used: {what}" if used else f"sent back: {what}"
        print(f"| {case.habit} | {code(case.reply)} | {text[:150].replace('|', '¦')} |")
    return 0


def outcome(case: Case, folder: Path) -> tuple[bool, str]:
    """Return whether the reply is used at once, and what it changes or the error that goes back."""
    script = [{"reply": case.reply}, {"reply": ""}, GOOD]  # an empty reply is asked for again by itself
    with FakeOllama(script if not case.reply.strip() else [script[0], GOOD]) as fake:
        whole = case.error is None and any(isinstance(e, WholeFile) for e in parse(case.reply).edits)
        own = proposer(folder, fake, formats=("file",) if whole or "file" in case.habit else ("blocks",))
        (proposal,) = own.propose(CONTEXT)
        told = str(fake.chats()[-1]["messages"][-1]["content"]).removeprefix("Your answer could not be used:\n")
        if proposal.usage["repairs"]:
            return False, told.split("\n\nNothing was changed")[0].splitlines()[0]
    new = edits.apply(SMALL_SCRIPT, proposal.edits)
    values = [f"{name} = {value!r}" for name, (_, value) in constants.changed(SMALL_SCRIPT, new).items()]
    return True, ", ".join(values) or ", ".join(sorted({type(edit).__name__ for edit in proposal.edits}))


def code(text: str) -> str:
    """Format a reply as one line of code in a table: "a\\nb" -> "`a⏎b`", cut when it is long."""
    line = text.replace("\r", "␍").replace("\n", "⏎").replace("`", "ˋ").replace("|", "¦")
    line = "".join(c if c.isprintable() else "·" for c in line)
    return f"`{line[:SHOWN]}{'…' if len(line) > SHOWN else ''}`" if line.strip() else "(nothing)"


# --- real: an actual model --------------------------------------------------------------------------------------------


def real(argv: Sequence[str]) -> int:
    """Ask a real model behind an OpenAI-compatible server for turns and count what its replies are.

    llama-server, mlx_lm.server and LM Studio will do. Turns are as in a night on train_mlx.py and program.md; each
    proposal enters the history as a discard, and nothing trains. A reply that the protocol is not prepared for ends the
    benchmark. The scorecard's view of the model comes last: format, and share of the next night's turns. --quick asks a
    scripted model.
    """
    options = parser("protocol real", real.__doc__)
    options.add_argument("--base-url", metavar="URL", help="such as http://127.0.0.1:8080/v1")
    options.add_argument("--model", metavar="NAME")
    options.add_argument("--replies", type=int, default=100, help="stop after so many")
    options.add_argument("--minutes", type=float, default=60.0, help="stop after so much time")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the replies to this file")
    args = options.parse_args(argv)
    if args.quick:
        with FakeOllama(ScriptedModel(args.seed), models=[MODEL]) as fake:
            return asked(Recorded(f"{fake.url}/v1", MODEL["name"]), 5, args.minutes, args.seed, args.json)
    if not args.base_url or not args.model:
        options.error("name a server by --base-url and its model by --model")
    return asked(Recorded(args.base_url, args.model), args.replies, args.minutes, args.seed, args.json)


class Recorded(OpenAIBackend):
    """Backend that keeps every answer as it came."""

    def __init__(self, base_url: str, model: str) -> None:
        super().__init__(base_url, model)
        self.answers: list[Answer] = []

    def ask(self, question: Question) -> Answer:
        answer = super().ask(question)
        self.answers.append(answer)
        return answer


def talk(backend: Recorded, folder: Path, count: int, deadline: float, seed: int) -> tuple[Card, Counter, Counter]:
    """Ask for turns until `count` replies or the deadline; return the card, the turns' ends and the last errors."""
    own = Dialogue(backend, Scorecard(folder / "scorecard.json", "here"))
    history, ends, errors = list[Trial](), Counter[str](), Counter[str]()
    while len(backend.answers) < count and time.monotonic() < deadline:
        turn = ends.total() + 1
        try:
            (proposal,) = own.propose(context(history, seed, turn, policy.next_directive(history, turn)))
            history.append(discarded(turn, proposal))
            ends["a proposal at once" if proposal.usage["answers"] == 1 else "a proposal after a repair"] += 1
        except ProposerError as error:
            ends["given up"] += 1
            told = str(error).partition("; the last one begins ")[0]
            what = told.partition(": ")[2] or told
            errors[re.sub(r"`[^`]*`|\d+|(?<=SET )\S+.*?(?=:)", "...", what)[:80]] += 1
    return own.card, ends, errors


def counts_table(head: str, counts: Mapping[str, int]) -> str:
    rows = sorted(counts.items(), key=lambda item: -item[1])
    return "\n".join([f"| {head} | |", "|---|---|", *(f"| {name} | {count} |" for name, count in rows)])


def asked(backend: Recorded, count: int, most_minutes: float, seed: int, json_file: Path | None) -> int:
    """Talk to the model and print the tables."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        card, ends, errors = talk(backend, Path(folder), count, began + 60 * most_minutes, seed)
    answers, minutes = backend.answers, (time.monotonic() - began) / 60
    limit = sum(answer.done_reason == "length" for answer in answers)
    new, known = _share(policy.TurnCounts()), _share(policy.TurnCounts(prior=card.turn_counts().rate))
    size = f"{backend.parameters_b:.3g} billion parameters" if backend.parameters_b else "of unknown size"
    print(f"{backend.model}, {size}; {machine.facts().describe()}, {date.today()}\n")
    print(f"{len(answers)} replies in {ends.total()} turns and {minutes:.1f} minutes; each was used or sent back.")
    tokens = [round(total / max(1, len(answers))) for total in (card.prompt_tokens, card.answer_tokens)]
    print(f"{tokens[0]} tokens of prompt and {tokens[1]} of answer a reply; {limit} replies ran into their limit.\n")
    print(counts_table("how turns ended", ends), end="\n\n")
    forms = {form: f"{t.asked} asked, {t.parsed} parsed, {t.applied} applied" for form, t in card.formats.items()}
    print("\n".join(["| format | replies |", "|---|---|", *(f"| {form} | {text} |" for form, text in forms.items())]))
    print(f"\nbeside the tuner its share of the next night begins at {known:.0%} (a new model's: {new:.0%});")
    print(f"among installed models it is chosen {'last' if useless(card) else 'by its size'}\n")
    print(counts_table("the last error of the turns given up", errors))
    if json_file:
        rows = [{"text": a.text, "end": a.done_reason, "tokens": a.answer_tokens, "s": a.seconds} for a in answers]
        json_file.write_text(json.dumps(rows, indent=1))
    return 0


def _share(model: policy.TurnCounts) -> float:
    """Return a model's first share of the turns beside the tuner."""
    return policy.shares({**policy.turn_counts([], ["tuner"]), "model": model})["model"]


# --- recorded: what a real model answered -----------------------------------------------------------------------------


def recorded(argv: Sequence[str]) -> int:
    """Replay the recorded answers of a real model through today's protocol: usable turns, answers, tokens."""
    parser("protocol recorded", recorded_turns.__doc__).parse_args(argv)
    print(f"`{command_line()}` ({date.today()}; the counts depend on no machine)\n")
    for where, file in recorded_turns.NIGHTS.items():
        print(columns_table(recorded_turns.columns(file), where), end="\n\n")
    return 0
