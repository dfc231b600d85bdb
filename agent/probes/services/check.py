"""What the probes of services have in common: one visit within one timeout, and what is said of it.

A visit reads `device.answering`, `service.state`, `response.time`, and what else its kind finds. A machine from which
nothing comes does not answer, and nothing is known of its service; one that refuses or answers wrongly answers, and its
service is down. Then `response.time` is missing, with the reason. `retries` say nothing here: TCP repeats for itself.
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

from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.errors import SecretError
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value

_log = logging.getLogger(__name__)


class Unwell(Exception):
    """The service does not do what it should; `missing` says why, and never carries a secret."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.missing = Missing(reason, one_line(detail))
        super().__init__(self.missing.detail)


@dataclass(slots=True)
class Attempt:
    """One look at a service: what became of it, even where it breaks off. `deadline` is in the loop's time; `reached`
    once anything came back; `found` are readings beside the three common ones, by quantity."""

    device: Device
    deadline: float
    reached: bool = False
    found: dict[str, Value] = field(default_factory=dict)


Check = Callable[[Attempt], Awaitable[None]]
"""Does what a client of the service would do. Returns where all is well; raises Unwell, OSError (with TLS's own errors) or
SecretError. What takes until the deadline is broken off from outside."""


class Columns:
    """The series of each device: the same tuple from sweep to sweep."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Series, ...]] = {}

    def of(self, device: Device, *parts: tuple[str, str, str]) -> tuple[Series, ...]:
        """`device.answering` and these, each a quantity, an instance (its label too) and where it is read."""
        held = self._held.get(device.device)
        if held is None:
            own = (Series(device.device, quantity, part, part, source) for quantity, part, source in parts)
            held = self._held[device.device] = (Series(device.device, "device.answering"), *own)
        return held

    def forget(self, device: str) -> None:
        """Drop what is kept of a device that is gone, or was redefined."""
        self._held.pop(device, None)


class ServiceProbe:
    """See `agent.ports.Probe`. Keeps no session: to begin one is what is looked at."""

    def __init__(
        self, clock: Clock, source: str, check: Check, also: Callable[[Device], tuple[str, ...]] = lambda _: ()
    ) -> None:
        """`source` is what is asked, in a word; `also` names the quantities that the errand finds for a device."""
        self._clock = clock
        self._source = source
        self._check = check
        self._also = also
        self._columns = Columns()
        self._told: dict[str, str] = {}  # why a service is down, once

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`."""
        also = self._also(device)
        series = self._columns.of(
            device, *((quantity, "", self._source) for quantity in ("service.state", "response.time", *also))
        )
        attempt = Attempt(device, asyncio.get_running_loop().time() + device.timeout_s)
        begun = self._clock.boot()
        trouble = await _paid(attempt, self._check)
        at = self._clock.boot()
        state: Value = "up" if trouble is None else "down" if attempt.reached else trouble
        if attempt.reached:
            self._tell(device.device, trouble.detail if trouble else "")
        rest = (attempt.found.get(quantity, trouble or _NOTHING) for quantity in also)
        answering = "yes" if attempt.reached else "no"
        return Sweep(device.device, at, series, (answering, state, trouble or at - begun, *rest))

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        self._columns.forget(device)
        self._told.pop(device, None)

    async def close(self) -> None:
        """See `Probe.close`."""

    def _tell(self, device: str, why: str) -> None:
        """Log at each change why the service is down. Of a machine that does not answer at all the schedule tells."""
        before = self._told.get(device, "")
        if why and why != before:
            _log.warning("%s: the service is down: %s", device, why)
        elif before and not why:
            _log.info("%s: the service is no longer down", device)
        self._told[device] = why


_NOTHING = Missing(Reason.ABSENT, "the service says nothing of it")


async def _paid(attempt: Attempt, check: Check) -> Missing | None:
    """What is wrong, or None."""
    device = attempt.device
    try:
        async with asyncio.timeout_at(attempt.deadline):
            await check(attempt)
    except Unwell as trouble:
        return trouble.missing
    except SecretError as error:
        return Missing(Reason.REFUSED, one_line(str(error)))
    except TimeoutError:
        what = "connected, but no whole answer" if attempt.reached else "no answer"
        return Missing(Reason.TIMEOUT, f"{what} within {device.timeout_s:g} s")
    except ssl.SSLError as error:
        return _not_trusted(error)
    except OSError as error:
        return Missing(Reason.MALFORMED, f"the connection broke off: {_named(error)}")
    attempt.reached = True
    return None


