"""One BMC: its session, its sensors, its event log. Everything here blocks and runs in a thread, one call at a time."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from watchkeeper.agent.ports import NoAnswer, sweep_limit_s
from watchkeeper.agent.probes.ipmi.commands import (
    BMC_ADDRESS,
    GET_CHASSIS_CAPABILITIES,
    GET_CHASSIS_STATUS,
    GET_DEVICE_ID,
    GET_SENSOR_READING,
    GET_SENSOR_READING_FACTORS,
    SENSOR_GONE,
    Ask,
    Declined,
    IpmiSession,
    checked_ask,
)
from watchkeeper.agent.probes.ipmi.decode import ReadableSensor, readable_sensors, rows_of_fitted_parts, sensor_rows
from watchkeeper.agent.probes.ipmi.repository import SdrRepository
from watchkeeper.agent.probes.ipmi.sdr import Factors, Sensor, labels_of
from watchkeeper.agent.probes.ipmi.sel import EventLog, LogEvents
from watchkeeper.agent.probes.series import SweepRow
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Value

log = logging.getLogger(__name__)

IPMI_RENEW_S = 600.0  # how often we check whether a BMC's list of sensors has changed
IPMI_RENEW_SOON_S = 60.0  # and how soon after a failed check
LOG_SHARE = 0.9  # until when in its interval the event log is read
SWEEP_SHARE = 0.8  # of its interval that reading a BMC may take, before the next poll is due
LEARN_SHARE = 0.4  # of its interval that reading the list of sensors may take

BmcOpener = Callable[[Device, int], IpmiSession]
"""Opens a session that sends each request so many times before it gives up. Raises NoAnswer."""

_NO_TIME = Missing(Reason.TIMEOUT, "the BMC is slow: it was not this sensor's turn before the next poll")


class Bmc:
    """One BMC with everything kept between sweeps."""

    def __init__(self, device: Device, clock: Clock, opener: BmcOpener) -> None:
        self._device = device
        self._clock = clock
        self._opener = opener
        self._session: IpmiSession | None = None
        self._repository = SdrRepository()
        self._listed: tuple[Sensor, ...] = ()
        self._names: dict[str, str] = {}
        self._sensors: tuple[ReadableSensor, ...] = ()
        self._intrusion = False  # whether only the chassis status tells that the housing is open
        self._event_log = EventLog()
        self._events = LogEvents()
        self._renew_at = 0.0  # when to check the list of sensors again, boot time
        self._gone: frozenset[str] = frozenset()  # sensors that are listed but do not exist
        self._silent: dict[int, float] = {}  # controllers that do not answer, and until when they are not asked
        self._problem = ""  # as last logged

    def read(self) -> list[SweepRow]:
        """Read everything once. Raises NoAnswer; the session is closed then."""
        started, every_s = self._clock.boot(), self._device.every_s
        try:
            session, chassis = self._connect()
            ask = checked_ask(session)
            self._learn(ask, started + LEARN_SHARE * every_s)
            sensors = rows_of_fitted_parts(self._read_sensors(session, started + SWEEP_SHARE * every_s))
            events = self._read_log(ask, started + LOG_SHARE * every_s)
            return [*_chassis_rows(chassis, with_intrusion=self._intrusion), *sensors, *events]
        except NoAnswer:
            self.drop()
            raise

    def keep_alive(self) -> None:
        """Keep the session from timing out: a BMC ends a session that is idle for a minute (IPMI 2.0, 6.12.15)."""
        if self._session is None:
            return
        try:
            self._session.attempts, self._session.limit_s = 1, sweep_limit_s(self._device)
            self._session.ask(GET_DEVICE_ID)
        except Declined:
            pass
        except NoAnswer:
            self.drop()

    def drop(self, *, log_out: bool = False) -> None:
        """Close the session; the next reading opens a new one."""
        session, self._session = self._session, None
        if session is not None:
            session.close(log_out=log_out)

    def _connect(self) -> tuple[IpmiSession, bytes | Missing]:
        """The session, and the chassis status, whose answer proves that the session works. A kept session may be dead
        without notice, for example after a restart of the BMC: the device's last try is left for a new session."""
        tries = self._device.retries + 1
        status, session = None, self._session
        if session is not None:
            session.limit_s = sweep_limit_s(self._device)
            session.attempts, tries = max(1, tries - 1), 1
            with contextlib.suppress(NoAnswer):
                status = _chassis_status(session)
        if status is None or session is None:
            self.drop()
            session = self._session = self._opener(self._device, tries)
            status = _chassis_status(session)
        session.attempts = self._device.retries + 1
        return session, status

    def _learn(self, ask: Ask, until: float) -> None:
        """Read the list of sensors, at most until `until` (boot time). If that fails, the previous list is kept."""
        now = self._clock.boot()
        if now < self._renew_at:
            return
        problem = ""
        try:
            whole = self._repository.refresh(ask, self._clock.boot, until)
            self._renew_at = now + IPMI_RENEW_S if whole else now
        except Declined as declined:
            self._renew_at = now + IPMI_RENEW_SOON_S
            problem = f"its sensors are not all listed: {declined}"
        if self._repository.odd:
            problem = problem or f"{self._repository.odd} of its sensor records cannot be understood"
        self._log_problem(problem)
        if self._repository.sensors is not self._listed:
            self._listed = self._repository.sensors
            self._names = {one.instance: label for one, label in labels_of(self._listed).items()}
            self._sensors = readable_sensors(self._listed)
            listed = any(one.state == "intrusion" for one in self._sensors)
            self._intrusion = not listed and _detects_intrusion(ask)

    def _read_sensors(
        self, session: IpmiSession, until: float
    ) -> Iterator[tuple[ReadableSensor, tuple[SweepRow, ...]]]:
        ask, gone = checked_ask(session), set()
        for readable in self._sensors:
            answer: bytes | Missing
            factors = None
            try:
                answer = self._ask_sensor(session, readable, until)
                factors = _factors(ask, readable, answer)
            except Declined as declined:
                answer = declined.missing
                if declined.code == SENSOR_GONE:
                    gone.add(readable.sensor.instance)
            yield readable, tuple(sensor_rows(readable, answer, factors))
        if gone - self._gone:
            self._renew_at = 0.0
        self._gone = frozenset(gone)

    def _ask_sensor(self, session: IpmiSession, readable: ReadableSensor, until: float) -> bytes | Missing:
        """One sensor's answer. A controller behind the BMC that does not answer must not fail the whole sweep: it is
        asked once, and then left out for a while."""
        address, now, attempts = readable.sensor.address, self._clock.boot(), session.attempts
        if now >= until:
            return _NO_TIME
        if now < self._silent.get(address.owner, now):
            return _silent_controller(address.owner)
        if address.owner != BMC_ADDRESS:
            session.attempts = 1
        try:
            return checked_ask(session)(GET_SENSOR_READING, bytes([readable.sensor.number]), address)
        except NoAnswer as nothing:
            if address.owner == BMC_ADDRESS or nothing.missing.reason is not Reason.TIMEOUT:
                raise
            self._silent[address.owner] = now + IPMI_RENEW_SOON_S
            return _silent_controller(address.owner)
        finally:
            session.attempts = attempts

    def _read_log(self, ask: Ask, until: float) -> Iterator[SweepRow]:
        """How full the event log is, and its new events; those that are not read by `until` (boot time), later."""
        used: Value
        try:
            entries = self._event_log.follow(ask, self._clock.boot, until)
            used = self._event_log.used
        except Declined as declined:
            entries, used = [], declined.missing
        now = self._clock.boot()
        self._events.take(entries, self._names, now)
        yield SweepRow("device.percent", "sel", "event log used", "ipmi sel", used)
        yield from self._events.rows(now)

    def _log_problem(self, problem: str) -> None:
        """Log a problem of the list of sensors, once until it changes."""
        if problem and problem != self._problem:
            log.warning("%s: %s", self._device.device, problem)
        self._problem = problem


