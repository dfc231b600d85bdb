"""A digest: several notices to one person as one message, one line each, in the person's language. Pure."""

import datetime
import json
from collections.abc import Sequence
from typing import Any

from watchkeeper.channels.ports import Message
from watchkeeper.collector.notify.i18n import marked, translator
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.site.snapshot import Snapshot

DIGEST_SUBJECT = marked("{count} more notices")
DIGEST_KIND = "digest"


def message_of(rows: "Sequence[Any]", person: Person, snapshot: Snapshot, url: str) -> Message:
    """The message for rows of the outbox: the notice itself, or a digest of several. Its key is the same for the same notices."""
    first = rows[0]
    if len(rows) == 1:
        return Message(first.key, first.person, first.subject, first.text, json.loads(first.facts))
    say = translator(person.language)
    zone = snapshot.configuration.inventory.site.timezone
    lines = [f"{datetime.datetime.fromtimestamp(row.created_at, zone):%H:%M:%S} {row.subject}" for row in rows]
    facts = {
        "kind": DIGEST_KIND, "rung": "", "person": first.person, "count": len(rows),
        "notices": [{"key": row.key, "subject": row.subject, **json.loads(row.facts)} for row in rows],
    }  # fmt: skip
    key = f"{DIGEST_KIND}/{first.person}/{min(row.id for row in rows)}-{max(row.id for row in rows)}/{len(rows)}"
    subject = say(DIGEST_SUBJECT).format(count=len(rows))
    return Message(key, first.person, subject, "\n".join([*lines, *filter(None, [url])]), facts)
