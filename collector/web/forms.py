"""What a person does on a page: sign in by a one-time link or ask for one, answer to troubles (signed in, or by a personal link),
sign out."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import Field

from watchkeeper.collector.access.links import SIGN_IN
from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.process import actions, removals
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.process.sign_in import request_link
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.web.edge import auth
from watchkeeper.collector.web.edge.auth import CurrentIdentity, CurrentRuntime
from watchkeeper.collector.web.edge.link import LinkEnded, OpenedLink, must_act_by_link, open_link
from watchkeeper.collector.web.overview import LISTED
from watchkeeper.collector.web.page import PageContext
from watchkeeper.collector.web.schemas import NO_NUL, NOTE_LIMIT, IncidentNumber
from watchkeeper.model.errors import Conflict, NotAllowed, StoreError, WatchkeeperError

log = logging.getLogger(__name__)
router = APIRouter(include_in_schema=False)

Note = Annotated[str, Form(max_length=NOTE_LIMIT, pattern=NO_NUL)]
Part = Annotated[str, Form(max_length=200, pattern=NO_NUL)]
Csrf = Annotated[str, Form(max_length=100)]
Short = Annotated[str, Form(max_length=200, pattern=NO_NUL)]
Action = Callable[..., Trouble]

ACTIONS: Mapping[str, tuple[Action, tuple[str, ...]]] = {
    "acknowledge": (actions.acknowledge, ()),
    "on-site": (actions.on_site, ()),
    "escalate": (actions.escalate, ("rung",)),
    "vendor": (actions.hand_to_vendor, ("ticket",)),
    "resolve": (actions.resolve, ("cause", "cure")),
    "reopen": (actions.reopen, ()),
    "comment": (actions.comment, ("mention",)),
}
"""What a person can answer to a trouble, by the end of its address; and the fields of its form besides the note."""


@dataclass(frozen=True, slots=True)
class AnswerFields:
    """The fields of the forms on a trouble's page; each form has some of them."""

    note: str
    rung: str
    ticket: str
    cause: str
    cure: str
    mention: list[str]


def _answer(
    *,
    note: Note = "",
    rung: Short = "",
    ticket: Short = "",
    cause: Note = "",
    cure: Note = "",
    mention: Annotated[list[Annotated[str, Field(max_length=200)]] | None, Form(max_length=20)] = None,
) -> AnswerFields:
    return AnswerFields(note, rung, ticket.strip(), cause.strip(), cure.strip(), mention or [])


Answer = Annotated[AnswerFields, Depends(_answer)]


@router.get("/enter")
def enter(request: Request, runtime: CurrentRuntime, ticket: str = "") -> Response:
    """Sign in: spend a one-time link, set the session's cookie, and redirect to a page whose address is no secret. A browser
    that only prefetches does not spend the link (Fetch Metadata, `Sec-Purpose`)."""
    if "prefetch" in request.headers.get("sec-purpose", "") + request.headers.get("purpose", ""):
        return Response(status_code=503)
    session = auth.start_session(runtime, ticket) if ticket else None
    if session is None:
        if ticket:
            auth.refused(request, runtime, Refused.TICKET)
        return PageContext(request, runtime, auth.ANONYMOUS).show("link_spent.html", 410)
    response = RedirectResponse("/", 303, {"referrer-policy": "no-referrer"})
    auth.set_session_cookie(request, response, session, auth.lasts_s(runtime))
    return response


@router.post("/leave")
def leave(request: Request, runtime: CurrentRuntime, identity: CurrentIdentity, csrf: Csrf = "") -> Response:
    """Sign out: end the session. Raises NotAllowed."""
    auth.must_act(request, identity, csrf)
    auth.end_session(runtime, identity.session)
    response = RedirectResponse("/", 303)
    auth.set_session_cookie(request, response, "", 0)
    return response


@router.post("/troubles/{number}/{action}")
def act(
    *,
    request: Request,
    runtime: CurrentRuntime,
    identity: CurrentIdentity,
    number: IncidentNumber,
    action: str,
    answer: Answer,
    csrf: Csrf = "",
) -> Response:
    """Answer to a trouble. Raises NotAllowed, NotFound or Conflict, and then nothing has changed."""
    person = auth.must_act(request, identity, csrf)
    _perform(runtime, number, action, person, answer)
    return RedirectResponse(f"/troubles/{number}", 303)


