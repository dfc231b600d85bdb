"""The sensors of a BMC, read from its SDR repository and kept until that changes (IPMI 2.0, section 33)."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from watchkeeper.agent.probes.ipmi.commands import (
    GET_SDR,
    GET_SDR_REPOSITORY_INFO,
    RESERVATION_LOST,
    RESERVE_SDR_REPOSITORY,
    Ask,
    Declined,
)
from watchkeeper.agent.probes.ipmi.sdr import HEADER_BYTES, Sensor, sensors_of

RECORDS = 1024  # a repository longer than that is a BMC gone wrong
_START, _END = 0x0000, 0xFFFF
_CHUNK, _LEAST = 255, 8
_TOO_MUCH = (0xC6, 0xC7, 0xC8, 0xCA, 0xFF)  # completion codes of BMCs that were asked for too many bytes at once
_LOSSES = 8  # reservations that somebody else may take away in one reading


@dataclass(slots=True)
class SdrRepository:
    """`sensors` are those of the last list that was read to its end, and before that as many as the BMC would tell."""

    sensors: tuple[Sensor, ...] = ()
    odd: int = 0  # records that could not be understood
    _stamp: bytes = b""
    _next: int = _END
    _found: dict[int, bytes] = field(default_factory=dict)
    _chunk: int = _CHUNK
    _reservation: bytes = bytes(2)  # none

    def refresh(self, ask: Ask, boot: Callable[[], float], until: float) -> bool:
        """Read it if it is another than before, and say whether all of it is read: at `until` (boot time) it breaks off,
        and goes on at the next call. Raises Declined and NoAnswer."""
        info = ask(GET_SDR_REPOSITORY_INFO)
        stamp = info[1:3] + info[5:13]  # how many records, and when one was last added and erased
        if stamp != self._stamp:
            self._stamp, self._next, self._found = stamp, _START, {}
        if self._next == _END:
            return True
        try:
            self._read_on(ask, boot, until)
        except Declined:
            if not self.sensors:  # what stands before a record that cannot be had is better than nothing
                self._settle()
            raise
        if self._next == _END:
            self._settle()
            self._found = {}
        return self._next == _END

    def _read_on(self, ask: Ask, boot: Callable[[], float], until: float) -> None:
        losses = 0
        while self._next != _END and boot() < until:
            try:
                following, record = self._record(ask)
            except Declined as no:
                losses += 1
                if no.code != RESERVATION_LOST or losses > _LOSSES:
                    raise
                self._reservation = ask(RESERVE_SDR_REPOSITORY)[:2]
                continue
            endless = self._next in self._found or len(self._found) >= RECORDS
            self._found[self._next] = record
            self._next = _END if endless else following

    def _record(self, ask: Ask) -> tuple[int, bytes]:
        """The next record's successor and bytes. Its header comes first, as BMCs dislike being asked beyond the end; then
        all of it, for which nothing need be reserved (33.12), and the rest in pieces only where that is too much."""
        answer = self._piece(ask, 0, HEADER_BYTES)
        following, record = int.from_bytes(answer[:2], "little"), answer[2 : 2 + HEADER_BYTES]
        whole = HEADER_BYTES + record[-1] if len(record) == HEADER_BYTES else 0
        while len(record) < whole:
            start = 0 if self._chunk >= whole else len(record)
            wanted = min(self._chunk, whole - start)
            try:
                record = record[:start] + self._piece(ask, start, wanted)[2 : 2 + wanted]
            except Declined as no:
                if no.code not in _TOO_MUCH or self._chunk <= _LEAST:
                    raise
                self._chunk = min(self._chunk, whole) // 2
            if not start and len(record) < whole:
                self._chunk = min(self._chunk, whole - 1)
        return following, record

    def _piece(self, ask: Ask, start: int, count: int) -> bytes:
        return ask(GET_SDR, self._reservation + struct.pack("<HBB", self._next, start, count))

    def _settle(self) -> None:
        sensors: list[Sensor] = []
        self.odd = 0
        for record in self._found.values():
            try:
                sensors.extend(sensors_of(record))
            except ValueError:
                self.odd += 1
        once = {one.instance: one for one in sensors}  # a BMC that lists a sensor twice has it once
        self.sensors = tuple(once.values())
