"""The HTTP endpoint of agents: pushes and bundles. Bare ASGI, because speed matters here. See docs/protocol.md.

A push is answered 200 only after it is on disk; a refused push is not applied in any part.
"""

import asyncio
import contextlib
import json
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from pydantic_core import from_json, to_json

from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.intake.journal import Answer, Journal, Waiting
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.intake.sequences import BadPush, StaleEpoch, UnknownBlocks
from watchkeeper.collector.intake.sessions import TwinAgent
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.snapshot import bundle_to_json as bundle_json
from watchkeeper.model.batch import STANDING, Push
from watchkeeper.model.errors import StoreError, StoreFull, WireError
from watchkeeper.model.origin import NEW_EPOCH
from watchkeeper.model.verdict import ActiveVerdicts, Verdict, Withdrawal
from watchkeeper.model.wire import decode_push

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BODY_LIMIT = 8_000_000
UNZIPPED_LIMIT = 64_000_000
BACKLOG_LIMIT = 5_000
_BIG_BODY = 200_000  # bytes; parsed in a thread, so that the event loop goes on
RETRY_AFTER_S, BACKLOG_RETRY_AFTER_S = 10, 1


class _Refusal(Exception):
    def __init__(self, status: int, error: str, headers: Iterable[tuple[bytes, bytes]] = (), **more: Any) -> None:
        self.status = status
        self.body = {"error": error, **more}
        self.headers = tuple(headers)
        super().__init__(error)


def _later(error: str, status: int = 503) -> _Refusal:
    seconds = RETRY_AFTER_S if status == 503 else BACKLOG_RETRY_AFTER_S  # noqa: PLR2004 -- Service Unavailable
    return _Refusal(status, error, [(b"retry-after", str(seconds).encode())])


class AgentEndpoint:
    """Serves `/v1/push` and `/v1/bundle`. `full` tells whether less than the reserve of the disk is free."""

    def __init__(self, runtime: Runtime, journal: Journal, requests: Requests, full: Callable[[], bool]) -> None:
        self._runtime = runtime
        self._journal = journal
        self._requests = requests
        self._full = full
        self.refused: dict[int, int] = {}
        self._answers: deque[tuple[asyncio.Future[int], Answer]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: Headers = ()
        try:
            agent = await self._agent(scope)
            if scope["path"] == "/v1/push":
                _require_method(scope, "POST")
                status, body = 200, await self._push(agent, scope, receive)
            else:
                _require_method(scope, "GET")
                status, headers, body = self._bundle(agent, scope)
        except _Refusal as refusal:
            status, headers, body = self._refusal(refusal)
        except StoreError as error:  # the database's own error is not shown to clients
            message = str(error) if isinstance(error, StoreFull) else "the collector's store is not available now"
            status, headers, body = self._refusal(_later(message))
        start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
        if status == 413:  # noqa: PLR2004 -- Content Too Large: the rest of the body is not read
            start.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, refusal: _Refusal) -> tuple[int, Headers, bytes]:
        self.refused[refusal.status] = self.refused.get(refusal.status, 0) + 1
        return refusal.status, refusal.headers, json.dumps(refusal.body).encode()

    async def _agent(self, scope: Scope) -> str:
        header = _header(scope, b"authorization")
        scheme, _, text = header.partition(" ")
        bearer = self._runtime.tokens.bearer(text.strip()) if scheme.lower() == "bearer" and text else None
        if bearer is None or bearer.kind is not TokenKind.AGENT:
            raise _Refusal(
                401,
                "authentication required: send the token of an agent as a Bearer token",
                [(b"www-authenticate", b"Bearer")],
            )
        return bearer.name

    # ---- pushes ----

    async def _push(self, agent: str, scope: Scope, receive: Receive) -> bytes:
        if self._full():
            raise _later("the collector's disk is full; keep the data and try again")
        if self._journal.waiting > BACKLOG_LIMIT:
            raise _later("too many requests: pushes are waiting to be journalled", 429)
        body = await _body(scope, receive)
        received_at = self._runtime.clock.wall()
        if len(body) > _BIG_BODY:
            push = await asyncio.to_thread(_parse, body, received_at)
        else:
            push = _parse(body, received_at)
        self._require_ownership(agent, push)
        try:
            through = await self._commit(push, body, received_at, _client(scope))
        except UnknownBlocks as error:
            raise _Refusal(409, str(error), blocks=list(error.blocks)) from None
        except TwinAgent as error:
            raise _Refusal(409, str(error), [(b"retry-after", f"{error.retry_after_s:.0f}".encode())]) from None
        except StaleEpoch as error:
            raise _Refusal(409, str(error), epoch=NEW_EPOCH) from None
        except BadPush as error:
            raise _Refusal(400, str(error)) from None
        return to_json({"lane": push.lane.value, "through": through, **self._told(agent)})

    def _told(self, agent: str) -> dict[str, Any]:
        """What every answer tells: the bundle, requests, and which store this is."""
        bundle, standing = self._runtime.snapshot.bundles.get(agent), self._journal.standing
        requests = self._requests.take(agent)
        if agent in standing.wanted:
            requests.append({"kind": STANDING})
        told: dict[str, Any] = {"bundle": bundle.version if bundle else "", "requests": requests}
        if standing.identity:
            told |= {"store": standing.identity.identity, "generation": standing.identity.generation}
        return told

    async def _commit(self, push: Push, body: bytes, received_at: float, address: str) -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._journal.submit(Waiting(push, body, received_at, lambda answer: self._tell(done, answer), address))
        return await done

    def _tell(self, done: "asyncio.Future[int]", answer: Answer) -> None:
        """Called from the journal's thread: wake the event loop once for a whole group of answers."""
        self._answers.append((done, answer))
        if len(self._answers) == 1:
            with contextlib.suppress(RuntimeError):  # the event loop has ended: no request waits any more
                done.get_loop().call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        while self._answers:
            done, answer = self._answers.popleft()
            if done.done():
                continue  # the client has disconnected
            if isinstance(answer, int):
                done.set_result(answer)
            else:
                done.set_exception(answer)

    def _require_ownership(self, agent: str, push: Push) -> None:
        """Refuse a push about another agent, or about a device of another agent."""
        if push.agent != agent:
            raise _Refusal(403, f"forbidden: this is the token of agent `{agent}`, not of `{push.agent}`")
        if agent not in self._runtime.snapshot.agents:
            raise _Refusal(403, f"forbidden: agent `{agent}` is not in the inventory")
        devices = self._runtime.snapshot.devices
        for device in _devices(push):
            known = devices.get(device)
            if known is None or known.agent != agent:
                raise _Refusal(403, f"forbidden: device `{device}` does not belong to agent `{agent}`")

    def _bundle(self, agent: str, scope: Scope) -> tuple[int, Headers, bytes]:
        bundle = self._runtime.snapshot.bundles.get(agent)
        if bundle is None:
            raise _Refusal(403, f"forbidden: agent `{agent}` is not in the inventory")
        tag = f'"{bundle.version}"'
        headers = ((b"etag", tag.encode()),)
        if tag in _header(scope, b"if-none-match"):
            return 304, headers, b""
        return 200, headers, json.dumps(bundle_json(bundle), ensure_ascii=False).encode()


