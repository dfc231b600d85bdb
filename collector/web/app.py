"""The collector's whole front as one ASGI application: agents' requests go straight to the ingest, everything else
through the guard to pages, API and metrics."""

from collections.abc import Iterable
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read.exposition import CONTENT_TYPE, Metrics
from watchkeeper.collector.read.self_metrics import release
from watchkeeper.collector.web import api, forms, pages
from watchkeeper.collector.web.edge.auth import NOBODY, ComeAgain, Nobody, is_open, may_read, visitor
from watchkeeper.collector.web.edge.guard import Guard
from watchkeeper.collector.web.events import Ticker
from watchkeeper.collector.web.page import Here, PageContext
from watchkeeper.model.errors import Conflict, NotAllowed, StoreError, WatchkeeperError

_AGENTS = ("/v1/push", "/v1/bundle")
_STATUSES: tuple[tuple[type[WatchkeeperError], int], ...] = (
    (Nobody, 401), (NotAllowed, 403), (NotFound, 404), (Conflict, 409), (StoreError, 503),
)  # fmt: skip


class Front:
    """The application. `close` ends what would go on for ever (pages that wait for events), before a server stops."""

    def __init__(self, web: FastAPI, guarded: ASGIApp, ingest: AgentEndpoint) -> None:
        self.web = web
        self._guarded = guarded
        self._ingest = ingest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] in _AGENTS:
            await self._ingest(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    def close(self) -> None:
        """Let open event streams end within a second."""
        self.web.state.closing = True


def build_app(
    runtime: Runtime, ingest: AgentEndpoint, metrics: Metrics, hosts: Iterable[str], *, open_reading: bool = True
) -> Front:
    """Put it together. `hosts` are the names we may be asked under, besides the loopback's; without `open_reading` even
    reading needs a person's token."""
    web = FastAPI(
        title="Watchkeeper", version=release() or "0", docs_url=None, redoc_url=None, openapi_url=None,
        description=api.__doc__ or "",
    )  # fmt: skip
    web.state.runtime, web.state.open_reading, web.state.closing = runtime, open_reading, False
    web.state.metrics, web.state.ticker = metrics, Ticker(runtime)
    web.include_router(api.router)
    web.include_router(pages.router)
    web.include_router(forms.router)
    web.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    _add_plain(web)
    for error in (WatchkeeperError, ComeAgain, RequestValidationError, HTTPException):
        web.add_exception_handler(error, _sorry)
    return Front(web, Guard(web, hosts), ingest)


def _add_plain(web: FastAPI) -> None:
    """What is neither page nor API."""
    reading = [Depends(may_read)]
    for path, what in (("/metrics", _metrics), ("/events", _events), ("/openapi.json", _openapi), ("/docs", _docs)):
        web.add_api_route(path, what, include_in_schema=False, dependencies=reading, response_model=None)
    web.add_api_route("/healthz", _healthz, include_in_schema=False)


def _metrics(request: Request) -> Response:
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.render(), media_type=CONTENT_TYPE)


async def _events(request: Request) -> Response:
    state = request.app.state
    return StreamingResponse(state.ticker.stream(lambda: bool(state.closing)), media_type="text/event-stream")


def _openapi(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


def _docs(here: Here) -> Response:
    return here.show("docs.html", paths=here.request.app.openapi()["paths"])


def _healthz() -> Response:
    return PlainTextResponse("alive\n")


def _sorry(request: Request, error: Exception) -> Response:
    """Say what went wrong: to a program as JSON, to a person as a page in their language."""
    runtime: Runtime = request.app.state.runtime
    who = NOBODY if isinstance(error, StoreError) else visitor(request, runtime)
    if request.method == "POST" and not who.person and _told(error)[0] in (400, 422):
        error = Nobody("nobody we know; whatever it is that was sent")
    status, sentence = _told(error)
    if isinstance(error, StoreError) and not is_open(request):
        sentence = "the collector's log says why"
    headers = {"www-authenticate": "Bearer"} if isinstance(error, Nobody) else {}
    if request.url.path.startswith("/api/") or request.url.path in ("/metrics", "/events", "/openapi.json"):
        return JSONResponse({"error": sentence}, status, headers)
    template = "again.html" if isinstance(error, ComeAgain) else "error.html"
    response = PageContext(request, runtime, who).show(template, status, status=status, sentence=sentence)
    response.headers.update(headers)
    return response


def _told(error: Exception) -> tuple[int, str]:
    if isinstance(error, RequestValidationError):
        said = (f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}" for one in error.errors())
        return 422, "; ".join(said)
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    if isinstance(error, WatchkeeperError):
        return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500), str(error)
    return 200, ""
