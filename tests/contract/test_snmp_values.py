"""Both engines on values, columns, labels and indices of every kind: one that cannot be read affects no other."""

import asyncio
import logging

import pytest

from tests.snmp_liar import (
    BESIDE_VOLTAGE,
    COLUMN,
    NULL,
    OBJECTS,
    SECRETS,
    SYSTEM,
    UPS,
    agent,
    integer,
    liar,
    oid,
    opened,
    parse_request,
    profiles,
    readings_of,
    responding,
    swept,
    text,
    tlv,
)
from watchkeeper.agent.probes.snmp.dialect.requests import get_objects
from watchkeeper.agent.probes.snmp.engine import MAX_TABLE_ROWS, Reply
from watchkeeper.agent.probes.snmp.plan import LONGEST_LABEL, MAX_READINGS
from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import SnmpEngine, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Sweep
from watchkeeper.profiles.decode import Raw

V1, V2C = SnmpVersion.V1, SnmpVersion.V2C
every = pytest.mark.parametrize("engine", [SnmpEngine.GUFO, SnmpEngine.PYSNMP])
versions = pytest.mark.parametrize("version", [V1, V2C])


# The encoded value at the battery's voltage, and the expected reading; each engine may also call the value unreadable.
VALUES = {
    "INTEGER": (integer(548), 54.8),
    "INTEGER below zero": (integer(-12), None),
    "INTEGER with needless zeros": (tlv(2, b"\x00\x00\x02\x24"), 54.8),
    "INTEGER without octets": (tlv(2, b""), 0.0),
    "INTEGER of 20 octets": (tlv(2, b"\x7f" * 20), None),
    "Counter32": (integer(548, 0x41), 54.8),
    "Counter32 with its highest bit set": (tlv(0x41, b"\xff\xff\xff\xfe"), None),
    "Gauge32 below zero": (tlv(0x42, b"\xff\xff\xff\xfe"), None),
    "UInteger32 below zero": (tlv(0x47, b"\xff\xff\xff\xfe"), None),
    "TimeTicks": (integer(548, 0x43), 54.8),
    "Counter64": (integer(548, 0x46), 54.8),
    "Counter64 below zero": (tlv(0x46, b"\xff" * 8), None),
    "OCTET STRING with a number": (text(b" 548 "), 54.8),
    "OCTET STRING with control characters": (text(b"\x1b[2J\x07\x00"), None),
    "OCTET STRING of a whole datagram": (text(b"9" * 60_000), None),
    "OBJECT IDENTIFIER": (oid("1.3.6.1"), None),
    "OBJECT IDENTIFIER without octets": (tlv(6, b""), None),
    "IpAddress": (tlv(0x40, b"\x0a\x00\x00\x01"), None),
    "IpAddress of three octets": (tlv(0x40, b"\x0a\x00\x00"), None),
    "NULL": (NULL, None),
    "Opaque": (tlv(0x44, b"\x04\x03abc"), None),
    "Opaque float": (tlv(0x44, bytes.fromhex("9f780444090000")), 54.8),
    "Opaque double": (tlv(0x44, bytes.fromhex("9f79084081200000000000")), 54.8),
    "Opaque float cut short": (tlv(0x44, bytes.fromhex("9f78044409")), None),
    "NsapAddress": (tlv(0x45, b"\x01\x02"), None),
    "an unknown application tag": (tlv(0x5E, b"\x07"), None),
    "a private tag": (tlv(0xC1, b"\x07"), None),
    "REAL": (tlv(9, b"\x035.5E1"), None),
    "ENUMERATED": (tlv(10, b"\x03"), None),
    "a constructed SEQUENCE": (tlv(0x30, integer(548)), None),
    "a length that promises more": (b"\x04\x84\x7f\xff\xff\xffab", None),
    "nothing": (b"", None),
}


@versions
@pytest.mark.parametrize("what", VALUES)
def test_a_value_of_any_kind_affects_no_other_reading(what: str, version: SnmpVersion) -> None:
    value, right = VALUES[what]
    found = readings_of(swept(agent({**OBJECTS, UPS + "2.5.0": value}), SnmpEngine.GUFO, version, 5.0, 2)[-1])
    voltage = found.pop(("battery.voltage", "", ""), None)
    if right is None:
        assert voltage is None or isinstance(voltage, Missing) or voltage > 1e3  # type: ignore[operator]
    elif version is V2C or what != "Counter64":  # SNMPv1 has no Counter64
        assert voltage == pytest.approx(right)
    assert found == BESIDE_VOLTAGE


