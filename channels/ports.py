"""What a channel is handed, what it gives back, and what it looks like to those who send."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit


class Via(StrEnum):
    """The channels there are."""

    APPRISE = "apprise"
    WEBHOOK = "webhook"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class Address:
    """Where one person can be reached. `secret` is the *name* of the secret: for apprise the whole Apprise URL, for
    webhook the HMAC key; `url` is a webhook's, and has no secret in it."""

    via: Via
    url: str = ""
    secret: str = ""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.via is Via.APPRISE and not self.secret:
            yield "via", "apprise needs `secret`, the name of the secret that holds the Apprise URL"
        if self.via is Via.WEBHOOK and not (self.url and self.secret):
            yield "via", "webhook needs `url`, and `secret`, the name of the secret that signs"
        if self.via is Via.WEBHOOK and "@" in self.url.partition("//")[2].partition("/")[0]:
            yield "url", "a URL may not carry a user or password; the webhook is signed instead"
        if self.via is Via.WEBHOOK and self.url and not _is_web(self.url):
            yield "url", "this is not a web address; write it like `https://pager.example/watchkeeper`"


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0  # `port` checks itself
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say to one person. `key` is the idempotency key: the same through every retry and channel.
    `facts` is what a machine wants to know of it (incident, rung, level ...), JSON values only."""

    key: str
    person: str
    subject: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came back. A failure that is `permanent` is not worth trying again on this channel. `detail` is for people
    and logs, and never carries a secret."""

    delivered: bool
    detail: str
    permanent: bool = False


class Channel(Protocol):
    """Sends one message, blocking at most its own timeout; never raises for what the other side does."""

    def send(self, message: Message) -> Receipt:
        """Say it, and tell what came back."""
