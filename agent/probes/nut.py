"""The NUT probe: a UPS that a Network UPS Tools server (upsd) watches, by its line protocol (NUT developer guide, 9.1; RFC 9271)."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.services.check import Columns
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Nut
from watchkeeper.model.errors import SecretError
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Reason, Sweep, Value
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.decode import Raw, decode
from watchkeeper.profiles.flat import Layout, joined, lay
from watchkeeper.profiles.shape import Speaks

PORT = 3493
PROFILE = "nut"
LINES = 2000  # variables of one UPS
_VARIABLE = re.compile(r'VAR \S+ (\S+) "((?:[^"\\]|\\.)*)"')
_ERRORS = MappingProxyType(
    {
        "ACCESS-DENIED": (
            Reason.REFUSED,
            "upsd refuses the login: user or password wrong, or this address not allowed",
        ),
        "INVALID-PASSWORD": (Reason.REFUSED, "upsd refuses the password"),
        "INVALID-USERNAME": (Reason.REFUSED, "upsd refuses the user"),
        "UNKNOWN-UPS": (Reason.ABSENT, "upsd knows no UPS of that name; `upsc -l` lists them"),
        "DATA-STALE": (Reason.TIMEOUT, "what upsd has is stale: its driver hears nothing of the UPS"),
        "DRIVER-NOT-CONNECTED": (Reason.UNREACHABLE, "upsd's driver for this UPS does not run"),
    }
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A connection to upsd, line by line."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, text: str) -> str:
        """Send a line, and return the one that answers. Raises NoAnswer for what upsd refuses."""
        self.writer.write(text.encode() + b"\n")
        return await self.hear()

    async def hear(self) -> str:
        """The next line."""
        line = (await self.reader.readline()).decode("utf-8", "replace").strip()
        if line.startswith("ERR "):
            code = line.split()[1]
            raise NoAnswer(*_ERRORS.get(code, (Reason.MALFORMED, f"upsd answers {one_line(code)}")))
        if not line:
            raise NoAnswer(Reason.MALFORMED, "upsd closed the connection")
        return line


def build(context: ProbeContext) -> "NutProbe":
    """See `agent.ports.ProbeContext`. Raises ConfigError."""
    return NutProbe(load_profiles(context.profiles), context.secrets, context.clock)


class NutProbe:
    """See `agent.ports.Probe`. A connection a sweep: upsd allows few, and may be restarted at any time."""

    def __init__(self, profiles: Profiles, secrets: Secrets, clock: Clock) -> None:
        self._profiles, self._secrets, self._clock = profiles, secrets, clock
        self._laid: dict[str, Layout] = {}
        self._bare = Columns()  # of those never heard of: a place for the reason

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`."""
        laid = self._laid.get(device.device)
        values: list[Value]
        try:
            answer = await self._variables(device)
            fresh = lay(device.device, self._profile(device), answer, lambda way: way.variable or "", "nut")
            laid = self._laid[device.device] = joined(laid, fresh)
            series, values = laid.series, ["yes", *decode(laid.steps, answer)]
        except NoAnswer as nothing:
            series = laid.series if laid else self._bare.of(device, ("uptime", "", "nut"))
            values = ["no", *[nothing.missing] * (len(series) - 1)]
        return Sweep(device.device, self._clock.boot(), series, tuple(values))

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        self._laid.pop(device, None)
        self._bare.forget(device)

    async def close(self) -> None:
        """See `Probe.close`."""

    def profile_of(self, device: str) -> Profile | None:
        """See `ProfileProbe.profile_of`."""
        return self._profiles.get(PROFILE) if device in self._laid else None

    def _profile(self, device: Device) -> Profile:
        name = PROFILE if device.profile == "auto" else device.profile
        profile = self._profiles.get(name)
        if profile is None or profile.speaks is not Speaks.NUT:
            raise NoAnswer(Reason.ABSENT, f"there is no profile `{name}` that speaks nut")
        return profile

    async def _variables(self, device: Device) -> dict[str, Raw]:
        """Every variable of the UPS. Raises NoAnswer."""
        options = device.nut or Nut("")
        found: dict[str, Raw] = {}
        try:
            async with asyncio.timeout(device.timeout_s), _connected(device) as line:
                await self._log_in(line, options)
                await line.say(f"LIST VAR {_quoted(options.ups)}")
                for _ in range(LINES):
                    text = await line.hear()
                    if text.startswith("END LIST"):
                        return found
                    if match := _VARIABLE.fullmatch(text):
                        found[match[1]] = re.sub(r"\\(.)", r"\1", match[2])
        except TimeoutError:
            raise NoAnswer(Reason.TIMEOUT, f"no answer of upsd within {device.timeout_s:g} s") from None
        except (OSError, ValueError) as error:  # a line without an end is a ValueError
            raise NoAnswer(Reason.UNREACHABLE, f"no connection to upsd: {one_line(str(error))}") from None
        raise NoAnswer(Reason.MALFORMED, f"upsd lists more than {LINES} variables")

    async def _log_in(self, line: _Line, options: Nut) -> None:
        if not options.user:
            return
        try:
            password = self._secrets.get(options.password).reveal()
        except SecretError as error:
            raise NoAnswer(Reason.REFUSED, str(error)) from None
        await line.say(f"USERNAME {_quoted(options.user)}")
        await line.say(f"PASSWORD {_quoted(password)}")


def _quoted(text: str) -> str:
    """A word of the protocol; what would end its line is left out."""
    return '"' + re.sub(r'([\\"])', r"\\\1", re.sub(r"[\r\n]", "", text)) + '"'


@asynccontextmanager
async def _connected(device: Device) -> AsyncIterator[_Line]:
    host, port = device.endpoint(PORT)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield _Line(reader, writer)
    finally:
        writer.close()