def _perform(  # noqa: PLR0917 -- a person's answer to a trouble, word for word
    runtime: Runtime, number: int, action: str, person: Person, answer: AnswerFields, door: str = ""
) -> None:
    if action not in ACTIONS:
        raise NotFound(f"there is no action `{action}`; a trouble has: {', '.join(ACTIONS)}")
    act, names = ACTIONS[action]
    fields = {name: getattr(answer, name) for name in names}
    note = answer.note.strip()
    if door and (note or action != "comment"):
        note = f"{note} ({door})".strip()
    act(runtime.notifier(), number, person.person, runtime.clock.wall(), note, **fields)


MANY: Mapping[str, Action] = {"acknowledge": actions.acknowledge, "on-site": actions.on_site}
"""What a person can answer to many troubles at once."""


@router.post("/answers/{action}")
def act_on_many(
    *,
    request: Request,
    runtime: CurrentRuntime,
    identity: CurrentIdentity,
    action: str,
    number: Annotated[list[IncidentNumber] | None, Form(max_length=LISTED)] = None,
    csrf: Csrf = "",
) -> Response:
    """Answer to each of these troubles. One that is over meanwhile is left out; if all are, or none is given, that is an error.
    Raises NotAllowed, NotFound or Conflict."""
    person = auth.must_act(request, identity, csrf)
    if action not in MANY:
        raise NotFound(f"there is no action `{action}` for many troubles; there is: {', '.join(MANY)}")
    if not number:
        raise Conflict("no trouble is selected; tick those that you answer to")
    refusals: list[WatchkeeperError] = []
    for one in number:
        try:
            MANY[action](runtime.notifier(), one, person.person, runtime.clock.wall())
        except (NotFound, Conflict) as refusal:
            refusals.append(refusal)
    if len(refusals) == len(number):
        raise refusals[0]
    return RedirectResponse("/", 303)


@router.post("/t/{token}/{action}")
def act_by_link(
    *,
    request: Request,
    runtime: CurrentRuntime,
    identity: CurrentIdentity,
    token: str,
    action: str,
    answer: Answer,
    csrf: Csrf = "",
    acts_as: Annotated[str, Form(alias="as", max_length=200, pattern=NO_NUL)] = "",
) -> Response:
    """The same by a personal link. Its timeline says so. A sign-in link only signs in. Raises LinkEnded, NotAllowed, NotFound
    or Conflict, and then nothing has changed."""
    opened = open_link(request, runtime, identity, token, acts_as)
    must_act_by_link(request, opened, csrf)
    if opened.link.about == SIGN_IN:
        return _sign_in(request, runtime, opened, action)
    _perform(runtime, opened.link.id, action, opened.person, answer, _door_of(opened))
    return RedirectResponse(opened.chosen_path if opened.chosen else opened.path, 303)


def _door_of(opened: OpenedLink) -> str:
    """By which door an answer came, for the timeline: a link may have been forwarded."""
    say = translator(opened.person.language)
    other = opened.other.name if opened.other else ""
    return say("by link, in a browser signed in as {other}").format(other=other) if other else say("by link")


def _sign_in(request: Request, runtime: Runtime, opened: OpenedLink, action: str) -> Response:
    if action != "enter":
        raise NotFound(f"there is no action `{action}`; a sign-in link has: enter")
    session = auth.start_session_by_link(runtime, opened.link)
    if session is None:
        raise LinkEnded(opened.person.person)
    response = RedirectResponse("/", 303)
    auth.set_session_cookie(request, response, session, auth.lasts_s(runtime))
    return response


@router.post("/sign-in")
def ask_for_link(
    request: Request,
    runtime: CurrentRuntime,
    tasks: BackgroundTasks,
    person: Annotated[str, Form(max_length=200, pattern=NO_NUL)] = "",
) -> Response:
    """Send a person a sign-in link, over that person's own channels. The response is the same for every name, and does not wait
    for the store. Raises NotAllowed for a form of another site."""
    if not auth.same_site(request):
        raise NotAllowed("the form was sent by another site; use the form on the collector's own page")
    tasks.add_task(_send_link, runtime, person.strip())
    return PageContext(request, runtime, auth.ANONYMOUS).show("sign_in.html", asked=True)


def _send_link(runtime: Runtime, name: str) -> None:
    try:
        request_link(runtime.notifier(), name, runtime.clock.wall())
    except StoreError as error:
        log.warning("a sign-in link could not be sent: %s", error)


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
