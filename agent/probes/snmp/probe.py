"""The SNMP probe: reads v1, v2c and v3 by one of three engines, and decodes by profiles."""

import asyncio
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from watchkeeper.agent.ports import Memory, NoAnswer, ProbeContext
from watchkeeper.agent.probes.series import with_failures
from watchkeeper.agent.probes.snmp.dialect.habits import (
    Dialect,
    Habits,
    from_note,
    mark_in,
    split_all,
    to_note,
)
from watchkeeper.agent.probes.snmp.dialect.hail import hail, same_address
from watchkeeper.agent.probes.snmp.dialect.requests import MUTE, ask_for_mute, get_objects
from watchkeeper.agent.probes.snmp.engine import SNMP_PORT, EngineBroken, SnmpSession, other_sender
from watchkeeper.agent.probes.snmp.opening import SnmpOpener, login_to, masked_url, open_snmp_session
from watchkeeper.agent.probes.snmp.plan import DeviceReader, SweepPlan, bare_plan, replan
from watchkeeper.agent.probes.snmp.recognise import UNKNOWN, Recognised, known_by, mark_of, recognise
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, SnmpEngine, SnmpVersion
from watchkeeper.model.habit import sentence, source_with
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.asked import misfit
from watchkeeper.profiles.condition import Speaks
from watchkeeper.profiles.decode import Raw, decode, inactive_reason

log = logging.getLogger(__name__)

SNMP_RENEW_S = 1800.0  # how often a device's tables are walked again; the first time sooner, to spread the devices
SNMP_RENEW_SOON_S = 60.0  # and how soon after a failure
HAIL_EVERY = 5  # silent sweeps; at the first of them, and then at every fifth, other ways to ask are tried
LEARN_SHARE = 0.8  # of the interval: then a sweep ends although the device is not known yet
RENEW_SHARE = 0.5  # of the interval: walking the tables again must not take the sweep's time
LEARNING = Missing(Reason.WARMING_UP, "the device answers slowly: its tables are still read for the first time")
OIDS_LOGGED = 3  # how many unreadable objects are named in one log line


@dataclass(slots=True)
class _SnmpDevice:
    """What is kept of a device between sweeps. `requests` are the plan's requests, in sizes that the device accepts. When its
    tables were walked and will be again (`renew_at`; None: it has never answered) is on the boot clock. `absent` are the
    objects without a valid answer at the last sweep, `missing` all objects without an answer. `fallback`: it is read by the
    fallback engine, whatever the inventory says. `dialect` is how it answers, `stored` what of that is remembered over a
    restart, `silences` the number of sweeps in a row without an answer. `learning` goes on if a sweep ends before it; `reader`
    is what it reads with."""

    device: Device
    plan: SweepPlan
    requests: tuple[tuple[str, ...], ...]
    dialect: Dialect
    stored: Habits
    session: SnmpSession | None = None
    known: Recognised = UNKNOWN
    renew_at: float | None = None
    walked_at: float = 0.0
    absent: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    warned_unknown: bool = False
    missing: frozenset[str] = frozenset()
    fallback: bool = False
    silences: int = 0
    learning: asyncio.Task[None] | None = None
    reader: DeviceReader | None = None

    @property
    def version(self) -> SnmpVersion:
        """The SNMP version of the requests."""
        if self.dialect.habits.version:
            return SnmpVersion(self.dialect.habits.version)
        return self.device.snmp.version if self.device.snmp else SnmpVersion.V2C

    def drop(self) -> None:
        """Close the session; the next sweep opens a new one."""
        if self.learning is not None:
            self.learning.cancel()
            self.learning = self.reader = None
        if self.session is not None:
            self.session.close()
            self.session = None


def build(context: ProbeContext) -> "SnmpProbe":
    """Build the probe. Raises ConfigError."""
    return SnmpProbe(load_profiles(context.profiles), context.secrets, context.clock, memory=context.memory)


