"""The protocol with a language model: ask, read the edits, send errors back, fall back to a simpler format, give up.

One turn: a reply; where it cannot be used, the reply and the exact error go back at most twice; then one fresh sample
in the next simpler format; then the turn is given up with its reason, at no training cost. What answers is a `Backend`.
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
from autoresearch.search.llm.backend import Answer, Backend, Message
from autoresearch.search.llm.tokens import TokenScale, estimate
from autoresearch.search.scorecard import FORMATS, SIMPLER, Card, Scorecard, choose_format
from autoresearch.search.tuner import wording

REPAIRS = 2
TEMPERATURE, REPAIR_TEMPERATURE = 0.8, 0.2
ANSWER_TOKENS = {"set": 600, "blocks": 2000}
FILE_GROWTH = 1.1  # a whole file may be so much longer than the script
ERROR_TOKENS = 700  # an error sent back, at most
LONG_TRIES = 3  # prompts that the server finds too long before the turn is given up

# What another attempt may mend: reason -> how many times.
RETRIES = {"runner": 1, "out_of_memory": 1, "server_busy": 3, "cut_off": 1, "server_gone": 1}
# What ends the drafting: no further draft of this turn can do better.
HOPELESS = {"server_gone", "server_busy", "no_model", "out_of_memory", "runner", "cancelled", "too_large", "timeout"}


@dataclass(slots=True)
class Turn:
    """What one draft has cost, its way through seeds, and what it may not repeat."""

    seed: int
    taken: Sequence[str] = ()  # the programs of this turn's other drafts, as constants.normalised
    answers: int = 0
    repairs: int = 0
    steered: int = 0  # answers asked for since one was of another category than the turn's
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0  # of the model
    began: float = field(default_factory=time.monotonic)
    reply: str = ""  # the last one

    def usage(self) -> dict[str, float]:
        """As Proposal.usage: `seconds` are the model's, `harness_s` ours."""
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
    """The messages of one sample with what its answers may take."""

    messages: tuple[Message, ...]
    form: str
    max_tokens: int
    repairs: int
    temperature: float


