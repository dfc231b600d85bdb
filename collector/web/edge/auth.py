"""Who asks, and whether they may. A person is known by a bearer token or by the cookie of a session that a one-time link
began. Nothing is written for somebody unknown, nor for a page of another site that rides on the cookie."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import sqlalchemy as sa
from fastapi import Depends, Request
from fastapi.responses import Response

from watchkeeper.collector.access.tokens import SESSION_S, TokenKind, fingerprint, spend_ticket
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.store.schema import token
from watchkeeper.documents.scalars import is_loopback
from watchkeeper.model.errors import NotAllowed

_COOKIE = "watchkeeper"


class Nobody(NotAllowed):
    """Nobody we know: no token, or one that has run out."""


class ComeAgain(Exception):
    """No error: a link on another site led here, and so the browser kept the SameSite=Strict cookie back. The page is asked for
    once more, this time by ourselves."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks. `person` is empty for nobody; `session` is the secret of a browser's session, empty for an API's token."""

    person: str = ""
    session: str = ""

    @property
    def csrf(self) -> str:
        """What a form of ours carries, and a form of another site cannot know."""
        return hmac.digest(self.session.encode(), b"watchkeeper csrf", hashlib.sha256).hex() if self.session else ""


NOBODY = Visitor()


def office_of(request: Request) -> Runtime:
    """The office this application works in."""
    runtime: Runtime = request.app.state.runtime
    return runtime


RuntimeHere = Annotated[Runtime, Depends(office_of)]


def visitor(request: Request, runtime: RuntimeHere) -> Visitor:
    """Recognise who asks. A bearer token that is wrong is nobody, whatever the cookie says; and so is who has left the
    books, token or not."""
    header = request.headers.get("authorization")
    session = request.cookies.get(cookie_of(request), "") if header is None else ""
    scheme, _, text = header.partition(" ") if header is not None else ("bearer", "", session)
    bearer = runtime.tokens.bearer(text.strip()) if text and scheme.lower() == "bearer" else None
    if bearer is None or bearer.kind is not (TokenKind.SESSION if session else TokenKind.PERSON):
        return NOBODY
    known = any(one.person == bearer.name for one in runtime.snapshot.configuration.contacts.people)
    return Visitor(bearer.name, session) if known else NOBODY


def cookie_of(request: Request) -> str:
    """The cookie's name. Over HTTPS with the prefix that keeps other hosts of our domain from setting it (RFC 6265bis)."""
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE


Asking = Annotated[Visitor, Depends(visitor)]


def may_read(request: Request, who: Asking) -> Visitor:
    """Let everybody read where only this machine reaches us, otherwise persons only. Raises Nobody or ComeAgain."""
    if who is NOBODY and cookie_of(request) not in request.cookies and _led_here(request):
        raise ComeAgain
    if who is NOBODY and not is_open(request):
        raise Nobody("this collector shows nothing to strangers; open a link from `watchkeeper collector link PERSON`")
    return who


def is_open(request: Request) -> bool:
    """Whether reading is for everybody: we listen to this machine alone, and are asked by it, under its own name. Otherwise a
    proxy has let others in (whom uvicorn knows by `X-Forwarded-For`)."""
    guest = request.client is not None and not is_loopback(request.client.host)
    return request.app.state.open_reading and not guest and is_loopback(request.url.hostname or "")


Reader = Annotated[Visitor, Depends(may_read)]


def _led_here(request: Request) -> bool:
    """Whether a person followed a link of another site (Fetch Metadata, W3C)."""
    headers = request.headers
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") == "navigate"


def must_act(request: Request, who: Visitor, csrf: str) -> str:
    """The person's name, if they may write. Raises Nobody (401) or NotAllowed (403)."""
    if not who.person:
        raise Nobody("nobody we know; open a link from `watchkeeper collector link PERSON`, or send a person's token")
    if who.session:
        if not hmac.compare_digest(csrf.encode(), who.csrf.encode()):
            raise NotAllowed("this form is not one of ours, or of an earlier session; load the page again")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise NotAllowed(f"a page of another site ({origin}) may not act here")
    return who.person


def api_person(request: Request, who: Asking) -> str:
    """The person who acts through the API: with a bearer token, or with the cookie and the header X-CSRF-Token."""
    return must_act(request, who, request.headers.get("x-csrf-token", ""))


Person = Annotated[str, Depends(api_person)]


def enter(runtime: Runtime, ticket: str) -> str | None:
    """Spend a one-time ticket; returns the session's secret, None if the ticket was used or has run out."""
    session = spend_ticket(runtime.store, ticket, runtime.clock.wall())
    runtime.tokens.forget()
    return session


def keep_session(request: Request, response: Response, session: str) -> None:
    """Give the browser its session, for as long as it lasts; an empty one takes it back."""
    response.set_cookie(
        cookie_of(request), session, max_age=int(SESSION_S) if session else 0, path="/",
        secure=request.url.scheme == "https", httponly=True, samesite="strict",
    )  # fmt: skip


def leave(runtime: Runtime, session: str) -> None:
    """End a session, here and for whoever else holds its secret."""
    mine = sa.delete(token).where(token.c.sha256 == fingerprint(session), token.c.kind == TokenKind.SESSION.value)
    with runtime.store.write() as connection:
        connection.execute(mine)
    runtime.tokens.forget()
