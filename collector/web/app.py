"""The collector's ASGI application: requests of agents go directly to the ingest, `/healthz` and `/readyz` are answered at once,
all others go through the guard to pages, API and metrics."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.notify.i18n import marked
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read.exposition import CONTENT_TYPE, Metrics
from watchkeeper.collector.read.self_metrics import installed_version
from watchkeeper.collector.web import api, forms, pages
from watchkeeper.collector.web.edge import callback
from watchkeeper.collector.web.edge.auth import (
    ANONYMOUS,
    AuthenticationRequired,
    ReloadRequired,
    identify,
    is_open,
    may_read,
)
from watchkeeper.collector.web.edge.guard import LINK_PREFIX, Guard
from watchkeeper.collector.web.edge.link import LinkEnded, may_read_by_link
from watchkeeper.collector.web.edge.liveness import HEALTHZ, READYZ, Liveness
from watchkeeper.collector.web.events import ChangeFeed
from watchkeeper.collector.web.page import CurrentPage, PageContext
from watchkeeper.model.errors import Conflict, NotAllowed, StoreError, WatchkeeperError

_AGENT_PATHS = ("/v1/push", "/v1/bundle")
_STATUSES: tuple[tuple[type[WatchkeeperError], int], ...] = (
    (AuthenticationRequired, 401), (NotAllowed, 403), (NotFound, 404), (Conflict, 409), (LinkEnded, 410),
    (StoreError, 503),
)  # fmt: skip
_PHRASES = {401: "authentication required", 422: "unprocessable content"}
"""RFC 9110's phrases where HTTPStatus has an older or less clear one."""


class CollectorApp:
    """The application. `close` ends the event streams of open pages, which would keep a server from stopping."""

    def __init__(self, web: FastAPI, guarded: ASGIApp, ingest: AgentEndpoint, liveness: Liveness) -> None:
        self.web = web
        self._liveness = liveness
        self._guarded = guarded
        self._ingest = ingest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"] in _AGENT_PATHS:
            await self._ingest(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in (HEALTHZ, READYZ):
            await self._liveness(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    def close(self) -> None:
        """End all open event streams, within a second."""
        self.web.state.closing = True


def build_app(
    runtime: Runtime,
    ingest: AgentEndpoint,
    metrics: Metrics,
    hosts: Iterable[str],
    *,
    open_reading: bool = True,
    key_of: callback.KeyOf | None = None,
) -> CollectorApp:
    """Build the application. `hosts` are the host names it answers to, besides the loopback's; without `open_reading` even
    reading needs a person's token or session. `key_of` finds the keys of webhooks; without it no reply is accepted."""
    web = FastAPI(
        title="Watchkeeper", version=installed_version() or "0", docs_url=None, redoc_url=None, openapi_url=None,
        description=api.__doc__ or "",
    )  # fmt: skip
    web.state.runtime, web.state.open_reading, web.state.closing = runtime, open_reading, False
    web.state.metrics, web.state.changes = metrics, ChangeFeed(runtime)
    web.include_router(api.router)
    web.include_router(pages.router)
    web.include_router(forms.router)
    web.include_router(callback.router)
    web.state.key_of = key_of
    web.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    _add_other_routes(web)
    for error in (WatchkeeperError, ReloadRequired, RequestValidationError, HTTPException):
        web.add_exception_handler(error, _error_response)
    return CollectorApp(web, Guard(web, hosts), ingest, Liveness(runtime.health))


def _add_other_routes(web: FastAPI) -> None:
    """Add the routes that are neither page nor API."""
    reading = [Depends(may_read)]
    for path, endpoint in (("/metrics", _metrics), ("/events", _events), ("/openapi.json", _openapi), ("/docs", _docs)):
        web.add_api_route(path, endpoint, include_in_schema=False, dependencies=reading, response_model=None)
    by_link = [Depends(may_read_by_link)]
    web.add_api_route("/t/{token}/events", _events, include_in_schema=False, dependencies=by_link, response_model=None)


def _metrics(request: Request) -> Response:
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.render(), media_type=CONTENT_TYPE)


async def _events(request: Request) -> Response:
    state = request.app.state
    return StreamingResponse(state.changes.stream(lambda: bool(state.closing)), media_type="text/event-stream")


def _openapi(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


def _docs(page: CurrentPage) -> Response:
    return page.show("docs.html", paths=page.request.app.openapi()["paths"])


def _error_response(request: Request, error: Exception) -> Response:
    """Say what is wrong and what to do: as JSON to a program, as a page in the reader's language to a person."""
    runtime: Runtime = request.app.state.runtime
    try:
        identity = ANONYMOUS if isinstance(error, StoreError) else identify(request, runtime)
    except StoreError as unavailable:  # whatever else is wrong, it can be told only when the store works
        identity, error = ANONYMOUS, unavailable
    by_link = request.url.path.startswith(LINK_PREFIX)
    if request.method == "POST" and identity.person is None and not by_link and _status(error) in (400, 422):
        error = AuthenticationRequired()  # an anonymous client learns nothing about its body
    status, sentence = _status(error), _sentence(error)
    if isinstance(error, StoreError) and not is_open(request):
        sentence = marked("the collector's log has the reason")  # the text of a database may name hosts and users
    headers = _headers(error)
    if request.url.path.startswith("/api/") or request.url.path in ("/metrics", "/events", "/openapi.json"):
        phrase = _PHRASES.get(status) or HTTPStatus(status).phrase.lower()
        return JSONResponse({"error": f"{phrase}: {sentence}" if sentence else phrase}, status, headers)
    response = PageContext(request, runtime, identity).show(
        _template(error), status, status=status, sentence=sentence, person=getattr(error, "person", "")
    )
    response.headers.update(headers)
    return response


def _template(error: Exception) -> str:
    if isinstance(error, ReloadRequired):
        return "reload.html"
    return "link_ended.html" if isinstance(error, LinkEnded) else "error.html"


def _status(error: Exception) -> int:
    if isinstance(error, RequestValidationError):
        return 422
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, WatchkeeperError):
        return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    return 200  # ReloadRequired


def _sentence(error: Exception) -> str:
    """What is wrong and what to do; empty where the status says it all."""
    if isinstance(error, RequestValidationError):
        return "; ".join(_invalid(one) for one in error.errors())
    if isinstance(error, HTTPException):
        return "" if error.detail == HTTPStatus(error.status_code).phrase else str(error.detail)
    return str(error)


def _invalid(problem: Mapping[str, Any]) -> str:
    """One problem of a request, after its place."""
    place = ".".join(str(part) for part in problem["loc"][1:]) or "body"
    return f"{place}: unknown key" if problem["type"] == "extra_forbidden" else f"{place}: {problem['msg']}"


def _headers(error: Exception) -> Mapping[str, str]:
    if isinstance(error, AuthenticationRequired):
        return {"www-authenticate": "Bearer"}
    return (error.headers or {}) if isinstance(error, HTTPException) else {}
