"""Who opens a personal link, and what they may do by it. A link starts no session: its page shows one thing, and only a form
of that page acts. A browser that has a session of another person must choose as whom it acts."""

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request

from watchkeeper.collector.access.links import Link, ends_at
from watchkeeper.collector.access.recognised import recognise
from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.web.edge.auth import (
    CurrentIdentity,
    CurrentRuntime,
    Door,
    Identity,
    ReloadRequired,
    cookie_name,
    from_other_site,
    refused,
    same_site,
)
from watchkeeper.collector.web.edge.guard import LINK_PREFIX
from watchkeeper.model.errors import Conflict, NotAllowed, WatchkeeperError


class LinkEnded(WatchkeeperError):
    """The link is wrong, has ended, or was used (HTTP 410). `person` is its person if we did sign it."""

    def __init__(self, person: str = "") -> None:
        super().__init__("this link does not work any more: ask for a new one")
        self.person = person


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """An opened link. `other` is the person whose session this browser has, if that is somebody else; then `chosen` says
    whether the person at the browser has decided to act by the link."""

    token: str
    link: Link
    person: Person
    other: Person | None
    chosen: bool

    @property
    def path(self) -> str:
        """The path of its page."""
        return LINK_PREFIX + self.token

    @property
    def chosen_path(self) -> str:
        """The path of its page for somebody who has decided to act by the link."""
        return f"{self.path}?as={quote(self.person.person)}"

    @property
    def csrf(self) -> str:
        """The token of its own forms."""
        return hmac.digest(self.token.encode(), b"watchkeeper link form", hashlib.sha256).hex()

    @property
    def door(self) -> Door:
        """How its forms act; not at all before the choice between two persons."""
        person = self.person if self.chosen or self.other is None else None
        return Door(person, self.path, {"csrf": self.csrf, "as": self.person.person if self.chosen else ""})


def open_link(request: Request, runtime: Runtime, identity: Identity, token: str, acts_as: str = "") -> OpenedLink:
    """Read a link; `acts_as` is the person as whom a browser with two persons wants to act. Raises LinkEnded, or ReloadRequired
    where the cookie of a session may be missing."""
    link = runtime.links.read(token) if runtime.links else None
    people = runtime.snapshot.configuration.contacts.people
    person = next((one for one in people if link and one.person == link.person), None)
    if link is None or person is None:
        refused(request, runtime, Refused.LINK)
        raise LinkEnded
    with runtime.store.read() as connection:
        ends = ends_at(connection, link)
    if ends is not None and runtime.clock.wall() >= ends:
        raise LinkEnded(person.person)
    if cookie_name(request) not in request.cookies and from_other_site(request):
        raise ReloadRequired
    recognise(request.scope, f"person:{person.person}")
    other = identity.person if identity.person and identity.person.person != person.person else None
    return OpenedLink(token, link, person, other, acts_as == person.person)


def may_read_by_link(request: Request, runtime: CurrentRuntime, identity: CurrentIdentity, token: str) -> OpenedLink:
    """Let somebody read who has a link. Raises LinkEnded or ReloadRequired."""
    return open_link(request, runtime, identity, token)


def must_act_by_link(request: Request, opened: OpenedLink, csrf: str) -> None:
    """Refuse a form that is not of the link's own page (NotAllowed), and one of a browser that has another person's session
    and has not chosen (Conflict)."""
    if not hmac.compare_digest(csrf.encode(), opened.csrf.encode()):
        raise NotAllowed("the CSRF token is missing or belongs to another link; open the link again")
    if not same_site(request):
        raise NotAllowed("the form was sent by another site; open the link and use the form on its page")
    if opened.door.person is None and opened.other is not None:
        raise Conflict(
            f"this browser is signed in as {opened.other.name}, and the link belongs to {opened.person.name}: open the link again "
            "and choose as whom you act"
        )
