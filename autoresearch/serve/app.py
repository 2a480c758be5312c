"""Define the routes of the REST interface and of the page, as a FastAPI application.

No route trains, decides or waits for the loop. Nights are read through nights.py, and the only files that are written
are those of the inbox and of a pause.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from autoresearch.errors import UsageError
from autoresearch.jsonable import plain
from autoresearch.record import inbox, pause, results_tsv
from autoresearch.record.night import Experiment
from autoresearch.serve import answers, events, page, reference, views
from autoresearch.serve.answers import refusals
from autoresearch.serve.nights import NightReader
from autoresearch.serve.posts import ID, Posted, UnusableError
from autoresearch.system.invocation import VERSION, command

MOST_STREAMS = 32  # open at once
MOST_N = 10**6  # of an experiment
ABOUT = """\
Read a night of autoresearch and give it hypotheses. The loop tries each of them under the rules of every other idea:
the contract, the sandbox, the keep rule. **No number is taken from a caller**: whatever is true of a change is measured
on this machine.

Send the token of `runs/serve.token` with each request: `Authorization: Bearer TOKEN`. An error is
`{"error": "a sentence"}`; where fields are wrong, `fields` names them.
"""
POSTING = threading.Lock()  # so that callers at one moment cannot exceed inbox.MOST_WAITING together
STATIC = {"live.js": "text/javascript", "live.css": "text/css"}

# The Guard checks the token before a request comes here; this only tells programs of it.
BEARER = HTTPBearer(auto_error=False, description="The token of runs/serve.token.")
NIGHT = refusals(409, 503)  # of whatever reads the night

router = APIRouter(responses=refusals(400, 401, 403), dependencies=[Security(BEARER)])


def written_in(media_type: str) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of an answer that is no JSON."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


def _reader(request: Request) -> NightReader:
    found: NightReader = request.app.state.reader
    return found


def _digits(text: str) -> str:
    """Return a number's digits; pydantic alone would take "1_0" and "+1.0" too."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise PydanticCustomError("digits", "the number of an experiment, such as 7")
    return text


Reader = Annotated[NightReader, Depends(_reader)]
Number = Annotated[int, BeforeValidator(_digits), Path(ge=0, le=MOST_N, description="The experiment's number.")]
Id = Annotated[str, Path(pattern=ID, description="What POST /hypotheses returned.")]