class Dialogue:
    """records.Proposer over a Backend."""

    def __init__(
        self,
        backend: Backend,
        scorecard: Scorecard,
        *,
        formats: Sequence[str] = FORMATS,
        retry_s: float = 5.0,
    ) -> None:
        self.backend, self.scorecard, self.formats = backend, scorecard, tuple(formats)
        self.retry_s = retry_s  # before another attempt at a server in trouble
        self._scale = TokenScale(self.card)
        self._cancelled = threading.Event()

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def card(self) -> Card:
        return self.scorecard.card(self.name)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """At most n different ideas for the incumbent, asked for in one load of the model.

        Raises ProposerError where there is none: its `reason` is the server's (transport.py), or `unparseable` where no
        reply could be used, with what the turn cost in `usage` and the last reply's beginning in `detail`.
        """
        self._cancelled.clear()
        self.learn(context.history)
        self.backend.prepare()
        drafts: list[Proposal] = []
        failure: ProposerError | None = None
        for index in range(n):
            taken = [constants.normalised(gate.changed(context, draft.edits)) for draft in drafts]
            turn = Turn(_seed(context, index), taken)
            try:
                drafts.append(self._draft(context, drafts, turn))
                failure = None
            except ProposerError as error:
                failure = error
                failure.usage = turn.usage()
            self.card.turns += 1
            self._count(turn, proposed=failure is None)
            if failure is not None and failure.reason in HOPELESS:
                break
        if not drafts and failure is not None:
            raise failure
        return drafts

    def repair(self, context: Context, proposal: Proposal, failure: Failure) -> Proposal | None:
        """The proposal mended after a failure that cost no training: asked for once, its reply mended once at most."""
        self._cancelled.clear()
        turn = Turn(_seed(context, len(context.history)))
        kinds = {type(edit) for edit in proposal.edits}
        form = "file" if WholeFile in kinds else "set" if kinds == {Set} else "blocks"
        mended = None
        try:
            reply = f"TITLE: {proposal.title}\nCATEGORY: {proposal.category}\n\n{edits.render(proposal.edits)}"
            extra = estimate(reply + failure.detail[-prompt.FAILURE_CHARS :]) + ERROR_TOKENS
            self.backend.prepare()
            request = self._request(context, form, (), extra)
            messages = prompt.after_failure(request.messages, reply, failure)
            request = replace(
                request, messages=messages, repairs=min(1, request.repairs), temperature=REPAIR_TEMPERATURE
            )
            mended, _ = self._sample(context, request, turn)
        except (EditError, ProposerError) as error:
            if isinstance(error, ProposerError) and error.reason == "cancelled":
                raise
        self._count(turn, proposed=mended is not None)
        return mended

    def learn(self, history: Sequence[Trial]) -> None:
        self.scorecard.learn(self.name, history)

    def release(self) -> None:
        self.backend.release()

    def close(self) -> None:
        self.backend.close()

    def cancel(self) -> None:
        """Ends a running `propose` or `repair`, from any thread or a signal handler; it raises `cancelled`."""
        self._cancelled.set()
        self.backend.cancel()

    # --- one draft ---

    def _draft(self, context: Context, drafted: Sequence[Proposal], turn: Turn) -> Proposal:
        form = choose_format(self.card, self.backend.parameters_b, self.formats)
        try:
            return self._attempt(context, form, drafted, turn, REPAIRS)
        except EditError:
            simpler, repairs = (SIMPLER[form] if SIMPLER[form] in self.formats else form), 0
        except ProposerError as error:
            if error.reason not in ("too_long", "truncated") or form == "set":
                raise
            simpler, repairs = "set", REPAIRS  # the constants fit where the script does not
        try:
            return self._attempt(context, simpler, drafted, turn, repairs)
        except EditError as error:
            raise ProposerError(
                f"no usable reply in {turn.answers}: {str(error).splitlines()[0]}",
                reason="unparseable",
                detail=turn.reply[:500],
            ) from error

    def _attempt(self, context: Context, form: str, drafted: Sequence[Proposal], turn: Turn, repairs: int) -> Proposal:
        """A sample; where the server finds the prompt too long, with a shorter one."""
        for tries_left in reversed(range(LONG_TRIES)):
            request = self._request(context, form, drafted)
            try:
                proposal, answer = self._sample(context, replace(request, repairs=min(repairs, request.repairs)), turn)
                return self._steered(context, request, proposal, answer, turn)
            except ProposerError as error:
                if error.reason != "too_long" or not tries_left:
                    raise
                self._scale.squeeze()
        raise AssertionError("the last try returns or raises")

    def _sample(self, context: Context, request: Request, turn: Turn) -> tuple[Proposal, Answer]:
        """A reply and its repairs: what can be used, and the answer that says it. Raises the last EditError."""
        answer = self._ask(request, request.messages, request.temperature, turn)
        for _ in range(request.repairs):
            try:
                return self._proposal(context, answer, request.form, turn), answer
            except EditError as error:
                turn.repairs += 1
                messages = prompt.after_edit_error(request.messages, answer.text, str(error))
                answer = self._ask(request, messages, REPAIR_TEMPERATURE, turn)
        return self._proposal(context, answer, request.form, turn), answer

    def _steered(self, context: Context, request: Request, proposal: Proposal, answer: Answer, turn: Turn) -> Proposal:
        """The proposal; where the turn is for another category, what the model makes of being told so, once."""
        wanted = context.directive.category if context.directive else None
        if wanted in (None, proposal.category) or not request.repairs:
            return proposal
        turn.steered += 1
        messages = prompt.after_other_category(request.messages, answer.text, proposal.category, str(wanted))
        try:
            answer = self._ask(request, messages, request.temperature, turn)
            other = self._proposal(context, answer, request.form, turn)
        except (EditError, ProposerError) as error:
            if isinstance(error, ProposerError) and error.reason == "cancelled":
                raise
            other = proposal
        return replace(other if other.category == wanted else proposal, usage=turn.usage())

    def _proposal(self, context: Context, answer: Answer, form: str, turn: Turn) -> Proposal:
        """What a reply proposes; raises EditError where it cannot be used. The scorecard hears of every reply."""
        counts = self.card.replies(form)
        counts.asked += 1
        if answer.done_reason == "length":  # even what parses may lack its end: `SET LR = 0.0` of 0.05
            raise EditError(f"The answer was cut off after {answer.answer_tokens or 'too many'} tokens. Be shorter.")
        reply = replies.parse(answer.text, whole_file=form == "file")
        counts.parsed += 1
        try:
            source = gate.changed(context, reply.edits)
        except RepeatError:
            counts.applied += 1
            raise
        counts.applied += 1
        if constants.normalised(source) in turn.taken:
            raise EditError("That is already proposed this turn. Propose something else.")
        category = wording.category(context.source, source) or reply.category
        return Proposal(reply.edits, reply.title, reply.hypothesis, category, self.name, turn.usage())

    # --- asking ---

    def _request(self, context: Context, form: str, drafted: Sequence[Proposal], extra: int = 0) -> Request:
        """The prompt within the context that the backend gives, with room for an answer and, if there is, repairs."""
        scale = self._scale.planned
        answer = ANSWER_TOKENS.get(form) or math.ceil(FILE_GROWTH * estimate(context.source, scale))
        answer += self.backend.thinking_tokens
        whole = prompt.build(context, form, budget=sys.maxsize, bytes_per_token=scale, drafted=drafted)
        once, again = answer + extra, 2 * answer + ERROR_TOKENS + extra
        window = min(self._scale.largest_window, self.backend.window(whole.tokens + again, whole.least + once))
        room, repairs = (again, REPAIRS) if window >= whole.least + again else (once, 0)
        fitted = prompt.build(context, form, budget=window - room, bytes_per_token=scale, drafted=drafted)
        directive = context.directive
        temperature = directive.temperature if directive and directive.temperature is not None else TEMPERATURE
        return Request(fitted.messages, form, answer, repairs, temperature)

    def _ask(self, request: Request, messages: tuple[Message, ...], temperature: float, turn: Turn) -> Answer:
        """One answer, with the further attempts that RETRIES allows."""
        failures: dict[str, int] = {}
        while True:
            if self._cancelled.is_set():
                raise ProposerError("the turn was cancelled", reason="cancelled")
            began = time.monotonic()
            seed = (turn.seed + turn.answers) % 2**31
            try:
                answer = self.backend.ask(messages, max_tokens=request.max_tokens, temperature=temperature, seed=seed)
                break
            except ProposerError as error:
                failures[error.reason] = failures.get(error.reason, 0) + 1
                if failures[error.reason] > RETRIES.get(error.reason, 0):
                    raise
                self._cancelled.wait(self.retry_s)
                self.backend.prepare()
            finally:
                turn.seconds += time.monotonic() - began
        turn.answers += 1
        turn.prompt_tokens += answer.prompt_tokens or 0
        turn.answer_tokens += answer.answer_tokens or 0
        turn.reply = answer.text
        self._scale.learn(messages, answer)
        return answer

    # --- the scorecard ---

    def _count(self, turn: Turn, *, proposed: bool) -> None:
        card = self.card
        card.proposals += proposed
        card.repairs += turn.repairs
        card.saved += proposed and turn.answers - turn.steered > 1
        card.seconds = round(card.seconds + turn.seconds, 3)
        card.prompt_tokens += turn.prompt_tokens
        card.answer_tokens += turn.answer_tokens
        self.scorecard.save(self.name)


def _seed(context: Context, index: int) -> int:
    return (context.seed * 1_000_003 + context.turn * 1009 + index * 31) % 2**31
