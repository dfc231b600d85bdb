"""The port of a channel: its address, the message it sends, and the receipt it returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit


class Via(StrEnum):
    """The kinds of channels."""

    APPRISE = "apprise"
    WEBHOOK = "webhook"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class Address:
    """One address of one person. `secret` is the *name* of the secret: for apprise the whole Apprise URL, for webhook
    the HMAC key. `url` is the webhook's URL; it must not contain a secret."""

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
    """One message to one person. `key` is the idempotency key: it stays the same for every try and channel. `facts` are
    the JSON values for a receiving program (incident, rung, level ...)."""

    key: str
    person: str
    subject: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Proof(StrEnum):
    """What is known of a message that a channel has taken."""

    HANDED_OVER = "handed-over"  # the next program has it; it says nothing more
    ACCEPTED = "accepted"  # the service has confirmed that it will deliver it
    DELIVERED = "delivered"  # the service has confirmed that it is on the person's device
    READ = "read"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of sending. After a `permanent` failure it is useless to try this channel again. `detail` is for
    people and logs, and never contains a secret. `proof` is what is known of a delivered message. `retry_after_s` is how
    long the service asks us to wait before the next message, if it does."""

    delivered: bool
    detail: str
    permanent: bool = False
    proof: Proof = Proof.HANDED_OVER
    retry_after_s: float | None = None


class Channel(Protocol):
    """Sends messages, each within the channel's timeout. Never raises because of the receiver's behaviour."""

    def send(self, message: Message) -> Receipt:
        """Send the message; blocks until the receipt is known or the timeout is over."""
