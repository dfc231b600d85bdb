"""The NUT probe: a UPS that a Network UPS Tools server (upsd) watches, by its line protocol (NUT developer guide, 9.1;
RFC 9271)."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.series import SeriesCache
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Nut
from watchkeeper.model.errors import SecretError
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Reason, Sweep, Value
from watchkeeper.model.text import marked
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.asked import misfit
from watchkeeper.profiles.condition import Speaks
from watchkeeper.profiles.decode import Raw, decode
from watchkeeper.profiles.flat import Layout, lay_out, merge_layouts

NUT_PORT = 3493
DEFAULT_PROFILE = "nut"
MAX_VARIABLES = 2000  # of one UPS
LINE_BYTES = 4096  # of an answer; a value has 255 at most (NUT developer guide, 4.4)
_VARIABLE = re.compile(r'VAR \S+ (\S+) "((?:[^"\\]|\\.)*)"')
_UPSD_ERRORS = MappingProxyType(
    {
        "ACCESS-DENIED": (
            Reason.REFUSED,
            "upsd refuses the login: user or password wrong, or this address not allowed",
        ),
        "INVALID-PASSWORD": (Reason.REFUSED, "upsd refuses the password"),
        "INVALID-USERNAME": (Reason.REFUSED, "upsd refuses the user"),
        "UNKNOWN-UPS": (Reason.ABSENT, "upsd knows no UPS of that name; `upsc -l` lists them"),
        "DATA-STALE": (Reason.TIMEOUT, "upsd's data is stale: its driver gets no answer from the UPS"),
        "DRIVER-NOT-CONNECTED": (Reason.UNREACHABLE, "upsd's driver for this UPS is not running"),
    }
)


@dataclass(frozen=True, slots=True)
class _UpsdConnection:
    """A connection to upsd, read and written line by line."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def command(self, text: str) -> str:
        """Send a command and return the first line of the answer. Raises NoAnswer if upsd refuses it."""
        self.writer.write(text.encode() + b"\n")
        return await self.read_line()

    async def read_line(self) -> str:
        """Return the next line. Raises NoAnswer for an error line and at the end of the connection."""
        line = (await self.reader.readline()).decode("utf-8", "replace").strip()
        if line.startswith("ERR "):
            code = line.split()[1]
            raise NoAnswer(*_UPSD_ERRORS.get(code, (Reason.MALFORMED, f"upsd answers {one_line(code)}")))
        if not line:
            raise NoAnswer(Reason.MALFORMED, "upsd closed the connection")
        return line


def build(context: ProbeContext) -> "NutProbe":
    """Build the probe. Raises ConfigError."""
    return NutProbe(load_profiles(context.profiles), context.secrets, context.clock)


class NutProbe:
    """Implements `agent.ports.Probe`. Connects for each sweep: upsd allows few connections and may restart at any
    time."""

    def __init__(self, profiles: Profiles, secrets: Secrets, clock: Clock) -> None:
        self._profiles, self._secrets, self._clock = profiles, secrets, clock
        self._layouts: dict[str, Layout] = {}
        self._names: dict[str, str] = {}  # of the profile of each device
        self._bare_series = SeriesCache()  # for devices that were never read: one series to carry the reason

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`."""
        layout = self._layouts.get(device.device)
        values: list[Value]
        try:
            answer = await self._variables(device)
            fresh = lay_out(device.device, self._profile(device), answer, "nut")
            layout = self._layouts[device.device] = merge_layouts(layout, fresh)
            series, values = layout.series, ["yes", *decode(layout.steps, answer)]
        except NoAnswer as nothing:
            series = layout.series if layout else self._bare_series.of(device, ("uptime", "", "nut"))
            values = ["no", *[nothing.missing] * (len(series) - 1)]
        return Sweep(device.device, self._clock.boot(), series, tuple(values))

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        self._layouts.pop(device, None)
        self._names.pop(device, None)
        self._bare_series.forget(device)

    async def close(self) -> None:
        """Implements `Probe.close`."""

    def profiles_of(self, device: str) -> tuple[Profile, ...]:
        """Implements `ProfileProbe.profiles_of`."""
        profile = self._profiles.get(self._names[device]) if device in self._names else None
        return (profile,) if profile else ()

    def why_of(self, device: str) -> str:
        """Implements `ProfileProbe.why_of`."""
        named = self._names.get(device, DEFAULT_PROFILE) != DEFAULT_PROFILE
        default = marked("it is for every UPS behind upsd") if device in self._names else ""
        return marked("the inventory names it") if named else default

    def _profile(self, device: Device) -> Profile:
        if wrong := misfit(self._profiles, device.profile, Speaks.NUT):
            raise NoAnswer(Reason.ABSENT, wrong)
        name = self._names[device.device] = DEFAULT_PROFILE if device.profile == "auto" else device.profile
        profile = self._profiles.get(name)
        if profile is None:
            raise NoAnswer(Reason.ABSENT, f"there is no profile `{name}`")
        return profile

    async def _variables(self, device: Device) -> dict[str, Raw]:
        """Read every variable of the UPS. Raises NoAnswer."""
        options = device.nut or Nut("")
        found: dict[str, Raw] = {}
        try:
            async with asyncio.timeout(device.timeout_s), _connected(device) as upsd:
                await self._log_in(upsd, options)
                await upsd.command(f"LIST VAR {_quoted(options.ups)}")
                for _ in range(MAX_VARIABLES):
                    text = await upsd.read_line()
                    if text.startswith("END LIST"):
                        return found
                    if match := _VARIABLE.fullmatch(text):
                        found[match[1]] = re.sub(r"\\(.)", r"\1", match[2])
        except TimeoutError:
            raise NoAnswer(Reason.TIMEOUT, f"no answer from upsd within {device.timeout_s:g} s") from None
        except (OSError, ValueError) as error:  # readline raises ValueError for a line that is too long
            raise NoAnswer(Reason.UNREACHABLE, f"no connection to upsd: {one_line(str(error))}") from None
        raise NoAnswer(Reason.MALFORMED, f"upsd lists more than {MAX_VARIABLES} variables")

    async def _log_in(self, upsd: _UpsdConnection, options: Nut) -> None:
        if not options.user:
            return
        try:
            password = self._secrets.get(options.password).reveal()
        except SecretError as error:
            raise NoAnswer(Reason.REFUSED, str(error)) from None
        await upsd.command(f"USERNAME {_quoted(options.user)}")
        await upsd.command(f"PASSWORD {_quoted(password)}")


def _quoted(text: str) -> str:
    """The text as a quoted argument of the protocol, without line ends."""
    return '"' + re.sub(r'([\\"])', r"\\\1", re.sub(r"[\r\n]", "", text)) + '"'


@asynccontextmanager
async def _connected(device: Device) -> AsyncIterator[_UpsdConnection]:
    host, port = device.endpoint(NUT_PORT)
    reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES)
    try:
        yield _UpsdConnection(reader, writer)
    finally:
        writer.transport.abort()  # an orderly close waits for what the server does not read
