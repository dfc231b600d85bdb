"""SNMP devices that answer slowly: they are not down, and what was read of them is not lost."""

import asyncio

from tests.unit.test_probe_snmp import OBJECTS, values
from watchkeeper.agent.probes.snmp.engine import MAX_TABLE_ROWS, WalkRows
from watchkeeper.agent.probes.snmp.probe import LEARNING, SNMP_RENEW_S, SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice, MemorySession
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

DEVICE = Device(
    "ups-1", "room", Category.UPS, "snmp", "10.0.0.7", snmp=Snmp(community="c"), every_s=1.0, timeout_s=0.1, retries=1
)


class SlowDevice(MemoryDevice):
    """Answers GET at once. `tables` opens its tables; `takes_s` is the time that each answer takes on the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(OBJECTS)
        self.clock, self.tables, self.takes_s = clock, asyncio.Event(), 0.0

    async def open(self, device: Device, _: Secrets) -> MemorySession:
        outer = self
        version = (device.snmp or Snmp()).version

        class Session(MemorySession):
            async def get_many(self, oids: object) -> dict[str, Raw]:
                outer.clock.advance(outer.takes_s)
                return await super().get_many(oids)  # type: ignore[arg-type]

            async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
                await outer.tables.wait()
                return await super().walk(base, rows)

        self.sessions.append(Session(self.objects, version, self._next_failure))
        return self.sessions[-1]


def probe_of(slow: SlowDevice) -> SnmpProbe:
    return SnmpProbe(load_profiles(), Secrets(environ={}), slow.clock, slow.open)


def test_a_device_whose_tables_take_long_answers_while_they_are_read_for_the_first_time() -> None:
    async def run() -> None:
        slow = SlowDevice(FakeClock())
        probe = probe_of(slow)
        for _ in range(2):
            sweep = await probe.sweep(DEVICE)
            assert values(sweep) == {("device.answering", ""): "yes", ("uptime", ""): LEARNING}
        learning = len(slow.sessions)
        slow.tables.set()
        found = values(await probe.sweep(DEVICE))
        assert found["battery.charge", ""] == 97.0
        assert len(slow.sessions) == learning == 1, "the third sweep goes on with what the first one began"
        await probe.close()

    asyncio.run(run())


def test_tables_are_not_read_again_in_time_that_the_sweep_does_not_have() -> None:
    """A sweep that takes longer than its interval is cut, and then the device counts as one that does not answer."""

    async def run() -> None:
        slow = SlowDevice(FakeClock())
        probe = probe_of(slow)
        slow.tables.set()
        await probe.sweep(DEVICE)
        slow.clock.advance(SNMP_RENEW_S)
        slow.tables.clear()
        slow.takes_s = 1.0
        assert values(await probe.sweep(DEVICE))["battery.charge", ""] == 97.0
        slow.takes_s = 0.0
        slow.tables.set()
        before = len(slow.sessions[0].requests)
        assert values(await probe.sweep(DEVICE))["battery.charge", ""] == 97.0
        assert len(slow.sessions[0].requests) > before + 2, "they are read at the next sweep that has time"
        await probe.close()

    asyncio.run(run())