def _chassis_status(session: IpmiSession) -> bytes | Missing:
    try:
        return checked_ask(session)(GET_CHASSIS_STATUS)
    except Declined as declined:
        return declined.missing


def _factors(ask: Ask, readable: ReadableSensor, answer: bytes | Missing) -> Factors | None:
    """The factors for this very reading, if the sensor is not linear (35.5)."""
    analog = readable.sensor.analog
    if isinstance(answer, Missing) or readable.conversion is None or analog is None or not analog.by_reading:
        return None
    raw = ask(GET_SENSOR_READING_FACTORS, bytes([readable.sensor.number, answer[0]]), readable.sensor.address)
    return Factors.of(raw[1:7])


def _silent_controller(owner: int) -> Missing:
    return Missing(Reason.TIMEOUT, f"the controller {owner:#04x} behind the BMC does not answer")


def _detects_intrusion(ask: Ask) -> bool:
    """Whether the chassis has a sensor for an open housing (28.1). Without one, its status always says "closed"."""
    try:
        return bool(ask(GET_CHASSIS_CAPABILITIES)[0] & 1)
    except Declined:
        return False


def _chassis_rows(status: bytes | Missing, *, with_intrusion: bool) -> Iterator[SweepRow]:
    """The chassis' power, and the faults that the BMC reports for it (28.2)."""
    power, _, faults = status[:3] if isinstance(status, bytes) else (0, 0, 0)
    power_health = (
        "critical" if power & 0b01010 else "warning" if power & 0b10000 else "ok"
    )  # overload, fault; control fault
    readings = [
        ("power.state", "", "on" if power & 1 else "off"),
        ("power.health", "chassis", power_health),
        ("drive.health", "chassis", "critical" if faults & 0b0100 else "ok"),
        ("cooling.health", "chassis", "critical" if faults & 0b1000 else "ok"),
    ]
    if with_intrusion:
        readings.append(("intrusion", "chassis", "open" if faults & 0b0001 else "closed"))
    for quantity, instance, value in readings:
        yield SweepRow(quantity, instance, instance, "ipmi chassis", status if isinstance(status, Missing) else value)
