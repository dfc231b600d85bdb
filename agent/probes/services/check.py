"""Shared by the probes of services: one attempt within one timeout, and the readings it gives.

An attempt gives `device.answering`, `service.state`, `response.time`, and the further readings of its kind. There are
three outcomes. No machine answers: `device.answering` is no, and the state is missing. The machine answers but the
connection is refused, or the answer is wrong: the service is down. In both cases `response.time` is missing, with the
reason. All is well: the service is up. `retries` has no effect here, because TCP repeats by itself.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.series import SeriesCache
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.errors import SecretError
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

log = logging.getLogger(__name__)


class CheckFailed(NoAnswer):
    """The service does not do what it should. The detail may quote the service: it is cleaned, and shortened to a word
    of the wire."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, one_line(detail))


@dataclass(slots=True)
class Attempt:
    """One attempt to use a service, with its results so far; they count even if the attempt breaks off.

    `deadline` is in the event loop's time. `reached` is true once anything came back from the machine. `found` holds
    the readings beside the three common ones, by quantity."""

    device: Device
    deadline: float
    reached: bool = False
    found: dict[str, Value] = field(default_factory=dict)


Check = Callable[[Attempt], Awaitable[None]]
"""Does what a client of the service does, and returns if all is well. Raises CheckFailed, OSError (including TLS
errors) or SecretError. It is cancelled at the deadline."""


