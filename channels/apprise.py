"""Mail, SMS gateways, WeCom, DingTalk, Feishu and a hundred other services, by the library Apprise. The whole Apprise
URL is a secret: most services have their token in it. `model.logs` keeps Apprise's own log lines, which show it, out of
the log.

Apprise looks only at the HTTP status of most services. So we see every answer too, and judge it (`channels/answers.py`).
"""

import re
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

import apprise
import requests

from watchkeeper.channels.answers import JUDGED_BYTES, Acceptance, HttpAnswer, judge
from watchkeeper.channels.deadline import TooMuchReceived, within
from watchkeeper.channels.ports import Message, Proof, Receipt, Tone
from watchkeeper.channels.services import KNOWN
from watchkeeper.channels.words import shorten, style_of, utf8_bytes
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.plain import plain_line, printable

_DETAIL_LIMIT = 300
_BETWEEN = 8  # characters that Apprise writes around a title inside the text: a line end, a heading, emphasis
_TOO_SHORT_FOR_A_SECRET = 2
_ANSWER_BYTES, _READ_PART = 1_000_000, 16_384
"""Of an answer so much is read; no service says more about a message."""
_TYPES = {
    Tone.FAILURE: apprise.NotifyType.FAILURE,
    Tone.WARNING: apprise.NotifyType.WARNING,
    Tone.SUCCESS: apprise.NotifyType.SUCCESS,
    Tone.INFO: apprise.NotifyType.INFO,
}
_COUNTED_IN_BYTES = frozenset({"dingtalk", "feishu", "lark", "wechat", "wecombot"})
_FORMAT = re.compile(r"(?<=[?&])(format|overflow)=[^&#]*&?", re.IGNORECASE)

_answers: ContextVar[list[HttpAnswer] | None] = ContextVar("HTTP answers of the delivery under way", default=None)
_plain_send = requests.Session.send


def _send(session: requests.Session, request: requests.PreparedRequest, **given: Any) -> requests.Response:
    seen = _answers.get()
    if seen is None:
        return _plain_send(session, request, **given)
    streamed = given.pop("stream", False)
    answer = _plain_send(session, request, stream=True, **given)
    body = b"" if streamed else _read(answer)[:JUDGED_BYTES]
    seen.append(HttpAnswer(answer.status_code, body, answer.headers.get("Retry-After", "")))
    return answer


def _read(answer: requests.Response) -> bytes:
    """Read the body, as requests would without `stream`, but not more than `_ANSWER_BYTES` of it. The rest is left unread."""
    body = b""
    for part in answer.iter_content(_READ_PART):
        body += part
        if len(body) > _ANSWER_BYTES:
            answer.close()
            break
    vars(answer).update(_content=body, _content_consumed=True)  # what `Response.content` itself sets
    return body


# Apprise's plugins call `requests.post` and offer no hook. Outside of a delivery nothing changes.
requests.Session.send = _send  # type: ignore[method-assign, assignment] # that is the purpose


