"""Say in words what was wrong with a request: to programs in JSON, to a person's browser as a page.

The models are those that /openapi.json describes for each status.
"""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from autoresearch.errors import AutoresearchError, UsageError
from autoresearch.serve import access
from autoresearch.serve.nights import NoNightError
from autoresearch.serve.posts import problems

MEANINGS = {
    400: "The body is not JSON, or a header is of no use here.",
    401: "The token is missing or is not this server's.",
    403: "The request names another host, or a page of another site makes it.",
    404: "There is none of this number or id.",
    409: "No night has begun, or its state does not allow it.",
    413: f"The body is longer than {access.MOST_BYTES:,} bytes.",
    415: "The body is not sent as JSON.",
    422: "Fields are wrong; each is named.",
    429: "Too many wait or are open.",
    503: "The night's journal is damaged.",
}


class ErrorAnswer(BaseModel):
    """What was wrong with a request, in a sentence."""

    error: str


class WrongField(BaseModel):
    """A field of a request, and what is wrong with it."""

    field: str
    problem: str


class WrongFields(ErrorAnswer):
    """What was wrong with a request, by its fields."""

    fields: list[WrongField]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the statuses as FastAPI documents them."""
    models = {422: WrongFields}
    return {status: {"model": models.get(status, ErrorAnswer), "description": MEANINGS[status]} for status in statuses}


def install(app: FastAPI) -> None:
    """Let the application answer its errors with the functions below."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(AutoresearchError, _failed)
    app.add_exception_handler(OSError, _of_the_disk)
    app.add_exception_handler(Exception, _unexpected)


def _answer(request: Request, status: int, why: str, headers: Any = None, **more: Any) -> Response:
    """Return a page for a browser that opens an address, and for everything else JSON, with what is told of `more`."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": why, **more}, status, headers=headers)
    return HTMLResponse(access.PAGE.format(why=escape(why[:1].upper() + why[1:])), status, headers=headers)


async def _invalid(request: Request, error: Any) -> Response:
    """Answer a request whose parts are wrong: 422, with a line for each field."""
    fields = problems(error.errors())
    text = "; ".join(f"{one['field']}: {one['problem']}" for one in fields)
    return _answer(request, 422, text, fields=fields)


async def _refused(request: Request, error: Any) -> Response:
    """Answer what a route refuses, an unknown address and a method that an address does not take."""
    why, headers = error.detail, dict(error.headers or {})
    if why == "Not Found":
        why = "there is no such address; /docs lists them"
    elif why == "Method Not Allowed":
        why, headers["Allow"] = f"{request.method} is not for this address", _allowed(request)
    return _answer(request, error.status_code, why, headers)


def _allowed(request: Request) -> str:
    """Return the methods of an address; Starlette names only those of its first route."""
    routes, path = request.app.state.router.routes, request.scope["path"]
    found = set[str]().union(*(route.methods for route in routes if route.path_regex.match(path)))
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found and path != access.STREAM else found))


async def _failed(request: Request, error: Any) -> Response:
    """Answer where a night cannot be read: 409 where there is none, 400 for a bad request, 503 for a damaged night."""
    status = 409 if isinstance(error, NoNightError) else 400 if isinstance(error, UsageError) else 503
    return _answer(request, status, str(error))


async def _of_the_disk(request: Request, error: Any) -> Response:
    """Answer 503 where a file cannot be read or written, e.g. on a full disk."""
    return _answer(request, 503, f"{error.filename or 'a file of the night'}: {error.strerror or error}")


async def _unexpected(request: Request, error: Any) -> Response:
    """Answer 500 for an unexpected exception; uvicorn logs the traceback."""
    return _answer(request, 500, f"an error of the server, please report it: {type(error).__name__}")
