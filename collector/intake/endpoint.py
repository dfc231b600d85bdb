"""Where agents knock: pushes and bundles, as bare ASGI, because here speed matters. See docs/protocol.md.

Nothing is answered 200 before it is on disk, and nothing of a refused push has been applied.
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
from watchkeeper.collector.intake.sequences import BadPush, UnknownBlocks
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.snapshot import to_json as bundle_json
from watchkeeper.model.batch import Push
from watchkeeper.model.errors import StoreError, StoreFull, WireError
from watchkeeper.model.verdict import Standing, Verdict, Withdrawal
from watchkeeper.model.wire import decode_push

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BODY_LIMIT = 8_000_000
UNZIPPED_LIMIT = 64_000_000
BACKLOG_LIMIT = 5_000
_BIG = 200_000  # parsed in a thread, so that the loop is not held
_LATER_S = 10


class _Refusal(Exception):
    def __init__(self, status: int, error: str, headers: Iterable[tuple[bytes, bytes]] = (), **more: Any) -> None:
        self.status = status
        self.body = {"error": error, **more}
        self.headers = tuple(headers)
        super().__init__(error)


def _later(error: str, status: int = 503) -> _Refusal:
    return _Refusal(status, error, [(b"retry-after", str(_LATER_S if status == 503 else 1).encode())])  # noqa: PLR2004 -- Service Unavailable


class Ingest:
    """Serves `/v1/push` and `/v1/bundle`. `full` tells whether the disk's reserve has been reached."""

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
                _must_be(scope, "POST")
                status, body = 200, await self._push(agent, scope, receive)
            else:
                _must_be(scope, "GET")
                status, headers, body = self._bundle(agent, scope)
        except _Refusal as refusal:
            status, headers, body = self._refusal(refusal)
        except StoreError as error:  # a database's words are not for everybody who knocks
            said = str(error) if isinstance(error, StoreFull) else "the collector's store cannot be used now"
            status, headers, body = self._refusal(_later(said))
        start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
        if status == 413:  # noqa: PLR2004 -- the rest of the body is not read
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
            raise _Refusal(401, "no agent's token, or not one that is known here", [(b"www-authenticate", b"Bearer")])
        return bearer.name

    # ---- pushes ----

    async def _push(self, agent: str, scope: Scope, receive: Receive) -> bytes:
        if self._full():
            raise _later("the collector's disk is full; keep what you have")
        if self._journal.waiting > BACKLOG_LIMIT:
            raise _later("too many pushes at once", 429)
        body = await _body(scope, receive)
        received_at = self._runtime.clock.wall()
        if len(body) > _BIG:
            push = await asyncio.to_thread(_parse, body, received_at)
        else:
            push = _parse(body, received_at)
        self._must_own(agent, push)
        try:
            through = await self._commit(push, body, received_at)
        except UnknownBlocks as error:
            raise _Refusal(409, str(error), blocks=list(error.blocks)) from None
        except BadPush as error:
            raise _Refusal(400, str(error)) from None
        bundle = self._runtime.snapshot.bundles.get(agent)
        return to_json(
            {
                "lane": push.lane.value,
                "through": through,
                "bundle": bundle.version if bundle else "",
                "requests": self._requests.take(agent),
            }
        )

    async def _commit(self, push: Push, body: bytes, received_at: float) -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._journal.submit(Waiting(push, body, received_at, lambda answer: self._tell(done, answer)))
        return await done

    def _tell(self, done: "asyncio.Future[int]", answer: Answer) -> None:
        """From the journal's thread: wake the loop once for a whole group of answers."""
        self._answers.append((done, answer))
        if len(self._answers) == 1:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                done.get_loop().call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        while self._answers:
            done, answer = self._answers.popleft()
            if done.done():
                continue  # who asked has gone
            if isinstance(answer, int):
                done.set_result(answer)
            else:
                done.set_exception(answer)

    def _must_own(self, agent: str, push: Push) -> None:
        """An agent speaks only of itself and of its own devices."""
        if push.agent != agent:
            raise _Refusal(403, f"this token is not agent `{push.agent}`'s")
        if agent not in self._runtime.snapshot.agents:
            raise _Refusal(403, f"agent `{agent}` is not in the inventory")
        devices = self._runtime.snapshot.devices
        for device in _devices(push):
            known = devices.get(device)
            if known is None or known.agent != agent:
                raise _Refusal(403, f"device `{device}` is not agent `{agent}`'s")

    def _bundle(self, agent: str, scope: Scope) -> tuple[int, Headers, bytes]:
        bundle = self._runtime.snapshot.bundles.get(agent)
        if bundle is None:
            raise _Refusal(403, f"agent `{agent}` is not in the inventory")
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
        elif isinstance(body, Standing):
            devices.update(verdict.device for verdict in body.verdicts)
    return devices


def _parse(body: bytes, received_at: float) -> Push:
    try:
        return decode_push(from_json(body, allow_inf_nan=False), received_at)
    except (ValueError, RecursionError) as error:
        raise _Refusal(400, f"not JSON: {error}") from None
    except WireError as error:
        raise _Refusal(400, str(error)) from None


def _must_be(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise _Refusal(405, f"use {method}", [(b"allow", method.encode())])


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The request's body, unzipped. Stops reading where it becomes larger than allowed."""
    said = _header(scope, b"content-length")
    if said.isdigit() and int(said) > BODY_LIMIT:
        raise _too_large()
    parts, size = [], 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Refusal(400, "the connection ended before the body did")
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
        raise _Refusal(400, f"content-encoding `{coding}`: send gzip, or none")
    return _unzip(body) if len(body) < _BIG else await asyncio.to_thread(_unzip, body)


def _unzip(body: bytes) -> bytes:
    machine = zlib.decompressobj(wbits=31)
    try:
        plain = machine.decompress(body, UNZIPPED_LIMIT)
    except zlib.error as error:
        raise _Refusal(400, f"not gzip: {error}") from None
    if machine.unconsumed_tail:
        raise _too_large()
    if not machine.eof:
        raise _Refusal(400, "not gzip: it ends too early")
    return plain


def _too_large() -> _Refusal:
    return _Refusal(413, f"larger than {BODY_LIMIT} bytes, or {UNZIPPED_LIMIT} unzipped; send less at once")
