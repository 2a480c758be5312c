"""Propose through a conversation with a language model.

A draft begins with one reply. A reply that cannot be used goes back to the model with the exact error, at most twice.
Then a fresh reply in a simpler format is asked for. If that fails, too, the draft is given up before anything trains.
`Dialogue` runs this protocol over any `Backend`.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autoresearch.candidate import constants, edits
from autoresearch.errors import EditError, ProposerError, RepeatError
from autoresearch.records import Context, Failure, Proposal, Set, Trial, WholeFile
from autoresearch.search import gate
from autoresearch.search.llm import prompt, replies
from autoresearch.search.llm.backend import Answer, Backend, Message, TooLongError
from autoresearch.search.llm.tokens import TokenScale, estimate
from autoresearch.search.scorecard import FORMATS, SIMPLER, Card, Scorecard, choose_format
from autoresearch.search.tuner import wording

REPAIRS = 2  # of one reply
TEMPERATURE, REPAIR_TEMPERATURE = 0.8, 0.2
ANSWER_TOKENS = {"set": 600, "blocks": 2000}  # format -> room for an answer
FILE_GROWTH = 1.1  # room for an answer that is a whole file, relative to the script
ERROR_TOKENS = 700  # room for an error that is sent back
LONG_TRIES = 3  # prompts refused as too long before the draft is given up

# reason -> further attempts at the same request
RETRIES = {"runner": 1, "out_of_memory": 1, "server_busy": 3, "cut_off": 1, "server_gone": 1}
# Reasons after which no further draft of the turn is asked for.
HOPELESS = {
    *("server_gone", "server_busy", "no_model", "unauthorized", "bad_proxy"),
    *("out_of_memory", "runner", "cancelled", "too_large", "timeout"),
}


@dataclass(slots=True)
class Draft:
    """State of one draft: what it is for, its seed, and its costs so far."""

    context: Context
    seed: int
    earlier: Sequence[Proposal] = ()  # the turn's other drafts, which it may not repeat
    answers: int = 0
    repairs: int = 0
    steered: int = 0  # answers that were asked for because the category was not the turn's
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0  # of the model
    began: float = field(default_factory=time.monotonic)
    reply: str = ""  # the latest

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
        """Ask the model once to mend a proposal that failed before training. Its reply is repaired at most once."""
        self._cancelled.clear()
        draft = Draft(context, _seed(context, len(context.history)))
        kinds = {type(edit) for edit in proposal.edits}
        form = "file" if WholeFile in kinds else "set" if kinds == {Set} else "blocks"
        mended = None
        try:
            reply = f"TITLE: {proposal.title}\nCATEGORY: {proposal.category}\n\n{edits.render(proposal.edits)}"
            extra = estimate(reply + failure.detail[-prompt.FAILURE_CHARS :]) + ERROR_TOKENS
            self.backend.prepare()
            request = self._request(draft, form, extra)
            messages = prompt.after_failure(request.messages, reply, failure)
            request = replace(
                request, messages=messages, repairs=min(1, request.repairs), temperature=REPAIR_TEMPERATURE
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
        form = choose_format(self.card, self.backend.parameters_b, self.formats)
        try:
            return self._attempt(draft, form, REPAIRS)
        except EditError:
            simpler, repairs = (SIMPLER[form] if SIMPLER[form] in self.formats else form), 0
        except ProposerError as error:
            if error.reason not in ("too_long", "truncated") or form == "set":
                raise
            simpler, repairs = "set", REPAIRS  # the constants take less room than the script
        try:
            return self._attempt(draft, simpler, repairs)
        except EditError as error:
            raise ProposerError(
                f"no usable reply in {draft.answers}: {str(error).splitlines()[0]}",
                reason="unparseable",
                detail=draft.reply[:500],
            ) from error

    def _attempt(self, draft: Draft, form: str, repairs: int) -> Proposal:
        """Return a proposal in one format, with shorter prompts while the server refuses them as too long."""
        for tries_left in reversed(range(LONG_TRIES)):
            request = self._request(draft, form)
            try:
                proposal, answer = self._sample(replace(request, repairs=min(repairs, request.repairs)), draft)
                return self._steered(request, proposal, answer, draft)
            except ProposerError as error:
                if error.reason != "too_long" or not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _sample(self, request: Request, draft: Draft) -> tuple[Proposal, Answer]:
        """Ask for a reply and repair it. Return the proposal and its answer; raise the last EditError."""
        answer = self._ask(request, request.messages, request.temperature, draft)
        for _ in range(request.repairs):
            try:
                return self._proposal(answer, request.form, draft), answer
            except EditError as error:
                draft.repairs += 1
                messages = prompt.after_edit_error(request.messages, answer.text, str(error))
                answer = self._ask(request, messages, REPAIR_TEMPERATURE, draft)
        return self._proposal(answer, request.form, draft), answer

    def _steered(self, request: Request, proposal: Proposal, answer: Answer, draft: Draft) -> Proposal:
        """Return the proposal. If its category is not the turn's, ask once for one of that category and prefer that."""
        directive = draft.context.directive
        wanted = directive.category if directive else None
        if wanted in (None, proposal.category) or not request.repairs:
            return proposal
        draft.steered += 1
        messages = prompt.after_other_category(request.messages, answer.text, proposal.category, str(wanted))
        try:
            answer = self._ask(request, messages, request.temperature, draft)
            other = self._proposal(answer, request.form, draft)
        except EditError:
            other = proposal
        except ProposerError as error:
            if error.reason == "cancelled":
                raise
            other = proposal
        return replace(other if other.category == wanted else proposal, usage=draft.usage())

    def _proposal(self, answer: Answer, form: str, draft: Draft) -> Proposal:
        """Turn an answer into a proposal and count it on the card. Raises EditError when it cannot be used."""
        counts = self.card.replies(form)
        counts.asked += 1
        if answer.done_reason == "length":  # an edit that parses may lack its end: `SET LR = 0.0` of 0.05
            raise EditError(f"The answer was cut off after {answer.answer_tokens or 'too many'} tokens. Be shorter.")
        reply = replies.parse(answer.text, whole_file=form == "file")
        counts.parsed += 1
        try:
            source = gate.changed(draft.context, reply.edits)
        except RepeatError:
            counts.applied += 1
            raise
        counts.applied += 1
        if constants.normalised(source) in draft.taken():
            raise EditError("That is already proposed this turn. Propose something else.")
        category = wording.category_of_change(draft.context.source, source) or reply.category
        return Proposal(reply.edits, reply.title, reply.hypothesis, category, self.name, draft.usage())

    # --- asking ---

    def _request(self, draft: Draft, form: str, extra: int = 0) -> Request:
        """Build a prompt that leaves room in the backend's context for an answer, and for repairs if they fit."""
        context, scale = draft.context, self._scale.planned
        answer = ANSWER_TOKENS.get(form) or math.ceil(FILE_GROWTH * estimate(context.source, scale))
        answer += self.backend.thinking_tokens
        whole = prompt.build(context, form, budget=sys.maxsize, bytes_per_token=scale, drafted=draft.earlier)
        once, again = answer + extra, 2 * answer + ERROR_TOKENS + extra
        window = min(self._scale.largest_window, self.backend.window(whole.tokens + again, whole.least + once))
        room, repairs = (again, REPAIRS) if window >= whole.least + again else (once, 0)
        fitted = prompt.build(context, form, budget=window - room, bytes_per_token=scale, drafted=draft.earlier)
        directive = context.directive
        temperature = directive.temperature if directive and directive.temperature is not None else TEMPERATURE
        return Request(fitted.messages, form, answer, repairs, temperature)

    def _ask(self, request: Request, messages: tuple[Message, ...], temperature: float, draft: Draft) -> Answer:
        """Return one answer, after as many further attempts as RETRIES allows."""
        failures: dict[str, int] = {}
        while True:
            if self._cancelled.is_set():
                raise ProposerError("the turn was cancelled", reason="cancelled")
            began = time.monotonic()
            seed = (draft.seed + draft.answers) % 2**31
            try:
                answer = self.backend.ask(messages, max_tokens=request.max_tokens, temperature=temperature, seed=seed)
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


def _seed(context: Context, index: int) -> int:
    return (context.seed * 1_000_003 + context.turn * 1009 + index * 31) % 2**31
