"""Build the page that describes the REST interface, from its OpenAPI document. It needs no network and no script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from autoresearch.report.markup import table
from autoresearch.serve import page
from autoresearch.serve.posts import EXAMPLE

OpenApi = Mapping[str, Any]


def render(api: OpenApi, address: str) -> str:
    """Return the page; `address` is the server's, for the examples: "http://127.0.0.1:8765"."""
    groups: dict[str, list[str]] = {}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            told = _operation(method.upper(), path, operation, api, address)
            groups.setdefault(operation["tags"][0], []).append(told)
    about = f"<header><h1>Interface</h1>{prose(api['info']['description'])}"
    about += '<p class="note">For programs: <a href="/openapi.json">openapi.json</a></p></header>'
    sections = [
        f"<section><h2>{escape(tag.capitalize())}</h2>{''.join(told)}</section>" for tag, told in groups.items()
    ]
    return page.document("autoresearch: interface", about + "".join(sections), live=False)


def _operation(method: str, path: str, operation: OpenApi, api: OpenApi, address: str) -> str:
    fields = [*_parameters(operation), *_body(operation, api)]
    rows = table(("field", "type", "meaning"), fields, "ttx") if fields else ""
    return (
        f'<article><h3><code class="method">{method}</code> <code>{escape(path)}</code></h3>'
        f"<p><b>{escape(operation['summary'])}.</b></p>{prose(operation.get('description', ''))}{rows}"
        f'<pre class="commands">{escape(curl(method, path, address))}</pre></article>'
    )


def curl(method: str, path: str, address: str) -> str:
    """Return an example of a call: curl("GET", "/best", "http://127.0.0.1:8765")."""
    url = address + path.replace("{n}", "7").replace("{id}", "ID")
    words = ["curl", "-N" if path == "/events" else "-s", '-H "Authorization: Bearer $TOKEN"']
    if method == "POST" and path != "/hypotheses":
        words.append("-X POST")
    words.append(url)
    if method == "POST" and path == "/hypotheses":
        words.append(f"\\\n  --json '{json.dumps(EXAMPLE)}'")
    return " ".join(words)


def _parameters(operation: OpenApi) -> Iterator[tuple[str, str, str]]:
    for one in operation.get("parameters", ()):
        kind = _kind(one["schema"])
        yield f"<code>{escape(one['name'])}</code>", kind, prose(one.get("description", "") or "")


def _body(operation: OpenApi, api: OpenApi) -> Iterator[tuple[str, str, str]]:
    content = operation.get("requestBody", {}).get("content", {})
    for one in content.values():
        schema = api["components"]["schemas"][one["schema"]["$ref"].rpartition("/")[2]]
        for name, field in schema["properties"].items():
            needed = " <b>*</b>" if name in schema.get("required", ()) else ""
            choices = f" One of {', '.join(field['enum'])}." if "enum" in field else ""
            yield f"<code>{escape(name)}</code>{needed}", _kind(field), prose(field.get("description", "") + choices)


def _kind(schema: OpenApi) -> str:
    """Return a schema's type in a word or two: "string, at most 79"."""
    for part in schema.get("anyOf", ()):
        if part.get("type") != "null":
            return _kind(part)
    limits = [f"at most {schema[key]:,}" for key in ("maxLength", "maximum") if key in schema]
    return ", ".join([escape(str(schema.get("type", ""))), *limits])


def prose(text: str) -> str:
    """Return a docstring as HTML: paragraphs, lists, `code` and **bold**."""
    found = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        if lines and all(line.startswith("- ") for line in lines):
            found.append(page.bulleted([_marked(line[2:]) for line in lines]))
        elif block:
            found.append(f"<p>{_marked(' '.join(lines))}</p>")
    return "".join(found)


def _marked(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
