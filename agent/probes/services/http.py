"""The HTTP probe: fetches one page by HTTP/1.1 (RFC 9112); checks its status, a text in it, and its certificate's end.

The client is our own, on asyncio, because everything must end at one deadline: a server that sends one byte a second
would hold a blocking client for ever. Redirects are not followed: the answer of this very server is judged.
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
_MAX_HEADER_LINES = 100  # the limit of http.client
_LINE_BYTES = 16 * 1024
_MAX_INFORMATIONAL = 10
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})\b")
_NOT_ENCODED = "/?:@!$&'()*+,;=%-._~"  # RFC 3986, 2.2 and 2.3; the rest is percent-encoded

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HttpCheck:
    """Implements `check.Check`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> None:
        """Fetch the page."""
        http = attempt.device.http or Http()
        try:
            await self._fetch(attempt, http)
        except ssl.SSLCertVerificationError:  # before ValueError, of which it is a subclass
            await self._read_certificate(attempt)
            raise
        except asyncio.IncompleteReadError:
            raise CheckFailed(Reason.MALFORMED, "the answer is cut short") from None
        except (ValueError, HTTPException):  # a line too long, a length that is not a number
            raise CheckFailed(Reason.MALFORMED, "the answer is not HTTP") from None

    async def _fetch(self, attempt: Attempt, http: Http) -> None:
        reader, writer = await _open_connection(attempt, tls_context(verify=http.verify) if http.tls else None)
        try:
            if http.tls:
                attempt.found["certificate.remaining"] = self._remaining(writer)
            writer.write(_get_request(attempt.device, http))
            status, headers = await _read_head(reader)
            _check_status(status, http)
            if http.contains:
                await _check_text(reader, headers, http.contains)
        finally:
            writer.transport.abort()  # an orderly close may wait beyond the deadline

    async def _read_certificate(self, attempt: Attempt) -> None:
        """Read the certificate of a server whose certificate was not accepted."""
        _, writer = await _open_connection(attempt, tls_context(verify=False))
        attempt.found["certificate.remaining"] = self._remaining(writer)
        writer.transport.abort()

    def _remaining(self, writer: asyncio.StreamWriter) -> Value:
        """Seconds until the certificate ends (RFC 5280, 4.1.2.5: notAfter); negative afterwards."""
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        try:
            return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp() - self._clock.wall()
        except (TypeError, ValueError):
            return Missing(Reason.MALFORMED, "the certificate cannot be read")


async def _open_connection(attempt: Attempt, context: ssl.SSLContext | None) -> Streams:
    connection = await dial(attempt, 443 if context else 80)
    host, _ = endpoint(attempt.device, 443)
    return await asyncio.open_connection(
        sock=connection, ssl=context, server_hostname=host if context else None, limit=_LINE_BYTES
    )


def _get_request(device: Device, http: Http) -> bytes:
    usual = 443 if http.tls else 80
    host, port = endpoint(device, usual)
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    lines = (
        f"GET {quote(http.path, safe=_NOT_ENCODED)} HTTP/1.1",
        f"Host: {name}" if port == usual else f"Host: {name}:{port}",
        "User-Agent: watchkeeper",
        "Accept: */*",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, HTTPMessage]:
    """Status and headers. Informational answers before them (1xx: RFC 9110, 15.2) are skipped."""
    for _ in range(1 + _MAX_INFORMATIONAL):
        lines = [await _read_line(reader)]
        while lines[-1].strip() and len(lines) <= _MAX_HEADER_LINES:
            lines.append(await _read_line(reader))
        status_line = _STATUS_LINE.match(lines[0])
        if status_line is None:
            raise ValueError("no status line")
        status = int(status_line[1])
        if status >= 200:  # noqa: PLR2004 -- not 1xx
            return status, parse_headers(BytesIO(b"".join(lines[1:])))
    raise ValueError("no answer after so many informational ones")


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise asyncio.IncompleteReadError(line, None)
    return line


def _check_status(status: int, http: Http) -> None:
    if status in http.status if http.status else 200 <= status <= 399:  # noqa: PLR2004 -- RFC 9110, 15: successful, or a redirection
        return
    wanted = " or ".join(map(str, http.status)) or "200 to 399"
    redirect = " (a redirect, which is not followed)" if 300 <= status <= 399 else ""  # noqa: PLR2004 -- RFC 9110, 15.4
    raise CheckFailed(Reason.REFUSED, f"answers {status}{redirect}, not {wanted}")


async def _check_text(reader: asyncio.StreamReader, headers: HTTPMessage, text: str) -> None:
    """Look for the text in the first BODY_BYTES of the answer. Raises CheckFailed if it is not there."""
    try:
        sought = text.encode(headers.get_content_charset("utf-8"))
    except (LookupError, UnicodeError):
        sought = text.encode()
    body = bytearray()
    async for piece in _read_body(reader, headers):
        begin = max(0, len(body) - len(sought))
        body += piece
        if body.find(sought, begin) >= 0:
            return
        if len(body) > BODY_BYTES:
            raise CheckFailed(
                Reason.ABSENT, f"the text wanted is not in the first {BODY_BYTES // 1024} kB of the answer"
            )
    raise CheckFailed(Reason.ABSENT, "the answer is without the text wanted")


async def _read_body(reader: asyncio.StreamReader, headers: HTTPMessage) -> AsyncIterator[bytes]:
    """The content, piece by piece as it arrives (RFC 9112, 6.3)."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        while size := int((await _read_line(reader)).partition(b";")[0], 16):
            async for piece in _read_bytes(reader, size):
                yield piece
            await _read_line(reader)
    elif "Content-Length" in headers:
        async for piece in _read_bytes(reader, int(headers["Content-Length"])):
            yield piece
    else:
        while piece := await reader.read(_PIECE_BYTES):
            yield piece


async def _read_bytes(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    if size < 0:
        raise ValueError("a negative length")
    while size:
        piece = await reader.read(min(size, _PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(piece, size)
        size -= len(piece)
        yield piece


def _further_quantities(device: Device) -> tuple[str, ...]:
    return ("certificate.remaining",) if (device.http or Http()).tls else ()


def build(context: ProbeContext) -> ServiceProbe:
    """Build the probe."""
    return ServiceProbe(context.clock, "http", HttpCheck(context.clock), _further_quantities)
