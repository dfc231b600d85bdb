"""Why a request of an agent is refused: the status, a sentence, and headers (docs/protocol.md, "Answers")."""

from collections.abc import Iterable
from typing import Any

RETRY_AFTER_S, BUSY_RETRY_AFTER_S = 10, 1


class Refusal(Exception):
    """The answer to a request that is not carried out, not even in part."""

    def __init__(self, status: int, error: str, headers: Iterable[tuple[bytes, bytes]] = (), **more: Any) -> None:
        self.status = status
        self.body = {"error": error, **more}
        self.headers = tuple(headers)
        super().__init__(error)


def later(error: str) -> Refusal:
    """Nobody can push now: 503."""
    return Refusal(503, error, [(b"retry-after", b"%d" % RETRY_AFTER_S)])


def busy(error: str, wait_s: int = BUSY_RETRY_AFTER_S) -> Refusal:
    """This agent must wait: 429."""
    return Refusal(429, f"too many requests: {error}", [(b"retry-after", b"%d" % wait_s)])


def too_large(error: str) -> Refusal:
    """The agent must send less at once: 413."""
    return Refusal(413, f"content too large: {error}; send fewer items")
