"""The HTTP probe: one page by HTTP/1.1 (RFC 9112), its status, a text in it, and how long its certificate is still valid.

The exchange is ours, on asyncio, because all of it must end at one deadline: a server that drips a byte a second would
hold any blocking client for ever. Redirects are not followed: what answers here is judged.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from http.client import HTTPException, HTTPMessage, parse_headers
from io import BytesIO
from urllib.parse import quote

from cryptography import x509

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.services.check import Attempt, CheckFailed, ServiceProbe, dial, endpoint, tls_context
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Http
from watchkeeper.model.reading import Missing, Reason, Value

BODY_BYTES = 256 * 1024
_PIECE_BYTES = 64 * 1024
_HEAD_LINES = 100  # as many as http.client takes
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})\b")
_AS_WRITTEN = "/?:@!$&'()*+,;=%-._~"  # RFC 3986, 2.2 and 2.3; the rest is percent-encoded

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HttpCheck:
    """See `check.Check`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> None:
        """Fetch the page."""
        http = attempt.device.http or Http()
        try:
            await self._fetch(attempt, http)
        except ssl.SSLCertVerificationError:  # a ValueError, too
            await self._look(attempt)
            raise
        except asyncio.IncompleteReadError:
            raise CheckFailed(Reason.MALFORMED, "the answer is cut short") from None
        except (ValueError, HTTPException):  # a line too long, a length that is no number
            raise CheckFailed(Reason.MALFORMED, "what answers is not HTTP") from None

    async def _fetch(self, attempt: Attempt, http: Http) -> None:
        reader, writer = await _open(attempt, tls_context(verify=http.verify) if http.tls else None)
        try:
            if http.tls:
                attempt.found["certificate.remaining"] = self._remaining(writer)
            writer.write(_request(attempt.device, http))
            status, headers = await _head(reader)
            _judge_status(status, http)
            if http.contains:
                await _judge_text(reader, headers, http.contains)
        finally:
            writer.transport.abort()  # politely closed, a connection could hold us beyond the deadline

    async def _look(self, attempt: Attempt) -> None:
        """Read the certificate without asking who vouches for it."""
        _, writer = await _open(attempt, tls_context(verify=False))
        attempt.found["certificate.remaining"] = self._remaining(writer)
        writer.transport.abort()

    def _remaining(self, writer: asyncio.StreamWriter) -> Value:
        """Seconds until the certificate ends (RFC 5280, 4.1.2.5: notAfter); negative afterwards."""
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        try:
            return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp() - self._clock.wall()
        except (TypeError, ValueError):
            return Missing(Reason.MALFORMED, "the certificate cannot be read")


async def _open(attempt: Attempt, context: ssl.SSLContext | None) -> Streams:
    line = await dial(attempt, 443 if context else 80)
    host, _ = endpoint(attempt.device, 443)
    return await asyncio.open_connection(sock=line, ssl=context, server_hostname=host if context else None)


def _request(device: Device, http: Http) -> bytes:
    usual = 443 if http.tls else 80
    host, port = endpoint(device, usual)
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    lines = (
        f"GET {quote(http.path, safe=_AS_WRITTEN)} HTTP/1.1",
        f"Host: {name}" if port == usual else f"Host: {name}:{port}",
        "User-Agent: watchkeeper",
        "Accept: */*",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def _head(reader: asyncio.StreamReader) -> tuple[int, HTTPMessage]:
    """Status and headers; what comes before as information (RFC 9110, 15.2) is passed over."""
    status = 100
    while status < 200:  # noqa: PLR2004 -- 1xx
        lines = [await _line(reader)]
        while lines[-1].strip() and len(lines) <= _HEAD_LINES:
            lines.append(await _line(reader))
        begun = _STATUS.match(lines[0])
        if begun is None:
            raise ValueError("no status line")
        status = int(begun[1])
    return status, parse_headers(BytesIO(b"".join(lines[1:])))


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise asyncio.IncompleteReadError(line, None)
    return line


def _judge_status(status: int, http: Http) -> None:
    if status in http.status if http.status else 200 <= status <= 399:  # noqa: PLR2004 -- RFC 9110, 15: successful, or a redirection
        return
    wanted = " or ".join(map(str, http.status)) or "200 to 399"
    sent_on = " (a redirect, which is not followed)" if 300 <= status <= 399 else ""  # noqa: PLR2004 -- said above
    raise CheckFailed(Reason.REFUSED, f"answers {status}{sent_on}, not {wanted}")


async def _judge_text(reader: asyncio.StreamReader, headers: HTTPMessage, text: str) -> None:
    """Raises Unwell where the text is not in the beginning of the answer."""
    try:
        sought = text.encode(headers.get_content_charset("utf-8"))
    except (LookupError, UnicodeError):
        sought = text.encode()
    body = bytearray()
    async for piece in _body(reader, headers):
        begin = max(0, len(body) - len(sought))
        body += piece
        if body.find(sought, begin) >= 0:
            return
        if len(body) > BODY_BYTES:
            raise CheckFailed(
                Reason.ABSENT, f"the text wanted is not in the first {BODY_BYTES // 1024} kB of the answer"
            )
    raise CheckFailed(Reason.ABSENT, "the answer is without the text wanted")


async def _body(reader: asyncio.StreamReader, headers: HTTPMessage) -> AsyncIterator[bytes]:
    """The content as it comes (RFC 9112, 6.3)."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        while size := int((await _line(reader)).partition(b";")[0], 16):
            async for piece in _pieces(reader, size):
                yield piece
            await _line(reader)
    elif "Content-Length" in headers:
        async for piece in _pieces(reader, int(headers["Content-Length"])):
            yield piece
    else:
        while piece := await reader.read(_PIECE_BYTES):
            yield piece


async def _pieces(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    if size < 0:
        raise ValueError("a negative length")
    while size:
        piece = await reader.read(min(size, _PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(piece, size)
        size -= len(piece)
        yield piece


def _also(device: Device) -> tuple[str, ...]:
    return ("certificate.remaining",) if (device.http or Http()).tls else ()


def build(context: ProbeContext) -> ServiceProbe:
    """See `agent.ports.ProbeContext`."""
    return ServiceProbe(context.clock, "http", HttpCheck(context.clock), _also)
