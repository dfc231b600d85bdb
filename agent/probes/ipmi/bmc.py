"""One BMC, read from a thread: its session, its sensors, its log. Everything here blocks; one call at a time."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.ipmi.commands import (
    BMC_ADDRESS,
    GET_CHASSIS_STATUS,
    GET_DEVICE_ID,
    GET_SENSOR_READING,
    GET_SENSOR_READING_FACTORS,
    SENSOR_GONE,
    Ask,
    Declined,
    IpmiSession,
    asking,
)
from watchkeeper.agent.probes.ipmi.decode import ReadableSensor, Row, readable_sensors, rows
from watchkeeper.agent.probes.ipmi.repository import SdrRepository
from watchkeeper.agent.probes.ipmi.sdr import Factors, Sensor, labels
from watchkeeper.agent.probes.ipmi.sel import EventLog, LogEvents
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Value

IPMI_RENEW_S = 600.0  # how often a BMC is asked whether its sensors are still the same
IPMI_RENEW_SOON_S = 60.0  # and how soon where that went wrong
SWEEP_SHARE = 0.8  # of its interval that reading a BMC may take, before the next poll is due
LEARN_SHARE = 0.4  # and of that, finding out what sensors it has

BmcOpener = Callable[[Device, int], IpmiSession]
"""Opens a session in which every request is sent so many times before it is given up. Raises NoAnswer."""

_NO_TIME = Missing(Reason.TIMEOUT, "the BMC is slow: it was not this sensor's turn before the next poll")
_log = logging.getLogger(__name__)


class Bmc:
    """What is kept of one BMC between sweeps."""

    def __init__(self, device: Device, clock: Clock, opener: BmcOpener) -> None:
        self._device = device
        self._clock = clock
        self._opener = opener
        self._session: IpmiSession | None = None
        self._repository = SdrRepository()
        self._listed: tuple[Sensor, ...] = ()
        self._names: dict[str, str] = {}
        self._seats: tuple[ReadableSensor, ...] = ()
        self._log = EventLog()
        self._events = LogEvents()
        self._look_at = 0.0  # when to look for other sensors, boot time
        self._gone: frozenset[str] = frozenset()  # sensors that are listed and not there
        self._mute: dict[int, float] = {}  # silent controllers behind it, and until when they are left alone
        self._troubled = ""

    def read(self) -> list[Row]:
        """Read it once. Raises NoAnswer, and then has no session."""
        begun, every_s = self._clock.boot(), self._device.every_s
        try:
            session, chassis = self._reach()
            ask = asking(session)
            self._learn(ask, begun + LEARN_SHARE * every_s)
            found = [*_chassis(chassis), *self._sensors(session, begun + SWEEP_SHARE * every_s), *self._history(ask)]
        except NoAnswer:
            self.drop()
            raise
        return found

    def tend(self) -> None:
        """Keep the session from running out: a BMC ends one that is silent for a minute (IPMI 2.0, 6.12.15)."""
        if self._session is None:
            return
        try:
            self._session.attempts = 1
            self._session.ask(GET_DEVICE_ID)
        except Declined:
            pass
        except NoAnswer:
            self.drop()

    def drop(self, *, politely: bool = False) -> None:
        """Close the session; the next reading opens another."""
        session, self._session = self._session, None
        if session is not None:
            session.close(politely=politely)

    def _reach(self) -> tuple[IpmiSession, bytes | Missing]:
        """The session and the chassis status, whose answer tells that the session lives. A kept one may have died in
        silence, as when the BMC started anew: the device's last try goes to a new one."""
        tries = self._device.retries + 1
        status, session = None, self._session
        if session is not None:
            session.attempts, tries = max(1, tries - 1), 1
            with contextlib.suppress(NoAnswer):
                status = _asked(session)
        if status is None or session is None:
            self.drop()
            session = self._session = self._opener(self._device, tries)
            status = _asked(session)
        session.attempts = self._device.retries + 1
        return session, status

    def _learn(self, ask: Ask, until: float) -> None:
        """Find out what sensors it has. One that does not manage to tell keeps those it had."""
        now = self._clock.boot()
        if now < self._look_at:
            return
        trouble = ""
        try:
            whole = self._repository.refresh(ask, self._clock.boot, until)
            self._look_at = now + IPMI_RENEW_S if whole else now
        except Declined as no:
            self._look_at = now + IPMI_RENEW_SOON_S
            trouble = f"its sensors are not all listed: {no}"
        if self._repository.odd:
            trouble = trouble or f"{self._repository.odd} of its sensor records cannot be understood"
        self._tell(trouble)
        if self._repository.sensors is not self._listed:
            self._listed = self._repository.sensors
            self._names = {one.instance: label for one, label in labels(self._listed).items()}
            self._seats = readable_sensors(self._listed)

    def _sensors(self, session: IpmiSession, until: float) -> Iterator[Row]:
        ask, gone = asking(session), set()
        for seat in self._seats:
            answer: bytes | Missing
            factors = None
            try:
                answer = self._answer(session, seat, until)
                factors = _factors(ask, seat, answer)
            except Declined as no:
                answer = no.missing
                if no.code == SENSOR_GONE:
                    gone.add(seat.sensor.instance)
            yield from rows(seat, answer, factors)
        if gone - self._gone:
            self._look_at = 0.0
        self._gone = frozenset(gone)

    def _answer(self, session: IpmiSession, seat: ReadableSensor, until: float) -> bytes | Missing:
        """What a sensor says. A controller behind the BMC that is silent is nobody else's fault, and is asked once only."""
        place, now, attempts = seat.sensor.place, self._clock.boot(), session.attempts
        if now >= until:
            return _NO_TIME
        if now < self._mute.get(place.owner, now):
            return _mute(place.owner)
        if place.owner != BMC_ADDRESS:
            session.attempts = 1
        try:
            return asking(session)(GET_SENSOR_READING, bytes([seat.sensor.number]), place)
        except NoAnswer as nothing:
            if place.owner == BMC_ADDRESS or nothing.missing.reason is not Reason.TIMEOUT:
                raise
            self._mute[place.owner] = now + IPMI_RENEW_SOON_S
            return _mute(place.owner)
        finally:
            session.attempts = attempts

    def _history(self, ask: Ask) -> Iterator[Row]:
        """How full the log is, and what is new in it."""
        used: Value
        try:
            entries = self._log.follow(ask)
            used = self._log.used
        except Declined as no:
            entries, used = [], no.missing
        now = self._clock.boot()
        self._events.take(entries, self._names, now)
        yield Row("device.percent", "sel", "event log used", "ipmi sel", used)
        yield from self._events.rows(now)

    def _tell(self, trouble: str) -> None:
        """Log what is wrong with it, once."""
        if trouble and trouble != self._troubled:
            _log.warning("%s: %s", self._device.device, trouble)
        self._troubled = trouble