def _not_trusted(error: ssl.SSLError) -> Missing:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Missing(Reason.REFUSED, one_line(f"certificate not accepted: {error.verify_message}"))
    return Missing(Reason.MALFORMED, f"no TLS there that we can speak: {error.reason}")


def endpoint(device: Device, port: int) -> tuple[str, int]:
    """Host and port of the device; `port` where none is written. Raises Unwell."""
    try:
        return device.endpoint(port)
    except ValueError as error:
        raise Unwell(Reason.UNREACHABLE, str(error)) from None


Place = tuple[Any, ...]
"""A socket's address as the kernel wants it: host and port, and of IPv6 two numbers more."""


async def look_up(host: str, port: int, kind: socket.SocketKind) -> list[tuple[socket.AddressFamily, Place]]:
    """The addresses of a host, in the order in which to try them. Raises Unwell."""
    try:
        # A literal is not looked up by a thread: there are few, and names that nobody answers for may hold them all
        found = _literal(host, port, kind) or await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    except (socket.gaierror, UnicodeError):
        raise Unwell(Reason.UNREACHABLE, f"the name {host} is not known to the resolver") from None
    return [(family, place) for family, _, _, _, place in found]


def _literal(host: str, port: int, kind: socket.SocketKind) -> list[tuple[Any, ...]]:
    try:
        return socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except socket.gaierror:
        return []


async def dial(attempt: Attempt, port: int) -> socket.socket:
    """A socket connected to the device, which does not block; whoever gets it closes it. Raises Unwell."""
    host, port = endpoint(attempt.device, port)
    loop = asyncio.get_running_loop()
    places = await look_up(host, port, socket.SOCK_STREAM)
    error: OSError | None = None
    for left, (family, place) in zip(range(len(places) - 1, -1, -1), places, strict=True):
        now = loop.time()
        until = now + (attempt.deadline - now) / (left + 1) if left else None  # the last one has all that is left
        line: socket.socket | None = None
        try:
            line = socket.socket(family, socket.SOCK_STREAM)
            line.settimeout(0)
            async with asyncio.timeout_at(until):
                await loop.sock_connect(line, place)
        except BaseException as why:
            if line is not None:
                line.close()
            if not isinstance(why, OSError):
                raise
            error = error if isinstance(error, ConnectionRefusedError) else why
        else:
            attempt.reached = True
            return line
    attempt.reached = isinstance(error, ConnectionRefusedError)
    raise _no_way(error, port)


def _no_way(error: OSError | None, port: int) -> Unwell:
    if isinstance(error, ConnectionRefusedError):
        return Unwell(Reason.REFUSED, f"connection refused: nothing listens on port {port}, or a firewall says so")
    if isinstance(error, TimeoutError):
        return Unwell(Reason.TIMEOUT, "no answer from any of its addresses")
    return Unwell(Reason.UNREACHABLE, f"no way there: {_named(error or OSError(errno.EADDRNOTAVAIL, ''))}")


def _named(error: OSError) -> str:
    """What the kernel calls the error; a library's own text may quote what was sent."""
    return os.strerror(error.errno) if error.errno and error.errno in errno.errorcode else type(error).__name__


@cache
def tls_context(*, verify: bool) -> ssl.SSLContext:
    """How a client asks for TLS: the certificate vouched for by the machine's own authorities, or by nobody. Made once,
    because to read all authorities takes longer than a visit."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def password_of(device: Device, secrets: Secrets) -> str:
    """The password that the device's `database` names, "" for none. Raises SecretError."""
    name = device.database.password if device.database else ""
    return secrets.get(name).reveal() if name else ""


IN_CLEAR = "the server wants the password in the clear, and gets it with `tls: true` only"


def no_driver(database: str, extra: str) -> Unwell:
    """That the library which speaks to a database is not there."""
    return Unwell(
        Reason.FAULT, f"the driver for {database} is not installed: pip install 'watchkeeper[{extra}]' and restart"
    )