def create(reader: NightReader, stopping: Callable[[], bool] = lambda: False) -> FastAPI:
    """Return the application on the nights of `reader`; streams of events end when `stopping` says so."""
    app = FastAPI(
        title="autoresearch-metal", version=VERSION, description=ABOUT, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.reader, app.state.stopping, app.state.streams, app.state.router = reader, stopping, 0, router
    app.include_router(router)
    answers.install(app)
    return app


# --- hypotheses -------------------------------------------------------------------------------------------------------


@router.post(
    "/hypotheses",
    status_code=202,
    tags=["hypotheses"],
    summary="Queue a hypothesis",
    responses=NIGHT | refusals(413, 415, 422, 429),
)
def post_hypothesis(posted: Posted, reader: Reader) -> dict[str, Any]:
    """Queue a change for the loop, which tries it before its own next idea.

    The answer has the id to ask with. Where no loop runs, the hypothesis stays queued until one does, and the answer
    says so. Whether the edits apply shows when it is its turn: they are edits to the best version of that moment.
    """
    seen = reader.snapshot()
    layout = seen.layout
    try:
        made = posted.made(seen.night.task)
    except UnusableError as error:
        wrong = {"loc": ("body", error.field), "msg": error.problem, "type": "unusable"}
        raise RequestValidationError([wrong]) from None
    with POSTING:
        if len(inbox.waiting(layout)) >= inbox.MOST_WAITING:
            raise HTTPException(
                429, f"{inbox.MOST_WAITING} hypotheses wait already. Post again when the loop has tried some"
            )
        inbox.post(layout, made)
    runs = reader.live() is not None
    if not runs:
        why = f"no loop runs, so it waits until one does. Start it: {command(seen.night.resuming)}"
    elif pause.asked(layout) is not None:
        why = "the loop is paused, so it waits until POST /resume"
    else:
        why = "it is tried after the present run"
    return {"id": made.id, "status": "queued", "why": why, "loop": "running" if runs else "not running"}


@router.get(
    "/hypotheses", tags=["hypotheses"], summary="List the hypotheses from outside", responses=NIGHT | refusals(422)
)
def get_hypotheses(
    reader: Reader,
    limit: Annotated[int, Query(ge=1, le=1000, description="List so many at most, the latest.")] = 200,
) -> list[dict[str, Any]]:
    """List the hypotheses that were posted to this night with their states, as GET /hypotheses/ID has them."""
    return views.hypotheses(reader)[-limit:]


@router.get(
    "/hypotheses/{id}",
    tags=["hypotheses"],
    summary="Ask what became of a hypothesis",
    responses=NIGHT | refusals(404, 422),
)
def get_hypothesis(id: Id, reader: Reader) -> dict[str, Any]:
    """Return its `status` and `why`.

    - `queued`: it waits for the loop.
    - `running`: it is experiment `experiment`.
    - `decided`: `verdict` is keep, discard or crash.
    - `refused`: it made no candidate, e.g. because an edit does not apply, or repeats an experiment.
    """
    found = reader.hypothesis(id)
    if found is None:
        raise HTTPException(404, f"this night has no hypothesis {id}")
    return {**views.hypothesis(found, id), "loop": "running" if reader.live() else "not running"}


# --- the night --------------------------------------------------------------------------------------------------------


@router.get("/experiments", tags=["the night"], summary="List experiments", responses=NIGHT | refusals(422))
def get_experiments(
    reader: Reader,
    after: Annotated[int, Query(ge=-1, le=MOST_N, description="Leave out those up to this number.")] = -1,
    limit: Annotated[int, Query(ge=1, le=1000, description="List so many at most.")] = 200,
) -> list[dict[str, Any]]:
    """List the experiments with their verdicts, figures and runs, the oldest first. Experiment 0 is the baseline."""
    seen = reader.snapshot()
    found = [x for x in seen.night.experiments.values() if x.n > after]
    return [views.summary(seen, x) for x in found[:limit]]


@router.get("/experiments/{n}", tags=["the night"], summary="Show an experiment", responses=NIGHT | refusals(404, 422))
def get_experiment(n: Number, reader: Reader) -> dict[str, Any]:
    """Return an experiment with its edits, its diff against its parent and the ends of its logs."""
    seen = reader.snapshot()
    return views.experiment(seen, _experiment(seen.night.experiments, n))


def _experiment(known: Any, n: int) -> Experiment:
    found: Experiment | None = known.get(n)
    if found is None:
        there = f"it has 0 to {max(known)}" if known else "it has none yet"
        raise HTTPException(404, f"this night has no experiment {n}; {there}")
    return found


@router.get("/best", tags=["the night"], summary="Show the best version", responses=NIGHT | refusals(404))
def get_best(reader: Reader) -> dict[str, Any]:
    """Return the experiment that was kept last with `files`, the source to which edits apply."""
    found = views.best(reader.snapshot())
    if found is None:
        raise HTTPException(404, "no baseline has been measured yet")
    return found


@router.get("/near-misses", tags=["the night"], summary="List what came close", responses=NIGHT)
def get_near_misses(reader: Reader) -> list[dict[str, Any]]:
    """List the experiments since the last keep that were at most one sigma worse, the best first."""
    seen = reader.snapshot()
    return seen.once("near misses", lambda: views.near_misses(seen))


@router.get("/next", tags=["the night"], summary="Ask what to try next", responses=NIGHT)
def get_next(reader: Reader) -> Response:
    """Return what a proposer is told for its next turn.

    `directive` asks for a kind of change, one of `categories`; `best` holds the source to edit, `program` the person's
    brief, `hints` what other machines found, and `tried` every experiment so far: the loop refuses its repeats.
    """
    seen = reader.snapshot()
    found = seen.once("next", lambda: plain(views.following(seen)))
    return JSONResponse(found | {"program": views.program(seen.layout), "waiting": len(inbox.waiting(seen.layout))})


@router.get("/machines", tags=["the night"], summary="List the machines", responses=NIGHT)
def get_machines(reader: Reader) -> list[dict[str, Any]]:
    """List the machines on which this night's runs were made, with their speed and what they do now."""
    return views.machines(reader.snapshot().night, reader.live())


@router.get(
    "/results.tsv",
    tags=["the night"],
    summary="The table of results",
    response_class=Response,
    responses=NIGHT | written_in("text/tab-separated-values"),
)
def get_results(reader: Reader) -> Response:
    """Return the table of this night: commit, value, memory, status, description."""
    seen = reader.snapshot()
    table = seen.once("table", lambda: results_tsv.render(seen.night, b""))
    return Response(table, media_type="text/tab-separated-values; charset=utf-8")


@router.get(
    "/report",
    tags=["the night"],
    summary="The report",
    response_class=Response,
    responses=NIGHT | written_in("text/html"),
)
def get_report(reader: Reader) -> Response:
    """Return the whole report as a page: every kept change with its diff, the noise, the machine's night."""
    return HTMLResponse(page.report(reader.snapshot()))


@router.get(
    "/events",
    tags=["the night"],
    summary="Follow the night",
    response_class=Response,
    responses=refusals(422, 429) | written_in("text/event-stream"),
)
async def get_events(
    request: Request,
    last_event_id: Annotated[str | None, Header(description="Go on behind this event.")] = None,
) -> Response:
    """Send each event of the journal as a server-sent event, and `live` with the state of the present run.

    With `Last-Event-ID` the stream goes on behind that event; without it, it begins now. A comment comes every 15 s
    where nothing happens.
    """
    state = request.app.state
    try:
        since = events.place(last_event_id)
    except UsageError as error:
        wrong = {"loc": ("header", "last-event-id"), "msg": str(error).partition(": ")[2], "type": "place"}
        raise RequestValidationError([wrong]) from None
    if state.streams >= MOST_STREAMS:
        raise HTTPException(429, f"{MOST_STREAMS} streams are open. Close one")

    async def stopping() -> bool:
        return state.stopping() or await request.is_disconnected()

    async def body() -> Any:
        state.streams += 1
        try:
            async for part in events.stream(state.reader, since, stopping):
                yield part
        finally:
            state.streams -= 1

    return StreamingResponse(body(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


# --- the loop ---------------------------------------------------------------------------------------------------------


@router.post("/pause", tags=["the loop"], summary="Pause the loop", responses=refusals(409))
def post_pause(reader: Reader) -> dict[str, Any]:
    """Let the running loop wait after the present run, and free the language model's memory."""
    if reader.live() is None:
        raise HTTPException(409, "no loop runs, so there is nothing to pause")
    layout = reader.layout()
    if pause.asked(layout) is None:
        pause.begin(layout)
    return {"paused": True, "why": "the loop pauses after the present run"}


@router.post("/resume", tags=["the loop"], summary="End a pause", responses=refusals(409))
def post_resume(reader: Reader) -> dict[str, Any]:
    """End a pause."""
    if not pause.end(reader.layout()):
        raise HTTPException(409, "the night is not paused")
    return {"paused": False, "why": "the loop resumes" if reader.live() else "no loop runs"}


# --- the page ---------------------------------------------------------------------------------------------------------


@router.get("/", include_in_schema=False)
def get_page(reader: Reader) -> Response:
    return HTMLResponse(page.render(reader))


@router.get("/night.html", include_in_schema=False)
def get_night(reader: Reader) -> Response:
    return HTMLResponse(page.night(reader))


@router.get("/docs", include_in_schema=False)
def get_docs(request: Request) -> Response:
    return HTMLResponse(reference.render(request.app.openapi(), str(request.base_url).rstrip("/")))


@router.get("/static/{name}", include_in_schema=False)
def get_static(name: str) -> Response:
    if name not in STATIC:
        raise HTTPException(404, f"there is no {name}")
    return Response(File(__file__).with_name(name).read_bytes(), media_type=f"{STATIC[name]}; charset=utf-8")
