"""What a person does on a page: enter by a one-time link, act on incidents by forms of ours, leave."""

from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.process import actions
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.web.edge import auth
from watchkeeper.collector.web.edge.auth import Asking, RuntimeHere
from watchkeeper.collector.web.page import PageContext
from watchkeeper.collector.web.schemas import NO_NUL, Number

router = APIRouter(include_in_schema=False)

NOTE_LIMIT = 1000
Note = Annotated[str, Form(max_length=NOTE_LIMIT, pattern=NO_NUL)]
Csrf = Annotated[str, Form(max_length=100)]
Act = Callable[..., Incident]

ACTIONS: Mapping[str, Act] = {
    "acknowledge": actions.acknowledge,
    "resolve": actions.resolve,
    "escalate": actions.escalate,
}


@router.get("/enter")
def enter(request: Request, runtime: RuntimeHere, ticket: str = "") -> Response:
    """Spend a one-time link: a session's cookie, and on to a page whose address is no secret. A browser that only fetches
    ahead does not spend it (Fetch Metadata, `Sec-Purpose`)."""
    if "prefetch" in request.headers.get("sec-purpose", "") + request.headers.get("purpose", ""):
        return Response(status_code=503)
    session = auth.enter(runtime, ticket) if ticket else None
    if session is None:
        return PageContext(request, runtime, auth.NOBODY).show("spent.html", 410)
    response = RedirectResponse("/", 303, {"referrer-policy": "no-referrer"})
    auth.keep_session(request, response, session)
    return response


@router.post("/leave")
def leave(request: Request, runtime: RuntimeHere, who: Asking, csrf: Csrf = "") -> Response:
    """End the session. Raises NotAllowed."""
    auth.must_act(request, who, csrf)
    auth.leave(runtime, who.session)
    response = RedirectResponse("/", 303)
    auth.keep_session(request, response, "")
    return response


@router.post("/incidents/{number}/{action}")
def act(
    *,
    request: Request,
    runtime: RuntimeHere,
    who: Asking,
    number: Number,
    action: str,
    csrf: Csrf = "",
    note: Note = "",
) -> Response:
    """Acknowledge, resolve or escalate. Raises NotAllowed, NoSuch or Conflict, and then nothing has changed."""
    person = auth.must_act(request, who, csrf)
    if action not in ACTIONS:
        raise NotFound(f"nothing that can be done to an incident is called `{action}`")
    ACTIONS[action](runtime.notifier(), number, person, runtime.clock.wall(), note.strip())
    return RedirectResponse(f"/incidents/{number}", 303)


@router.post("/devices/{name}/poll")
def poll(request: Request, runtime: RuntimeHere, who: Asking, name: str, csrf: Csrf = "") -> Response:
    """Ask for a device to be read at once. Raises NotAllowed or NoSuch."""
    person = auth.must_act(request, who, csrf)
    actions.poll_now(runtime.notifier(), name, person, runtime.clock.wall())
    return RedirectResponse(f"/devices/{quote(name)}?asked=yes", 303)
