"""SNMP devices in memory, behind the same port as the engines: for tests of the probe and of profiles."""

from collections.abc import Callable, Iterable, Mapping, Sequence

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

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Implements `SnmpSession.get_many`."""
        self._note(*oids)
        there = {oid: self.objects[oid] for oid in oids if oid in self.objects}
        return {} if self.version is SnmpVersion.V1 and len(there) < len(oids) else there

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Implements `SnmpSession.walk`."""
        self._note(base)
        below = (oid for oid in self.objects if oid.startswith(base + "."))
        found = [(oid, self.objects[oid]) for oid in sorted(below, key=lambda oid: [*map(int, oid.split("."))])]
        return WalkRows(found[:rows])

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
