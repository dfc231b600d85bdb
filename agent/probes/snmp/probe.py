"""The SNMP probe: reads v1, v2c and v3 by one of three engines, and decodes by profiles."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.snmp.engine import (
    SNMP_PORT,
    EngineBroken,
    SnmpLogin,
    SnmpSession,
    get_objects,
    resolve_host,
)
from watchkeeper.agent.probes.snmp.plan import DeviceReader, SweepPlan, bare_plan, replan
from watchkeeper.agent.probes.snmp.recognise import UNKNOWN, Recognised, recognise
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, SnmpEngine, SnmpVersion
from watchkeeper.model.errors import SecretError
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.decode import DecodeStep, Raw, decode, inactive_reason

log = logging.getLogger(__name__)

SNMP_RENEW_S = 600.0  # how often a device's tables are walked again
SNMP_RENEW_SOON_S = 60.0  # and how soon after a failure
OIDS_LOGGED = 3  # how many unreadable objects are named in one log line

SnmpOpener = Callable[[Device, Secrets], Awaitable[SnmpSession]]
"""Opens a session to a device, with secrets found by name. Raises NoAnswer."""


@dataclass(slots=True)
class _SnmpDevice:
    """What is kept of a device between sweeps. `requests` are the plan's requests, in sizes that the device accepts.
    `renew_at` is on the boot clock; None means that the device has never answered. `absent` are the objects without a
    valid answer at the last sweep. `fallback` means that it is read by the fallback engine, whatever the inventory
    says."""

    device: Device
    plan: SweepPlan
    requests: tuple[tuple[str, ...], ...]
    session: SnmpSession | None = None
    known: Recognised = UNKNOWN
    renew_at: float | None = None
    absent: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    warned_unknown: bool = False
    fallback: bool = False

    @property
    def version(self) -> SnmpVersion:
        """The SNMP version of the requests."""
        return self.device.snmp.version if self.device.snmp else SnmpVersion.V2C

    def drop(self) -> None:
        """Close the session; the next sweep opens a new one."""
        if self.session is not None:
            self.session.close()
            self.session = None


def build(context: ProbeContext) -> "SnmpProbe":
    """Build the probe. Raises ConfigError."""
    return SnmpProbe(load_profiles(context.profiles), context.secrets, context.clock)


class SnmpProbe:
    """Implements `agent.ports.Probe`. All calls must come from one event loop."""

    def __init__(self, profiles: Profiles, secrets: Secrets, clock: Clock, opener: SnmpOpener | None = None) -> None:
        self._profiles = profiles
        self._secrets = secrets
        self._clock = clock
        self._opener = opener or open_snmp_session
        self._held: dict[str, _SnmpDevice] = {}

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`."""
        held = self._held_for(device)
        values: list[Value]
        try:
            try:
                values = await self._read(held)
            except EngineBroken as broken:
                _use_fallback_engine(held, broken)
                values = await self._read(held)
        except NoAnswer as nothing:
            held.drop()
            values = ["no", *[nothing.missing] * len(held.plan.layout.steps)]
        sweep = Sweep(device.device, self._clock.boot(), held.plan.series, tuple(values))
        if held.session is not None and sweep.at >= (held.renew_at or 0.0):
            await self._renew(held, held.session)
        return sweep

    def profile_of(self, device: str) -> Profile | None:
        """Implements `ProfileProbe.profile_of`."""
        return self.recognised(device).profile

    def recognised(self, device: str) -> Recognised:
        """Which profile a device is read by, and why; UNKNOWN until it has answered."""
        held = self._held.get(device)
        return held.known if held else UNKNOWN

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        held = self._held.pop(device, None)
        if held is not None:
            held.drop()

    async def close(self) -> None:
        """Implements `Probe.close`."""
        for held in self._held.values():
            held.drop()
        self._held.clear()

    def _held_for(self, device: Device) -> _SnmpDevice:
        held = self._held.get(device.device)
        if held is None or (held.device is not device and held.device != device):
            if held is not None:
                held.drop()
            plan = bare_plan(device)
            held = self._held[device.device] = _SnmpDevice(device, plan, plan.layout.requests)
        return held

    async def _read(self, held: _SnmpDevice) -> list[Value]:
        if held.session is None:
            held.session = await self._opener(_effective_device(held), self._secrets)
        if held.renew_at is None:
            await self._learn(held, held.session)
        answer: dict[str, Raw] = {}
        failed: dict[str, Missing] = {}
        accepted: list[tuple[str, ...]] = []
        for number, request in enumerate(held.requests):
            try:
                reply = await get_objects(held.session, request, held.version, held.device.retries)
            except NoAnswer as nothing:
                if not answer:
                    raise
                failed |= {oid: nothing.missing for request in held.requests[number:] for oid in request}
                break
            answer = answer | reply.answer if answer else reply.answer
            failed |= reply.unreadable
            accepted += reply.requests
        else:
            if failed and not answer:
                raise NoAnswer(*_first_reason(failed))
            if len(accepted) != len(held.requests):
                held.requests = tuple(accepted)
            self._note_absent(held, answer)
        steps = held.plan.layout.steps
        values = decode(steps, answer)
        if failed:
            values = [_with_failure(one, value, failed) for one, value in zip(steps, values, strict=True)]
        return ["yes", *values]

    def _note_absent(self, held: _SnmpDevice, answer: Mapping[str, Raw]) -> None:
        """Renew the plan soon if an object is newly absent or not valid: the device may have changed."""
        layout = held.plan.layout
        if len(answer) == layout.size and not held.absent and not layout.conditional:
            return
        absent = frozenset(one.oid for one in layout.steps if one.oid not in answer)
        absent |= {one.oid for one in layout.conditional if inactive_reason(one.special, answer)}
        if absent - held.absent and held.renew_at is not None:
            held.renew_at -= SNMP_RENEW_S - SNMP_RENEW_SOON_S
        held.absent = absent

    async def _learn(self, held: _SnmpDevice, session: SnmpSession) -> None:
        """Find the device's profile and columns. Raises NoAnswer."""
        reader = DeviceReader(session, held.device, held.version)
        held.known = known = await recognise(reader, self._profiles, held.known)
        if known.profile is None and not held.warned_unknown:
            held.warned_unknown = True
            log.warning("%s at %s: no profile fits %s", held.device.device, _masked_url(held.device), known.described)
        now = self._clock.boot()
        held.plan = plan = await replan(reader, known.profile, held.plan, now, known.standards)
        held.known = replace(known, readings=plan.readings, with_value=plan.with_value)
        held.requests = held.plan.layout.requests
        held.renew_at = now + (SNMP_RENEW_SOON_S if reader.unreadable.keys() - held.unreadable else SNMP_RENEW_S)
        _log_unreadable(held, reader.unreadable)

    async def _renew(self, held: _SnmpDevice, session: SnmpSession) -> None:
        """Learn again, after the sweep's values are read. If that fails, the previous plan is kept."""
        try:
            await self._learn(held, session)
        except EngineBroken as broken:
            held.renew_at = self._clock.boot() + SNMP_RENEW_SOON_S
            _use_fallback_engine(held, broken)
        except NoAnswer as nothing:
            held.renew_at = self._clock.boot() + SNMP_RENEW_SOON_S
            log.info("%s at %s: tables not read: %s", held.device.device, _masked_url(held.device), nothing)


