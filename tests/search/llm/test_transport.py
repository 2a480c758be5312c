"""Errors of model servers, and the ways to them."""

from __future__ import annotations

import json

import pytest

from autoresearch.errors import ProposerError
from autoresearch.search.llm.backend import TooLongError
from autoresearch.search.llm.transport import error_of, streamed_object


@pytest.mark.parametrize(
    ("message", "status", "expected"),
    [
        ("model 'x' not found", 404, "no_model"),
        ('"m" does not support thinking', 400, "no_thinking"),
        ("the prompt is too long: 9000 tokens", 400, "too_long"),
        ("This model's maximum context length is 4096 tokens", 400, "too_long"),
        ("the request exceeds the available context size", 400, "too_long"),
        ("ggml_metal: error: failed to allocate buffer", 500, "out_of_memory"),
        ("", 500, "runner"),
        ("llama runner process has terminated", 500, "runner"),
        ('option "num_ctx" must be of type integer', 500, "bad_request"),
        ('invalid format: "xml"; expected "json" or a valid JSON Schema object', 500, "bad_request"),
        ("failed to load model vocabulary required for format", 500, "bad_request"),
        ("failed to initialize samplers: failed to parse grammar", 500, "bad_request"),
        ("response_format is not implemented", 501, "bad_request"),
        ('{"error":"server busy"}{"error":"server busy"}', 503, "server_busy"),
    ],
)
def test_error_texts(message: str, status: int, expected: str) -> None:
    assert error_of(message, status).reason == expected


def test_a_streamed_line_is_an_object_or_an_error() -> None:
    assert streamed_object('{"done": true}') == {"done": True}
    for line in ('{"error": "out of memory"}', '{"error": {"message": "out of memory", "code": 500}}'):
        with pytest.raises(ProposerError, match="says: out of memory") as caught:
            streamed_object(line)
        assert caught.value.reason == "out_of_memory"
    for line, why in (("{", "not JSON"), ("[]", "not an object")):
        with pytest.raises(ProposerError, match=why) as caught:
            streamed_object(line)
        assert caught.value.reason == "cut_off"


def test_a_prompt_that_is_too_long_is_counted_by_the_error() -> None:
    """The model's process answers in JSON, which the server puts as a text into its own."""
    inner = json.dumps({"error": {"message": "request (4030 tokens) exceeds the available context size (2048 tokens)"}})
    error = error_of(inner, 400)
    assert isinstance(error, TooLongError) and error.prompt_tokens == 4030
    assert str(error) == (
        "the model server says: request (4030 tokens) exceeds the available context size (2048 tokens) (HTTP 400)"
    )
    without = error_of("the prompt is too long", 400)
    assert isinstance(without, TooLongError) and without.prompt_tokens is None


@pytest.mark.parametrize("text", ["[" * 100_000, '{"error":' * 100_000])
def test_nested_brackets_are_no_answer(text: str) -> None:
    with pytest.raises(ProposerError):
        streamed_object(text)
    assert error_of(text).reason == "runner"
