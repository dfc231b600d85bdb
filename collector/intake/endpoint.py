"""The HTTP endpoint of agents: pushes and bundles. Bare ASGI, because speed matters here. See docs/protocol.md.

A push is answered 200 only after it is on disk; a refused push is not applied in any part.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic_core import to_json

from watchkeeper.collector.access.recognised import recognise
from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.access.tokens import Bearer, TokenKind
from watchkeeper.collector.intake import body as bodies
from watchkeeper.collector.intake.body import Receive, Scope, header
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.intake.processes.sessions import TwinAgent
from watchkeeper.collector.intake.refusal import Refusal, busy, later, too_large
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.intake.sequences import BadPush, StaleEpoch, TooManyDeclared, UnknownBlocks
from watchkeeper.collector.intake.shares import Place, Shares
from watchkeeper.collector.intake.turns import Answer, Waiting
from watchkeeper.collector.process.guarded_clock import GuardedClock
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.snapshot import bundle_to_json as bundle_json
from watchkeeper.model.batch import STANDING, Bundle, Push
from watchkeeper.model.errors import StoreError, StoreFull
from watchkeeper.model.origin import NEW_EPOCH
from watchkeeper.model.verdict import ActiveVerdicts, Verdict, Withdrawal

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BACKLOG_LIMIT = 5_000
TOKENS_WAIT_S, COMMIT_WAIT_S = 5.0, 15.0
"""How long a request waits for the store: for tokens, and for its push to be on disk. An agent waits 20 s for its answer."""

_STORE_AWAY = "the collector's store is not available now"
_SOON = ((b"retry-after", b"1"),)
_PARSERS = 2
"""Threads for large bodies. Each agent has one at a time, so that one that floods leaves the other."""


class AgentEndpoint:
    """Serves `/v1/push` and `/v1/bundle`. `full` tells whether less than the reserve of the disk is free, `short` whether less
    than twice that."""

    def __init__(  # noqa: PLR0917 -- the parts that it connects
        self,
        runtime: Runtime,
        journal: Journal,
        requests: Requests,
        full: Callable[[], bool],
        short: Callable[[], bool] = lambda: False,
        shares: Shares | None = None,
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._requests = requests
        self._full, self._short = full, short
        self.refused: dict[int, int] = {}
        self.shares = shares or Shares(runtime.clock)
        self._parsers = ThreadPoolExecutor(_PARSERS, "parse push")
        self._parsing: dict[str, asyncio.Lock] = {}
        self._encoded: dict[str, tuple[Bundle, bytes]] = {}
        self._answers: deque[tuple[asyncio.Future[int], Answer]] = deque()
        self._reading: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: Headers = ()
        try:
            agent = await self._agent(scope)
            recognise(scope, f"agent:{agent}")
            with self.shares.enter(agent) as place:
                if scope["path"] == "/v1/push":
                    _require_method(scope, "POST")
                    status, body = 200, await self._push(agent, scope, receive, place)
                else:
                    _require_method(scope, "GET")
                    status, headers, body = self._bundle(agent, scope)
        except Refusal as refusal:
            status, headers, body = self._refusal(refusal)
        except StoreError as error:  # the database's own error is not shown to clients
            message = str(error) if isinstance(error, StoreFull) else _STORE_AWAY
            status, headers, body = self._refusal(later(message))
        start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
        if status == 413:  # noqa: PLR2004 -- Content Too Large: the rest of the body is not read
            start.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, refusal: Refusal) -> tuple[int, Headers, bytes]:
        self.refused[refusal.status] = self.refused.get(refusal.status, 0) + 1
        return refusal.status, refusal.headers, json.dumps(refusal.body).encode()

    async def _agent(self, scope: Scope) -> str:
        scheme, _, text = header(scope, b"authorization").partition(" ")
        bearer = await self._bearer(text.strip()) if scheme.lower() == "bearer" and text else None
        if bearer is None or bearer.kind is not TokenKind.AGENT:
            if text:
                self._runtime.refusals.note(Refused.AGENT, str((scope.get("client") or ("",))[0]))
            raise Refusal(
                401,
                "authentication required: send the token of an agent as a Bearer token",
                [(b"www-authenticate", b"Bearer")],
            )
        return bearer.name

    async def _bearer(self, text: str) -> Bearer | None:
        """The owner of a token. The store is read in a thread, once for all requests that wait for it."""
        tokens = self._runtime.tokens
        for _ in range(2):  # a reading that had begun before the token was made does not know it
            if tokens.current(text):
                break
            if self._reading is None or self._reading.done():
                self._reading = asyncio.ensure_future(asyncio.to_thread(tokens.refresh, text))
                self._reading.add_done_callback(_retrieve)
            try:
                await asyncio.wait_for(asyncio.shield(self._reading), TOKENS_WAIT_S)
            except TimeoutError:
                raise later(_STORE_AWAY) from None
        return tokens.remembered(text)

    # ---- pushes ----

    async def _push(self, agent: str, scope: Scope, receive: Receive, place: Place) -> bytes:
        if self._full():
            raise later("the collector's disk is full; keep the data and try again")
        if self._journal.waiting > BACKLOG_LIMIT:
            raise busy("pushes are waiting to be journalled")
        if self._short():
            self.shares.check_disk(agent, len(self._runtime.snapshot.agents))
        zipped = bodies.is_gzip(scope)
        received = await bodies.received(scope, receive, place.took)
        received_at = self._runtime.clock.wall()
        if (body := bodies.small(received, zipped=zipped)) is not None:
            push = bodies.parse(body, received_at)
            cost = bodies.cost_of(body)
        else:
            push, body, cost = await self._parsed_aside(agent, received, received_at, zipped=zipped)
        place.costs(cost)
        place.speaks_of(push.epoch)
        self._hear(agent, push)
        await self._must_own(agent, push)
        try:
            through = await self._commit(push, body, received_at, _client(scope))
        except UnknownBlocks as error:
            raise Refusal(409, str(error), blocks=list(error.blocks)) from None
        except TooManyDeclared as error:
            self.shares.note(agent, str(error))
            raise too_large(str(error)) from None
        except TwinAgent as error:
            raise Refusal(409, str(error), [(b"retry-after", f"{error.retry_after_s:.0f}".encode())]) from None
        except StaleEpoch as error:
            raise Refusal(409, str(error), epoch=NEW_EPOCH) from None
        except BadPush as error:
            raise Refusal(400, str(error)) from None
        place.pushed(len(body))
        return to_json({"lane": push.lane.value, "through": through, **self._told(agent)})

    def _told(self, agent: str) -> dict[str, Any]:
        """What every answer tells: the bundle, requests, the time, and which store this is."""
        bundle, standing = self._runtime.snapshot.bundles.get(agent), self._journal.standing
        requests = self._requests.take(agent)
        if agent in standing.wanted:
            requests.append({"kind": STANDING})
        told: dict[str, Any] = {"bundle": bundle.version if bundle else "", "requests": requests}
        if standing.identity:
            told |= {"store": standing.identity.identity, "generation": standing.identity.generation}
        return {**told, "now": self._runtime.clock.wall()}

    async def _must_own(self, agent: str, push: Push) -> None:
        """Refuse a push about devices of other agents. Of a device that is unknown here it is for later if another
        configuration is in force."""
        try:
            self._require_ownership(agent, push)
        except Refusal:
            if await asyncio.to_thread(self._runtime.is_behind):
                reason = "another configuration is in force; this collector takes it over first"
                raise Refusal(503, reason, _SOON) from None
            raise

    def _hear(self, agent: str, push: Push) -> None:
        """Let the agent's clock vote. After a start the first agents tell the time; nothing is taken under a wrong one."""
        clock = self._runtime.clock
        if isinstance(clock, GuardedClock):
            clock.hear(agent, push.sent_at)
            if not clock.ready:
                raise Refusal(503, "the collector does not know the time yet; keep the data and try again", _SOON)

    async def _parsed_aside(
        self, agent: str, received: bytes, received_at: float, *, zipped: bool
    ) -> tuple[Push, bytes, int]:
        """The push in a large body, with its text and cost. An agent has one parsed at a time."""

        def parse() -> tuple[Push, bytes, int]:
            text = bodies.text_of(received, zipped=zipped)
            return bodies.parse(text, received_at), text, bodies.cost_of(text)

        async with self._parsing.setdefault(agent, asyncio.Lock()):
            return await asyncio.get_running_loop().run_in_executor(self._parsers, parse)

    async def _commit(self, push: Push, body: bytes, received_at: float, address: str) -> int:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._journal.submit(Waiting(push, body, received_at, lambda answer: self._tell(done, answer), address))
        late = loop.call_later(COMMIT_WAIT_S, _give_up, done)  # `wait_for` costs a tenth of a push
        try:
            return await done
        finally:
            late.cancel()

    def _tell(self, done: "asyncio.Future[int]", answer: Answer) -> None:
        """Called from the journal's thread: wake the event loop once for a whole group of answers."""
        self._answers.append((done, answer))
        if len(self._answers) == 1:
            try:
                done.get_loop().call_soon_threadsafe(self._hand_out)
            except RuntimeError:  # the event loop has ended: no request waits any more
                self._answers.clear()

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
            raise Refusal(403, f"forbidden: this is the token of agent `{agent}`, not of `{push.agent}`")
        if agent not in self._runtime.snapshot.agents:
            raise Refusal(403, f"forbidden: agent `{agent}` is not in the inventory")
        devices = self._runtime.snapshot.devices
        for device in _devices(push):
            known = devices.get(device)
            if known is None or known.agent != agent:
                raise Refusal(403, f"forbidden: device `{device}` does not belong to agent `{agent}`")

    def _bundle(self, agent: str, scope: Scope) -> tuple[int, Headers, bytes]:
        bundle = self._runtime.snapshot.bundles.get(agent)
        if bundle is None:
            raise Refusal(403, f"forbidden: agent `{agent}` is not in the inventory")
        tag = f'"{bundle.version}"'
        headers = ((b"etag", tag.encode()),)
        if tag in header(scope, b"if-none-match"):
            return 304, headers, b""
        kept, body = self._encoded.get(agent, (None, b""))
        if kept is not bundle:  # an agent may ask for it as often as it likes
            body = json.dumps(bundle_json(bundle), ensure_ascii=False).encode()
            self._encoded[agent] = bundle, body
        return 200, headers, body


def _give_up(done: "asyncio.Future[int]") -> None:
    """Refuse a push that is not on disk yet. If it is committed later, it is a replay when its agent sends it again."""
    if not done.done():
        done.set_exception(later(_STORE_AWAY))


def _retrieve(done: "asyncio.Future[None]") -> None:
    """Look at the outcome, so that asyncio does not log an error which no request waits for any more."""
    if not done.cancelled():
        done.exception()


def _devices(push: Push) -> set[str]:
    devices = {block.device for block in push.blocks}
    for _, body in push.items:
        if isinstance(body, Verdict | Withdrawal):
            devices.add(body.device)
        elif isinstance(body, ActiveVerdicts):
            devices.update(verdict.device for verdict in body.verdicts)
    return devices


def _require_method(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise Refusal(405, f"method not allowed: use {method}", [(b"allow", method.encode())])


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0])[:100] if client else ""
