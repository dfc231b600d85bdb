"""Both engines, every version and every habit of a real agent: the readings are complete, and the habit is remembered."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from tests.snmp_liar import COLUMN, GET, GETBULK, SECRETS, UPS, integer, liar, oid, profiles, responding, text
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
from watchkeeper.agent.probes.snmp.probe import SNMP_RENEW_S, SnmpProbe
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import SnmpEngine, SnmpVersion
from watchkeeper.model.reading import Sweep, Value

V1, V2C = SnmpVersion.V1, SnmpVersion.V2C
TIMEOUT_S = 0.5
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
    "GETBULK gives the object itself": ([itself], NO_BULK),
    "GETBULK begins at the beginning of the table": (
        [bulk(lambda after, one: after(one.names[0].rpartition(".")[0] if one.names[0] in OBJECTS else one.names[0], 3))], NO_BULK
    ),
    "GETBULK is not answered, and only single objects are": ([silent_to(GETBULK), silent_above(1)], "at most 1 object in"),
    "GETBULK is answered with an error, and rows are sorted as text": ([error_to(GETBULK), listing(as_text)], "not in order"),
}  # fmt: skip
HABITS: dict[str, tuple[Sequence[Habit], str]] = {
    "none": ([], ""),
    "silent to more than 10 objects": ([silent_above(10)], "at most 8 objects"),
    "silent to more than one object": ([silent_above(1)], "at most 1 object in"),
    "silent to one object": ([silent_to_object("1.3.6.1.2.1.1.1.0")], "a request for 1.3.6.1.2.1.1.1.0"),
    "silent if the answer is longer than 250 bytes": ([silent_when_longer(250)], "at most"),
    "too big from 4 objects on": ([too_big_above(3)], ""),
    "only the first 5 objects are answered": ([cut(5)], "at most 5 objects"),
    "only the first object is answered": ([cut(1)], "at most 1 object in"),
    "one object is left out beside others": ([leaves_out_beside_others(UPS + "2.4.0")], "at most"),
    "GET gives no object": ([no_object_by_get], NO_GET),
    "GET is not answered": ([silent_to(GET)], NO_GET),
    "rows sorted as text": ([listing(as_text)], "not in order"),
    "a table begins again": ([listing(beginning_again)], "begins again"),
    "cut, and rows sorted as text": ([cut(3), listing(as_text)], "at most 3 objects"),
    "GET is not answered, and rows are sorted as text": ([silent_to(GET), listing(as_text)], NO_GET),
}  # fmt: skip


class Bench:
    """One odd agent, read by a probe of its own; and what it leaves unanswered."""

    def __init__(self, habits: Sequence[Habit], engine: SnmpEngine, version: SnmpVersion, **how: object) -> None:
        self.reply = odd(OBJECTS, *habits)
        self.engine, self.version, self.how = engine, version, how
        self.texts: dict[str, str] = {}
        self.clock = FakeClock()
        self.requests: list[bool] = []  # whether each was answered
        self.port = 0

    def recall(self, device: str) -> str:
        return self.texts.get(device, "")

    def remember(self, device: str, text: str) -> None:
        self.texts[device] = text

    def sweeps(self, times: int = 1, every_s: float = 0.0) -> tuple[list[Sweep], tuple[str, ...]]:
        """Sweeps of a new probe, and the habits that it knows then."""
        self.requests.clear()

        def answered(request: bytes) -> Sequence[bytes]:
            datagrams = self.reply(request)
            self.requests.append(bool(datagrams))
            return datagrams

        async def run() -> tuple[list[Sweep], tuple[str, ...]]:
            probe = SnmpProbe(profiles(), SECRETS, self.clock, memory=self)
            async with responding(answered, self.port) as address:
                self.port = int(address.rpartition(":")[2])
                device = liar(address, self.engine, self.version, TIMEOUT_S, profile="auto", **self.how)
                try:
                    sweeps = []
                    for _ in range(times):
                        sweeps.append(await probe.sweep(device))
                        self.clock.advance(every_s)
                    return sweeps, probe.habits_of("liar")
                finally:
                    await probe.close()

        return asyncio.run(run())


def values(sweep: Sweep) -> dict[tuple[str, str], Value]:
    return {(one.series.quantity, one.series.instance): one.value for one in sweep.readings()}


engines = pytest.mark.parametrize("engine", [SnmpEngine.GUFO, SnmpEngine.PYSNMP])


@engines
@pytest.mark.parametrize(
    ("what", "version"),
    [(what, V2C) for what in BULK_HABITS] + [(what, version) for version in (V1, V2C) for what in HABITS],
)
def test_every_reading_is_there_whatever_the_habit(what: str, version: SnmpVersion, engine: SnmpEngine) -> None:
    habits, line = (BULK_HABITS | HABITS)[what]
    bench = Bench(habits, engine, version)
    sweeps, known = bench.sweeps(3, SNMP_RENEW_S)
    assert [values(sweep) for sweep in sweeps] == [READINGS] * 3
    assert line in "; ".join(known)
    if not line:
        assert known == () or what.startswith("too big")


@engines
@pytest.mark.parametrize("what", ["GETBULK is not answered", "silent to more than 10 objects", "GET is not answered"])
def test_after_a_restart_nothing_is_asked_that_is_known_to_get_no_answer(what: str, engine: SnmpEngine) -> None:
    bench = Bench((BULK_HABITS | HABITS)[what][0], engine, V2C)
    _, learnt = bench.sweeps()
    assert not all(bench.requests)
    (sweep,), known = bench.sweeps()
    assert values(sweep) == READINGS
    assert all(bench.requests)
    assert known == learnt
