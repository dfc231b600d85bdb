"""SNMP devices in memory, behind the same port as the engines: for tests of the probe and of profiles."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import Dialect
from watchkeeper.agent.probes.snmp.engine import MAX_TABLE_ROWS, WalkRows
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Device, SnmpVersion
from watchkeeper.profiles.decode import Raw

_STRING, _NULL, _OBJECT, _ADDRESS, _OPAQUE = 4, 5, 6, 64, 68  # BER tags


def read_snmprec(lines: Iterable[str]) -> dict[str, Raw]:
    """Read a recording in snmpsim's .snmprec form (`OID|TAG|VALUE`; a tag ending in `x` has its value in hex)."""
    objects: dict[str, Raw] = {}
    for line in lines:
        oid, _, rest = line.rstrip("\r\n").partition("|")
        tag, bar, text = rest.partition("|")
        kind = int(tag.rstrip("xe")) if bar and tag.rstrip("xe").isdigit() else _NULL
        if kind == _NULL:
            continue
        if kind in (_STRING, _OPAQUE):
            objects[oid] = bytes.fromhex(text) if tag.endswith("x") else text.encode()
        else:
            objects[oid] = text if kind in (_OBJECT, _ADDRESS) else int(text)
    return objects


def arcs_of(oid: str) -> tuple[int, ...]:
    """The numbers of an object identifier."""
    return tuple(map(int, oid.split(".")))


class MemorySession:
    """A session to a device that is a mapping of objects. `next_failure` is called before each request; the request
    raises what it returns."""

    def __init__(
        self, objects: Mapping[str, Raw], version: SnmpVersion, next_failure: Callable[[], NoAnswer | None]
    ) -> None:
        self.dialect = Dialect()
        self.objects = objects
        self.version = version
        self.next_failure = next_failure
        self.requests: list[tuple[str, ...]] = []
        self.closed = False
        self._names: list[str] = []
        self._sorted: list[tuple[int, ...]] = []

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Implements `SnmpSession.get_many`."""
        self._note(*oids)
        there = {oid: self.objects[oid] for oid in oids if oid in self.objects}
        return {} if self.version is SnmpVersion.V1 and len(there) < len(oids) else there

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Implements `SnmpSession.walk`."""
        self._note(base)
        start, found = arcs_of(base), []
        for arcs in islice(self._after(start), rows):
            if arcs[: len(start)] != start:
                break
            name = ".".join(map(str, arcs))
            found.append((name, self.objects[name]))
        return WalkRows(found)

    async def next_object(self, after: str) -> tuple[str, Raw] | None:
        """Implements `SnmpSession.next_object`."""
        self._note(after)
        for arcs in self._after(arcs_of(after)):
            name = ".".join(map(str, arcs))
            return name, self.objects[name]
        return None

    def _after(self, start: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """The objects after `start`, in order. They are sorted again only when some were added or removed."""
        names = list(self.objects)
        if names != self._names:
            self._names, self._sorted = names, sorted(map(arcs_of, names))
        return islice(self._sorted, bisect_right(self._sorted, start), None)

    def close(self) -> None:
        """Implements `SnmpSession.close`."""
        self.closed = True

    def _note(self, *oids: str) -> None:
        self.requests.append(oids)
        failure = self.next_failure()
        if failure is not None:
            raise failure


class MemoryDevice:
    """A device whose objects a test changes between sweeps. Its `open` is the opener for SnmpProbe."""

    def __init__(self, objects: Mapping[str, Raw]) -> None:
        self.objects = dict(objects)
        self.failures: list[NoAnswer] = []  # each fails one request
        self.dead: NoAnswer | None = None  # fails every request
        self.sessions: list[MemorySession] = []

    async def open(self, device: Device, _: Secrets) -> MemorySession:
        """Implements `agent.probes.snmp.probe.SnmpOpener`."""
        version = device.snmp.version if device.snmp else SnmpVersion.V2C
        self.sessions.append(MemorySession(self.objects, version, self._next_failure))
        return self.sessions[-1]

    def _next_failure(self) -> NoAnswer | None:
        return self.failures.pop(0) if self.failures else self.dead
