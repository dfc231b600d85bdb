"""The SNMP probe: v1, v2c and v3, by two engines behind one door, decoded by profiles."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.snmp.engine import PORT, EngineBroken, Login, Session, ask, resolve
from watchkeeper.agent.probes.snmp.plan import Known, Plan, Reach, bare_plan, recognise, replan
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Snmp, SnmpEngine, SnmpVersion
from watchkeeper.model.errors import SecretError
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.decode import Raw, decode, idle

RENEW_S = 600.0  # how often a device's tables are walked again
RENEW_SOON_S = 60.0  # and how soon where that went wrong
OIDS_TOLD = 3  # how many of the objects that cannot be read are named in the log

Opener = Callable[[Device, Secrets], Awaitable[Session]]
"""Opens a session to a device with secrets found by name; raises NoAnswer."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """What is kept of a device between sweeps. `requests` are those of the plan, in the sizes that the device takes;
    `renew_at` is on the boot clock, and None means it was never heard of; `patient` tells that it has to be asked by the
    patient engine, whatever the inventory says."""

    device: Device
    plan: Plan
    requests: tuple[tuple[str, ...], ...]
    session: Session | None = None
    known: Known = (None, "")
    renew_at: float | None = None
    holes: frozenset[str] = frozenset()
    spoilt: frozenset[str] = frozenset()
    puzzled: bool = False
    patient: bool = False

    @property
    def version(self) -> SnmpVersion:
        """The version the device is asked in."""
        return self.device.snmp.version if self.device.snmp else SnmpVersion.V2C

    def drop(self) -> None:
        """Close the session; the next sweep opens another."""
        if self.session is not None:
            self.session.close()
            self.session = None


def build(context: ProbeContext) -> "SnmpProbe":
    """See `agent.ports.ProbeContext`. Raises ConfigError."""
    return SnmpProbe(load_profiles(context.profiles), context.secrets, context.clock)


class SnmpProbe:
    """See `agent.ports.Probe`. All calls come from one event loop."""

    def __init__(self, profiles: Profiles, secrets: Secrets, clock: Clock, opener: Opener | None = None) -> None:
        self._profiles = profiles
        self._secrets = secrets
        self._clock = clock
        self._opener = opener or open_session
        self._held: dict[str, _Held] = {}

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`."""
        held = self._hold(device)
        values: list[Value]
        try:
            try:
                values = await self._read(held)
            except EngineBroken as broken:
                _turn_patient(held, broken)
                values = await self._read(held)
        except NoAnswer as nothing:
            held.drop()
            values = ["no", *[nothing.missing] * len(held.plan.layout.steps)]
        sweep = Sweep(device.device, self._clock.boot(), held.plan.series, tuple(values))
        if held.session is not None and sweep.at >= (held.renew_at or 0.0):
            await self._renew(held, held.session)
        return sweep

    def profile_of(self, device: str) -> Profile | None:
        """See `ProfileProbe.profile_of`."""
        held = self._held.get(device)
        return held.known[0] if held else None

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        held = self._held.pop(device, None)
        if held is not None:
            held.drop()

    async def close(self) -> None:
        """See `Probe.close`."""
        for held in self._held.values():
            held.drop()
        self._held.clear()

    def _hold(self, device: Device) -> _Held:
        held = self._held.get(device.device)
        if held is None or (held.device is not device and held.device != device):
            if held is not None:
                held.drop()
            plan = bare_plan(device)
            held = self._held[device.device] = _Held(device, plan, plan.layout.chunks)
        return held

    async def _read(self, held: _Held) -> list[Value]:
        if held.session is None:
            held.session = await self._opener(_asked_as(held), self._secrets)
        if held.renew_at is None:
            await self._learn(held, held.session)
        answer: dict[str, Raw] = {}
        without: dict[str, Missing] = {}
        taken: list[tuple[str, ...]] = []
        for number, request in enumerate(held.requests):
            try:
                told = await ask(held.session, request, held.version, held.device.retries)
            except NoAnswer as nothing:
                if not answer:
                    raise
                without |= {oid: nothing.missing for request in held.requests[number:] for oid in request}
                break
            answer = answer | told.answer if answer else told.answer
            if told.spoilt:
                without |= told.spoilt
            taken += told.requests
        else:
            if without and not answer:
                raise NoAnswer(*_first(without))
            if len(taken) != len(held.requests):
                held.requests = tuple(taken)
            self._note_holes(held, answer)
        steps = held.plan.layout.steps
        values = decode(steps, answer)
        if without:
            values = [without.get(one.oid, value) for one, value in zip(steps, values, strict=True)]
        return ["yes", *values]

    def _note_holes(self, held: _Held, answer: Mapping[str, Raw]) -> None:
        """A device that no longer answers for something, or in another unit, may have changed: look soon, but not at each sweep."""
        layout = held.plan.layout
        if len(answer) == layout.size and not held.holes and not layout.guarded:
            return
        holes = frozenset(one.oid for one in layout.steps if one.oid not in answer)
        holes |= {one.oid for one in layout.guarded if idle(one.special, answer)}
        if holes - held.holes and held.renew_at is not None:
            held.renew_at -= RENEW_S - RENEW_SOON_S
        held.holes = holes

    async def _learn(self, held: _Held, session: Session) -> None:
        """Find the device's profile and what it has of it. Raises NoAnswer."""
        reach = Reach(session, held.device, held.version)
        held.known = profile, described = await recognise(reach, self._profiles, held.known)
        if profile is None and not held.puzzled:
            held.puzzled = True
            _log.warning("%s at %s: no profile fits %s", held.device.device, _shown(held.device), described)
        now = self._clock.boot()
        held.plan = await replan(reach, profile, held.plan, now)
        held.requests = held.plan.layout.chunks
        held.renew_at = now + (RENEW_SOON_S if reach.spoilt.keys() - held.spoilt else RENEW_S)
        _note_spoilt(held, reach.spoilt)

    async def _renew(self, held: _Held, session: Session) -> None:
        """Learn again, after the values are safe; a device that does not manage it keeps its plan."""
        try:
            await self._learn(held, session)
        except EngineBroken as broken:
            held.renew_at = self._clock.boot() + RENEW_SOON_S
            _turn_patient(held, broken)
        except NoAnswer as nothing:
            held.renew_at = self._clock.boot() + RENEW_SOON_S
            _log.info("%s at %s: tables not read: %s", held.device.device, _shown(held.device), nothing)


