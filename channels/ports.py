"""The port of a channel: its address, the message it sends, and the receipt it returns."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit


class Via(StrEnum):
    """The kinds of channels."""

    APPRISE = "apprise"
    WEBHOOK = "webhook"
    CONSOLE = "console"
    SMS = "sms"


@dataclass(frozen=True, slots=True)
class Address:
    """One address of one person. `secret` is the *name* of the secret: for apprise the whole Apprise URL, for webhook
    the HMAC key. `url` is the webhook's URL; it must not contain a secret. `to` is the telephone number of sms, and `spool` the
    folder that has the folders `outbox`, `sent` and `error` of gammu-smsd."""

    via: Via
    url: str = ""
    secret: str = ""
    to: str = ""
    spool: str = "/var/spool/gammu"

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
        if self.via is Via.SMS and self.to and not dialled(self.to):
            yield "to", "this is not a telephone number; write it like `+86 138 0000 0001`"
        if self.via is Via.SMS and not self.spool.startswith("/"):
            yield "spool", "name the folder from the root, like `/var/spool/gammu`"


def dialled(number: str) -> str:
    """A telephone number as it is dialled: digits, perhaps after a plus sign. Empty if it is none."""
    compact = re.sub(r"[\s().-]", "", number)
    return compact if re.fullmatch(r"\+?[0-9]{3,15}", compact, re.ASCII) else ""  # ITU-T E.164: at most 15 digits


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0  # `port` checks itself
    except ValueError:
        return False


class Tone(StrEnum):
    """What a message is at a glance. Services show it as a colour, an icon or a priority."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one person. `key` is the idempotency key: it stays the same for every try and channel. `facts` are
    the JSON values for a receiving program (incident, rung, level ...)."""

    key: str
    person: str
    subject: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tone(self) -> Tone:
        """The end of a fault is good news. Anything else has the tone of its level, and without one it is information."""
        kind, level = self.facts.get("kind"), self.facts.get("level")
        if kind in {"recovered", "passed"}:
            return Tone.SUCCESS
        if kind == "withdrawn" or level in {None, "ok"}:
            return Tone.INFO
        return Tone.FAILURE if level == "critical" else Tone.WARNING


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


@runtime_checkable
class Bounded(Protocol):
    """A channel whose service takes only so much text. A text that is longer is shortened."""

    @property
    def room_bytes(self) -> int:
        """How many bytes of text surely fit into one message."""
