"""What a person does on a page: sign in by a one-time link, act on troubles, sign out."""

from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.process import actions, removals
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.web.edge import auth
from watchkeeper.collector.web.edge.auth import CurrentIdentity, CurrentRuntime
from watchkeeper.collector.web.page import PageContext
from watchkeeper.collector.web.schemas import NO_NUL, NOTE_LIMIT, IncidentNumber

router = APIRouter(include_in_schema=False)

Note = Annotated[str, Form(max_length=NOTE_LIMIT, pattern=NO_NUL)]
Part = Annotated[str, Form(max_length=200, pattern=NO_NUL)]
Csrf = Annotated[str, Form(max_length=100)]
Action = Callable[..., Trouble]

ACTIONS: Mapping[str, Action] = {
    "acknowledge": actions.acknowledge,
    "resolve": actions.resolve,
    "escalate": actions.escalate,
}


@router.get("/enter")
def enter(request: Request, runtime: CurrentRuntime, ticket: str = "") -> Response:
    """Sign in: spend a one-time link, set the session's cookie, and redirect to a page whose address is no secret. A browser
    that only prefetches does not spend the link (Fetch Metadata, `Sec-Purpose`)."""
    if "prefetch" in request.headers.get("sec-purpose", "") + request.headers.get("purpose", ""):
        return Response(status_code=503)
    session = auth.start_session(runtime, ticket) if ticket else None
    if session is None:
        return PageContext(request, runtime, auth.ANONYMOUS).show("link_spent.html", 410)
    response = RedirectResponse("/", 303, {"referrer-policy": "no-referrer"})
    auth.set_session_cookie(request, response, session)
    return response


@router.post("/leave")
def leave(request: Request, runtime: CurrentRuntime, identity: CurrentIdentity, csrf: Csrf = "") -> Response:
    """Sign out: end the session. Raises NotAllowed."""
    auth.must_act(request, identity, csrf)
    auth.end_session(runtime, identity.session)
    response = RedirectResponse("/", 303)
    auth.set_session_cookie(request, response, "")
    return response


@router.post("/troubles/{number}/{action}")
def act(
    *,
    request: Request,
    runtime: CurrentRuntime,
    identity: CurrentIdentity,
    number: IncidentNumber,
    action: str,
    csrf: Csrf = "",
    note: Note = "",
) -> Response:
    """Acknowledge, resolve or escalate. Raises NotAllowed, NotFound or Conflict, and then nothing has changed."""
    person = auth.must_act(request, identity, csrf)
    if action not in ACTIONS:
        raise NotFound(f"there is no action `{action}`; a trouble has: {', '.join(ACTIONS)}")
    ACTIONS[action](runtime.notifier(), number, person.person, runtime.clock.wall(), note.strip())
    return RedirectResponse(f"/troubles/{number}", 303)


@router.post("/devices/{name}/poll")
def poll(request: Request, runtime: CurrentRuntime, identity: CurrentIdentity, name: str, csrf: Csrf = "") -> Response:
    """Request that a device is polled now. Raises NotAllowed or NotFound."""
    person = auth.must_act(request, identity, csrf)
    actions.poll_now(runtime.notifier(), name, person.person, runtime.clock.wall())
    return RedirectResponse(f"/devices/{quote(name)}?asked=yes", 303)


@router.post("/devices/{name}/removed")
def removed(
    *,
    request: Request,
    runtime: CurrentRuntime,
    identity: CurrentIdentity,
    name: str,
    csrf: Csrf = "",
    part: Part = "",
    note: Note = "",
) -> Response:
    """Confirm that a part which is gone was removed. Raises NotAllowed, NotFound or Conflict."""
    person = auth.must_act(request, identity, csrf)
    removals.confirm(runtime.notifier(), name, part, person.person, runtime.clock.wall(), note=note.strip())
    return RedirectResponse(f"/devices/{quote(name)}", 303)
