"""Say what an Ollama server says: descriptions of models, chunks of answers, and refusals of malformed requests.

All of it is compared with recordings of a real server (tests/search/llm/test_ollama_server_recorded.py).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4  # of the chat template
READ_TOK_S, WRITE_TOK_S = 300, 20  # speeds that the durations tell; nothing waits for them
UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
SCALE = {"B": 10**9, "M": 10**6}
THINK = ("high", "medium", "low", "max", True, False, None)
INTEGERS = ("num_ctx", "num_predict", "seed", "top_k")
BUSY = "server busy, please try again.  maximum pending requests exceeded"
RUNNER_KILLED = "an error was encountered while running the model: unexpected EOF"
DIGEST = "2b0496514337a3d5901f1d253d01726c890b721e891335a56d6e08cedf3e2cb0"

Refusal = tuple[int, str]  # status, error


def details(model: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model["architecture"],
        "families": [model["architecture"]],
        "parameter_size": model["parameter_size"],
        "quantization_level": "Q4_K_M",
    }


def tag(model: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model as /api/tags does, which knows fewer capabilities than /api/show."""
    shape = {"context_length": model["context_length"], "embedding_length": 3584}
    listed = {
        "name": model["name"],
        "model": model["name"],
        "modified_at": "2026-08-01T10:00:00.123456789Z",
        "size": model["size"],
        "digest": DIGEST,
        "details": {**details(model), **shape},
    }
    if model["capabilities"] is not None:
        listed["capabilities"] = [name for name in model["capabilities"] if name != "tools"]
    return listed | ({"remote_host": model["remote_host"]} if "remote_host" in model else {})


def process(model: Mapping[str, Any], size: int, expires_at: datetime, context_length: int) -> dict[str, Any]:
    """Describe a loaded model as /api/ps does on a machine without a GPU."""
    return {
        "name": model["name"],
        "model": model["name"],
        "size": size,
        "digest": DIGEST,
        "details": details(model),
        "expires_at": expires_at.isoformat(),
        "size_vram": 0,
        "context_length": context_length,
    }