def test_both_engines_give_the_same_for_a_value_of_any_kind_or_call_it_unreadable() -> None:
    names = [UPS + "2.4.0", UPS + "2.5.0", f"{COLUMN}.1"]
    objects = dict(OBJECTS)

    async def replies_of(engine: SnmpEngine) -> dict[str, Reply]:
        async with responding(agent(objects)) as address:
            session = await opened(address, engine, V2C, 5.0)
            found = {}
            for what, (value, _) in VALUES.items():
                objects[UPS + "2.5.0"] = value
                found[what] = await get_objects(session, names, V2C, 0)
            session.close()
        return found

    gufo, pysnmp = (asyncio.run(replies_of(engine)) for engine in (SnmpEngine.GUFO, SnmpEngine.PYSNMP))
    for what, (_, right) in VALUES.items():
        for one in (gufo[what], pysnmp[what]):
            assert (one.answer[names[0]], one.answer[names[2]]) == (97, 231), what
            assert set(one.unreadable) <= {names[1]}, what
        assert gufo[what] == pysnmp[what] or (right is None and (gufo[what].unreadable or pysnmp[what].unreadable)), (
            what
        )


BELOW_ZERO = {
    "Counter32": (0x41, b"\xff\xff\xff\xfe", 2**32 - 2),
    "Gauge32": (0x42, b"\x80\x00\x00\x00", 2**31),
    "TimeTicks": (0x43, b"\x94\x35\x84\x40", 2_486_535_232),
    "Counter64": (0x46, b"\xff" * 8, 2**64 - 1),
    "one octet": (0x42, b"\xfe", 254),
}


@every
@pytest.mark.parametrize(
    ("what", "version"),
    [(what, version) for what in BELOW_ZERO for version in (V1, V2C) if version is V2C or what != "Counter64"],
)
def test_an_unsigned_number_that_is_encoded_as_one_below_zero_is_read_as_it_was_meant(
    what: str, version: SnmpVersion, engine: SnmpEngine
) -> None:
    tag, octets, number = BELOW_ZERO[what]
    name = UPS + "2.5.0"

    async def run() -> dict[str, Raw]:
        async with responding(agent({**OBJECTS, name: tlv(tag, octets)})) as address:
            session = await opened(address, engine, version, 5.0)
            answer = await session.get_many([name])
            (_, found), *_ = await session.walk(UPS + "2.5")
            session.close()
        return answer | {"walked": found}

    assert asyncio.run(run()) == {name: number, "walked": number}