def _with_failure(one: DecodeStep, value: Value, failed: Mapping[str, Missing]) -> Value:
    """The value; if it is missing, with the reason why one of its objects could not be read."""
    if not isinstance(value, Missing):
        return value
    return next((failed[oid] for oid in one.oids if oid in failed), value)


def _use_fallback_engine(held: _SnmpDevice, broken: EngineBroken) -> None:
    """Read the device by the fallback engine from now on: each panic of the first one writes to stderr."""
    held.drop()
    held.fallback = True
    log.warning(
        "%s at %s: %s; it is read with `engine: pysnmp` from now on",
        held.device.device,
        _masked_url(held.device),
        broken,
    )


def _effective_device(held: _SnmpDevice) -> Device:
    """The device, with the engine that its session must use."""
    device = held.device
    if not held.fallback or device.snmp is None:
        return device
    return replace(device, snmp=replace(device.snmp, engine=SnmpEngine.PYSNMP))


def _log_unreadable(held: _SnmpDevice, unreadable: Mapping[str, Missing]) -> None:
    """Log which objects of a device cannot be read, whenever they change."""
    if unreadable and unreadable.keys() != held.unreadable:
        first = "; ".join(f"{oid}: {missing.detail}" for oid, missing in list(unreadable.items())[:OIDS_LOGGED])
        more = f", and {len(unreadable) - OIDS_LOGGED} more" if len(unreadable) > OIDS_LOGGED else ""
        log.warning("%s at %s cannot be read in full: %s%s", held.device.device, _masked_url(held.device), first, more)
    held.unreadable = frozenset(unreadable)


