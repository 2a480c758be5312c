"""Check what a caller posts, and make a hypothesis of it. Numbers, and fields that are not asked for, are refused."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from autoresearch.candidate.pack import pack, unpack
from autoresearch.errors import EditError
from autoresearch.formats import printable
from autoresearch.record.inbox import Hypothesis
from autoresearch.records import CATEGORIES, GPT, HYPOTHESIS_CHARS, TITLE_CHARS, Edit, TaskFacts, WholeFile
from autoresearch.search.llm import replies

MOST_CHARS = 200_000  # of edits or of a file
AUTHOR = r"^[\w.:@/+-]([\w .:@/+-]{0,38}[\w.:@/+-])?$"
MEASURED_HERE = "not a field of a hypothesis; every result is measured by this machine's loop and taken from no caller"
EXAMPLE: dict[str, Any] = {
    "title": "Halve the batch",
    "hypothesis": "More steps fit the budget, and the loss at this scale is limited by steps.",
    "category": "batch",
    "edits": "SET TOTAL_BATCH_SIZE = 32768",
    "author": "my-agent",
}


def _category(text: str) -> str:
    if text not in CATEGORIES:
        raise PydanticCustomError("category", "one of {known}", {"known": ", ".join(CATEGORIES)})
    return text


def _line(text: str) -> str:
    """Return a text as one line of printable characters; refuse one that has none."""
    line = " ".join(printable(text).split())
    if not line:
        raise PydanticCustomError("empty", "a text with at least one visible character")
    return line


class Posted(BaseModel):
    """A hypothesis: what to change, and why that should help. It holds no result: the loop measures it."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": EXAMPLE})

    title: Annotated[str, Field(max_length=TITLE_CHARS), AfterValidator(_line)] = Field(
        description="What changes, in a line."
    )
    hypothesis: Annotated[str, Field(max_length=HYPOTHESIS_CHARS), AfterValidator(_line)] = Field(
        description="Why it should help, in a sentence or two."
    )
    category: Annotated[str, AfterValidator(_category)] = Field(
        description="The kind of change.", json_schema_extra={"enum": list(CATEGORIES)}
    )
    edits: Annotated[str, Field(max_length=MOST_CHARS)] | None = Field(
        None,
        description="Edits to the best version of the moment at which they are tried, as a model writes them: lines "
        "`SET NAME = literal`, SEARCH/REPLACE blocks, or `REPLACE def NAME` with a fenced body.",
    )
    files: dict[str, Annotated[str, Field(max_length=MOST_CHARS)]] | None = Field(
        None,
        description="In place of edits: the whole new text of a file that this night changes, by its name in "
        "GET /best. Changes that were kept since you read it would be lost with it: prefer edits.",
    )
    author: Annotated[str, Field(max_length=40, pattern=AUTHOR)] | None = Field(
        None, description="Your name or your agent's, by which results are listed."
    )

    @model_validator(mode="after")
    def _one_change(self) -> Posted:
        if (self.edits is None) == (self.files is None):
            raise PydanticCustomError("change", "give either edits or files")
        return self

    def made(self, task: TaskFacts, best: str | None) -> Hypothesis:
        """Return the hypothesis with an id of its own; `best` is the source of the night's best version.

        Raises EditError where the edits cannot be read, or where a file is none of the task's.
        """
        now = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        return Hypothesis(
            id=f"{stamp}-{secrets.token_hex(4)}",
            received=now,
            title=self.title,
            hypothesis=self.hypothesis,
            category=self.category,
            edits=self._edits(task, best),
            author=self.author or "",
        )

    def _edits(self, task: TaskFacts, best: str | None) -> tuple[Edit, ...]:
        if self.files is None:
            return replies.parse(self.edits or "").edits
        if not self.files or not self.files.keys() <= set(task.files):
            raise EditError(f"the files that this night changes are {', '.join(task.files)}")
        if task.name == GPT:
            return (WholeFile(self.files[task.files[0]]),)
        if best is None:
            raise EditError("no baseline has been measured yet, and the files that you leave as they are come from it")
        return (WholeFile(pack({**unpack(best), **self.files})),)


def told(errors: Any) -> list[dict[str, str]]:
    """Return what is wrong with a request, by field: [{"field": "val_bpb", "problem": "not a field ..."}]"""
    return [_told(error) for error in errors]


def _told(error: dict[str, Any]) -> dict[str, str]:
    where = [str(part) for part in error["loc"] if part not in ("body", "path", "query")]
    problem = MEASURED_HERE if error["type"] == "extra_forbidden" else str(error["msg"])
    if error["type"] == "json_invalid":
        where, problem = [], f"the body is no JSON: {error.get('ctx', {}).get('error', '')}"
    return {"field": printable(".".join(where))[:80] or "body", "problem": problem}
