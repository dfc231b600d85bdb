"""Both engines, every version and every habit of a real agent: the readings are complete, and the habit is remembered."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from tests.notes import Notes
from tests.snmp_liar import (
    COLUMN,
    END_OF_VIEW,
    GET,
    GETBULK,
    SECRETS,
    UPS,
    integer,
    liar,
    oid,
    profiles,
    responding,
    text,
)
from tests.snmp_odd import (
    Habit,
    arcs,
    as_text,
    bulk,
    cut,
    error_to,
    itself,
    leaves_out_beside_others,
    listing,
    no_object_by_get,
    nonsense_to,
    odd,
    silent_above,
    silent_to,
    silent_to_object,
    silent_when_longer,
    too_big_above,
)
from tests.snmp_secured import SECRETS as SECURED_SECRETS
from tests.snmp_secured import SecuredDevice, login, secured_device
from watchkeeper.agent.probes.snmp.probe import SNMP_RENEW_S, SnmpProbe
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Device, SnmpEngine, SnmpVersion
from watchkeeper.model.habit import sentence
from watchkeeper.model.reading import Sweep, Value

V1, V2C, V3 = SnmpVersion
TIMEOUT_S = 1.0
ROWS = range(1, 13)
FREQUENCY = f"{UPS}3.3.1.2"
OBJECTS = {
    "1.3.6.1.2.1.1.1.0": text(b"A UPS with a long description, made to be longer than all its other answers together"),
    "1.3.6.1.2.1.1.2.0": oid("1.3.6.1.2.1.33"),
    "1.3.6.1.2.1.1.3.0": integer(360_000, 0x43),
    UPS + "2.1.0": integer(2),
    UPS + "2.3.0": integer(20),
    UPS + "2.4.0": integer(97),
    UPS + "2.5.0": integer(548),
    UPS + "2.7.0": integer(25),
    **{f"{FREQUENCY}.{row}": integer(490 + row) for row in ROWS},
    **{f"{COLUMN}.{row}": integer(220 + row) for row in ROWS},
    UPS + "4.1.0": integer(3),
    UPS + "4.2.0": integer(500),
    UPS + "6.1.0": integer(1, 0x42),
}
READINGS: dict[tuple[str, str], Value] = {
    ("device.answering", ""): "yes",
    ("uptime", ""): 3600.0,
    ("battery.state", ""): "ok",
    ("battery.runtime", ""): 1200.0,
    ("battery.charge", ""): 97.0,
    ("battery.voltage", ""): 54.8,
    ("battery.temperature", ""): 25.0,
    **{("input.frequency", str(row)): (490 + row) / 10 for row in ROWS},
    **{("input.voltage", str(row)): 220.0 + row for row in ROWS},
    ("output.source", ""): "mains",
    ("output.frequency", ""): 50.0,
    ("alarms.present", ""): 1.0,
}


def beginning_again(objects: Mapping[str, bytes]) -> list[str]:
    """After the last voltage the first one comes again."""
    names = sorted(objects, key=arcs)
    names.insert(names.index(f"{COLUMN}.12") + 1, f"{COLUMN}.1")
    return names


NO_BULK = "tables are read by GETNEXT"
NO_GET = "objects are read by GETNEXT or GETBULK"
BULK_HABITS: dict[str, tuple[Sequence[Habit], str]] = {
    "GETBULK is not answered": ([silent_to(GETBULK)], NO_BULK),
    "GETBULK is answered with an error": ([error_to(GETBULK)], NO_BULK),
    "GETBULK is answered with nothing": ([bulk(lambda after, one: [])], NO_BULK),
    "GETBULK is answered with nonsense": ([nonsense_to(GETBULK)], NO_BULK),
    "GETBULK gives one row": ([bulk(lambda after, one: after(one.names[0], 1))], ""),
    "GETBULK gives five rows, and nothing after them": (
        [bulk(lambda after, one: after(one.names[0], 5) if one.names[0].endswith((".2", ".3")) else [])], NO_BULK
    ),
    "GETBULK says after two rows that there are no more": (
        [bulk(lambda after, one: [*after(one.names[0], 2), (one.names[0], END_OF_VIEW)])], ""
    ),
    "GETBULK gives the object itself": ([itself], NO_BULK),
    "GETBULK begins at the beginning of the table": (
        [bulk(lambda after, one: after(one.names[0].rpartition(".")[0] if one.names[0] in OBJECTS else one.names[0], 3))], NO_BULK
    ),
    "GETBULK is not answered, and only single objects are": ([silent_to(GETBULK), silent_above(1)], "at most 1"),
    "GETBULK is answered with an error, and rows are sorted as text": ([error_to(GETBULK), listing(as_text)], "not in order"),
}  # fmt: skip
HABITS: dict[str, tuple[Sequence[Habit], str]] = {
    "none": ([], ""),
    "silent to more than 10 objects": ([silent_above(10)], "at most"),
    "silent to more than one object": ([silent_above(1)], "at most 1"),
    "silent to one object": ([silent_to_object("1.3.6.1.2.1.1.1.0")], "a request for 1.3.6.1.2.1.1.1.0"),
    "silent if the answer is longer than 250 bytes": ([silent_when_longer(250)], "at most"),
    "too big from 4 objects on": ([too_big_above(3)], ""),
    "only the first 5 objects are answered": ([cut(5)], "at most 5"),
    "only the first object is answered": ([cut(1)], "at most 1"),
    "one object is left out beside others": ([leaves_out_beside_others(UPS + "2.4.0")], "at most"),
    "GET gives no object": ([no_object_by_get], NO_GET),
    "GET is not answered": ([silent_to(GET)], NO_GET),
    "rows sorted as text": ([listing(as_text)], "not in order"),
    "a table begins again": ([listing(beginning_again)], "begins again"),
    "cut, and rows sorted as text": ([cut(3), listing(as_text)], "at most 3"),
    "GET is not answered, and rows are sorted as text": ([silent_to(GET), listing(as_text)], NO_GET),
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """An engine and a version."""

    engine: SnmpEngine
    version: SnmpVersion

    def __str__(self) -> str:
        return f"{self.engine} {self.version}"

    def device(self, address: str) -> Device:
        """By pysnmp, which takes its time, the profile is named."""
        profile = "ups-mib" if self.engine is SnmpEngine.PYSNMP else "auto"
        if self.version is V3:
            return replace(secured_device(address, login(engine=self.engine), TIMEOUT_S), profile=profile, retries=1)
        return replace(liar(address, self.engine, self.version, TIMEOUT_S), profile=profile, device="ups", retries=1)


WAYS = [
    *(Way(engine, version) for engine in (SnmpEngine.GUFO, SnmpEngine.PYSNMP) for version in (V1, V2C)),
    *(Way(engine, V3) for engine in (SnmpEngine.AUTO, SnmpEngine.PYSNMP)),
]


class Bench:
    """One odd agent, read by new probes that share a memory; and whether each request was answered."""

    def __init__(self, habits: Sequence[Habit], way: Way) -> None:
        self.reply = odd(OBJECTS, *habits)
        self.way = way
        self.address = ""
        self.clock = FakeClock()
        self.notes = Notes()
        self.answered: list[bool] = []

    def __call__(self, request: bytes) -> Sequence[bytes]:
        datagrams = self.reply(request)
        self.answered.append(bool(datagrams))
        return datagrams

    async def sweeps(self, times: int = 1) -> tuple[list[Sweep], tuple[str, ...]]:
        """Sweeps of a new probe, the tables being walked again in the second one; and the habits that it knows then."""
        self.answered.clear()
        device = self.way.device(self.address)
        probe = SnmpProbe(
            profiles(), SECURED_SECRETS if self.way.version is V3 else SECRETS, self.clock, memory=self.notes
        )
        try:
            sweeps = [await probe.sweep(device)]
            self.clock.advance(SNMP_RENEW_S)
            sweeps += [await probe.sweep(device) for _ in range(times - 1)]
            return sweeps, probe.habits_of("ups")
        finally:
            await probe.close()

    async def run(self, check: Callable[["Bench"], Awaitable[None]]) -> None:
        async with responding(SecuredDevice(self, login()) if self.way.version is V3 else self) as self.address:
            await check(self)


async def by_every_way(what: str, check: Callable[[Bench], Awaitable[None]]) -> None:
    """Check all engines and versions at the same time: most of it is waiting for answers that do not come."""
    habits, _ = (BULK_HABITS | HABITS)[what]
    ways = [way for way in WAYS if way.version is not V1 or what not in BULK_HABITS]
    results = await asyncio.gather(*(Bench(habits, way).run(check) for way in ways), return_exceptions=True)
    wrong = {str(way): result for way, result in zip(ways, results, strict=True) if result is not None}
    assert not wrong, wrong


def values(sweep: Sweep) -> dict[tuple[str, str], Value]:
    return {(one.series.quantity, one.series.instance): one.value for one in sweep.readings()}


@pytest.mark.parametrize("what", BULK_HABITS | HABITS)
def test_every_reading_is_there_whatever_the_habit_by_both_engines_and_in_every_version(what: str) -> None:
    _, line = (BULK_HABITS | HABITS)[what]

    async def check(bench: Bench) -> None:
        sweeps, known = await bench.sweeps(3)
        wrong = [set(values(sweep).items()) ^ set(READINGS.items()) for sweep in sweeps]
        assert not any(wrong), wrong
        if bench.way.engine is not SnmpEngine.PYSNMP or "one object" not in what:
            assert line in "; ".join(known)
        assert tuple(sentence(word) for word in sweeps[-1].series[0].source.split()[1:]) == known
        assert sweeps[-1].series is sweeps[-2].series
        if not line:
            assert known == () or what.startswith("too big")

    asyncio.run(by_every_way(what, check))


@pytest.mark.parametrize("what", ["silent to more than 10 objects", "GET is not answered", "GETBULK is not answered"])
def test_after_a_restart_nothing_is_asked_that_is_known_to_get_no_answer(what: str) -> None:
    async def check(bench: Bench) -> None:
        _, learnt = await bench.sweeps()
        assert not all(bench.answered)
        (sweep,), known = await bench.sweeps()
        assert values(sweep) == READINGS
        assert all(bench.answered)
        assert known == learnt

    asyncio.run(by_every_way(what, check))


def test_a_healthy_device_gets_two_requests_for_its_38_objects_and_has_no_habit() -> None:
    async def check(bench: Bench) -> None:
        await bench.sweeps(2)
        learning = len(bench.answered)
        _, habits = await bench.sweeps(5)
        assert len(bench.answered) == learning + 3 * 2
        assert habits == ()
        assert set(json.loads(bench.notes.texts["ups"])) <= {"of", "read_by"}

    asyncio.run(by_every_way("none", check))