def _first_reason(failed: Mapping[str, Missing]) -> tuple[Reason, str]:
    missing = next(iter(failed.values()))
    return missing.reason, missing.detail


async def open_snmp_session(device: Device, secrets: Secrets) -> SnmpSession:
    """Open a session with the device's secrets. Raises NoAnswer."""
    login = await login_to(device, secrets)
    snmp = login.snmp
    try:
        if snmp.engine is SnmpEngine.PYSNMP:
            return await asyncio.to_thread(_pysnmp_session, login)
        if snmp.engine is SnmpEngine.AUTO and snmp.version is SnmpVersion.V3 and snmp.auth is not None:
            return _usm_session(login)
        return _gufo_session(login)
    except (OSError, ValueError) as error:
        raise NoAnswer(Reason.UNREACHABLE, f"no session: {error}") from None


async def login_to(device: Device, secrets: Secrets) -> SnmpLogin:
    """The device's address and secrets. Raises NoAnswer."""
    snmp = device.snmp
    if snmp is None:
        raise NoAnswer(Reason.REFUSED, "the inventory has no `snmp` for this device")
    try:
        community, auth, priv = (
            secrets.get(name).reveal() if name else "" for name in (snmp.community, snmp.auth_secret, snmp.priv_secret)
        )
        host, port = device.endpoint(SNMP_PORT)
    except SecretError as error:
        raise NoAnswer(Reason.REFUSED, str(error)) from None
    except ValueError:
        raise NoAnswer(Reason.UNREACHABLE, f"`{device.address}` is not HOST or HOST:PORT") from None
    return SnmpLogin(
        await resolve_host(host, port, device.timeout_s), port, device.timeout_s, snmp, community, auth, priv
    )


def _gufo_session(login: SnmpLogin) -> SnmpSession:
    from watchkeeper.agent.probes.snmp.gufo_engine import GufoSession  # noqa: PLC0415 -- an agent that watches only its host does not need it

    return GufoSession(login)


def _usm_session(login: SnmpLogin) -> SnmpSession:
    from watchkeeper.agent.probes.snmp.usm_engine import UsmSession  # noqa: PLC0415 -- only SNMPv3 needs it

    return UsmSession(login)


def _pysnmp_session(login: SnmpLogin) -> SnmpSession:
    """Opened in a thread, because it takes 75 ms. The first one loads 13 MB, which most agents do not need."""
    from watchkeeper.agent.probes.snmp.pysnmp_engine import PysnmpSession  # noqa: PLC0415 -- the library takes 13 MB

    return PysnmpSession(login)


def _masked_url(device: Device) -> str:
    return f"snmp://***@{device.address}"
