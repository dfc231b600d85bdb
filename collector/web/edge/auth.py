"""Who sends a request, and what they may do. A person signs in with a bearer token, or with the cookie of a session that a
one-time link started. Without a person nothing is written. A form of another site, which would use our cookie, writes
nothing either."""

import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import sqlalchemy as sa
from fastapi import Depends, Request
from fastapi.responses import Response

from watchkeeper.collector.access.links import Link, spend
from watchkeeper.collector.access.recognised import recognise
from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.access.tokens import TokenKind, fingerprint, mint, redeem_ticket, renew_session, session_s
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.store.schema import token
from watchkeeper.documents.scalars import is_loopback
from watchkeeper.model.errors import NotAllowed, StoreError

log = logging.getLogger(__name__)
_COOKIE = "watchkeeper"


class AuthenticationRequired(NotAllowed):
    """There is no valid token or session (HTTP 401)."""

    def __init__(self) -> None:
        super().__init__(
            "open a sign-in link from `watchkeeper collector link PERSON`, or send a person's token as "
            "`Authorization: Bearer TOKEN`"
        )


class ReloadRequired(Exception):
    """Not an error: a link on another site led here, so the browser did not send the SameSite=Strict cookie. The page must be
    requested once more, by our own page."""


@dataclass(frozen=True, slots=True)
class Door:
    """How the forms of a page act: as `person`, by POST to `path`/ACTION with the `hidden` fields. Without a person they are
    not shown."""

    person: Person | None
    path: str
    hidden: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Identity:
    """The person who sends a request (None for an anonymous one) and how they signed in: `session` is the secret of a
    browser's session, empty for a bearer token."""

    person: Person | None = None
    session: str = ""

    @property
    def csrf(self) -> str:
        """The token that our own forms carry and a form of another site cannot know."""
        return hmac.digest(self.session.encode(), b"watchkeeper csrf", hashlib.sha256).hex() if self.session else ""

    def door(self, path: str) -> Door:
        """How the forms for the thing at `path` act: in a session."""
        return Door(self.person if self.session else None, path, {"csrf": self.csrf})


ANONYMOUS = Identity()


def runtime_of(request: Request) -> Runtime:
    """The runtime of the application that serves the request."""
    runtime: Runtime = request.app.state.runtime
    return runtime


CurrentRuntime = Annotated[Runtime, Depends(runtime_of)]


def identify(request: Request, runtime: CurrentRuntime) -> Identity:
    """Find out who sends a request. With a wrong bearer token it is anonymous, whatever the cookie; with a valid token too,
    if the person is no longer in contacts.yml."""
    header = request.headers.get("authorization")
    session = request.cookies.get(cookie_name(request), "") if header is None else ""
    scheme, _, text = header.partition(" ") if header is not None else ("bearer", "", session)
    bearer = runtime.tokens.bearer(text.strip()) if text and scheme.lower() == "bearer" else None
    if bearer is None or bearer.kind is not (TokenKind.SESSION if session else TokenKind.PERSON):
        if header is not None:
            refused(request, runtime, Refused.PERSON)
        return ANONYMOUS
    people = runtime.snapshot.configuration.contacts.people
    person = next((one for one in people if one.person == bearer.name), None)
    if person is None:
        return ANONYMOUS
    recognise(request.scope, f"person:{person.person}")
    return Identity(person, session)


def refused(request: Request, runtime: Runtime, what: Refused) -> None:
    """Count what was refused, once in a request."""
    if not getattr(request.state, "refused", False):
        request.state.refused = True
        runtime.refusals.note(what, request.client.host if request.client else "")


CurrentIdentity = Annotated[Identity, Depends(identify)]


def cookie_name(request: Request) -> str:
    """The cookie's name. Over HTTPS with the prefix that keeps other hosts of our domain from setting it (RFC 6265bis)."""
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE


def may_read(request: Request, identity: CurrentIdentity) -> Identity:
    """Let everybody read where only this machine can reach the collector, elsewhere only persons. Raises
    AuthenticationRequired or ReloadRequired."""
    if identity.person is None and cookie_name(request) not in request.cookies and from_other_site(request):
        raise ReloadRequired
    if identity.person is None and not is_open(request):
        raise AuthenticationRequired
    return identity


