"""Take hypotheses from the inbox: the next one that makes a candidate, before the proposer is asked for an idea."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch.errors import EditError
from autoresearch.loop.notebook import Notebook
from autoresearch.record import inbox
from autoresearch.records import Candidate, Context
from autoresearch.report import console
from autoresearch.search import gate


def next_candidate(notebook: Notebook, context: Callable[[], Context], check: gate.ContractCheck) -> Candidate | None:
    """Return the candidate of the oldest hypothesis that makes one; None where the inbox holds no such hypothesis.

    Those that make none, because their edits do not apply or repeat an experiment, are refused in the journal.
    """
    layout = notebook.layout
    for id in inbox.waiting(layout):
        if notebook.night.of_inbox(id) is not None:
            inbox.remove(layout, id)
            continue
        title = "a hypothesis from outside"
        try:
            hypothesis = inbox.read(layout, id)
            if hypothesis is None:
                continue
            title = hypothesis.title
            return gate.admit(context(), hypothesis.proposal(), check)
        except EditError as error:
            why = console.shown(str(error))  # it quotes what was posted
            notebook.journal.append("refused", inbox_id=id, title=title, why=why)
            inbox.remove(layout, id)
            notebook.view.say(f"{title}, from the inbox, is refused: {why}")
    return None
