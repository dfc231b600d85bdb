"""The sensors of a BMC: read from its SDR repository, and kept until the repository changes (IPMI 2.0, section 33)."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from watchkeeper.agent.probes.ipmi.commands import (
    GET_SDR,
    GET_SDR_REPOSITORY_INFO,
    RESERVATION_LOST,
    RESERVE_SDR_REPOSITORY,
    Ask,
    Declined,
)
from watchkeeper.agent.probes.ipmi.sdr import HEADER_BYTES, Sensor, sensors_of

MAX_RECORDS = 1024  # a longer repository is a fault of the BMC
MAX_SENSORS = 2048  # one record may describe 15 of them
_START, _END = 0x0000, 0xFFFF
_MAX_CHUNK, _MIN_CHUNK = 255, 8  # bytes of a record asked for at once
_CHUNK_TOO_LARGE = (0xC6, 0xC7, 0xC8, 0xCA, 0xFF)  # completion codes of BMCs that were asked for too many bytes at once
_MAX_LOST_RESERVATIONS = 8  # in one refresh; another client that reserves the repository cancels ours


@dataclass(slots=True)
class SdrRepository:
    """`sensors` is the last list that was read to its end; until there is one, the part that could be read."""

    sensors: tuple[Sensor, ...] = ()
    odd: int = 0  # records that could not be understood
    _stamp: bytes = b""
    _next: int = _END
    _found: dict[int, bytes] = field(default_factory=dict)
    _chunk: int = _MAX_CHUNK
    _reservation: bytes = bytes(2)  # none

    def refresh(self, ask: Ask, boot: Callable[[], float], until: float) -> bool:
        """Read the repository if it has changed. Returns whether all of it is read: reading stops at `until` (boot
        time) and continues at the next call. Raises Declined and NoAnswer."""
        info = ask(GET_SDR_REPOSITORY_INFO)
        stamp = info[1:3] + info[5:13]  # the number of records, and the times of the last addition and the last erase
        if stamp != self._stamp:
            self._stamp, self._next, self._found = stamp, _START, {}
        if self._next == _END:
            return True
        try:
            self._read_on(ask, boot, until)
        except Declined:
            if not self.sensors:  # the records before one that cannot be read are better than none
                self._parse_records()
            raise
        if self._next == _END:
            self._parse_records()
            self._found = {}
        return self._next == _END

    def _read_on(self, ask: Ask, boot: Callable[[], float], until: float) -> None:
        lost = 0
        while self._next != _END and boot() < until:
            try:
                following, record = self._read_record(ask)
            except Declined as declined:
                lost += 1
                if declined.code != RESERVATION_LOST or lost > _MAX_LOST_RESERVATIONS:
                    raise
                self._reservation = ask(RESERVE_SDR_REPOSITORY)[:2]
                continue
            endless = self._next in self._found or len(self._found) >= MAX_RECORDS
            self._found[self._next] = record
            self._next = _END if endless else following

    def _read_record(self, ask: Ask) -> tuple[int, bytes]:
        """The number of the following record, and the bytes of this one. First its header, because some BMCs refuse a
        request beyond the record's end. Then the whole record, which needs no reservation (33.12). Only if that is too
        large for the BMC, the rest in smaller pieces."""
        answer = self._read_piece(ask, 0, HEADER_BYTES)
        following, record = int.from_bytes(answer[:2], "little"), answer[2 : 2 + HEADER_BYTES]
        whole = HEADER_BYTES + record[-1] if len(record) == HEADER_BYTES else 0
        while len(record) < whole:
            start = 0 if self._chunk >= whole else len(record)
            wanted = min(self._chunk, whole - start)
            try:
                record = record[:start] + self._read_piece(ask, start, wanted)[2 : 2 + wanted]
            except Declined as declined:
                if declined.code not in _CHUNK_TOO_LARGE or self._chunk <= _MIN_CHUNK:
                    raise
                self._chunk = min(self._chunk, whole) // 2
            if not start and len(record) < whole:
                self._chunk = min(self._chunk, whole - 1)
        return following, record

    def _read_piece(self, ask: Ask, start: int, count: int) -> bytes:
        return ask(GET_SDR, self._reservation + struct.pack("<HBB", self._next, start, count))

    def _parse_records(self) -> None:
        sensors: list[Sensor] = []
        self.odd = 0
        for record in self._found.values():
            try:
                sensors.extend(sensors_of(record))
            except ValueError:
                self.odd += 1
        unique = {one.instance: one for one in sensors}  # some BMCs list a sensor twice
        self.sensors = tuple(islice(unique.values(), MAX_SENSORS))
