"""The body of a push: read, unzipped and parsed, each within a limit that is checked before the memory is used.

Bytes alone say little. 61 kB of gzip were 64 MB of `[],`, and these 1.8 GB of Python objects. So the values are counted before
any is made: each is preceded by one of the characters `[{,:`. One inside a text counts too, which only makes the count too high.
"""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic_core import from_json

from watchkeeper.collector.intake.refusal import Refusal, too_large
from watchkeeper.model.batch import Push
from watchkeeper.model.errors import WireError
from watchkeeper.model.wire import decode_push

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_LIMIT = 8_000_000
UNZIPPED_LIMIT = 16_000_000
VALUES_LIMIT = 400_000
"""An agent of ours sends at most 500 kB at once, which is far below. A value takes up to 100 bytes as an object."""

SMALL_BYTES = 200_000
"""A larger body is parsed in a thread, so that the event loop goes on."""

VALUE_BYTES, SMALL_COST = 64, 16
"""What a value costs while its push waits, besides its text; and what each byte of a small text costs."""

_PIECE_BYTES = 256_000
_BEFORE_A_VALUE = (b",", b":", b"[", b"{")


def values_in(text: bytes) -> int:
    """At most how many values and keys this JSON has."""
    return 1 + sum(map(text.count, _BEFORE_A_VALUE))


def cost_of(text: bytes) -> int:
    """About how many bytes of memory a push takes while it waits. The values of a small text are not counted, which would cost a
    hundredth of a push."""
    return len(text) + (VALUE_BYTES * values_in(text) if len(text) > SMALL_BYTES else SMALL_COST * len(text))


def header(scope: Scope, wanted: bytes) -> str:
    """The value of a header; empty without it."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


async def received(scope: Scope, receive: Receive, took: Callable[[int], None]) -> bytes:
    """The body as it was sent. `took` gets the size of each part, and may raise. Raises Refusal as soon as it is too large."""
    length = header(scope, b"content-length")
    if length.isdigit() and int(length) > BODY_LIMIT:
        raise _too_long()
    parts, size = [], 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refusal(400, "bad request: the connection ended before the body")
        part = event.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > BODY_LIMIT:
            raise _too_long()
        took(len(part))
        if not event.get("more_body"):
            return b"".join(parts)


def is_gzip(scope: Scope) -> bool:
    """Whether the body is zipped. Raises Refusal for another coding."""
    coding = header(scope, b"content-encoding").lower()
    if coding not in ("", "identity", "gzip"):
        raise Refusal(400, f"bad request: content-encoding `{coding}` is not supported; send gzip, or none")
    return coding == "gzip"


def small(body: bytes, *, zipped: bool) -> bytes | None:
    """The text of a small body; None for a large one, or one that must be looked at more closely."""
    if not zipped:
        return body if len(body) <= SMALL_BYTES else None
    if len(body) > SMALL_BYTES:
        return None
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(body, SMALL_BYTES)
    except zlib.error:
        return None
    return text if inflater.eof else None


def text_of(body: bytes, *, zipped: bool) -> bytes:
    """The text of any body. Stops to unzip at the first piece that is too much. Raises Refusal."""
    return _unzipped(body) if zipped else body


def parse(text: bytes, received_at: float) -> Push:
    """The push in a text. Raises Refusal."""
    if len(text) > VALUES_LIMIT and values_in(text) > VALUES_LIMIT:  # each value is a byte at least
        raise _too_many()
    try:
        return decode_push(from_json(text, allow_inf_nan=False), received_at)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"bad request: the body is not JSON: {error}") from None
    except WireError as error:
        raise Refusal(400, str(error)) from None


def _unzipped(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    size = values = 0
    while not inflater.eof:
        try:
            part = inflater.decompress(body, _PIECE_BYTES)
        except zlib.error as error:
            raise Refusal(400, f"bad request: the body is not gzip: {error}") from None
        body = inflater.unconsumed_tail
        if not part and not body and not inflater.eof:
            raise Refusal(400, "bad request: the gzip body ends too early")
        parts.append(part)
        size += len(part)
        values += values_in(part)
        if size > UNZIPPED_LIMIT:
            raise _too_long()
        if values > VALUES_LIMIT + len(parts):
            raise _too_many()
    return b"".join(parts)


def _too_long() -> Refusal:
    return too_large(f"more than {BODY_LIMIT} bytes, or {UNZIPPED_LIMIT} unzipped")


def _too_many() -> Refusal:
    return too_large(f"more than {VALUES_LIMIT} values")
