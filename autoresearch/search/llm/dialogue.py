"""Propose through a conversation with a language model.

A draft begins with one reply. A malformed one goes back to the model with the exact error. After one that says nothing
new, the same question is asked again at a higher temperature, with what was refused and a list of what is new: a small
model that is shown its own answer gives it again, word for word. Both happen twice at most. Then a reply in a simpler
format is asked for; if that fails, too, the draft is given up before anything trains. Any `Backend` will do.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from autoresearch.candidate import constants, edits
from autoresearch.errors import EditError, NothingNewError, ProposerError
from autoresearch.records import Context, Failure, Proposal, Trial
from autoresearch.search import gate
from autoresearch.search.llm import channels, choices, fields, functions, prompt, replies, reply_forms
from autoresearch.search.llm.backend import Answer, Backend, Message, Question, TooLongError
from autoresearch.search.llm.draft import Draft, Request
from autoresearch.search.llm.prompt import Subject
from autoresearch.search.llm.replies import ParsedReply
from autoresearch.search.llm.tokens import TokenScale, estimate
from autoresearch.search.scorecard import FORMATS, Card, Scorecard
from autoresearch.search.tuner import wording

REPAIRS = 2  # of one reply
TEMPERATURE, REPAIR_TEMPERATURE, NEW_TEMPERATURE = 0.8, 0.5, 0.9
ANSWER_TOKENS = {"menu": 300, "set": 600, "blocks": 2000, "function": 2000}  # format -> room for an answer
FILE_GROWTH = 1.1  # room for an answer that is a whole file, relative to the script
ERROR_TOKENS = 700  # room for an error that is sent back
BEGINNING_CHARS = 60  # of an answer that is shown to a person
LONG_TRIES = 3  # prompts refused as too long before the draft is given up

# reason -> further attempts at the same request
RETRIES = {"runner": 1, "out_of_memory": 1, "server_busy": 3, "cut_off": 1, "server_gone": 1}
# Reasons after which no further draft of the turn is asked for.
HOPELESS = {
    *("server_gone", "server_busy", "no_model", "unauthorized", "bad_proxy"),
    *("out_of_memory", "runner", "cancelled", "too_large", "timeout"),
}


class Dialogue:
    """Proposer that asks the language model of a Backend."""

    def __init__(
        self,
        backend: Backend,
        scorecard: Scorecard,
        *,
        formats: Sequence[str] = FORMATS,
        retry_s: float = 5.0,
    ) -> None:
        self.backend, self.scorecard, self.formats = backend, scorecard, tuple(formats)
        self.retry_s = retry_s  # seconds before another attempt at a server in trouble
        self._scale = TokenScale(self.card)
        self._form = ""  # of the latest prompt
        self._cancelled = threading.Event()

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def card(self) -> Card:
        return self.scorecard.card(self.name)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return at most n different proposals, asked for in one load of the model.

        Raises ProposerError when there is none. Its `reason` is the server's (transport.py), or `unparseable` when no
        reply could be used; `usage` holds the costs, `detail` the beginning of the last reply.
        """
        self._cancelled.clear()
        self.learn(context.history)
        self.backend.prepare()
        proposals: list[Proposal] = []
        failure: ProposerError | None = None
        for index in range(n):
            draft = Draft(context, _seed(context, index), tuple(proposals))
            try:
                proposals.append(self._drafted(draft))
                failure = None
            except ProposerError as error:
                failure = error
                failure.usage = draft.usage()
            self.card.turns += 1
            self._count(draft, proposed=failure is None)
            if failure is not None and failure.reason in HOPELESS:
                break
        if not proposals and failure is not None:
            raise failure
        return proposals

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """Ask the model once to mend a proposal that failed before training. Its reply is repaired at most once.

        The form is that of the proposal, so that within its turn the server has read the prompt.
        """
        self._cancelled.clear()
        draft = Draft(context, _seed(context, len(context.history)))
        mended = None
        try:
            reply = f"TITLE: {proposal.title}\nCATEGORY: {proposal.category}\n\n{edits.render(proposal.edits)}"
            extra = estimate(reply + failure.detail[-prompt.FAILURE_CHARS :]) + ERROR_TOKENS
            self.backend.prepare()
            form = reply_forms.mending(context, proposal, self._form, self.backend.parameters_b)
            request = self._request(draft, form, extra)
            draft.failed = {constants.normalised(edits.apply(context.source, proposal.edits)): failure.message}
            request = replace(
                request,
                messages=prompt.after_failure(request.messages, reply, failure, context.brief is not None),
                fresh=request.messages,
                repairs=min(1, request.repairs),
                temperature=REPAIR_TEMPERATURE,
            )
            mended, _ = self._sample(request, draft)
        except EditError:
            pass
        except ProposerError as error:
            if error.reason == "cancelled":
                raise
        self._count(draft, proposed=mended is not None)
        return mended

    def learn(self, history: Sequence[Trial]) -> None:
        self.scorecard.learn(self.name, history)

    def release(self, training_mb: float | None = None) -> bool:
        return self.backend.release(training_mb)

    def close(self) -> None:
        self.backend.close()

    def cancel(self) -> None:
        """End a running `propose` or `repair`, from any thread or a signal handler; it raises `cancelled`."""
        self._cancelled.set()
        self.backend.cancel()

    # --- one draft ---

    def _drafted(self, draft: Draft) -> Proposal:
        """Return a proposal in the best format, else in a simpler one. Raises ProposerError."""
        context = draft.context
        possible = reply_forms.possible(context, draft.menu, self.formats)
        form = reply_forms.first(context, self.card, self.backend.parameters_b, possible)
        try:
            return self._attempt(draft, form, REPAIRS)
        except EditError:
            if draft.unread == draft.answers:  # nothing but filler: some models only answer after thinking
                self.backend.think()
            simpler, repairs = reply_forms.simpler(context, form, draft.menu, self.formats), 0
        except ProposerError as error:
            shortest = reply_forms.shortest(context, form, draft.menu)
            if error.reason not in ("too_long", "truncated") or shortest is None:
                raise
            simpler, repairs = shortest, REPAIRS
        try:
            return self._attempt(draft, simpler, repairs)
        except EditError as error:
            raise ProposerError(_given_up(draft, error), reason="unparseable", detail=draft.reply[:500]) from error

    def _attempt(self, draft: Draft, form: str, repairs: int) -> Proposal:
        """Return a proposal in one format, with shorter prompts while the server refuses them as too long."""
        for tries_left in reversed(range(LONG_TRIES)):
            request = self._request(draft, form)
            try:
                proposal, _ = self._sample(replace(request, repairs=min(repairs, request.repairs)), draft)
                return self._steered(request, proposal, draft)
            except ProposerError as error:
                if error.reason != "too_long" or not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _sample(self, request: Request, draft: Draft) -> tuple[Proposal, Answer]:
        """Ask until a reply can be used, with at most request.repairs more; raise the last EditError."""
        messages, temperature = request.messages, request.temperature
        refused: list[str] = []
        for left in reversed(range(request.repairs + 1)):
            answer = self._ask(request, messages, temperature, draft)
            try:
                return self._proposal(answer, request.form, draft), answer
            except EditError as error:
                if not left:
                    raise
                draft.repairs += 1
                if isinstance(error, NothingNewError):
                    refused.append(str(error))
                    asked = request.fresh or request.messages
                    messages = prompt.after_nothing_new(asked, refused, draft.menu, request.form)
                    temperature = max(request.temperature, NEW_TEMPERATURE)
                else:
                    said, declared = channels.without_thinking(answer.text), draft.context.brief is not None
                    messages = prompt.after_edit_error(request.messages, said, str(error), request.form, declared)
                    temperature = REPAIR_TEMPERATURE
        raise AssertionError("the last answer returns or raises")

    def _steered(self, request: Request, proposal: Proposal, draft: Draft) -> Proposal:
        """Return the proposal. If its category is not the turn's, ask once for one of that category and prefer that."""
        directive = draft.context.directive
        wanted = directive.category if directive else None
        if wanted in (None, proposal.category) or not request.repairs or request.form == "menu":
            return proposal
        draft.steered += 1
        told = proposal.title, proposal.category, str(wanted)
        messages = prompt.after_other_category(request.messages, *told, draft.menu)
        other = proposal
        try:
            answer = self._ask(request, messages, max(request.temperature, NEW_TEMPERATURE), draft)
            other = self._proposal(answer, request.form, draft)
        except EditError:
            pass
        except ProposerError as error:
            if error.reason == "cancelled":
                raise
        return replace(other if other.category == wanted else proposal, usage=draft.usage())

    def _proposal(self, answer: Answer, form: str, draft: Draft) -> Proposal:
        """Turn an answer into a proposal and count it for the form that it has used.

        Raises EditError when it cannot be used; NothingNewError, which is not a fault of the form, names the change.
        """
        before, reply = draft.context.source, self._read(answer, form, draft)
        asked_for = form == "menu" or (form == "function" and reply.form == "blocks")
        counts = self.card.replies(form if asked_for else reply.form)
        counts.asked += 1
        counts.parsed += 1
        try:
            change = edits.settled(before, reply.edits)
            source = gate.changed(draft.context, change)
            if (made := constants.normalised(source)) in draft.failed:
                raise NothingNewError(f"That failed: {draft.failed[made]}. Change it.")
            if made in draft.taken():
                raise NothingNewError("That is already proposed this turn. Propose something else.")
        except NothingNewError as error:
            counts.applied += 1
            raise NothingNewError(f"{reply.change}: {error}") from error
        counts.applied += 1
        category = wording.category_of_change(before, source) or reply.category
        chosen = next((e for e in draft.menu if e.edits == reply.edits and e.why), None) if form == "menu" else None
        title = chosen.title if chosen else wording.title_of_change(before, source) or reply.title
        return Proposal(change, title, reply.hypothesis, category, self.name, draft.usage())

    def _read(self, answer: Answer, form: str, draft: Draft) -> ParsedReply:
        """Return the content of an answer. Raises EditError, and counts it for the form, when there is no edit."""
        try:
            if answer.done_reason == "length":  # an edit that parses may lack its end: `SET LR = 0.0` of 0.05
                cut = f"The answer was cut off after {answer.answer_tokens or 'too many'} tokens. Be shorter."
                raise EditError(cut)
            if form == "menu":
                return choices.read(answer.text, draft.menu, **draft.task)
            text = answer.text
            if form == "function" and (name := functions.target(draft.context)):
                text = functions.addressed(channels.answer(text), name)
            return replies.parse(text, whole_file=form == "file", **draft.task)
        except EditError:
            self.card.replies(form).asked += 1
            draft.unread += 1
            raise

    # --- asking ---

    def _request(self, draft: Draft, form: str, extra: int = 0) -> Request:
        """Build a prompt that leaves room in the backend's context for an answer, and for repairs if they fit."""
        context, scale = draft.context, self._scale.planned
        answer = ANSWER_TOKENS.get(form) or math.ceil(FILE_GROWTH * estimate(context.source, scale))
        sent_back, answer = answer, answer + self.backend.thinking_tokens
        subject = Subject(draft.menu if form == "menu" else (), functions.target(context) or "")
        form = self._form = "blocks" if form == "function" and not subject.target else form
        build = partial(prompt.build, context, form, bytes_per_token=scale, drafted=draft.earlier, subject=subject)
        whole = build(budget=sys.maxsize)
        once, again = answer + extra, sent_back + answer + ERROR_TOKENS + extra
        window = min(self._scale.largest_window, self.backend.window(whole.tokens + again, whole.least + again))
        room, repairs = (again, REPAIRS) if window >= whole.least + again else (once, 0)
        fitted = build(budget=window - room)
        directive = context.directive
        temperature = directive.temperature if directive and directive.temperature is not None else TEMPERATURE
        schema = choices.schema(draft.menu) if form == "menu" else None
        return Request(fitted.messages, form, answer, repairs, temperature, schema)

    def _ask(self, request: Request, messages: tuple[Message, ...], temperature: float, draft: Draft) -> Answer:
        """Return one answer, after as many further attempts as RETRIES allows."""
        failures: dict[str, int] = {}
        while True:
            if self._cancelled.is_set():
                raise ProposerError("the turn was cancelled", reason="cancelled")
            began = time.monotonic()
            seed = (draft.seed + draft.answers) % 2**31
            try:
                answer = self.backend.ask(Question(messages, request.max_tokens, temperature, seed, request.schema))
                break
            except ProposerError as error:
                if isinstance(error, TooLongError):
                    self._scale.refuse(messages, error.prompt_tokens)
                failures[error.reason] = failures.get(error.reason, 0) + 1
                if failures[error.reason] > RETRIES.get(error.reason, 0):
                    raise
                self._cancelled.wait(self.retry_s)
                self.backend.prepare()
            finally:
                draft.seconds += time.monotonic() - began
        draft.answers += 1
        draft.prompt_tokens += answer.prompt_tokens or 0
        draft.answer_tokens += answer.answer_tokens or 0
        draft.reply = answer.text
        self._scale.learn(messages, answer)
        return answer

    # --- the scorecard ---

    def _count(self, draft: Draft, *, proposed: bool) -> None:
        """Add a draft or a repair to the card."""
        card = self.card
        card.proposals += proposed
        card.repairs += draft.repairs
        card.saved += proposed and draft.answers - draft.steered > 1
        card.seconds = round(card.seconds + draft.seconds, 3)
        card.prompt_tokens += draft.prompt_tokens
        card.answer_tokens += draft.answer_tokens
        self.scorecard.save(self.name)


def _given_up(draft: Draft, error: EditError) -> str:
    """Say to a person why a draft is given up: the last error, and how the last answer begins."""
    begins = fields.plain_line(draft.reply, BEGINNING_CHARS)
    told = f'; the last one begins "{begins}"' if begins else ""
    return f"no usable reply in {draft.answers}: {str(error).splitlines()[0].partition('. ')[0].rstrip('.')}{told}"


def _seed(context: Context, index: int) -> int:
    return (context.seed * 1_000_003 + context.turn * 1009 + index * 31) % 2**31