def _devices(push: Push) -> set[str]:
    devices = {block.device for block in push.blocks}
    for _, body in push.items:
        if isinstance(body, Verdict | Withdrawal):
            devices.add(body.device)
        elif isinstance(body, ActiveVerdicts):
            devices.update(verdict.device for verdict in body.verdicts)
    return devices


def _parse(body: bytes, received_at: float) -> Push:
    try:
        return decode_push(from_json(body, allow_inf_nan=False), received_at)
    except (ValueError, RecursionError) as error:
        raise _Refusal(400, f"bad request: the body is not JSON: {error}") from None
    except WireError as error:
        raise _Refusal(400, str(error)) from None


def _require_method(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise _Refusal(405, f"method not allowed: use {method}", [(b"allow", method.encode())])


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0])[:100] if client else ""


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The body of the request, unzipped. Stops reading as soon as it is larger than allowed."""
    length = _header(scope, b"content-length")
    if length.isdigit() and int(length) > BODY_LIMIT:
        raise _too_large()
    parts, size = [], 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Refusal(400, "bad request: the connection ended before the body")
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        if size > BODY_LIMIT:
            raise _too_large()
        if not event.get("more_body"):
            break
    body = b"".join(parts)
    coding = _header(scope, b"content-encoding").lower()
    if coding in ("", "identity"):
        return body
    if coding != "gzip":
        raise _Refusal(400, f"bad request: content-encoding `{coding}` is not supported; send gzip, or none")
    return _unzip(body) if len(body) < _BIG_BODY else await asyncio.to_thread(_unzip, body)


def _unzip(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, UNZIPPED_LIMIT)
    except zlib.error as error:
        raise _Refusal(400, f"bad request: the body is not gzip: {error}") from None
    if inflater.unconsumed_tail:
        raise _too_large()
    if not inflater.eof:
        raise _Refusal(400, "bad request: the gzip body ends too early")
    return plain


def _too_large() -> _Refusal:
    return _Refusal(
        413, f"content too large: more than {BODY_LIMIT} bytes, or {UNZIPPED_LIMIT} unzipped; send fewer items"
    )
