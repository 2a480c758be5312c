"""Hold the state of one draft of a proposal, and the prompt that it sends. No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict

from autoresearch.candidate import constants
from autoresearch.records import Context, Proposal
from autoresearch.search import gate, menu
from autoresearch.search.llm.backend import Message, Schema
from autoresearch.search.menu import MenuEntry


class TaskOfReply(TypedDict, total=False):
    """Arguments of replies.parse that depend on the task; training has its defaults."""

    files: Sequence[str]
    categories: Sequence[str]


@dataclass
class Draft:
    """State of one draft: what it is for, its seed, and its costs so far."""

    context: Context
    seed: int
    earlier: Sequence[Proposal] = ()  # the turn's other drafts, which it may not repeat
    failed: Mapping[str, str] = field(default_factory=dict)  # sources that failed, as constants.normalised, with why
    answers: int = 0
    repairs: int = 0
    steered: int = 0  # answers that were asked for because the category was not the turn's
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0  # of the model
    began: float = field(default_factory=time.monotonic)
    reply: str = ""  # the latest
    unread: int = 0  # answers in which no edit was found

    @cached_property
    def menu(self) -> list[MenuEntry]:
        """The changes that are new."""
        return menu.entries(self.context, self.earlier)

    @property
    def task(self) -> TaskOfReply:
        """What a reply is read by: paths and categories of a declared task."""
        brief = self.context.brief
        return {} if brief is None else {"files": self.context.task.files, "categories": brief.categories}

    def taken(self) -> set[str]:
        """Return the sources that the turn's other drafts make, as constants.normalised."""
        return {constants.normalised(gate.changed(self.context, proposal.edits)) for proposal in self.earlier}

    def usage(self) -> dict[str, float]:
        """Return the costs for Proposal.usage: `seconds` are the model's, `harness_s` the loop's own."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "seconds": round(self.seconds, 3),
            "harness_s": round(time.monotonic() - self.began - self.seconds, 4),
            "answers": self.answers,
            "repairs": self.repairs,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """Prompt of one draft, with the limits of its answers."""

    messages: tuple[Message, ...]
    form: str  # one of scorecard.FORMATS
    max_tokens: int  # of an answer
    repairs: int  # for which the context has room
    temperature: float
    schema: Schema | None = None
    fresh: tuple[Message, ...] = ()  # the same question without an answer that failed, for asking once more
