"""The checks before every page: the host name that is asked for, the size of the body, and the security headers of the
response. Plain ASGI."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
BODY_LIMIT = 64_000
"""The largest body of a form or an API call, in bytes."""

LINK_PREFIX = "/t/"
"""Paths that begin so have a secret in them: their pages name no referrer, not even to us."""

_SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    # The collector itself must see where a form came from (under no-referrer the Origin of a POST would be `null`);
    # other sites must see nothing.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """Passes a request to `app` if it names one of our hosts (against DNS rebinding) and its body is no larger than a form.
    Adds the security headers to every response."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._names = {name.lower().strip("[]") for name in (*hosts, *LOOPBACK)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send, private=scope["path"].startswith(LINK_PREFIX))
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._ours(hosts[0]):  # two headers: a proxy and we could each use another one
            await _refuse(send, 421, "misdirected request: add this host name to `hosts` in collector.yml")
            return
        try:
            body = await _body(dict(scope["headers"]), receive)
        except _TooLarge:
            await _refuse(send, 413, f"content too large: at most {BODY_LIMIT} bytes")
        except _Disconnected:
            return
        else:
            await self._app(scope, _replay(body, receive), send)

    def _ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name = host
        return name.lower().strip("[]") in self._names


class _TooLarge(Exception):
    """The body has more than BODY_LIMIT bytes."""


class _Disconnected(Exception):
    """The client disconnected before the body was complete. An incomplete body is not used."""


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The whole body, read before any of it is used. Raises _TooLarge or _Disconnected."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) == 0 and b"transfer-encoding" not in headers:
        return b""
    if length.isdigit() and int(length) > BODY_LIMIT:
        raise _TooLarge
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        body += bytes(message.get("body", b""))
        if len(body) > BODY_LIMIT:
            raise _TooLarge
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what the connection gives (its end)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}] if body else []

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(send: Send, *, private: bool) -> Send:
    headers = dict(_SECURITY_HEADERS)
    if private:
        headers[b"referrer-policy"] = b"no-referrer"

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in headers.items() if pair[0] not in present)]
            if b"cache-control" not in present:
                message["headers"].append((b"cache-control", b"no-store"))
        await send(message)

    return send_with_headers


async def _refuse(send: Send, status: int, why: str) -> None:
    body = why.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status == 413:  # noqa: PLR2004 -- Content Too Large: the rest is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