@every
@versions
def test_an_unreadable_column_is_left_out_and_logged_once(
    version: SnmpVersion, engine: SnmpEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    *_, last = swept(agent({**OBJECTS, f"{COLUMN}.2": tlv(0x45, b"\x01\x02")}), engine, version, 5.0, 3)
    assert readings_of(last)["battery.charge", "", ""] == 97.0
    (record,) = caplog.records
    assert record.message.startswith("liar at snmp://***@127.0.0.1")
    assert COLUMN in record.message
    assert "not SNMP" in record.message


@every
def test_an_object_that_becomes_unreadable_is_missing_with_the_reason_and_requested_alone(engine: SnmpEngine) -> None:
    objects = dict(OBJECTS)
    requests: list[tuple[str, ...]] = []

    def reply(request: bytes) -> list[bytes]:
        requests.append(parse_request(request).names)
        return list(agent(objects)(request))

    async def run() -> Sweep:
        probe = SnmpProbe(profiles(), SECRETS, FakeClock())
        async with responding(reply) as address:
            device = liar(address, engine, timeout_s=5.0)
            assert not any(isinstance(value, Missing) for value in (await probe.sweep(device)).values)
            objects[UPS + "2.5.0"] = tlv(0x5E, b"\x07")
            await probe.sweep(device)
            requests.clear()
            sweep = await probe.sweep(device)
            await probe.close()
        return sweep

    found = readings_of(asyncio.run(run()))
    voltage = found["battery.voltage", "", ""]
    assert isinstance(voltage, Missing)
    assert voltage.reason is Reason.MALFORMED
    assert found["battery.charge", "", ""] == 97.0
    assert (UPS + "2.5.0",) in requests
    asked = [name for names in requests for name in names]
    assert len(asked) == len({*asked})  # also what their conditions need is asked for once
    assert {*asked} >= {*OBJECTS} - {*SYSTEM}


@every
def test_a_device_that_accepts_only_small_requests_gets_large_ones_only_once(engine: SnmpEngine) -> None:
    requests: list[tuple[str, ...]] = []
    small = agent(OBJECTS, most=2)

    def reply(request: bytes) -> list[bytes]:
        requests.append(parse_request(request).names)
        return list(small(request))

    async def run() -> tuple[Sweep, Sweep]:
        probe = SnmpProbe(profiles(), SECRETS, FakeClock())
        async with responding(reply) as address:
            device = liar(address, engine, timeout_s=5.0)
            first = await probe.sweep(device)
            requests.clear()
            second = await probe.sweep(device)
            await probe.close()
        return first, second

    first, second = asyncio.run(run())
    assert second.values == first.values
    assert not any(isinstance(value, Missing) for value in first.values)
    asked = [name for names in requests for name in names]
    assert len(asked) == len({*asked})
    assert {*asked} >= {one.source for one in first.series[1:]}
    assert max(map(len, requests)) <= 2


@every
@versions
def test_a_walk_continues_after_an_empty_cell(version: SnmpVersion, engine: SnmpEngine) -> None:
    cells = {f"{COLUMN}.{row}": NULL if row in (1, 3, 4) else integer(230) for row in range(1, 7)}
    (sweep,) = swept(agent({**OBJECTS, **cells}), engine, version, 5.0)
    rows = {instance for quantity, instance, _ in readings_of(sweep) if quantity == "input.voltage"}
    assert rows == {"2", "5", "6"}


PDU = "1.3.6.1.4.1.99999"
LABELLED = Document(
    "pdu.yml",
    f"""profile: pdu
vendor: V
category: pdu
verified: none
match: [{{sys_object_id: [{PDU}]}}]
readings:
  - quantity: outlet.current
    each: {{instance: "{{{PDU}.1.2}}", label: "{{{PDU}.1.2}}"}}
    oid: {PDU}.1.3
    raw_unit: 1 mA
    source: X
""",
)


@every
@versions
@pytest.mark.parametrize("own_id", [oid("1.3.6.1.4.1.8072.3.2.10"), oid("0.0"), text(b"n/a"), None])
def test_a_device_is_recognised_by_its_makers_objects_behind_those_of_others(
    own_id: bytes | None, version: SnmpVersion, engine: SnmpEngine
) -> None:
    """The agent goes from enterprise to enterprise, also past the last object."""
    objects = {"1.3.6.1.2.1.1.3.0": integer(5, 0x43), **({"1.3.6.1.2.1.1.2.0": own_id} if own_id else {})}
    objects |= {f"1.3.6.1.4.1.{enterprise}.1.{row}.0": integer(1) for enterprise in (9, 2021) for row in range(30)}
    objects |= {f"{PDU}.1.2.1": text(b"A"), f"{PDU}.1.3.1": integer(500)}
    (sweep,) = swept(agent(objects), engine, version, 5.0, profile="auto", own=[LABELLED])
    assert readings_of(sweep)["outlet.current", "A", "A"] == 0.5


@every
@versions
@pytest.mark.parametrize(
    "name",
    [b"x" * 60_000, b"\x1b]0;owned\x07\x9b31m\x00\r\n", "\u202e\u2028 Büro".encode(), b"\xff\xfe\xfd", b""],
    ids=["60 kB", "control characters", "direction marks", "no UTF-8", "empty"],
)
def test_labels_and_indices_of_a_hostile_device_are_short_and_printable(
    name: bytes, version: SnmpVersion, engine: SnmpEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    indices = ["1", "2", ".".join(["4294967295"] * 20), ".".join(["7"] * 120)]
    objects = {"1.3.6.1.2.1.1.2.0": oid(PDU), "1.3.6.1.2.1.1.1.0": text(name), "1.3.6.1.2.1.1.3.0": integer(5, 0x43)}
    objects |= {f"{PDU}.1.2.{index}": text(name) for index in indices}
    objects |= {f"{PDU}.1.3.{index}": integer(500) for index in indices}
    (sweep,) = swept(agent(objects), engine, version, 5.0, profile="auto", own=[LABELLED])
    assert sweep.values[0] == "yes"
    currents = [one for one in sweep.readings() if one.series.quantity == "outlet.current"]
    assert len(currents) >= 2
    assert {one.value for one in currents} == {0.5}
    assert len({one.series.instance for one in currents}) == len(currents)
    for one in currents:
        assert len(one.series.source) <= 200
        for word in (one.series.instance, one.series.label):
            assert len(word) <= LONGEST_LABEL
            assert word.isprintable()
    assert all(record.message.isprintable() and len(record.message) < 1000 for record in caplog.records)


@every
@versions
def test_an_index_of_thousands_of_numbers_ends_the_table(
    version: SnmpVersion, engine: SnmpEngine, caplog: pytest.LogCaptureFixture
) -> None:
    long = f"{COLUMN}.3." + ".".join(["7"] * 30_000)
    (sweep,) = swept(agent({**OBJECTS, long: integer(230), f"{long}.1": integer(230)}), engine, version, 5.0)
    assert readings_of(sweep)["battery.charge", "", ""] == 97.0
    assert not any(instance.startswith("3") for _, instance, _ in readings_of(sweep))
    (record,) = caplog.records
    assert f"{COLUMN}: " in record.message
    assert len(record.message) < 300


def test_a_table_with_too_many_rows_is_read_in_part_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    objects = {"1.3.6.1.2.1.1.3.0": integer(5, 0x43)}
    objects |= {f"{PDU}.1.{column}.{row}": integer(row) for column in (2, 3) for row in range(MAX_TABLE_ROWS + 50)}
    (sweep,) = swept(agent(objects), SnmpEngine.GUFO, timeout_s=5.0, profile="pdu", own=[LABELLED])
    assert len(sweep.series) <= MAX_READINGS + 1
    assert f"{PDU}.1.3: the table has more than {MAX_TABLE_ROWS} rows" in caplog.text
