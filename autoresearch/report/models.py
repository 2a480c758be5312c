"""Show the installed language models, and offer to download one with a progress bar.

`loop.py models` prints the table; `loop.py run` offers a download when no installed model fits.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from autoresearch.errors import ProposerError
from autoresearch.formats import GIB, counted
from autoresearch.search.llm.installed import LEAST_B, InstalledModel, size_text
from autoresearch.search.llm.model_choice import ModelChoice
from autoresearch.search.llm.ollama_server import OllamaServer
from autoresearch.search.scorecard import Card, Scorecard

ANSWER_WAIT_S = 60.0  # for the user's answer
WIDE = 80  # columns from which on the models stand in a table
CAPTION = "applied: of its replies; warm, kept: of its experiments; all on this machine"
SMALL = f"too small: under {LEAST_B:g}B the built-in tuner is better; only --model NAME takes such a model"


def models_view(models: Sequence[InstalledModel], scorecard: Scorecard, width: int) -> Table | Text:
    """Return what `loop.py models` shows in `width` columns: each model's size, whether it fits, its record here."""
    if width >= WIDE:
        return _table(models, scorecard)
    cards = scorecard.known()
    return Text("\n").join(Text(_described(model, cards.get(f"ollama:{model.name}", Card()))) for model in models)


def _described(model: InstalledModel, card: Card) -> str:
    """Return "gemma4:12b: 7.6 GB, 12B, context 131072, fits; 10 turns, 50% of its replies applied, ..."."""
    size = [f"{model.size / GIB:.1f} GB"] + ([size_text(model.parameters_b)] if model.parameters_b else [])
    size += [f"context {model.context}"] if model.context else []
    size += ["fits" if model.fits else f"does not fit: needs {model.need / GIB:.1f} GB"]
    size += [f"too small (under {LEAST_B:g}B the tuner is better)"] if model.small else []
    record = [counted(card.turns, "turn")]
    record += [f"{_percent(card.applied, card.asked)} of its replies applied"] if card.asked else []
    record += [f"{_percent(card.warmed_up, card.decided)} of its experiments warmed up"] if card.decided else []
    record += [f"{_percent(card.kept, card.decided)} kept"] if card.decided else []
    record += [f"{card.seconds / card.turns:.0f} s a turn"] if card.turns else []
    return f"{model.name}: {', '.join(size)}; {', '.join(record)}"


def _table(models: Sequence[InstalledModel], scorecard: Scorecard) -> Table:
    caption = f"{CAPTION}\n{SMALL}" if any(model.fits and model.small for model in models) else CAPTION
    view = Table(box=None, collapse_padding=True, pad_edge=False, caption=caption, caption_justify="left")
    view.add_column("model", overflow="fold", min_width=17)  # names stay whole in a terminal of 80 columns
    for head in ("GB", "size", "context", "fits", "turns", "applied", "warm", "kept", "s/turn"):
        view.add_column(head, no_wrap=True, justify="left" if head == "fits" else "right")
    cards = scorecard.known()
    for model in models:
        card = cards.get(f"ollama:{model.name}", Card())
        view.add_row(
            model.name,
            f"{model.size / GIB:.1f}",
            size_text(model.parameters_b),
            str(model.context or ""),
            f"no: {model.need / GIB:.1f} GB" if not model.fits else "too small" if model.small else "yes",
            str(card.turns),
            _percent(card.applied, card.asked),
            _percent(card.warmed_up, card.decided),
            _percent(card.kept, card.decided),
            f"{card.seconds / card.turns:.0f}" if card.turns else "",
        )
    return view


def ask_user(question: str, stdin: TextIO | None = None, wait_s: float = ANSWER_WAIT_S) -> str:
    """Return the user's answer, or "" after `wait_s` seconds: the user may have gone to bed."""
    print(question, end="", flush=True)
    stdin = stdin or sys.stdin
    ready, _, _ = select.select([stdin], [], [], wait_s)
    if not ready:
        print(f"\nno answer in {wait_s:g} s; continuing without")
    return stdin.readline() if ready else ""


def offer_pull(
    server: OllamaServer, choice: ModelChoice, console: Console, ask: Callable[[str], str] = ask_user
) -> bool:
    """Ask the user whether to pull the model of `choice`, and do it. Return whether it is installed now."""
    model = choice.pull or ""
    console.print(f"{choice.line.partition('. Run:')[0]}.", markup=False, highlight=False)
    answer = ask(f"Download {model} from ollama.com now? It is several GB. [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        return False
    try:
        pull(server, model, console)
    except ProposerError as error:
        console.print(f"{model} was not pulled: {error}", markup=False, highlight=False)
        return False
    return True


def pull(server: OllamaServer, model: str, console: Console) -> None:
    """Download a model with a progress bar. Raises ProposerError with the server's message."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
        bar = bars.add_task(model, total=None)

        def show(status: str, done: int | None, total: int | None) -> None:
            bars.update(bar, description=f"{model}: {status}", completed=done or 0, total=total)

        server.pull(model, show)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else ""
