"""The system event log (SEL) of a BMC (IPMI 2.0, sections 31 and 32): its new entries, and how long they are shown."""

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from watchkeeper.agent.probes.ipmi.commands import GET_SEL_ENTRY, GET_SEL_INFO, Ask, BusAddress, Declined
from watchkeeper.agent.probes.ipmi.sdr import instance_of
from watchkeeper.agent.probes.ipmi.states import SPECIFIC, quantity_of, sensor_state
from watchkeeper.agent.probes.series import SweepRow
from watchkeeper.model.event import EVENT_OVER, EVENT_QUANTITY, EVENT_SHOWN_S, MAX_EVENTS
from watchkeeper.model.plain import one_line
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Level

ENTRIES_PER_SWEEP = 64
"""The most entries that are read in one sweep; the next sweep reads on."""

_VALUE_WHEN_OVER: Mapping[str, Value] = {
    "none": "none", "notice": "none", "warning": EVENT_OVER, "critical": EVENT_OVER, "unknown": EVENT_OVER,
}  # fmt: skip
"""The value of an event of each level after its time. A notice opens no incident, so nothing remains of it."""

_NOT_READ_YET = Missing(Reason.WARMING_UP, "the event log has not been read yet")
_FIRST, _LAST = 0x0000, 0xFFFF
_ENTRY_BYTES = 16
_NO_LIMIT = 0xFFFF  # free space: this much or more
_SYSTEM_EVENT, _OEM = 0x02, 0xC0  # record types (table 32-1)
_SINCE_START_S = 0x2000_0000  # timestamps below count from the BMC's start (37.1)
_EXCLUSIVE = range(0x02, 0x0C)  # event types in which one state ends the others


class LogEntry(NamedTuple):
    """One record: which state of which sensor began, or ended (`over`). An OEM's record has only `oem`, its bytes."""

    address: BusAddress
    number: int
    sensor_type: int
    event_type: int
    offset: int
    over: bool = False
    oem: bytes = b""

    @classmethod
    def of(cls, record: bytes) -> "LogEntry | None":
        """From 16 bytes (tables 32-1 to 32-3); None for an unknown type of record."""
        if record[2] >= _OEM:
            return cls(BusAddress(), 0, 0, 0, 0, oem=record[2:3] + record[7:16])
        if record[2] != _SYSTEM_EVENT:
            return None
        address = BusAddress(record[7], record[8] >> 4, record[8] & 0x03)
        return cls(address, record[11], record[10], record[12] & 0x7F, record[13] & 0x0F, bool(record[12] & 0x80))

    @property
    def instance(self) -> str:
        """The instance of its series: one for each state of each sensor."""
        if self.oem:
            return f"sel oem {self.oem[0]:#04x}"
        where = instance_of(self.address, self.number)
        return f"sel {where} {self.sensor_type:02x}.{self.event_type:02x}.{self.offset:x}"

    def text(self, names: Mapping[str, str]) -> str:
        """What happened, as a label; `names` are the sensors' names by instance."""
        if self.oem:
            return f"OEM record {self.oem.hex(' ')}"
        kind = QUANTITIES[quantity_of(self.sensor_type, SPECIFIC)].title
        name = names.get(instance_of(self.address, self.number)) or kind
        return one_line(f"{name}: {sensor_state(self.sensor_type, self.event_type, self.offset).text}")

    @property
    def level(self) -> str:
        """Its state of `device.event`."""
        level = Level.UNKNOWN if self.oem else sensor_state(self.sensor_type, self.event_type, self.offset).level
        return "notice" if level is Level.OK else level.value


