"""Errors of model servers, and the ways to them."""

from __future__ import annotations

import pytest

from autoresearch.errors import ProposerError
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
