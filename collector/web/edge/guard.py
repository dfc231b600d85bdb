"""What stands before every page: the name we are asked under, how much may be sent, and what a browser may do with the
answer. Plain ASGI."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
BODY_LIMIT = 64_000
"""Bytes a form or an API call may carry."""

_ALWAYS = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    # To ourselves a browser tells where a form came from (the Origin of a POST would be `null` under no-referrer), to
    # other sites nothing.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """Lets requests through to `app` that ask for us by one of our names (against DNS rebinding) and carry no more than
    a form; and tells browsers to keep pages to themselves."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._names = {name.lower().strip("[]") for name in (*hosts, *LOOPBACK)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._ours(hosts[0]):  # with two, each of us might believe another one
            await _refuse(send, 421, "this collector has no such name; add it to `hosts` in collector.yml")
            return
        try:
            body = await _body(dict(scope["headers"]), receive)
        except _TooLarge:
            await _refuse(send, 413, f"more than {BODY_LIMIT} bytes")
        except _Gone:
            return
        else:
            await self._app(scope, _replay(body, receive), _with_headers(send))

    def _ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name = host
        return name.lower().strip("[]") in self._names


class _TooLarge(Exception):
    """More than anybody has to say here."""


class _Gone(Exception):
    """Who asked has hung up in the middle of a sentence; half of it is not acted upon."""


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The whole body, read before anybody thinks about it. Raises _TooLarge or _Gone."""
    said = headers.get(b"content-length", b"0")
    if said.isdigit() and int(said) == 0 and b"transfer-encoding" not in headers:
        return b""
    if said.isdigit() and int(said) > BODY_LIMIT:
        raise _TooLarge
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += bytes(message.get("body", b""))
        if len(body) > BODY_LIMIT:
            raise _TooLarge
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read, once; then whatever comes (the end of the connection)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}] if body else []

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            held = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in _ALWAYS if pair[0] not in held)]
            if b"cache-control" not in held:
                message["headers"].append((b"cache-control", b"no-store"))
        await send(message)

    return sending


async def _refuse(send: Send, status: int, why: str) -> None:
    body = why.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status == 413:  # noqa: PLR2004 -- Content Too Large: the rest is not read
        headers.append((b"connection", b"close"))
    await _with_headers(send)({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
