"""A signed POST to a program of the operator. docs/webhook.md says what the receiver must do."""

import hashlib
import hmac
import json
from urllib.parse import quote, urlsplit

import requests
import urllib3

from watchkeeper.channels.answers import final, wait_of
from watchkeeper.channels.deadline import TooMuchReceived, within
from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import Clock

TOLERANCE_S = 300.0
"""How far the receiver's clock may differ from ours before a signature counts as too old or too new."""


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of the header `Watchkeeper-Signature`: HMAC-SHA256 (RFC 2104) over the timestamp, a full stop and the
    body."""
    signed = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def verify(secret: str, timestamp: str, body: bytes, signature: str, now: float) -> bool:
    """Whether a request is signed by us and recent. `timestamp` and `signature` are from its headers, `now` is in UTC
    seconds."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):  # noqa: PLR2004 -- seconds of 30 million years
        return False
    genuine = hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode())
    return genuine and abs(now - int(timestamp)) <= TOLERANCE_S


class WebhookChannel:
    """POSTs a message as JSON. Redirects are not followed: a redirected page does not count as delivered."""

    def __init__(self, url: str, secret: Secret, clock: Clock, timeout_s: float) -> None:
        self._url = url
        self._host = urlsplit(url).netloc
        self._secret = secret
        self._clock = clock
        self._timeout_s = timeout_s

    def send(self, message: Message) -> Receipt:
        """Implements `Channel.send`. `timeout_s` limits the whole call. The answer's body is not read."""
        try:
            receipt = within(self._timeout_s, lambda: self._post(message))
        except TooMuchReceived:
            return Receipt(delivered=False, detail=f"{self._host} does not stop answering")
        return receipt or self._no_answer()

    def _post(self, message: Message) -> Receipt:
        body = _json_body(message)
        timestamp = str(int(self._clock.wall()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": quote(
                message.key, safe=" !#$&'()*+,/:;=?@[]", errors="replace"
            ),  # headers must be ASCII
            "Watchkeeper-Timestamp": timestamp,
            "Watchkeeper-Signature": sign(self._secret.reveal(), timestamp, body),
        }
        try:
            with requests.post(
                self._url, data=body, headers=headers, timeout=self._timeout_s, allow_redirects=False, stream=True
            ) as answer:
                return self._judge(answer.status_code, answer.headers.get("Retry-After", ""))
        except requests.Timeout:
            return self._no_answer()
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
        ) as error:  # requests raises some of urllib3's errors as they are
            bad_url = isinstance(error, ValueError)  # requests' errors about the URL are also ValueErrors
            detail = f"{self._host} cannot be reached: {system_error(error)}"
            return Receipt(delivered=False, detail=detail, permanent=bad_url)

    def _no_answer(self) -> Receipt:
        return Receipt(delivered=False, detail=f"{self._host} did not answer within {self._timeout_s:g} s")

    def _judge(self, status: int, retry_after: str) -> Receipt:
        detail = f"{self._host} answered {status}"
        wait_s = wait_of(retry_after, self._clock.wall()) if retry_after else None
        if 200 <= status < 300:  # noqa: PLR2004 -- RFC 9110 15.3: successful
            return Receipt(delivered=True, detail=detail, retry_after_s=wait_s)
        return Receipt(delivered=False, detail=detail, permanent=final(status), retry_after_s=wait_s)


def _json_body(message: Message) -> bytes:
    fields = {
        "key": message.key,
        "person": message.person,
        "subject": message.subject,
        "text": message.text,
        "facts": dict(message.facts),
    }
    return json.dumps(fields, ensure_ascii=False, allow_nan=False).encode(errors="replace")


def system_error(error: BaseException) -> str:
    """The operating system's text for the error inside those of requests and urllib3, whose own texts repeat the
    URL."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__
