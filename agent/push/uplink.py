"""The HTTPS client of the collector: one session, gzip, and every answer of docs/protocol.md or an error."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from watchkeeper.agent.push.bundle import decode_bundle
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.batch import Answer, Bundle, Push
from watchkeeper.model.errors import (
    PushError,
    PushLater,
    PushRefused,
    PushStale,
    PushUnauthorized,
    PushUndeclared,
    WireError,
)
from watchkeeper.model.origin import NEW_EPOCH
from watchkeeper.model.wire import decode_answer, encode_push

CONNECT_S, ANSWER_S = 5.0, 20.0
GZIP_FROM_BYTES = 600  # a smaller body does not get smaller


class Uplink:
    """The collector at `address`; implements agent.ports.CollectorClient. Blocking; for one thread."""

    def __init__(self, address: str, agent: str, token: Secret, ca: Path | None = None) -> None:
        """Raises SecretError where the token cannot be sent in a header."""
        self._address, self._agent = address.rstrip("/"), agent
        self._session = requests.Session()
        self._session.trust_env = False  # else ~/.netrc could replace our token, and a proxy could read it
        self._session.headers["Authorization"] = token.bearer()
        if ca:
            self._session.verify = str(ca)

    def push(self, push: Push, items: Sequence[str]) -> Answer:
        """Send a batch. Raises PushError."""
        body = encode_push(push, items).encode()
        headers = {"Content-Type": "application/json"}
        if len(body) > GZIP_FROM_BYTES:
            body = gzip.compress(body, 3)
            headers["Content-Encoding"] = "gzip"
        answer = self._ask("POST", "/v1/push", headers, body)
        if answer.status_code != requests.codes.ok:
            raise _error(answer)
        try:
            return decode_answer(answer.json(), push.lane)
        except (ValueError, WireError):
            raise PushLater(f"{self._address} answered 200, but not to a push; check the collector's address") from None

    def bundle(self, version: str) -> Bundle | None:
        """Fetch the bundle, or None where the collector still has `version`. Raises PushError."""
        answer = self._ask("GET", "/v1/bundle", {"If-None-Match": f'"{version}"'} if version else {}, None)
        if answer.status_code == requests.codes.not_modified:
            return None
        if answer.status_code != requests.codes.ok:
            raise _error(answer)
        try:
            return decode_bundle(answer.json(), self._agent)
        except ValueError:
            raise PushLater(
                f"{self._address} answered 200, but not with a bundle; check the collector's address"
            ) from None
        except WireError as error:
            raise PushRefused(f"the collector's bundle cannot be used: {error}", answer.status_code) from None

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> requests.Response:
        try:
            return self._session.request(
                method, self._address + path, headers=headers, data=body,
                timeout=(CONNECT_S, ANSWER_S), allow_redirects=False,
            )  # fmt: skip
        except (requests.RequestException, OSError) as error:
            raise PushLater(f"{self._address} cannot be reached: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """The text of the innermost cause, which an operator can act on, without the layers around it."""
    while (inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return str(error) or type(error).__name__


def _error(answer: requests.Response) -> PushError:
    status, body = answer.status_code, _json_object(answer)
    text = f"{status}: {str(body.get('error', answer.reason))[:500]}"
    if status in (requests.codes.bad_request, requests.codes.forbidden, requests.codes.request_entity_too_large):
        return PushRefused(text, status)
    if status == requests.codes.unauthorized:
        return PushUnauthorized(text)
    if status == requests.codes.conflict and body.get("epoch") == NEW_EPOCH:
        return PushStale(text)
    blocks = body.get("blocks")
    if status == requests.codes.conflict and isinstance(blocks, list):
        return PushUndeclared(text, (block for block in blocks if type(block) is int))
    return PushLater(text, _retry_after_s(answer))


def _json_object(answer: requests.Response) -> dict[str, Any]:
    try:
        raw = answer.json()
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _retry_after_s(answer: requests.Response) -> float | None:
    """The header `Retry-After` in seconds (RFC 9110, 10.2.3); our collector never sends a date."""
    try:
        seconds = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), 3600.0) if math.isfinite(seconds) else None
