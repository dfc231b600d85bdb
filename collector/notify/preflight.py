"""Checks before the first fault that every channel of every person can be opened."""

from collections.abc import Iterable, Iterator

from watchkeeper.collector.notify.outbox import Opener
from watchkeeper.collector.site.inventory import Person
from watchkeeper.model.errors import WatchkeeperError


def unreachable(people: Iterable[Person], opener: Opener) -> Iterator[str]:
    """Yield a message for each channel that cannot deliver, for example because its secret is missing."""
    for person in people:
        for address in person.channels:
            try:
                opener(address)
            except WatchkeeperError as error:
                yield f"{person.person} cannot be notified by {address.via.value}: {error}"
