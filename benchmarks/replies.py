"""What becomes of broken and odd replies? The tests' table, each reply sent through the protocol over real HTTP.

    uv run benchmarks/replies.py > benchmarks/figures/replies.md

A scripted model answers with one reply of the table and then, should it be sent back, with a good one. For each reply:
used at once, or the error that the model is told. What is neither would be lost, and what raises anything else than the
protocol's own error would end this script.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from autoresearch.candidate import constants, edits
from autoresearch.records import WholeFile
from autoresearch.search.llm import replies
from testbed.fake_ollama import FakeOllama
from testbed.proposer_kit import CONTEXT, GOOD, proposer
from testbed.reply_cases import APPLIED, REFUSED, SOURCE, Case

SHOWN = 60  # characters of a reply


def fate(case: Case, folder: Path) -> tuple[bool, str]:
    """Whether the reply is used at once, and what it changes or the error that goes back."""
    script = [{"reply": case.reply}, {"reply": ""}, GOOD]  # an empty reply is asked for again by itself
    with FakeOllama(script if not case.reply.strip() else [script[0], GOOD]) as fake:
        whole = case.error is None and any(isinstance(e, WholeFile) for e in replies.parse(case.reply).edits)
        own = proposer(folder, fake, formats=("file",) if whole or "file" in case.habit else ("blocks",))
        (proposal,) = own.propose(CONTEXT)
        told = str(fake.chats()[-1]["messages"][-1]["content"]).removeprefix("Your answer could not be used:\n")
        if proposal.usage["repairs"]:
            return False, told.split("\n\nNothing was changed")[0].splitlines()[0]
    new = edits.apply(SOURCE, proposal.edits)
    values = [f"{name} = {value!r}" for name, (_, value) in constants.changed(SOURCE, new).items()]
    return True, ", ".join(values) or ", ".join(sorted({type(edit).__name__ for edit in proposal.edits}))


def cell(text: str) -> str:
    """One line of a table, as code: "a\\nb" -> "`a⏎b`", cut where it is long."""
    line = text.replace("\r", "␍").replace("\n", "⏎").replace("`", "ˋ").replace("|", "¦")
    line = "".join(c if c.isprintable() else "·" for c in line)
    return f"`{line[:SHOWN]}{'…' if len(line) > SHOWN else ''}`" if line.strip() else "(nothing)"


def rows(cases: Iterable[Case]) -> list[tuple[bool, str]]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            used, what = fate(case, Path(folder))
            text = f"used: {what}" if used else f"sent back: {what}"
            found.append((used, f"| {case.habit} | {cell(case.reply)} | {text[:150].replace('|', '¦')} |"))
    return found


def main() -> int:
    table = rows([*APPLIED, *REFUSED])
    used = sum(used for used, _ in table)
    sent_back = len(table) - used
    print(
        f"`python benchmarks/replies.py` ({date.today()}): {len(table)} replies as small models write them, each sent"
    )
    print(
        f"through the protocol over HTTP. {used} are used at once, {sent_back} go back with their error, and the next"
    )
    print("reply mends them; none is lost, and none ends the loop. They are those of testbed/reply_cases.py.\n")
    print("| habit | the reply | what became of it |\n|---|---|---|")
    print("\n".join(line for _, line in table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