class SnmpProbe:
    """Implements `agent.ports.Probe`. All calls must come from one event loop."""

    def __init__(
        self,
        profiles: Profiles,
        secrets: Secrets,
        clock: Clock,
        opener: SnmpOpener | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._profiles = profiles
        self._secrets = secrets
        self._clock = clock
        self._opener = opener or open_snmp_session
        self._on_the_network = opener is None
        self._memory = memory
        self._held: dict[str, _SnmpDevice] = {}

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`."""
        held, began_at = self._held_for(device), self._clock.boot()
        values: list[Value]
        try:
            try:
                values = await self._read_by_some_way(held)
            except EngineBroken as broken:
                _use_fallback_engine(held, broken)
                values = await self._read(held)
            held.silences = 0
        except NoAnswer as nothing:
            held.drop()
            values = ["no", *[nothing.missing] * len(held.plan.layout.steps)]
        if held.dialect.habits is not held.stored:
            self._remember(held)
        sweep = Sweep(device.device, self._clock.boot(), held.plan.series, tuple(values))
        if held.session is not None and held.renew_at is not None and sweep.at >= held.renew_at:
            await self._renew(held, held.session, sweep.at - began_at)
        if held.dialect.habits is not held.stored:
            self._remember(held)
        return sweep

    def profiles_of(self, device: str) -> tuple[Profile, ...]:
        """Implements `ProfileProbe.profiles_of`."""
        known = self.recognised(device)
        return (known.profile, *known.standards) if known.profile else ()

    def recognised(self, device: str) -> Recognised:
        """Which profile a device is read by, and why; UNKNOWN until it has answered."""
        held = self._held.get(device)
        return held.known if held else UNKNOWN

    def why_of(self, device: str) -> str:
        """Implements `ProfileProbe.why_of`."""
        held = self._held.get(device)
        if held is None or held.renew_at is None:
            return ""
        wrong = misfit(self._profiles, held.device.profile, Speaks.SNMP)
        return wrong or held.known.why or held.known.described

    def habits_of(self, device: str) -> tuple[str, ...]:
        """Implements `HabitProbe.habits_of`."""
        held = self._held.get(device)
        return tuple(map(sentence, held.dialect.habits.words())) if held else ()

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
            note = self._memory.recall(device.device) if self._memory else ""
            habits, known = from_note(note, device), known_by(mark_in(note, device), self._profiles)
            held = _SnmpDevice(device, plan, plan.layout.requests, Dialect(habits), habits, known=known)
            self._held[device.device] = held
        return held

    def _remember(self, held: _SnmpDevice) -> None:
        """Remember the device's habits over a restart."""
        if not held.dialect.habits.since:
            held.dialect.learn(since=self._clock.wall())
        habits = held.stored = held.dialect.habits
        held.plan = _with_habits(held.plan, held.plan, habits)
        learnt = "; ".join(map(sentence, habits.words())) or "nothing unusual any more"
        log.info("%s at %s: %s", held.device.device, masked_url(held.device), learnt)
        self._keep_note(held)

    def _keep_note(self, held: _SnmpDevice) -> None:
        if self._memory:
            self._memory.remember(held.device.device, to_note(held.stored, held.device, held.known.mark))

    async def _read_by_some_way(self, held: _SnmpDevice) -> list[Value]:
        """Read the device. If it stays silent, ask its other addresses, and in the other version that has a community;
        what answers is used from then on. Raises NoAnswer."""
        try:
            return await self._read(held)
        except NoAnswer as nothing:
            if not self._on_the_network or nothing.missing.reason not in (Reason.TIMEOUT, Reason.UNREACHABLE):
                raise
            held.silences += 1
            if held.silences % HAIL_EVERY != 1 or not await self._find_way(held):
                raise
        held.drop()
        return await self._read(held)

    async def _find_way(self, held: _SnmpDevice) -> bool:
        """Whether the device answers if it is asked otherwise. Notes how. Raises NoAnswer."""
        login = await login_to(held.device, self._secrets)
        if held.renew_at is not None and not login.others:
            return False  # it answered before, and has no other address
        heard = await hail(login, (login.host, *login.others))
        if heard is None:
            return False
        allowed = login.snmp.answers_from or heard.address
        if not same_address(heard.sender, allowed) or (not login.snmp.answers_from and heard.port != login.port):
            raise NoAnswer(Reason.TIMEOUT, other_sender(heard.sender, heard.port))
        before = held.dialect.habits
        address = heard.address if login.others else ""
        version = heard.version.value if heard.version is not login.snmp.version else ""
        held.dialect.learn(address=address, version=version)
        return held.dialect.habits is not before

    async def _read(self, held: _SnmpDevice) -> list[Value]:
        if held.session is None:
            held.session = await self._opener(_effective_device(held), self._secrets)
            held.session.dialect = held.dialect
        if held.renew_at is None and not await self._learn_first(held, held.session):
            return ["yes", *[LEARNING] * len(held.plan.layout.steps)]
        answer: dict[str, Raw] = {}
        failed: dict[str, Missing] = {}
        accepted: list[tuple[str, ...]] = []
        for number, request in enumerate(held.requests):
            try:
                reply = await get_objects(held.session, request, held.version, held.device.retries, held.missing)
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
            if accepted and len(accepted) != len(held.requests):
                held.requests = tuple(accepted)
            self._note_absent(held, answer)
        failed |= dict.fromkeys(held.dialect.habits.mute, MUTE)
        steps = held.plan.layout.steps
        return ["yes", *with_failures(steps, decode(steps, answer), failed)]

    def _note_absent(self, held: _SnmpDevice, answer: Mapping[str, Raw]) -> None:
        """Renew the plan soon if an object is newly absent or not valid: the device may have changed."""
        layout = held.plan.layout
        if len(answer) == layout.size:
            held.missing = frozenset()
            if not held.absent and not layout.conditional:
                return
        else:
            held.missing = frozenset(oid for request in layout.requests for oid in request if oid not in answer)
        absent = frozenset(one.oid for one in layout.steps if one.oid not in answer)
        absent |= {one.oid for one in layout.conditional if inactive_reason(one.special, answer)}
        if absent - held.absent and held.renew_at is not None:
            held.renew_at = min(held.renew_at, held.walked_at + SNMP_RENEW_SOON_S)
        held.absent = absent

    async def _learn_first(self, held: _SnmpDevice, session: SnmpSession) -> bool:
        """Learn what the device is; go on with what an earlier sweep began. Returns whether that is done: a device that
        answers slowly is not down. Raises NoAnswer."""
        if held.learning is None:
            held.learning = asyncio.create_task(self._learn(held, session))
            held.learning.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # somebody must ask for it
        learning = held.learning
        try:
            await asyncio.wait({learning}, timeout=LEARN_SHARE * held.device.every_s)
            if not learning.done() and held.reader is not None and held.reader.heard.is_set():
                return False
            await asyncio.shield(learning)
        finally:
            if learning.done() and held.learning is learning:
                held.learning = held.reader = None
        return True

    async def _learn(self, held: _SnmpDevice, session: SnmpSession) -> None:
        """Find the device's profile and columns. Raises NoAnswer."""
        now = self._clock.boot()
        held.dialect.try_all_again(self._clock.wall())
        await ask_for_mute(session)
        reader = DeviceReader(session, held.device, held.version)
        if held.learning is not None:
            held.reader = reader
        known = await recognise(reader, self._profiles, held.known)
        if known.profile is not None and known.profile.speaks is not Speaks.SNMP:  # the inventory names it
            known = replace(known, profile=None)
        held.known = known
        if known.profile is None and not held.warned_unknown:
            held.warned_unknown = True
            log.warning("%s at %s: no profile fits %s", held.device.device, masked_url(held.device), known.described)
        before = held.plan
        plan = await replan(reader, known.profile, before, now, known.standards)
        mark = mark_of(known.profile, known.described) if known.profile and plan.with_value else known.mark
        held.known = replace(known, readings=plan.readings, with_value=plan.with_value, mark=mark)
        if mark != known.mark:
            self._keep_note(held)
        held.plan = _with_habits(plan, before, held.dialect.habits)
        held.dialect.keep_absent(oid for request in held.plan.layout.requests for oid in request)
        held.requests = split_all(held.dialect.habits, held.plan.layout.requests)
        again_s = SNMP_RENEW_S if held.renew_at is not None else first_renewal_s(held.device.device)
        held.walked_at = now
        held.renew_at = now + (SNMP_RENEW_SOON_S if reader.unreadable.keys() - held.unreadable else again_s)
        _log_unreadable(held, reader.unreadable)

    async def _renew(self, held: _SnmpDevice, session: SnmpSession, used_s: float) -> None:
        """Learn again, after the sweep's values are read. If that fails, or takes too long, the previous plan is kept. The
        values took `used_s` of the sweep's time: they must not be lost because learning takes the rest of it."""
        device = held.device
        attempts_s = device.timeout_s * (device.retries + 1)
        left_s = max(device.every_s, attempts_s) - used_s
        limit_s = min(left_s, max(RENEW_SHARE * device.every_s, attempts_s))
        if limit_s <= 0:
            return
        try:
            async with asyncio.timeout(limit_s):
                await self._learn(held, session)
        except TimeoutError:
            held.renew_at = self._clock.boot() + SNMP_RENEW_S
            log.info("%s at %s: its tables cannot be read in %g s", device.device, masked_url(device), limit_s)
        except EngineBroken as broken:
            held.renew_at = self._clock.boot() + SNMP_RENEW_SOON_S
            _use_fallback_engine(held, broken)
        except NoAnswer as nothing:
            held.renew_at = self._clock.boot() + SNMP_RENEW_SOON_S
            log.info("%s at %s: tables not read: %s", held.device.device, masked_url(held.device), nothing)


def first_renewal_s(device: str) -> float:
    """When a device's tables are walked for the second time, by its name: all devices must not be read in full together."""
    return SNMP_RENEW_SOON_S + (SNMP_RENEW_S - SNMP_RENEW_SOON_S) * zlib.crc32(device.encode()) / 2**32


def _use_fallback_engine(held: _SnmpDevice, broken: EngineBroken) -> None:
    """Read the device by the fallback engine from now on: each panic of the first one writes to stderr."""
    held.drop()
    held.fallback = True
    log.warning(
        "%s at %s: %s; it is read with `engine: pysnmp` from now on",
        held.device.device, masked_url(held.device), broken,
    )  # fmt: skip


def _with_habits(plan: SweepPlan, before: SweepPlan, habits: Habits) -> SweepPlan:
    """The plan with the habits in the source of `device.answering`; with the series of `before` if they are the same."""
    answering, *others = plan.series
    series = (replace(answering, source=source_with("snmp", habits.words())), *others)
    if series == before.series:
        series = before.series
    return plan if series is plan.series else replace(plan, series=series)


def _effective_device(held: _SnmpDevice) -> Device:
    """The device, with the engine, the version and the address that its session must use."""
    device, habits = held.device, held.dialect.habits
    snmp = device.snmp
    if snmp is None:
        return device
    if habits.address:
        _, port = device.endpoint(SNMP_PORT)
        device = replace(device, address=f"[{habits.address}]:{port}")
    if held.fallback:
        snmp = replace(snmp, engine=SnmpEngine.PYSNMP)
    if habits.version:
        snmp = replace(snmp, version=held.version)
    return device if snmp is device.snmp else replace(device, snmp=snmp)


def _log_unreadable(held: _SnmpDevice, unreadable: Mapping[str, Missing]) -> None:
    """Log which objects of a device cannot be read, whenever they change."""
    if unreadable and unreadable.keys() != held.unreadable:
        first = "; ".join(f"{oid}: {missing.detail}" for oid, missing in list(unreadable.items())[:OIDS_LOGGED])
        more = f", and {len(unreadable) - OIDS_LOGGED} more" if len(unreadable) > OIDS_LOGGED else ""
        log.warning("%s at %s cannot be read in full: %s%s", held.device.device, masked_url(held.device), first, more)
    held.unreadable = frozenset(unreadable)


def _first_reason(failed: Mapping[str, Missing]) -> tuple[Reason, str]:
    missing = next(iter(failed.values()))
    return missing.reason, missing.detail
