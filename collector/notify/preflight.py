"""Whether people can be told at all, looked at before the first fault."""

from collections.abc import Iterable, Iterator

from watchkeeper.collector.notify.outbox import Opener
from watchkeeper.collector.site.inventory import Person
from watchkeeper.model.errors import WatchkeeperError


def unreachable(people: Iterable[Person], opener: Opener) -> Iterator[str]:
    """A sentence for each channel that would deliver nothing: its secret is absent, say."""
    for person in people:
        for address in person.channels:
            try:
                opener(address)
            except WatchkeeperError as error:
                yield f"{person.person} cannot be told by {address.via.value}: {error}"
