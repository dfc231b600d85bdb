"""The system event log of a BMC (IPMI 2.0, sections 31 and 32): what is new in it, and how long that is shown."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from watchkeeper.agent.event import EVENT_OVER, EVENT_QUANTITY, EVENT_SHOWN_S, MAX_EVENTS
from watchkeeper.agent.probes.ipmi.commands import GET_SEL_ENTRY, GET_SEL_INFO, Ask, Declined, Place
from watchkeeper.agent.probes.ipmi.decode import Row
from watchkeeper.agent.probes.ipmi.sdr import instance_of
from watchkeeper.agent.probes.ipmi.states import SPECIFIC, quantity_of, state_of
from watchkeeper.model.plain import one_line
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Level

NEWS = 64
"""So many entries at most are read in one sweep; the next one goes on."""

_AFTER: Mapping[str, Value] = {
    "none": "none",
    "notice": "none",
    "warning": EVENT_OVER,
    "critical": EVENT_OVER,
    "unknown": EVENT_OVER,
}
"""What an event says once it is over: of a notice, which opens no incident, nothing more."""

_NOT_LOOKED = Missing(Reason.WARMING_UP, "the log has not been looked at")
_FIRST, _LAST = 0x0000, 0xFFFF
_ENTRY_BYTES = 16
_NO_LIMIT = 0xFFFF  # free space: this much or more
_SYSTEM_EVENT, _OEM = 0x02, 0xC0  # record types (table 32-1)
_SINCE_START_S = 0x2000_0000  # timestamps below count from the BMC's start (37.1)
_EXCLUSIVE = range(0x02, 0x0C)  # event types of which one state ends the others


class Entry(NamedTuple):
    """One record: what happened at which sensor; `over` where it tells that a state has ended. Of an OEM's record only
    its bytes are known."""

    place: Place
    number: int
    sensor_type: int
    event_type: int
    offset: int
    over: bool = False
    oem: bytes = b""

    @classmethod
    def of(cls, record: bytes) -> "Entry | None":
        """From 16 bytes (table 32-1 to 32-3); None for a type of record that does not exist."""
        if record[2] >= _OEM:
            return cls(Place(), 0, 0, 0, 0, oem=record[2:3] + record[7:16])
        if record[2] != _SYSTEM_EVENT:
            return None
        place = Place(record[7], record[8] >> 4, record[8] & 0x03)
        return cls(place, record[11], record[10], record[12] & 0x7F, record[13] & 0x0F, bool(record[12] & 0x80))

    @property
    def about(self) -> str:
        """The instance of its series: one for each thing that can happen."""
        if self.oem:
            return f"sel oem {self.oem[0]:#04x}"
        where = instance_of(self.place, self.number)
        return f"sel {where} {self.sensor_type:02x}.{self.event_type:02x}.{self.offset:x}"

    def text(self, names: Mapping[str, str]) -> str:
        """What happened, for people; `names` are those of the sensors, by instance."""
        if self.oem:
            return f"OEM record {self.oem.hex(' ')}"
        kind = QUANTITIES[quantity_of(self.sensor_type, SPECIFIC)].title
        name = names.get(instance_of(self.place, self.number)) or kind
        return one_line(f"{name}: {state_of(self.sensor_type, self.event_type, self.offset).text}")

    @property
    def level(self) -> str:
        """The state of `device.event` that it stands for."""
        level = Level.UNKNOWN if self.oem else state_of(self.sensor_type, self.event_type, self.offset).level
        return "notice" if level is Level.OK else level.value


@dataclass(slots=True)
class Log:
    """Where the log ended when it was last read. What stood in it before that is history, and never told."""

    used: Value = _NOT_LOOKED
    _told: bytes = b""
    _last: bytes | None = None  # the last record's bytes; empty: no record; None: never looked

    def follow(self, ask: Ask) -> list[Entry]:
        """What has been logged since the last call. Raises Declined and NoAnswer."""
        info = ask(GET_SEL_INFO)
        count, free = struct.unpack("<HH", info[1:5])
        self.used = _used(count, free)
        told = info[1:3] + info[5:13]  # how many entries, and when one was last added and erased
        if told == self._told:
            return []
        if self._last is None or not count:
            self._last, self._told = _entry(ask, _LAST)[1] if count else b"", told
            return []
        records, ended = self._since(ask, self._last)
        if ended:
            self._told = told
        return [entry for entry in map(Entry.of, records) if entry]

    def _since(self, ask: Ask, last: bytes) -> tuple[list[bytes], bool]:
        """The records behind the last one, and whether that is all. Where it is gone, or another has its number, the log
        was cleared or has run over: those that are no older."""
        following, since = self._behind(ask, last) if last else (_FIRST, 0)
        records: list[bytes] = []
        for _ in range(NEWS):
            if following == _LAST:
                break
            following, record = _entry(ask, following)
            self._last = record
            if _time(record) >= since or _time(record) < _SINCE_START_S:
                records.append(record)
        return records, following == _LAST

    def _behind(self, ask: Ask, last: bytes) -> tuple[int, int]:
        try:
            following, record = _entry(ask, int.from_bytes(last[:2], "little"))
        except Declined:
            record = b""
        return (following, 0) if record == last else (_FIRST, _time(last))


def _entry(ask: Ask, number: int) -> tuple[int, bytes]:
    """The record with that number, and the number of the next one."""
    answer = ask(GET_SEL_ENTRY, struct.pack("<HHBB", 0, number, 0, 0xFF))
    return int.from_bytes(answer[:2], "little"), answer[2 : 2 + _ENTRY_BYTES]


def _time(record: bytes) -> int:
    return int.from_bytes(record[3:7], "little")


def _used(count: int, free: int) -> Value:
    """Per cent."""
    if free == _NO_LIMIT:
        return Missing(Reason.ABSENT, "the BMC does not tell how much room is left")
    whole = count * _ENTRY_BYTES + free
    return round(100 * count * _ENTRY_BYTES / whole, 1) if whole else 0.0


class _Shown(NamedTuple):
    """An event's series: the entry it came from, what people read, its level, and until when (boot time) it shows it."""

    entry: Entry
    label: str
    level: str
    until: float


@dataclass(slots=True)
class Events:
    """What a log told of late: a series for each thing that happened, the newest `MAX_EVENTS` of them."""

    _shown: dict[str, _Shown] = field(default_factory=dict)

    def take(self, entries: Iterable[Entry], names: Mapping[str, str], at: float) -> None:
        """Note what happened, at boot time `at`."""
        for entry in entries:
            if entry.over:
                self._end(entry.about)
            else:
                self._end_others(entry)
                self._shown.pop(entry.about, None)
                self._shown[entry.about] = _Shown(entry, entry.text(names), entry.level, at + EVENT_SHOWN_S)
        for about in list(self._shown)[:-MAX_EVENTS]:
            del self._shown[about]

    def rows(self, at: float) -> Iterator[Row]:
        """The events' series at boot time `at`: their level, and once they are over that nobody knows."""
        for about, shown in self._shown.items():
            value = shown.level if at < shown.until else _AFTER[shown.level]
            yield Row(EVENT_QUANTITY, about, shown.label, "ipmi sel", value)

    def _end(self, about: str) -> None:
        shown = self._shown.get(about)
        if shown:
            self._shown[about] = shown._replace(level="none")

    def _end_others(self, entry: Entry) -> None:
        """A sensor that says it is well in one of its states has left the others."""
        if entry.level != "notice" or entry.event_type not in _EXCLUSIVE or entry.oem:
            return
        for about, shown in self._shown.items():
            if shown.entry._replace(offset=entry.offset) == entry:
                self._end(about)
