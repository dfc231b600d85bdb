"""A digest: several notices to one person as one message, in the person's language. Each has its line and, below it, its page.

A page is joined only with pages (`plan`). So the subject says whether there is something to act on.
"""

import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from watchkeeper.channels.ports import Address, Bounded, Channel, Message
from watchkeeper.collector.notify.i18n import Translate, marked, translator
from watchkeeper.collector.notify.notice import PATHS, About, Urgency, page_path
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.verdict import Level

DIGEST_SUBJECT, DIGEST_OF_PAGES_SUBJECT = marked("{count} more notices"), marked("{count} notices of faults")
DIGEST_KIND = "digest"

DIGEST_BYTES = 60_000
"""How long the text of a digest may be, where the channel's service does not take less."""

OUTSIDE_BYTES = 128
"""What a digest has beside its notices: its subject and the address of the pages."""

_TIME_BYTES, _LINK_BYTES = 12, 64


def line_bytes(url: str, person: str) -> int:
    """At most how many bytes a notice needs in a digest beside its subject: the time of day, and the person's link to the page."""
    return _TIME_BYTES + (len(url.encode()) + _LINK_BYTES + 2 * len(person.encode()) if url else 0)


def room_of(addresses: Sequence[Address], opener: Callable[[Address], Channel], number: int) -> int:
    """How many bytes the notices of a digest by the channel of that number may have. What is longer would be cut off by the service."""
    try:
        channel = opener(addresses[number])
    except Exception:  # noqa: BLE001 -- the try that follows says what is wrong with the channel
        return DIGEST_BYTES
    room = channel.room_bytes if isinstance(channel, Bounded) else DIGEST_BYTES
    return min(DIGEST_BYTES, max(0, room - OUTSIDE_BYTES))


def message_of(rows: "Sequence[Any]", person: Person, snapshot: Snapshot, url: str) -> Message:
    """The message for rows of the outbox: the notice itself, or a digest of several. Its key is the same for the same notices."""
    first = rows[0]
    if len(rows) == 1:
        return Message(first.key, first.person, first.subject, first.text, json.loads(first.facts))
    say = translator(person.language)
    facts = {
        "kind": DIGEST_KIND, "rung": "", "person": first.person, "count": len(rows), "level": _level(rows),
        "notices": [{"key": row.key, "subject": row.subject, **json.loads(row.facts)} for row in rows],
    }  # fmt: skip
    key = f"{DIGEST_KIND}/{first.person}/{min(row.id for row in rows)}-{max(row.id for row in rows)}/{len(rows)}"
    lines = [*_lines(rows, snapshot, url), *filter(None, [url])]
    return Message(key, first.person, _subject(rows, say), "\n".join(lines), facts)


def _level(rows: "Sequence[Any]") -> str | None:
    """The worst level of what somebody must act on."""
    worst = min(row.urgency for row in rows)
    if worst < Urgency.PAGE:
        return Level.CRITICAL.value
    return Level.WARNING.value if worst < Urgency.NOTICE else None


def _subject(rows: "Sequence[Any]", say: Translate) -> str:
    pages = any(row.urgency < Urgency.NOTICE for row in rows)
    return say(DIGEST_OF_PAGES_SUBJECT if pages else DIGEST_SUBJECT).format(count=len(rows))


def _lines(rows: "Sequence[Any]", snapshot: Snapshot, url: str) -> Iterator[str]:
    """The address of a page has a line of its own: channels then leave it as it is, and it becomes the person's own link."""
    zone = snapshot.configuration.inventory.site.timezone
    for row in rows:
        yield f"{datetime.datetime.fromtimestamp(row.created_at, zone):%H:%M:%S} {row.subject}"
        if url and row.about in PATHS:
            yield url + page_path(About(row.about), row.about_id)