ReaderIdentity = Annotated[Identity, Depends(may_read)]


def is_open(request: Request) -> bool:
    """Whether reading needs no person: the collector listens on the loopback only, the request comes from this machine, and it
    names the loopback. Otherwise a proxy has forwarded it for another machine (uvicorn knows it by `X-Forwarded-For`)."""
    remote = request.client is not None and not is_loopback(request.client.host)
    return request.app.state.open_reading and not remote and is_loopback(request.url.hostname or "")


def from_other_site(request: Request) -> bool:
    """Whether a person followed a link of another site (Fetch Metadata, W3C)."""
    headers = request.headers
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") == "navigate"


def same_site(request: Request) -> bool:
    """Whether a form was sent by a page of ours. A page that names no referrer has the origin `null`; a browser's Fetch
    Metadata then says where it came from."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin"):
        return False
    return origin in (None, "null") or urlsplit(origin).netloc == request.headers.get("host")


def must_act(request: Request, identity: Identity, csrf: str) -> Person:
    """The person, if they may write. Raises AuthenticationRequired (401) or NotAllowed (403)."""
    if identity.person is None:
        raise AuthenticationRequired
    if identity.session:
        if not hmac.compare_digest(csrf.encode(), identity.csrf.encode()):
            raise NotAllowed("the CSRF token is missing or belongs to another session; load the page again")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise NotAllowed(f"the form was sent by another site ({origin}); use the form on the collector's own page")
    return identity.person


def api_person(request: Request, identity: CurrentIdentity) -> Person:
    """The person who writes through the API: by a bearer token, or by the cookie and the header X-CSRF-Token."""
    return must_act(request, identity, request.headers.get("x-csrf-token", ""))


ActingPerson = Annotated[Person, Depends(api_person)]


def start_session(runtime: Runtime, ticket: str) -> str | None:
    """Spend a one-time ticket; returns the session's secret, None if the ticket was used or has expired."""
    session = redeem_ticket(runtime.store, ticket, runtime.clock.wall(), lasts_s(runtime))
    runtime.tokens.invalidate()
    return session


def start_session_by_link(runtime: Runtime, link: Link) -> str | None:
    """Spend a sign-in link; returns the session's secret, None if the link was used or has expired."""
    now = runtime.clock.wall()
    if not spend(runtime.store, link, now):
        return None
    session = mint(runtime.store, TokenKind.SESSION, link.person, now, lasts_s(runtime))
    runtime.tokens.invalidate()
    return session


def renew(request: Request, response: Response, runtime: Runtime, session: str) -> None:
    """Let a session that is used last longer, and its cookie as well."""
    if not (session and runtime.tokens.needs_renewal(session, lasts_s(runtime))):
        return
    now = runtime.clock.wall()
    try:
        ends_at = renew_session(runtime.store, session, now, lasts_s(runtime))
    except StoreError as error:  # the page is worth more
        log.warning("a session could not be renewed: %s", error)
        return
    if ends_at is not None:
        runtime.tokens.invalidate()
        set_session_cookie(request, response, session, ends_at - now)


def lasts_s(runtime: Runtime) -> float:
    """For how long a session lasts that is not used."""
    return session_s(runtime.snapshot.configuration.contacts)


def set_session_cookie(request: Request, response: Response, session: str, max_age_s: float) -> None:
    """Give the browser its session, for as long as it lasts; 0 deletes the cookie."""
    response.set_cookie(
        cookie_name(request), session, max_age=int(max_age_s), path="/",
        secure=request.url.scheme == "https", httponly=True, samesite="strict",
    )  # fmt: skip


def end_session(runtime: Runtime, session: str) -> None:
    """End a session in every browser that holds its secret."""
    same = sa.delete(token).where(token.c.sha256 == fingerprint(session), token.c.kind == TokenKind.SESSION.value)
    with runtime.store.write() as connection:
        connection.execute(same)
    runtime.tokens.invalidate()
