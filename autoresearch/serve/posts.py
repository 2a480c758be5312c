"""Check what a caller posts, and make a hypothesis of it. Numbers, and fields that are not asked for, are refused."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from autoresearch.errors import EditError
from autoresearch.formats import printable
from autoresearch.record.inbox import Hypothesis
from autoresearch.records import CATEGORIES, GPT, HYPOTHESIS_CHARS, TITLE_CHARS, Edit, TaskFacts, WholeFile
from autoresearch.search.llm import replies

MOST_TOLD = 20  # wrong fields of one request that an answer names
MOST_CHARS = 200_000  # of edits or of a file
AUTHOR = r"^[\w.:@/+-]([\w .:@/+-]{0,38}[\w.:@/+-])?$"
ID = r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$"
FORMS = {  # of texts, in words
    AUTHOR: "letters, digits, blanks inside, and any of . : @ / + - _",
    ID: "an id as POST /hypotheses returns it, such as 20261127-153012-0123abcd",
}
MEASURED_HERE = "not a field of a hypothesis; every result is measured by this machine's loop and taken from no caller"
EXAMPLE: dict[str, Any] = {
    "title": "Halve the batch",
    "hypothesis": "More steps fit the budget, and the loss at this scale is limited by steps.",
    "category": "batch",
    "edits": "SET TOTAL_BATCH_SIZE = 32768",
    "author": "my-agent",
}


def _line(text: str) -> str:
    """Return a text as one line of printable characters; refuse one that has none."""
    line = " ".join(printable(text).split())
    if not line:
        raise PydanticCustomError("empty", "a text with at least one visible character")
    return line


class UnusableError(EditError):
    """A field of a hypothesis is of no use in the night that it was posted to."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


class Posted(BaseModel):
    """A hypothesis: what to change, and why that should help. It holds no result: the loop measures it."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": EXAMPLE})

    title: Annotated[str, Field(max_length=TITLE_CHARS), AfterValidator(_line)] = Field(
        description="What changes, in a line."
    )
    hypothesis: Annotated[str, Field(max_length=HYPOTHESIS_CHARS), AfterValidator(_line)] = Field(
        description="Why it should help, in a sentence or two."
    )
    category: Annotated[str, Field(max_length=40), AfterValidator(_line)] = Field(
        description=f"The kind of change. Where the night trains: {', '.join(CATEGORIES)}."
    )
    edits: Annotated[str, Field(max_length=MOST_CHARS)] | None = Field(
        None,
        description="Edits to the best version of the moment at which they are tried, as a model writes them: lines "
        "`SET NAME = literal`, SEARCH/REPLACE blocks, or `REPLACE def NAME` with a fenced body. Where a night changes "
        "several files, a line `### PATH` before an edit names its file.",
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

    def made(self, task: TaskFacts) -> Hypothesis:
        """Return the hypothesis for a night of `task`, with an id of its own. Raises UnusableError."""
        if task.name == GPT and self.category not in CATEGORIES:
            raise UnusableError("category", f"one of {', '.join(CATEGORIES)}")
        try:
            change = self._edits(task)
        except EditError as error:
            raise UnusableError("edits" if self.files is None else "files", str(error)) from None
        now = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        return Hypothesis(
            id=f"{stamp}-{secrets.token_hex(4)}",
            received=now,
            title=self.title,
            hypothesis=self.hypothesis,
            category=self.category,
            edits=change,
            author=self.author or "",
        )

    def _edits(self, task: TaskFacts) -> tuple[Edit, ...]:
        declared = () if task.name == GPT else task.files
        if self.files is None:
            change = replies.parse(self.edits or "", files=declared).edits
            named = {edit.path for edit in change if edit.path is not None}
        else:
            change = tuple(WholeFile(text, path if declared else None) for path, text in self.files.items())
            named = set(self.files)
        if not change or not named <= set(task.files):
            raise EditError(f"the files that this night changes are {', '.join(task.files)}")
        return change


def problems(errors: Any) -> list[dict[str, str]]:
    """Return what is wrong with a request, by field: [{"field": "val_bpb", "problem": "not a field ..."}]"""
    return [_told(error) for error in errors[:MOST_TOLD]]


def _told(error: dict[str, Any]) -> dict[str, str]:
    where = [str(part) for part in error["loc"] if part not in ("body", "path", "query", "header")]
    problem = FORMS.get(error.get("ctx", {}).get("pattern")) or str(error["msg"])
    if error["type"] == "extra_forbidden":
        problem = MEASURED_HERE
    if error["type"] == "json_invalid":
        where, problem = [], f"the body is not JSON: {error.get('ctx', {}).get('error', '')}"
    return {"field": printable(".".join(where))[:80] or "body", "problem": problem}