@dataclass(slots=True)
class EventLog:
    """Reads a BMC's log from the place where it ended at the last sweep. Entries from before the first sweep are never
    reported."""

    used: Value = _NOT_READ_YET
    _stamp: bytes = b""
    _last: bytes | None = None  # the last record's bytes; empty: the log had no record; None: never read

    def follow(self, ask: Ask, boot: Callable[[], float] = lambda: 0.0, until: float = math.inf) -> list[LogEntry]:
        """The entries since the last call. Reading stops at `until` (boot time), and goes on at the next call. Raises Declined
        and NoAnswer."""
        info = ask(GET_SEL_INFO)
        count, free = struct.unpack("<HH", info[1:5])
        self.used = _used_percent(count, free)
        stamp = info[1:3] + info[5:13]  # the number of entries, and the times of the last addition and the last erase
        if stamp == self._stamp:
            return []
        if self._last is None or not count:
            self._last, self._stamp = _read_record(ask, _LAST)[1] if count else b"", stamp
            return []
        records, ended = self._since(ask, self._last, lambda: boot() < until)
        if ended:
            self._stamp = stamp
        return [entry for entry in map(LogEntry.of, records) if entry]

    def _since(self, ask: Ask, last: bytes, has_time: Callable[[], bool]) -> tuple[list[bytes], bool]:
        """The records after the last one, and whether these are all. If the last one is gone, or its number now belongs
        to another record, the log was cleared or has wrapped: then all records that are not older than it."""
        following, since = self._position_after(ask, last) if last else (_FIRST, 0)
        records: list[bytes] = []
        for _ in range(ENTRIES_PER_SWEEP):
            if following == _LAST or not has_time():
                break
            following, record = _read_record(ask, following)
            self._last = record
            if _timestamp(record) >= since or _timestamp(record) < _SINCE_START_S:
                records.append(record)
        return records, following == _LAST

    def _position_after(self, ask: Ask, last: bytes) -> tuple[int, int]:
        """The number of the record to read next, and the timestamp of the oldest one that is still new."""
        try:
            following, record = _read_record(ask, int.from_bytes(last[:2], "little"))
        except Declined:
            record = b""
        return (following, 0) if record == last else (_FIRST, _timestamp(last))


def _read_record(ask: Ask, number: int) -> tuple[int, bytes]:
    """The number of the next record, and the bytes of the record with this number."""
    answer = ask(GET_SEL_ENTRY, struct.pack("<HHBB", 0, number, 0, 0xFF))
    return int.from_bytes(answer[:2], "little"), answer[2 : 2 + _ENTRY_BYTES]


def _timestamp(record: bytes) -> int:
    return int.from_bytes(record[3:7], "little")


def _used_percent(count: int, free: int) -> Value:
    """How full the log is."""
    if free == _NO_LIMIT:
        return Missing(Reason.ABSENT, "the BMC does not report the free space of its log")
    whole = count * _ENTRY_BYTES + free
    return round(100 * count * _ENTRY_BYTES / whole, 1) if whole else 0.0


class _ShownEvent(NamedTuple):
    """A shown event: its entry, label and level, and until when (boot time) the level is shown."""

    entry: LogEntry
    label: str
    level: str
    until: float


@dataclass(slots=True)
class LogEvents:
    """The recent events of a log: one series for each state of each sensor, the newest `MAX_EVENTS` of them."""

    _shown: dict[str, _ShownEvent] = field(default_factory=dict)

    def take(self, entries: Iterable[LogEntry], names: Mapping[str, str], at: float) -> None:
        """Add entries that were read at boot time `at`."""
        for entry in entries:
            if entry.over:
                self._end(entry.instance)
            else:
                self._end_others(entry)
                self._shown.pop(entry.instance, None)
                self._shown[entry.instance] = _ShownEvent(entry, entry.text(names), entry.level, at + EVENT_SHOWN_S)
        for instance in list(self._shown)[:-MAX_EVENTS]:
            del self._shown[instance]

    def rows(self, at: float) -> Iterator[SweepRow]:
        """The events at boot time `at`: first their level, and after their time that it is unknown."""
        for instance, shown in self._shown.items():
            value = shown.level if at < shown.until else _VALUE_WHEN_OVER[shown.level]
            yield SweepRow(EVENT_QUANTITY, instance, shown.label, "ipmi sel", value)

    def _end(self, instance: str) -> None:
        shown = self._shown.get(instance)
        if shown:
            self._shown[instance] = shown._replace(level="none")

    def _end_others(self, entry: LogEntry) -> None:
        """End the sensor's other states if the entry is a healthy one of several exclusive states."""
        if entry.level != "notice" or entry.event_type not in _EXCLUSIVE or entry.oem:
            return
        for instance, shown in self._shown.items():
            if shown.entry._replace(offset=entry.offset) == entry:
                self._end(instance)
