"""`/healthz` and `/readyz`: for systemd, load balancers and probes of an orchestrator. Plain ASGI on the event loop: they ask no
store, wait for no thread, need no token and answer under every host name. They say what is not done, and name no device."""

from starlette.types import Receive, Scope, Send

from watchkeeper.collector.process.health.health import Health

HEALTHZ, READYZ = "/healthz", "/readyz"
_HEADERS = (
    (b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"),
)  # fmt: skip


class Liveness:
    """Answers 200, or 503 with one line for each reason."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers, body = [*_HEADERS], b""
        if scope["method"] not in ("GET", "HEAD"):
            status = 405
            headers.append((b"allow", b"GET, HEAD"))
        else:
            status, body = self._state(scope["path"])
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _state(self, path: str) -> tuple[int, bytes]:
        if path == READYZ:
            reasons, well = list(self._health.unready()), "ready"
        else:
            reasons, well = list(map(str, self._health.lapses())), "alive"
        return (503, "".join(f"{one}\n" for one in reasons).encode()) if reasons else (200, f"{well}\n".encode())