def show(model: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model as /api/show does; `bare` models lack model_info, as some safetensors do."""
    name = model["architecture"]
    info = {
        "general.architecture": name,
        "general.basename": "Model",
        "general.file_type": 15,
        "general.finetune": "Instruct",
        "general.parameter_count": int(float(model["parameter_size"][:-1]) * SCALE[model["parameter_size"][-1]]),
        "general.quantization_version": 2,
        "general.size_label": "7B",
        "general.type": "model",
        f"{name}.attention.head_count": 28,
        f"{name}.attention.head_count_kv": 4,
        f"{name}.attention.layer_norm_rms_epsilon": 1e-06,
        f"{name}.block_count": 28,
        f"{name}.context_length": model["context_length"],
        f"{name}.embedding_length": 3584,
        f"{name}.feed_forward_length": 18944,
        f"{name}.rope.freq_base": 1000000,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.bos_token_id": 151643,
        "tokenizer.ggml.eos_token_id": 151645,
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.padding_token_id": 151643,
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.token_type": None,
        "tokenizer.ggml.tokens": None,
    }
    return {
        "modelfile": f"FROM {model['name']}\n",
        "template": "{{ .Prompt }}",
        "details": details(model),
        **({} if model.get("bare") else {"model_info": info}),
        "tensors": [{"name": "output.weight", "type": "Q6_K", "shape": [3584, 152064]}],
        **({} if model["capabilities"] is None else {"capabilities": model["capabilities"]}),
        "modified_at": "2026-08-01T10:00:00.123456789Z",
    }


def chunk(model: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model["name"], "created_at": datetime.now(UTC).isoformat()}


def durations(loaded: bool, read: int, written: int) -> dict[str, int]:
    """Return the durations of the last chunk, in nanoseconds, for tokens read anew and written."""
    load, reading = (3_000_000_000 if loaded else 1_500_000), read * 10**9 // READ_TOK_S
    writing = written * 10**9 // WRITE_TOK_S
    return {
        "total_duration": load + reading + writing,
        "load_duration": load,
        "prompt_eval_duration": max(reading, 1_000_000),
        "eval_duration": writing,
    }


# --- requests that are refused ----------------------------------------------------------------------------------------


def parsed(raw: bytes) -> dict[str, Any] | Refusal:
    """Return a request's body, or the refusal of one that is not a JSON object."""
    if not raw:
        return 400, "missing request body"
    try:
        body = json.loads(raw)
    except ValueError:
        return 400, "unexpected EOF"
    return body if isinstance(body, dict) else (400, "json: cannot unmarshal into Go value of type api.ChatRequest")


def malformed(body: Mapping[str, Any]) -> Refusal | None:
    """Return the refusal of a request whose fields have wrong types or values."""
    if isinstance(body.get("messages"), str):
        field = "ChatRequest.messages of type []api.Message"
        return 400, f"json: cannot unmarshal string into Go struct field {field}"
    keep_alive = body.get("keep_alive")
    if isinstance(keep_alive, str) and not re.fullmatch(r"-?(\d+(\.\d+)?(ms|s|m|h))+|0", keep_alive):
        return 400, f'time: invalid duration "{keep_alive}"'
    if body.get("think") not in THINK:
        choice = 'must be "high", "medium", "low", "max", true, or false'
        return 400, f'invalid think value: "{body["think"]}" ({choice})'
    return None if body.get("model") else (400, "model is required")


def wrong_option(body: Mapping[str, Any]) -> Refusal | None:
    """Return the refusal of an option of another type, which is a 500 although nothing has died."""
    options = body.get("options") or {}
    wrong = [name for name in INTEGERS if not isinstance(options.get(name, 0), int | float)]
    return (500, f'option "{wrong[0]}" must be of type integer') if wrong else None


def wrong_format(body: Mapping[str, Any]) -> Refusal | None:
    wanted = body.get("format")
    if isinstance(wanted, str) and wanted not in ("", "json"):
        return 500, f'invalid format: "\\"{wanted}\\""; expected "json" or a valid JSON Schema object'
    known = ("object", "array", "string", "integer", "number", "boolean", "null")
    if isinstance(wanted, dict) and wanted.get("type", "object") not in known:
        failed = "Unable to generate parser for this template. Automatic parser generation failed"
        shown = dumped({"type": wanted["type"]})
        message = f"{failed}: JSON schema conversion failed:\nUnrecognized schema: {shown}"
        return 400, dumped({"error": {"code": 400, "message": message, "type": "invalid_request_error"}})
    return None


def too_long(tokens: int, num_ctx: int) -> Refusal:
    """Refuse a prompt as the model's process does, whose JSON the server passes on inside of its own."""
    message = f"request ({tokens} tokens) exceeds the available context size ({num_ctx} tokens), try increasing it"
    numbers = {"n_prompt_tokens": tokens, "n_ctx": num_ctx}
    error = {"code": 400, "message": message, "type": "exceed_context_size_error", **numbers}
    return 400, dumped({"error": error})


# --- tokens and texts -------------------------------------------------------------------------------------------------


def dumped(content: Any) -> str:
    """Write JSON without blanks, as the server does."""
    return json.dumps(content, separators=(",", ":"))


def written(*texts: str) -> int:
    """Count the tokens of an answer; one at least, since its end is a token."""
    return max(1, sum(map(len, texts)) // BYTES_PER_TOKEN)


def tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(message["content"].encode()) // BYTES_PER_TOKEN + MESSAGE_TOKENS for message in messages)


def shortened(messages: Sequence[dict[str, Any]], num_ctx: int) -> list[dict[str, Any]]:
    """Drop the oldest messages that do not fit, but no system text and not the last one, as `truncate` does."""
    kept = list(messages)
    while tokens(kept) > num_ctx:
        old = next((i for i, message in enumerate(kept[:-1]) if message["role"] != "system"), None)
        if old is None:
            break
        del kept[old]
    return kept


def in_format(reply: str, wanted: Any) -> str:
    """Return the reply as a server writes it under a JSON schema: JSON with its keys in alphabetical order."""
    try:
        found = json.loads(reply)
    except ValueError:
        return reply
    return json.dumps(found, indent=2, sort_keys=True) if isinstance(wanted, dict) else reply


def limited(text: str, thinking: str, room: int) -> tuple[str, str, bool]:
    """Cut thinking and text to `room` tokens, no limit if it is not positive. Thinking comes first and can use them up.

    Return the text, the thinking, and whether anything was cut.
    """
    characters = room * BYTES_PER_TOKEN if room > 0 else sys.maxsize
    thought = thinking[:characters]
    answer = text[: characters - len(thought)]
    return answer, thought, len(thought) + len(answer) < len(thinking) + len(text)


def pieces(text: str, count: int) -> list[str]:
    size = max(1, -(-len(text) // max(1, count)))
    return [text[i : i + size] for i in range(0, len(text), size)]


def seconds(keep_alive: Any) -> float:
    """Return seconds, from a number or from a Go duration: 5 -> 5, "5m" -> 300, "1h30m" -> 5400, 0 -> 0."""
    if isinstance(keep_alive, int | float):
        return float(keep_alive)
    parts = re.findall(r"(-?\d+(?:\.\d+)?)(ms|s|m|h)", str(keep_alive))
    return sum(float(number) * UNIT_S[unit] for number, unit in parts)
