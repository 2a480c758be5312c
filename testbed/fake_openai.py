"""Answer in OpenAI's form, by server-sent events or at once, for the fake server of fake_ollama.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from testbed import fake_ollama_wire as wire

ScriptStep = dict[str, Any]
FACTS = {"id": "chatcmpl-1", "created": 1_795_763_213, "system_fingerprint": "fp_ollama"}


class OpenAIRoutes:
    """Routes under /v1 for fake_ollama_http.Handler, which has the methods declared here."""

    fake: Any
    started: Callable[[ScriptStep, str], bool]
    ended_early: Callable[[ScriptStep], bool]
    send_json: Callable[..., None]
    write: Callable[[bytes], None]
    event: Callable[[Any], None]
    end: Callable[[], None]

    def v1_models(self) -> None:
        listed = [self._listed(name) for name in self.fake.models]
        self.send_json(200, {"object": "list", "data": listed}, "application/json")

    def _listed(self, name: str) -> dict[str, Any]:
        """Describe a model as llama-server does if there is a context_limit, else as Ollama does."""
        if limit := self.fake.context_limit:
            return {"id": name, "meta": {"n_ctx": limit, "n_params": 134_515_008}}
        return {"id": name, "object": "model", "created": FACTS["created"], "owned_by": "library"}

    def completions(self, body: dict[str, Any]) -> None:
        """Answer a chat, for any model unless the fake has `own_names_only`."""
        if refused := self._refusal(body):
            status, message = refused
            kind = "not_found_error" if status == 404 else "invalid_request_error"
            error = {"message": message, "type": kind, "param": None, "code": None}
            self.send_json(status, {"error": error}, "application/json")
            return
        step = self.fake.next_step(body)
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        reply = wire.in_format(step.get("reply", ""), schema)
        text, thought, cut = wire.limited(reply, step.get("thinking", ""), body.get("max_tokens", -1))
        read, written = wire.tokens(body["messages"]), wire.written(text, thought)
        read = step.get("prompt_eval_count", read)
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        reason = step.get("done_reason", "length" if cut else "stop")
        if body.get("stream"):
            if self.started(step, "text/event-stream"):
                self._stream(body, step, (thought, text), reason, usage)
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        answer = {**FACTS, "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
        self.send_json(200, answer, "application/json")

    def _refusal(self, body: dict[str, Any]) -> wire.Refusal | None:
        """Load the model as Ollama does, or refuse the request."""
        if not self.fake.own_names_only:
            return None
        model = self.fake.models.get(body["model"])
        if model is None:
            return 404, f"model '{body['model']}' not found"
        if body.get("reasoning_effort") and "thinking" not in model["capabilities"]:
            return 400, f'"{body["model"]}" does not support thinking'
        self.fake.ensure_loaded(model, {})
        tokens, limit = wire.tokens(body["messages"]), self.fake.default_num_ctx
        return wire.too_long(tokens, limit) if tokens > limit else None

    def _stream(
        self, body: dict[str, Any], step: ScriptStep, texts: tuple[str, str], reason: str, usage: dict[str, int]
    ) -> None:
        """Send the chunks of an answer that has begun."""
        thought, text = texts
        head = {**FACTS, "object": "chat.completion.chunk", "model": body["model"]}
        deltas = [{"role": "assistant", "reasoning_content": part} for part in wire.pieces(thought, 2)]
        deltas += [{"role": "assistant", "content": part} for part in wire.pieces(text, step.get("chunks", 4))]
        for number, delta in enumerate(deltas):
            if step.get("error_after") == number:
                self.event({"error": {"message": step.get("error", "failed"), "code": 500}})
                self.end()
                return
            self.event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            time.sleep(step.get("pause_s", 0.0))
        if self.ended_early(step):
            return
        self.event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if body.get("stream_options", {}).get("include_usage"):
            self.event({**head, "choices": [], "usage": usage})
        self.write(b"data: [DONE]\n\n")
        self.end()
