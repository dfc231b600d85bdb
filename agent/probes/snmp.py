"""The SNMP probe: v1, v2c and v3, by two engines behind one door, decoded by profiles."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agent.probes.snmp_engine import Login, NoAnswer, Session, ask, host_and_port, resolve
from agent.probes.snmp_plan import Plan, Reach, bare_plan, recognise, replan
from agent.profiles import Profiles
from agent.profiles.decode import Raw, decode
from documents.secrets import Secrets
from model.clock import Clock
from model.device import Device, SnmpEngine, SnmpVersion
from model.errors import SecretError
from model.reading import Missing, Reason, Sweep, Value

RENEW_S = 600.0  # how often a device's tables are walked again
RENEW_SOON_S = 60.0  # and how soon where that went wrong

Opener = Callable[[Device, Secrets], Awaitable[Session]]
"""Opens a session to a device with secrets found by name; raises NoAnswer."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """What is kept of a device between sweeps. `renew_at` is on the boot clock; None means it was never heard of."""

    device: Device
    plan: Plan
    session: Session | None = None
    renew_at: float | None = None
    holes: frozenset[str] = frozenset()
    puzzled: bool = False

    @property
    def version(self) -> SnmpVersion:
        """The version the device is asked in."""
        return self.device.snmp.version if self.device.snmp else SnmpVersion.V2C

    def drop(self) -> None:
        """Close the session; the next sweep opens another."""
        if self.session is not None:
            self.session.close()
            self.session = None


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
            values = await self._read(held)
        except NoAnswer as nothing:
            held.drop()
            values = ["no", *[nothing.missing] * len(held.plan.steps)]
        sweep = Sweep(device.device, self._clock.boot(), held.plan.series, tuple(values))
        if held.session is not None and sweep.at >= (held.renew_at or 0.0):
            await self._renew(held, held.session)
        return sweep

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
            held = self._held[device.device] = _Held(device, bare_plan(device))
        return held

    async def _read(self, held: _Held) -> list[Value]:
        device = held.device
        if held.session is None:
            held.session = await self._opener(device, self._secrets)
        if held.renew_at is None:
            await self._learn(held, held.session)
        answer: dict[str, Raw] = {}
        plan = held.plan
        for number, chunk in enumerate(plan.chunks):
            try:
                answer |= await ask(held.session, chunk, held.version, device.retries)
            except NoAnswer as nothing:
                if number == 0:
                    raise
                asked = {oid for chunk in plan.chunks[:number] for oid in chunk}
                return ["yes", *_told(plan, answer, asked, nothing.missing)]
        self._note_holes(held, answer)
        return ["yes", *decode(plan.steps, answer)]

    def _note_holes(self, held: _Held, answer: Mapping[str, Raw]) -> None:
        """A device that no longer answers for something may have changed its tables: look soon, but not at each sweep."""
        wanted = sum(map(len, held.plan.chunks))
        if len(answer) == wanted and not held.holes:
            return
        holes = frozenset(one.oid for one in held.plan.steps if one.oid not in answer)
        if holes - held.holes and held.renew_at is not None:
            held.renew_at -= RENEW_S - RENEW_SOON_S
        held.holes = holes

    async def _learn(self, held: _Held, session: Session) -> None:
        """Find the device's profile and what it has of it. Raises NoAnswer."""
        reach = Reach(session, held.device, held.version)
        profile, described = await recognise(reach, self._profiles)
        if profile is None and not held.puzzled:
            held.puzzled = True
            _log.warning("%s at %s: no profile fits %s", held.device.device, _shown(held.device), described)
        now = self._clock.boot()
        held.plan = await replan(reach, profile, held.plan, now)
        held.renew_at = now + RENEW_S

    async def _renew(self, held: _Held, session: Session) -> None:
        """Learn again, after the values are safe; a device that does not manage it keeps its plan."""
        try:
            await self._learn(held, session)
        except NoAnswer as nothing:
            held.renew_at = self._clock.boot() + RENEW_SOON_S
            _log.info("%s at %s: tables not read: %s", held.device.device, _shown(held.device), nothing)


def _told(plan: Plan, answer: Mapping[str, Raw], asked: set[str], missing: Missing) -> list[Value]:
    """The values where only the first requests were answered: the rest is missing for the same reason."""
    values = decode(plan.steps, answer)
    return [value if one.oid in asked else missing for one, value in zip(plan.steps, values, strict=True)]


async def open_session(device: Device, secrets: Secrets) -> Session:
    """Open a session with the device's secrets. Raises NoAnswer."""
    snmp = device.snmp
    if snmp is None:
        raise NoAnswer(Reason.REFUSED, "the inventory has no `snmp` for this device")
    try:
        community, auth, priv = (
            secrets.get(name).reveal() if name else "" for name in (snmp.community, snmp.auth_secret, snmp.priv_secret)
        )
        host, port = host_and_port(device.address)
    except SecretError as error:
        raise NoAnswer(Reason.REFUSED, str(error)) from None
    except ValueError:
        raise NoAnswer(Reason.UNREACHABLE, f"`{device.address}` is not HOST or HOST:PORT") from None
    host = await resolve(host, port, device.timeout_s)
    login = Login(host, port, device.timeout_s, snmp, community, auth, priv)
    try:
        if snmp.engine is SnmpEngine.PYSNMP:
            return await asyncio.to_thread(_patient_session, login)
        return _fast_session(login)
    except (OSError, ValueError) as error:
        raise NoAnswer(Reason.UNREACHABLE, f"no session: {error}") from None


def _fast_session(login: Login) -> Session:
    from agent.probes.snmp_gufo import GufoSession  # noqa: PLC0415 -- an agent that watches only its host does not need it

    return GufoSession(login)


def _patient_session(login: Login) -> Session:
    """Takes 75 ms, and the first time 13 MB, which an agent without odd devices must not pay."""
    from agent.probes.snmp_pysnmp import PysnmpSession  # noqa: PLC0415 -- said above

    return PysnmpSession(login)


def _shown(device: Device) -> str:
    return f"snmp://***@{device.address}"
