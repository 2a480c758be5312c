"""Choose the form in which a model is asked for an answer, a simpler one after it failed, and that of a mending.

The forms are those of scorecard.FORMATS. In a declared task there are no functions to choose; files without constants
leave blocks, whole files and the menu.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch.records import Context, Proposal, ReplaceDefinition, Set, WholeFile
from autoresearch.search import policy
from autoresearch.search.llm import declared, functions
from autoresearch.search.scorecard import SIMPLER, Card, choose_format, suited


def possible(context: Context, menu: Sequence[object], formats: Sequence[str]) -> tuple[str, ...]:
    """Return the forms that suit the turn: no code where it asks for a constant, no menu that is empty."""
    directive = context.directive
    about_constants = directive is not None and directive.kind == policy.BIG_LEVER
    wanted = [form for form in formats if form in ("set", "menu") or not about_constants]
    if "function" in wanted and functions.target(context) is None:
        wanted.remove("function")
    if "menu" in wanted and not menu:
        wanted.remove("menu")
    if "set" in wanted and not _can_set(context):
        wanted.remove("set")
    return tuple(wanted) or (tuple(formats) if _can_set(context) else ("blocks",))


def first(context: Context, card: Card, parameters_b: float | None, forms: Sequence[str]) -> str:
    """Return the form to ask for, of those that are possible; constants where none of them suits the model's size."""
    form = choose_format(card, parameters_b, forms)
    return form if form in forms or _can_set(context) else forms[0]


def simpler(context: Context, form: str, menu: Sequence[object], formats: Sequence[str]) -> str:
    """Return the form to fall back on after `form`."""
    if not _can_set(context):
        return "menu" if menu and "menu" in formats else "blocks"
    simple = SIMPLER[form] if SIMPLER[form] in formats else form
    return simple if menu else "set"


def shortest(context: Context, form: str, menu: Sequence[object]) -> str | None:
    """Return the form whose prompt shows least, None where `form` is as short; constants take less room than files."""
    if form in ("set", "menu"):
        return None
    return "set" if _can_set(context) else "menu" if menu else None


def mending(context: Context, proposal: Proposal, latest: str, parameters_b: float | None) -> str:
    """Return the form in which to mend a proposal: the `latest` prompt's, where the edits are of that kind."""
    kinds, named = {type(edit) for edit in proposal.edits}, [getattr(edit, "name", None) for edit in proposal.edits]
    if kinds == {ReplaceDefinition} and latest == "function" and named == [functions.target(context)]:
        form = "function"
    else:
        form = "file" if WholeFile in kinds else "set" if kinds == {Set} else "blocks"
    return form if form in suited(parameters_b) or not _can_set(context) else "set"


def _can_set(context: Context) -> bool:
    return context.brief is None or declared.has_constants(context)