def _asked(session: IpmiSession) -> bytes | Missing:
    try:
        return asking(session)(GET_CHASSIS_STATUS)
    except Declined as no:
        return no.missing


def _factors(ask: Ask, seat: ReadableSensor, answer: bytes | Missing) -> Factors | None:
    """What a reading of a sensor without one formula for all is to be multiplied by (35.5)."""
    analog = seat.sensor.analog
    if isinstance(answer, Missing) or seat.gauge is None or analog is None or not analog.by_reading:
        return None
    said = ask(GET_SENSOR_READING_FACTORS, bytes([seat.sensor.number, answer[0]]), seat.sensor.place)
    return Factors.of(said[1:7])


def _mute(owner: int) -> Missing:
    return Missing(Reason.TIMEOUT, f"the controller {owner:#04x} behind the BMC does not answer")


def _chassis(status: bytes | Missing) -> Iterator[Row]:
    """The power as the BMC switches it, and the faults it has noted (28.2)."""
    power, _, parts = status[:3] if isinstance(status, bytes) else (0, 0, 0)
    fault = "critical" if power & 0b01010 else "warning" if power & 0b10000 else "ok"  # overload, fault; control fault
    told = (
        ("power.state", "", "on" if power & 1 else "off"),
        ("power.health", "chassis", fault),
        ("drive.health", "chassis", "critical" if parts & 0b0100 else "ok"),
        ("cooling.health", "chassis", "critical" if parts & 0b1000 else "ok"),
    )
    for quantity, instance, value in told:
        yield Row(quantity, instance, instance, "ipmi chassis", status if isinstance(status, Missing) else value)
