"""Checks before the first fault that every channel of every person can be opened, and the links in their messages."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from watchkeeper.channels.ports import Via
from watchkeeper.collector.notify.outbox import Opener
from watchkeeper.collector.site.inventory import Person
from watchkeeper.documents.scalars import is_loopback
from watchkeeper.model.errors import WatchkeeperError


def unreachable(people: Iterable[Person], opener: Opener) -> Iterator[str]:
    """Yield a message for each channel that cannot deliver, for example because its secret is missing."""
    for person in people:
        for address in person.channels:
            try:
                opener(address)
            except WatchkeeperError as error:
                yield f"{person.person} cannot be notified by {address.via.value}: {error}"


def unusable_links(url: str, people: Iterable[Person], *, signed: bool) -> Iterator[str]:
    """Yield a message for each reason why the links in messages do not help the people who get them."""
    remote = [one.person for one in people if any(address.via is not Via.CONSOLE for address in one.channels)]
    if remote and is_loopback(urlsplit(url).hostname or ""):
        yield (
            f"links in messages begin with {url}, which only this machine can open; set `url` to the address at which "
            f"{remote[0]} and others reach the pages"
        )
    if remote and not signed:
        yield (
            "links in messages need a sign-in, because no secret signs personal links; set `link_key` to the name of a "
            "secret of at least 32 characters, the same for all collectors of this store"
        )