class ServiceProbe:
    """Implements `agent.ports.Probe`. Keeps no session: opening one is part of the check."""

    def __init__(
        self, clock: Clock, source: str, check: Check, also: Callable[[Device], tuple[str, ...]] = lambda _: ()
    ) -> None:
        """`source` is the source of every series. `also` names the further quantities that the check finds for a
        device."""
        self._clock = clock
        self._source = source
        self._check = check
        self._also = also
        self._series = SeriesCache()
        self._down: dict[str, str] = {}  # why a device's service is down, as last logged

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`."""
        also = self._also(device)
        series = self._series.of(
            device, *((quantity, "", self._source) for quantity in ("service.state", "response.time", *also))
        )
        attempt = Attempt(device, asyncio.get_running_loop().time() + device.timeout_s)
        started = self._clock.boot()
        failure = await run_check(attempt, self._check)
        at = self._clock.boot()
        state: Value = "up" if failure is None else "down" if attempt.reached else failure
        if attempt.reached:
            self._log_change(device.device, failure.detail if failure else "")
        rest = (attempt.found.get(quantity, failure or _NOT_REPORTED) for quantity in also)
        answering = "yes" if attempt.reached else "no"
        return Sweep(device.device, at, series, (answering, state, failure or at - started, *rest))

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        self._series.forget(device)
        self._down.pop(device, None)

    async def close(self) -> None:
        """Implements `Probe.close`."""

    def _log_change(self, device: str, why: str) -> None:
        """Log why the service is down, once for each reason. The schedule logs a machine that does not answer at
        all."""
        before = self._down.get(device, "")
        if why and why != before:
            log.warning("%s: the service is down: %s", device, why)
        elif before and not why:
            log.info("%s: the service is no longer down", device)
        self._down[device] = why


_NOT_REPORTED = Missing(Reason.ABSENT, "the service does not report it")


async def run_check(attempt: Attempt, check: Check) -> Missing | None:
    """Run the check until its deadline. Returns why it failed, or None."""
    device = attempt.device
    try:
        async with asyncio.timeout_at(attempt.deadline):
            await check(attempt)
    except NoAnswer as failed:
        return failed.missing
    except SecretError as error:
        return Missing(Reason.REFUSED, one_line(str(error)))
    except TimeoutError:
        what = "connected, but no whole answer" if attempt.reached else "no answer"
        return Missing(Reason.TIMEOUT, f"{what} within {device.timeout_s:g} s")
    except ssl.SSLError as error:
        return _tls_failure(error)
    except OSError as error:
        return Missing(Reason.MALFORMED, f"the connection broke off: {_error_name(error)}")
    attempt.reached = True
    return None


def _tls_failure(error: ssl.SSLError) -> Missing:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Missing(Reason.REFUSED, one_line(f"certificate not accepted: {error.verify_message}"))
    return Missing(Reason.MALFORMED, f"{NO_TLS}: {error.reason}")


def endpoint(device: Device, port: int) -> tuple[str, int]:
    """Host and port of the device; `port` is the default. Raises CheckFailed."""
    try:
        return device.endpoint(port)
    except ValueError as error:
        raise CheckFailed(Reason.UNREACHABLE, str(error)) from None


SocketAddress = tuple[Any, ...]
"""A socket's address as the kernel wants it: host and port, and for IPv6 two more numbers."""


async def look_up(host: str, port: int, kind: socket.SocketKind) -> list[tuple[socket.AddressFamily, SocketAddress]]:
    """The addresses of a host, in the order in which to try them. Raises CheckFailed."""
    try:
        # An IP address is parsed here, not in a thread: there are few threads, and slow name servers may block them all
        found = _parse_ip(host, port, kind) or await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    except (socket.gaierror, UnicodeError):
        raise CheckFailed(Reason.UNREACHABLE, f"the name {host} is not known to the resolver") from None
    return [(family, address) for family, _, _, _, address in found]


def _parse_ip(host: str, port: int, kind: socket.SocketKind) -> list[tuple[Any, ...]]:
    """The address if the host is an IP address; empty for a name."""
    try:
        return socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except socket.gaierror:
        return []


async def dial(attempt: Attempt, port: int) -> socket.socket:
    """Connect to the device. Returns a non-blocking socket, which the caller closes. Raises CheckFailed."""
    host, port = endpoint(attempt.device, port)
    loop = asyncio.get_running_loop()
    addresses = await look_up(host, port, socket.SOCK_STREAM)
    error: OSError | None = None
    for left, (family, address) in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
        now = loop.time()
        until = now + (attempt.deadline - now) / (left + 1) if left else None  # the last address gets all the time left
        connection: socket.socket | None = None
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(0)
            async with asyncio.timeout_at(until):
                await loop.sock_connect(connection, address)
        except BaseException as failure:
            if connection is not None:
                connection.close()
            if not isinstance(failure, OSError):
                raise
            error = error if isinstance(error, ConnectionRefusedError) else failure
        else:
            attempt.reached = True
            return connection
    attempt.reached = isinstance(error, ConnectionRefusedError)
    raise _connect_failure(error, port)


def _connect_failure(error: OSError | None, port: int) -> CheckFailed:
    if isinstance(error, ConnectionRefusedError):
        return CheckFailed(
            Reason.REFUSED, f"connection refused: nothing listens on port {port}, or a firewall rejects it"
        )
    if isinstance(error, TimeoutError):
        return CheckFailed(Reason.TIMEOUT, "no answer from any of its addresses")
    error = error or OSError(errno.EADDRNOTAVAIL, "")
    return CheckFailed(Reason.UNREACHABLE, f"the network reports: {_error_name(error)}")


def _error_name(error: OSError) -> str:
    """The kernel's name for the error. A library's own text may quote what was sent."""
    return os.strerror(error.errno) if error.errno and error.errno in errno.errorcode else type(error).__name__


@cache
def tls_context(*, verify: bool) -> ssl.SSLContext:
    """The client's TLS settings. With `verify`, one of the machine's own authorities must have signed the certificate.
    Made once, because reading all authorities takes longer than a check."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def password_of(device: Device, secrets: Secrets) -> str:
    """The password that the device's `database` names, "" for none. Raises SecretError."""
    name = device.database.password if device.database else ""
    return secrets.get(name).reveal() if name else ""


NO_TLS = "the server does not speak TLS, or no version of it that we support"
NEEDS_TLS = "the server wants the password in the clear; it is sent only with `tls: true`"


def driver_missing(database: str, extra: str) -> CheckFailed:
    """The failure if the library that speaks to a database is not installed."""
    return CheckFailed(
        Reason.FAULT, f"the driver for {database} is not installed: pip install 'watchkeeper[{extra}]' and restart"
    )
