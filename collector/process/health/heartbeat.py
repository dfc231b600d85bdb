"""A heartbeat to an address outside: its silence tells somebody else that this collector does not work.

Two forms, by the address. Healthchecks and what speaks its form: GET for a beat, `/start`, POST to `/fail` with the reason
(healthchecks.io/docs/http_api). Uptime Kuma's push monitor, whose path has `/api/push/`: GET with `status` and `msg`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests

from watchkeeper.channels.deadline import within
from watchkeeper.channels.ports import Receipt
from watchkeeper.channels.webhook import system_error
from watchkeeper.collector.process.health.health import Health
from watchkeeper.documents.scalars import is_loopback
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import SecretError
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)

DEADLINE_S, LOOK_S, AGAIN_AFTER_S = 10.0, 1.0, 10.0
_KUMA_PATH = "/api/push/"
_MOST_CHARACTERS = 500


class Signal(StrEnum):
    """What the address is told."""

    START = "start"
    BEAT = "beat"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Ping:
    """One HTTP request."""

    method: str
    url: str
    body: str = ""


def call_of(url: str, signal: Signal, reason: str = "") -> Ping | None:
    """The request that tells a signal; None for one that the form does not have."""
    parts = urlsplit(url)
    reason = reason[:_MOST_CHARACTERS]
    if _KUMA_PATH in parts.path:
        if signal is Signal.START:
            return None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        query |= {"status": "down" if signal is Signal.FAIL else "up", "msg": reason or "OK"}
        return Ping("GET", urlunsplit(parts._replace(query=urlencode(query))))
    if signal is Signal.BEAT:
        return Ping("GET", url)
    path = f"{parts.path.rstrip('/')}/{signal.value}"
    return Ping("POST", urlunsplit(parts._replace(path=path)), reason)


def checked(secret: Secret, name: str) -> str:
    """The address. Raises SecretError for a text that is no web address; the error does not quote it."""
    try:
        parts = urlsplit(secret.reveal().strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0  # `port` checks itself
    except ValueError:
        usable = False
    if not usable:
        raise SecretError(f"the secret `{name}` must be the whole web address of the heartbeat, like https://...")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        log.warning("the heartbeat goes out by http, so that others on the network can read its address; use https")
    return urlunsplit(parts)


def send(call: Ping) -> Receipt:
    """Send one request within DEADLINE_S. The receipt does not quote the address, whose path is a secret. A redirect is not
    followed: it may lead to a sign-in page."""

    def ask() -> Receipt:
        try:
            with requests.request(
                call.method,
                call.url,
                data=call.body.encode() or None,
                timeout=DEADLINE_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
                return Receipt(delivered=status in range(200, 300), detail=f"the address answered {status}")
        except (requests.RequestException, OSError) as error:
            return Receipt(delivered=False, detail=f"the address cannot be reached: {system_error(error)}")

    return within(DEADLINE_S, ask) or Receipt(delivered=False, detail=f"no answer within {DEADLINE_S:.0f} s")


class Heartbeat:
    """Sends a beat every `every_s`, but only when each kind of work was done since the last one; says `fail` when this collector
    cannot notify. It has a thread of its own and delays nobody."""

    def __init__(
        self, url: str, every_s: float, health: Health, clock: Clock, sender: Callable[[Ping], Receipt] = send
    ) -> None:
        self._url, self._every_s, self._health, self._clock, self._send = url, every_s, health, clock, sender
        self._proved_from = self.taken_at = clock.boot()
        self._next_at = self._told_at = float("-inf")
        self._last: Signal | None = None
        self.failures = 0
        self.sent_at: float | None = None
        self.wrong = ""
        self.worker = Worker("heartbeat", self._turn, clock)

    @property
    def every_s(self) -> float:
        """The time between two beats."""
        return self._every_s

    def _turn(self) -> float:
        self.step()
        return LOOK_S

    def step(self) -> None:
        """Send what is due now. `taken_at` (boot clock) is when the address took a signal last, `wrong` why it does not."""
        now = self._clock.boot()
        reason = "; ".join(map(str, self._health.lapses())) or self._health.unsent
        if self._last is None:
            self._tell(Signal.START, "", now)
            return
        signal = Signal.FAIL if reason else Signal.BEAT
        due = now >= self._next_at or (signal is not self._last and now - self._told_at >= AGAIN_AFTER_S)
        if due and (reason or self._health.done_since(self._proved_from)):
            self._tell(signal, reason, now)

    def _tell(self, signal: Signal, reason: str, now: float) -> None:
        call, self._last, self._told_at = call_of(self._url, signal, reason), signal, now
        receipt = self._send(call) if call else Receipt(delivered=True, detail="")
        if not receipt.delivered:
            wrong = receipt.detail
            if not self.wrong:
                log.error("the heartbeat was not taken: %s; this is tried again", wrong)
            self.failures += 1
            self.wrong, self._next_at = wrong, now + min(AGAIN_AFTER_S, self._every_s)
            return
        if self.wrong:
            log.warning("the heartbeat is taken again")
        self.wrong, self.taken_at = "", self._clock.boot()
        if signal is not Signal.START:
            self._next_at = now + self._every_s
        if signal is Signal.BEAT:
            self._proved_from, self.sent_at = now, self._clock.wall()