class AppriseChannel:
    """One service of one person. Only a URL that Apprise cannot read, or a refusal of the service that no further try can
    change, is a permanent failure."""

    def __init__(self, url: Secret, timeout_s: float, clock: Clock | None = None) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        # A redirected POST becomes a GET, and its 200 would count as a delivery. No thread of Apprise's own: `within` has one
        asset = apprise.AppriseAsset(app_id="Watchkeeper", http_redirects=False, async_mode=False, service_timeout=0)
        # We choose the format, so that a device's words stay words, and shorten the text ourselves
        service = _opened(_FORMAT.sub("", url.reveal()).rstrip("?&"), asset)
        self._to = apprise.Apprise(asset=asset)
        if service is not None:
            service.socket_connect_timeout = service.socket_read_timeout = timeout_s
            # It would pause for seconds before each receiver, or for as long as the service asks; the outbox tries again
            service.throttle = _no_pause
            service.retry = 0
            self._to.add(service)

    def send(self, message: Message) -> Receipt:
        """Implements `Channel.send`. `timeout_s` limits the whole call; at its end the connections are shut down."""
        if not self._to:
            return Receipt(delivered=False, detail="Apprise cannot read the URL in this secret", permanent=True)
        name = self._to[0].service_name
        try:
            receipt = within(self._timeout_s, lambda: self._notify(message))
        except TooMuchReceived:
            return Receipt(delivered=False, detail=f"{name}: its answer does not end")
        return receipt or Receipt(delivered=False, detail=f"{name}: no answer within {self._timeout_s:g} s")

    @property
    def service(self) -> str:
        """Which service is behind the URL: `dingtalk`, `email`. Empty if Apprise cannot read it."""
        return _module(self._to[0]) if self._to else ""

    @property
    def room_bytes(self) -> int:
        """Implements `Bounded.room_bytes`. Of the service's limit a quarter is for the title and for what `style` escapes. A text
        has no more characters than bytes."""
        return int(self._to[0].body_maxlen) * 3 // 4 if self._to else 0

    def _notify(self, message: Message) -> Receipt:
        seen: list[HttpAnswer] = []
        _answers.set(seen)
        result = self._to.notify(**_written(message, self._to[0]))
        with result:
            # Not bool(result): for a service that the URL calls optional, Apprise counts a failure as success
            taken = any(attempt for service in result for attempt in service)
            logs = " ".join(entry.message for entry in result.logs())
        return self._receipt(seen, logs, taken=taken)

    def _receipt(self, seen: Sequence[HttpAnswer], logs: str, *, taken: bool) -> Receipt:
        service = self._to[0]
        name, module = str(service.service_name), _module(service)
        grammar = KNOWN.get(module)
        now = self._clock.wall()
        judged = [judge(answer, grammar, now) for answer in seen]
        refusals = [one for one in judged if not one.accepted]
        if taken:
            refusals = [one for one in refusals if not one.by_status]  # Apprise has coped with these
            if grammar and not refusals and not any(one.confirmed for one in judged):
                refusals = [Acceptance(accepted=False, said="no answer says that it was accepted")]
        if taken and not refusals:
            sure = module == "email" or any(one.confirmed for one in judged)  # RFC 5321 4.2.5: the server takes it over
            waits = [one.retry_after_s for one in judged if one.retry_after_s is not None]
            return Receipt(
                delivered=True, detail=f"{name} accepted it" if sure else f"{name} took it",
                proof=Proof.ACCEPTED if sure else Proof.HANDED_OVER, retry_after_s=max(waits, default=None),
            )  # fmt: skip
        return self._failure(name, refusals[-1] if refusals else None, logs)

    def _failure(self, name: str, refusal: Acceptance | None, logs: str) -> Receipt:
        text = (refusal.said if refusal else "") or logs or "the service did not accept it"
        detail = f"{name}: {_without_secrets(text, self._url.reveal())}"[:_DETAIL_LIMIT]
        if refusal is None:
            return Receipt(delivered=False, detail=detail)
        return Receipt(delivered=False, detail=detail, permanent=refusal.permanent, retry_after_s=refusal.retry_after_s)


def _no_pause(*_: Any, **__: Any) -> None:
    """In place of `URLBase.throttle`."""


def _opened(url: str, asset: apprise.AppriseAsset) -> Any:
    """The service of a URL; None if Apprise cannot read it. Some of its parsers raise errors of their own."""
    try:
        return apprise.Apprise.instantiate(url, asset=asset)
    except Exception:  # noqa: BLE001 -- see above; the error may repeat the URL
        return None


def _module(service: Any) -> str:
    """The name of Apprise's module for a service: `dingtalk`, `email`."""
    parts = type(service).__module__.split(".")
    return parts[2] if parts[:2] == ["apprise", "plugins"] else parts[-1]


def _written(message: Message, service: Any) -> dict[str, Any]:
    """Title and body as this service must be given them, within its limit, for `Apprise.notify`. It refuses what is longer."""
    module = _module(service)
    formats = service.notify_format if isinstance(service.notify_format, tuple | list) else (service.notify_format,)
    apart = service.title_maxlen > 0
    style = style_of(module, only_markdown=list(formats) == [apprise.NotifyFormat.MARKDOWN], title_apart=apart)
    measure = utf8_bytes if module in _COUNTED_IN_BYTES else len
    subject = plain_line(message.subject)  # a line end would be a header of a mail
    if apart:
        subject = shorten(subject, service.title_maxlen, lambda part: measure(style.title(part)))
    title = style.title(subject)
    room = service.body_maxlen
    if not apart or service.overflow_amalgamate_title:
        room -= measure(title) + _BETWEEN
    text = printable(message.text or message.subject)
    return {
        "title": title,
        "body": style.text(shorten(text, max(room, _BETWEEN), lambda part: measure(style.text(part)))),
        "body_format": apprise.NotifyFormat.MARKDOWN if style.markdown else apprise.NotifyFormat.TEXT,
        "notify_type": _TYPES[message.tone],
    }


def _without_secrets(text: str, url: str) -> str:
    """The text with every word of the URL after its schema replaced, as written or percent-decoded. Words of two
    letters or less are no secret."""
    words = re.split(r"[/:@?&=+,#\s]+", url.partition("://")[2])
    forms = {form for word in words for form in (word, unquote(word)) if len(form) > _TOO_SHORT_FOR_A_SECRET}
    secrets = sorted(forms, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, secrets)), "***", text) if secrets else text
