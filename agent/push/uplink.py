"""The wire to the collector by HTTPS: one kept session, gzip, and every answer of docs/protocol.md as a noun or an error."""

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from watchkeeper.agent.push.bundle import decode_bundle
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.batch import PROTOCOL, Answer, Bundle, Lane, Push, Request
from watchkeeper.model.errors import PushError, PushLater, PushRefused, PushUnauthorized, PushUndeclared, WireError
from watchkeeper.model.wire import encode_block

CONNECT_S, ANSWER_S = 5.0, 20.0
WORTH_ZIPPING_BYTES = 600


class Uplink:
    """The collector at `address`, as agent.ports.CollectorClient. Blocking; for one thread."""

    def __init__(self, address: str, agent: str, token: Secret, ca: Path | None = None) -> None:
        """Raises SecretError where the token can be none."""
        self._address, self._agent = address.rstrip("/"), agent
        self._session = requests.Session()
        self._session.trust_env = False  # a ~/.netrc would replace our token, a proxy would read it
        self._session.headers["Authorization"] = token.bearer()
        if ca:
            self._session.verify = str(ca)

    def push(self, push: Push, bodies: Sequence[str]) -> Answer:
        """See agent.ports.CollectorClient."""
        head = {
            "protocol": PROTOCOL, "agent": push.agent, "epoch": push.epoch, "lane": push.lane.value,
            "sent_at": push.sent_at, "bundle": push.bundle, "more": push.more,
            "blocks": [encode_block(block) for block in push.blocks],
        }  # fmt: skip
        body = (json.dumps(head, separators=(",", ":"))[:-1] + ',"items":[' + ",".join(bodies) + "]}").encode()
        headers = {"Content-Type": "application/json"}
        if len(body) > WORTH_ZIPPING_BYTES:
            body = gzip.compress(body, 3)
            headers["Content-Encoding"] = "gzip"
        answer = self._ask("POST", "/v1/push", headers, body)
        if answer.status_code != requests.codes.ok:
            raise _error(answer)
        return _answer(answer, push.lane)

    def bundle(self, held: str) -> Bundle | None:
        """See agent.ports.CollectorClient."""
        answer = self._ask("GET", "/v1/bundle", {"If-None-Match": f'"{held}"'} if held else {}, None)
        if answer.status_code == requests.codes.not_modified:
            return None
        if answer.status_code != requests.codes.ok:
            raise _error(answer)
        try:
            return decode_bundle(answer.json(), self._agent)
        except ValueError:
            raise PushLater(f"{self._address} answered 200, but with something else than a bundle") from None
        except WireError as error:
            raise PushRefused(f"the collector's bundle cannot be used: {error}", answer.status_code) from None

    def close(self) -> None:
        """Let go of the connection."""
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
    """The innermost cause: what an operator can act on, without the layers around it."""
    while (inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return str(error) or type(error).__name__


def _answer(answer: requests.Response, lane: Lane) -> Answer:
    try:
        raw = answer.json()
        through = raw["through"] if raw["lane"] == lane.value else None
        asked = tuple(Request(str(one["kind"]), str(one.get("device", ""))) for one in raw.get("requests", ()))
        bundle = str(raw.get("bundle", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        through = None
    if type(through) is not int or through < 0:
        raise PushLater("answered 200, but not with an answer to a push; is this a collector?")
    return Answer(lane, through, bundle, asked)


def _error(answer: requests.Response) -> PushError:
    status, body = answer.status_code, _table(answer)
    said = f"{status}: {str(body.get('error', answer.reason))[:500]}"
    if status in (requests.codes.bad_request, requests.codes.forbidden, requests.codes.request_entity_too_large):
        return PushRefused(said, status)
    if status == requests.codes.unauthorized:
        return PushUnauthorized(said)
    if status == requests.codes.conflict:
        blocks = body.get("blocks")
        return PushUndeclared(said, (one for one in blocks if type(one) is int) if isinstance(blocks, list) else ())
    return PushLater(said, _retry_after_s(answer))


def _table(answer: requests.Response) -> dict[str, Any]:
    try:
        raw = answer.json()
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _retry_after_s(answer: requests.Response) -> float | None:
    """RFC 9110, 10.2.3: seconds; our collector never answers with a date."""
    try:
        seconds = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), 3600.0) if math.isfinite(seconds) else None