def _turn_patient(held: _Held, broken: EngineBroken) -> None:
    """Ask the device by the other engine from now on: Rust writes each panic to stderr, and once is enough."""
    held.drop()
    held.patient = True
    _log.warning(
        "%s at %s: %s; it is read with `engine: pysnmp` from now on", held.device.device, _shown(held.device), broken
    )


def _asked_as(held: _Held) -> Device:
    """The device as its session is opened."""
    device = held.device
    if not held.patient or device.snmp is None:
        return device
    return replace(device, snmp=replace(device.snmp, engine=SnmpEngine.PYSNMP))


def _note_spoilt(held: _Held, spoilt: Mapping[str, Missing]) -> None:
    """Say what of a device cannot be read, when that changes."""
    if spoilt and spoilt.keys() != held.spoilt:
        told = "; ".join(f"{oid}: {missing.detail}" for oid, missing in list(spoilt.items())[:OIDS_TOLD])
        more = f", and {len(spoilt) - OIDS_TOLD} more" if len(spoilt) > OIDS_TOLD else ""
        _log.warning("%s at %s cannot be read in full: %s%s", held.device.device, _shown(held.device), told, more)
    held.spoilt = frozenset(spoilt)


def _first(without: Mapping[str, Missing]) -> tuple[Reason, str]:
    """The first reason why there is nothing."""
    missing = next(iter(without.values()))
    return missing.reason, missing.detail


async def open_session(device: Device, secrets: Secrets) -> Session:
    """Open a session with the device's secrets. Raises NoAnswer."""
    login = await login_to(device, secrets)
    try:
        if _needs_patience(login.snmp):
            return await asyncio.to_thread(_patient_session, login)
        return _fast_session(login)
    except (OSError, ValueError) as error:
        raise NoAnswer(Reason.UNREACHABLE, f"no session: {error}") from None


async def login_to(device: Device, secrets: Secrets) -> Login:
    """Where to ask, and with which secrets. Raises NoAnswer."""
    snmp = device.snmp
    if snmp is None:
        raise NoAnswer(Reason.REFUSED, "the inventory has no `snmp` for this device")
    try:
        community, auth, priv = (
            secrets.get(name).reveal() if name else "" for name in (snmp.community, snmp.auth_secret, snmp.priv_secret)
        )
        host, port = device.endpoint(PORT)
    except SecretError as error:
        raise NoAnswer(Reason.REFUSED, str(error)) from None
    except ValueError:
        raise NoAnswer(Reason.UNREACHABLE, f"`{device.address}` is not HOST or HOST:PORT") from None
    return Login(await resolve(host, port, device.timeout_s), port, device.timeout_s, snmp, community, auth, priv)


def _fast_session(login: Login) -> Session:
    from watchkeeper.agent.probes.snmp.gufo_engine import GufoSession  # noqa: PLC0415 -- an agent that watches only its host does not need it

    return GufoSession(login)


def _needs_patience(snmp: Snmp) -> bool:
    authentic = snmp.version is SnmpVersion.V3 and snmp.auth is not None
    return snmp.engine is SnmpEngine.PYSNMP or (snmp.engine is SnmpEngine.AUTO and authentic)


def _patient_session(login: Login) -> Session:
    """Takes 75 ms, and the first time 13 MB, which an agent without odd devices must not pay."""
    from watchkeeper.agent.probes.snmp.pysnmp_engine import PysnmpSession  # noqa: PLC0415 -- said above

    return PysnmpSession(login)


def _shown(device: Device) -> str:
    return f"snmp://***@{device.address}"
