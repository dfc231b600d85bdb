"""Recognition of devices whose sysObjectID or single objects are not those of their profile."""

import asyncio
from collections.abc import Mapping

import pytest

from watchkeeper.agent.poll.facts import facts_of
from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.plan import DeviceReader
from watchkeeper.agent.probes.snmp.probe import SNMP_RENEW_S, SnmpProbe
from watchkeeper.agent.probes.snmp.recognise import Recognised, recognise
from watchkeeper.agent.probes.testing import MemoryDevice, MemorySession
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.asked import asks_for
from watchkeeper.profiles.decode import Raw

Objects = dict[str, Raw]
SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"
NET_SNMP = "1.3.6.1.4.1.8072.3.2.10"
ACME, BETA = "1.3.6.1.4.1.99991", "1.3.6.1.4.1.99992"

HEAD = """\
profile: {name}
vendor: {vendor}
category: {category}
verified: none
match: {match}
{extends}readings:
"""
PDU_READINGS = f"""\
  - {{quantity: outlet.current, each: {{}}, oid: {ACME}.1.2.1.3, raw_unit: 0.1 A, plausible: 0 .. 90 A, source: X}}
  - {{quantity: outlet.power, each: {{}}, oid: {ACME}.1.2.1.4, raw_unit: 1 W, source: X}}
  - {{quantity: input.voltage, oid: {ACME}.1.1.0, raw_unit: 1 V, source: X}}
"""
BETA_READINGS = f"  - {{quantity: temperature.ambient, each: {{}}, oid: {BETA}.5.1.2, raw_unit: 1 °C, source: X}}\n"


def profile(
    name: str, readings: str, match: str, vendor: str = "Acme", category: str = "pdu", *, extends: str = ""
) -> Document:
    line = f"extends: {extends}\n" if extends else ""
    head = HEAD.format(name=name, vendor=vendor, category=category, match=match, extends=line)
    return Document(f"{name}.yml", head + readings)


PDU = profile("acme-pdu", PDU_READINGS, f"[{{sys_object_id: [{ACME}.1.7]}}]")
SENSOR = profile("beta-sensor", BETA_READINGS, f"[{{sys_object_id: [{BETA}]}}]", "Beta", "env")


def pdu_objects(sys_object_id: Raw | None = NET_SNMP, outlets: int = 3) -> Objects:
    objects: Objects = {SYS_DESCR: b"a box"}
    if sys_object_id is not None:
        objects[SYS_OBJECT_ID] = sys_object_id
    objects[f"{ACME}.1.1.0"] = 230
    for column, value in ((3, 15), (4, 340)):
        objects |= {f"{ACME}.1.2.1.{column}.{row}": value for row in range(1, outlets + 1)}
    return objects


class Room:
    """One device in memory, read by these profiles of its operator and the shipped ones."""

    def __init__(
        self, objects: Mapping[str, Raw], *own: Document, version: SnmpVersion = SnmpVersion.V2C, **how: str
    ) -> None:
        self.memory = MemoryDevice(objects)
        self.clock = FakeClock()
        self.probe = SnmpProbe(load_profiles(own), Secrets(environ={}), self.clock, self.memory.open)
        self.device = Device("box", "room", Category.PDU, "snmp", "10.0.0.7", snmp=Snmp(version, "c"), **how)  # type: ignore[arg-type]

    def read(self) -> dict[tuple[str, str], Value]:
        readings = asyncio.run(self.probe.sweep(self.device)).readings()
        return {
            (one.series.quantity, one.series.instance): one.value for one in readings if one.series.quantity != "uptime"
        }

    @property
    def series(self) -> dict[tuple[str, str], Series]:
        sweep = asyncio.run(self.probe.sweep(self.device))
        return {(one.quantity, one.instance): one for one in sweep.series}

    @property
    def known(self) -> Recognised:
        return self.probe.recognised("box")

    @property
    def name(self) -> str:
        return self.known.profile.profile if self.known.profile else ""

    @property
    def requests(self) -> int:
        return sum(len(session.requests) for session in self.memory.sessions)


@pytest.mark.parametrize(
    "sys_object_id",
    [
        NET_SNMP,
        None,
        "",
        b"n/a",
        "0.0",
        "1.3.6.1.4.1.",
        f"{ACME}.9.9",
        "1.3.6.1.4.1.55555.1",
        f"{BETA}.1",
        "1.3.6.1.4.1.318.1.3.27",
    ],
)
def test_a_makers_subtree_that_answers_is_recognised_whatever_the_sys_object_id_is(sys_object_id: Raw | None) -> None:
    """Generic, missing, malformed, of an unknown model, of nobody, and of another maker."""
    room = Room(pdu_objects(sys_object_id), PDU, SENSOR)
    assert room.read()["outlet.current", "2"] == 1.5
    assert room.name == "acme-pdu"


@pytest.mark.parametrize("version", [SnmpVersion.V1, SnmpVersion.V2C])
def test_recognition_works_by_getnext_alone(version: SnmpVersion) -> None:
    room = Room(pdu_objects(), PDU, version=version)
    room.read()
    assert room.name == "acme-pdu"


def test_the_profile_that_gives_more_values_is_chosen_not_the_one_with_the_longer_identifier() -> None:
    model = profile(
        "acme-model-7", f"  - {{quantity: input.voltage, oid: {ACME}.1.1.0, raw_unit: 1 V, source: X}}\n",
        f"[{{sys_object_id: [{ACME}.1.7.3]}}]",
    )  # fmt: skip
    room = Room(pdu_objects(f"{ACME}.1.7.3"), PDU, model)
    room.read()
    assert room.name == "acme-pdu"
    few = Room(pdu_objects(f"{ACME}.1.7.3", 0), PDU, model)
    few.read()
    assert few.name == "acme-model-7"


def test_an_object_that_one_model_lacks_does_not_hide_the_profile() -> None:
    asked = profile("acme-pdu", PDU_READINGS, f"[{{sys_object_id: [{ACME}], answers: {ACME}.1.9.0}}]")
    room = Room(pdu_objects(f"{ACME}.2"), asked)
    room.read()
    assert room.name == "acme-pdu"


@pytest.mark.parametrize(("there", "name"), [(f"{ACME}.3.4.1.2", "acme-pdu"), (f"{ACME}.4.1.0", "")])
def test_answers_may_name_a_subtree(there: str, name: str) -> None:
    by_subtree = profile("acme-pdu", BETA_READINGS, f"[{{answers: {ACME}.3}}]")
    room = Room({SYS_DESCR: b"a box", SYS_OBJECT_ID: NET_SNMP, there: 1}, by_subtree)
    room.read()
    assert room.name == name


def test_the_objects_of_a_profile_that_only_a_text_tells_apart_prove_nothing() -> None:
    relabelled = profile("zeta-pdu", PDU_READINGS, f"[{{sys_object_id: [{ACME}], sys_descr: Zeta}}]", "Zeta")
    for descr, name in ((b"Zeta PDU", "zeta-pdu"), (b"a box", "acme-pdu")):
        room = Room({**pdu_objects(), SYS_DESCR: descr}, PDU, relabelled)
        room.read()
        assert room.name == name
    alone = Room(pdu_objects(), relabelled)
    alone.read()
    assert alone.name == ""


def test_it_says_what_was_chosen_and_why() -> None:
    room = Room(pdu_objects(f"{ACME}.1.7"), PDU)
    assert room.known == Recognised()
    room.read()
    assert room.known.why == f"sysObjectID {ACME}.1.7; 7 readings of its maker's objects give a value"
    assert (room.known.readings, room.known.with_value) == (7, 7)
    room.memory.objects[f"{ACME}.1.2.1.3.1"] = 5000
    room.clock.advance(SNMP_RENEW_S)
    room.read()
    assert (room.known.readings, room.known.with_value) == (7, 6)


def test_a_known_device_is_not_asked_again_until_it_gives_nothing_or_describes_itself_otherwise() -> None:
    room = Room({**pdu_objects(), "1.3.6.1.2.1.1.3.0": 5}, PDU, SENSOR)

    def requests_of_a_renewal() -> list[tuple[str, ...]]:
        room.clock.advance(SNMP_RENEW_S)
        before = room.requests
        room.read()
        return [one for session in room.memory.sessions for one in session.requests][before:]

    room.read()
    hop = ("1.3.6.1.4.1",)
    assert hop not in requests_of_a_renewal()
    for oid in [one for one in room.memory.objects if one.startswith(ACME)]:
        del room.memory.objects[oid]
    room.memory.objects[f"{BETA}.5.1.2.1"] = 21
    requests_of_a_renewal()
    assert hop in requests_of_a_renewal()
    assert room.name == "beta-sensor"
    room.memory.objects[SYS_DESCR] = b"another box"
    assert hop in requests_of_a_renewal()


def test_a_device_with_very_many_objects_is_recognised_with_few_requests() -> None:
    objects = pdu_objects(outlets=3000)
    objects |= {f"{ACME}.1.2.1.{column}.{row}": 7 for column in range(5, 20) for row in range(1, 3001)}
    last = profile(
        "acme-late", f"  - {{quantity: temperature.ambient, each: {{}}, oid: {ACME}.8.1.2, raw_unit: 1 °C, source: X}}\n"
        f"  - {{quantity: humidity.relative, oid: {ACME}.8.2.0, raw_unit: 1 %, source: X}}\n",
        f"[{{sys_object_id: [{ACME}.1.8]}}]", category="env",
    )  # fmt: skip
    objects |= {f"{ACME}.8.1.2.{row}": 20 for row in range(1, 1000)} | {f"{ACME}.8.2.0": 40}
    room = Room(objects, PDU, last)
    session = MemorySession(objects, SnmpVersion.V2C, lambda: None)
    known = asyncio.run(recognise(DeviceReader(session, room.device, SnmpVersion.V2C), load_profiles([PDU, last])))
    assert known.profile
    assert known.profile.profile == "acme-pdu"
    assert "next is acme-late with 9" in known.why
    assert len(session.requests) < 40


def test_a_request_that_fails_is_made_up_for_at_the_next_renewal() -> None:
    room = Room(pdu_objects(), PDU)
    room.device = Device("box", "room", Category.PDU, "snmp", "10.0.0.7", retries=0, snmp=Snmp(community="c"))
    silence = NoAnswer(Reason.TIMEOUT, "no answer")
    asked = 0

    def fail_at_the_first_hop() -> NoAnswer | None:
        nonlocal asked
        asked += room.memory.sessions[-1].requests[-1] == ("1.3.6.1.4.1",)
        return silence if asked == 1 and room.memory.sessions[-1].requests[-1] == ("1.3.6.1.4.1",) else None

    room.memory._next_failure = fail_at_the_first_hop  # type: ignore[method-assign]
    room.read()
    assert room.name == ""
    room.clock.advance(SNMP_RENEW_S)
    room.read()
    assert room.name == "acme-pdu"


@pytest.mark.parametrize(
    "answers",
    [
        ["1.3.6.1.4.1"],
        ["1.3.6.1.4.1.9.1.0", "1.3.6.1.4.1.9.1.0"],
        ["1.3.6.1.4.1.9.1.0", "1.3.6.1.4.1.8.1.0"],
        ["1.3.6.1.4.1.9.1.0", "1.3.6.1.6.3.1"],
        [f"1.3.6.1.4.1.{enterprise}.1.0" for enterprise in range(9, 9999)],
    ],
    ids=["the subtree itself", "repeats", "backwards", "past the makers", "without end"],
)
def test_a_device_that_leads_nowhere_is_asked_only_so_often(answers: list[str]) -> None:
    class Liar(MemorySession):
        async def next_object(self, after: str) -> tuple[str, Raw] | None:
            self._note(after)
            return answers[min(len(self.hops), len(answers)) - 1], 1

        @property
        def hops(self) -> list[tuple[str, ...]]:
            return [one for one in self.requests if one[0].startswith("1.3.6.1.4.1") and "." not in one[0][12:]]

    session = Liar({SYS_DESCR: b"a box"}, SnmpVersion.V2C, lambda: None)
    device = Device("box", "room", Category.PDU, "snmp", "10.0.0.7", snmp=Snmp(community="c"))
    known = asyncio.run(recognise(DeviceReader(session, device, SnmpVersion.V2C), load_profiles()))
    assert known.profile is None
    assert 1 <= len(session.hops) <= 41


# ---- standard MIBs beside the maker's ----

UPS = "1.3.6.1.2.1.33.1."
UPS_MIB: Objects = {
    f"{UPS}2.1.0": 2,
    f"{UPS}2.4.0": 97,
    f"{UPS}2.3.0": 20,
    f"{UPS}3.3.1.3.1": 231,
    f"{UPS}3.3.1.3.2": 229,
    f"{UPS}4.1.0": 3,
}
HOST: Objects = {
    "1.3.6.1.2.1.25.1.1.0": 100, "1.3.6.1.2.1.25.1.6.0": 30, "1.3.6.1.2.1.25.3.3.1.2.1": 40,
    "1.3.6.1.2.1.2.2.1.2.1": b"eth0", "1.3.6.1.2.1.2.2.1.3.1": 6, "1.3.6.1.2.1.2.2.1.7.1": 1, "1.3.6.1.2.1.2.2.1.8.1": 1,
}  # fmt: skip
ENTITY: Objects = {
    "1.3.6.1.2.1.99.1.1.1.1.4": 8, "1.3.6.1.2.1.99.1.1.1.2.4": 9, "1.3.6.1.2.1.99.1.1.1.3.4": 0,
    "1.3.6.1.2.1.99.1.1.1.4.4": 31, "1.3.6.1.2.1.99.1.1.1.5.4": 1,
}  # fmt: skip


def a_ups(readings: str = "", extends: str = "", category: str = "ups") -> Document:
    volts = f"  - {{quantity: input.voltage, instance: L1, oid: {ACME}.1.1.0, raw_unit: 1 V, source: X}}\n"
    return profile("acme-ups", volts + readings, f"[{{sys_object_id: [{ACME}]}}]", category=category, extends=extends)


def test_what_the_maker_does_not_read_comes_from_the_standard_mibs_and_nothing_is_read_twice() -> None:
    room = Room(pdu_objects(ACME) | UPS_MIB | ENTITY | HOST, a_ups())
    values = room.read()
    assert room.name == "acme-ups"
    assert values["battery.charge", ""] == 97
    assert values["temperature.component", "4"] == 31
    assert {key: value for key, value in values.items() if key[0] == "input.voltage"} == {("input.voltage", "L1"): 230}
    assert not any(quantity.startswith(("cpu.", "link.")) for quantity, _ in values)
    assert [one.profile for one in room.probe.profiles_of("box")] == ["acme-ups", "ups-mib", "entity-sensor"]
    told = dict(facts_of(room.probe, "box"))["profile"]
    assert told == "acme-ups (Acme, ups), ups-mib, entity-sensor"
    asked = {key for one in room.probe.profiles_of("box") for key in values if asks_for(one, room.series[key])}
    assert asked == {key for key in values if key[0] != "device.answering"}


def test_a_value_that_the_maker_gives_no_more_comes_from_the_standard_mib() -> None:
    objects = pdu_objects(ACME) | UPS_MIB | {f"{ACME}.1.1.0": 0}
    bounded = a_ups().text.replace("raw_unit: 1 V,", "raw_unit: 1 V, plausible: 80 .. 300 V,")
    values = Room(objects, Document("acme-ups.yml", bounded)).read()
    assert {key: value for key, value in values.items() if key[0] == "input.voltage"} == {
        ("input.voltage", "1"): 231,
        ("input.voltage", "2"): 229,
    }


def test_a_computer_gets_its_disks_and_ports_and_a_device_that_gives_nothing_gets_them_too() -> None:
    values = Room(pdu_objects(ACME) | HOST, a_ups(category="server")).read()
    assert values["cpu.usage", "1"] == 40
    assert values["link.state", "eth0"] == "up"
    silent = Room({SYS_OBJECT_ID: ACME, SYS_DESCR: b"a box"} | HOST, a_ups())
    assert silent.read()["cpu.usage", "1"] == 40
    assert silent.name == "acme-ups"


def test_a_computer_with_a_program_of_a_maker_stays_a_computer() -> None:
    """A Windows server with the software of its UPS."""
    windows = pdu_objects("1.3.6.1.4.1.311.1.1.3.1.2") | HOST
    room = Room(windows, PDU)
    assert room.read()["cpu.usage", "1"] == 40
    assert room.name == "host-resources"


def test_a_standard_mib_that_says_more_than_the_profile_is_read_beside_it() -> None:
    """A rectifier's UPS-MIB is believed only if its own objects say less."""
    more = "".join(
        f"  - {{quantity: outlet.voltage, instance: '{n}', oid: {ACME}.1.4.{n}.0, raw_unit: 1 V, source: X}}\n"
        for n in range(1, 9)
    )
    own: Objects = {f"{ACME}.1.4.{n}.0": 48 for n in range(1, 9)}
    rich = Room(pdu_objects(ACME) | own | UPS_MIB, a_ups(more, category="dc-power")).read()
    assert ("battery.charge", "") not in rich
    poor = Room(pdu_objects(ACME) | UPS_MIB, a_ups(more, category="dc-power")).read()
    assert poor["battery.charge", ""] == 97


def test_an_override_does_not_hide_the_standard_object_that_answers() -> None:
    override = f"  - {{quantity: battery.charge, oid: {ACME}.1.5.0, raw_unit: 1 %, source: X}}\n"
    both = a_ups(override, extends="ups-mib")
    without = Room(pdu_objects(ACME) | UPS_MIB, both).read()
    assert without["battery.charge", ""] == 97
    with_own = Room(pdu_objects(ACME) | UPS_MIB | {f"{ACME}.1.5.0": 88}, both).read()
    assert with_own["battery.charge", ""] == 88


def test_a_value_that_is_missing_for_a_while_does_not_change_the_columns() -> None:
    objects = pdu_objects(ACME) | UPS_MIB | {f"{ACME}.1.5.0": 88}
    bounded = f"  - {{quantity: battery.charge, instance: pack, oid: {ACME}.1.5.0, raw_unit: 1 %, plausible: 0 .. 100 %, source: X}}\n"
    room = Room(objects, a_ups(bounded, extends="ups-mib"))
    assert room.read()["battery.charge", "pack"] == 88
    room.memory.objects[f"{ACME}.1.5.0"] = 255
    for _ in range(2):
        room.clock.advance(SNMP_RENEW_S)
        values = room.read()
    assert [key for key in values if key[0] == "battery.charge"] == [("battery.charge", "pack")]
    assert isinstance(values["battery.charge", "pack"], Missing)


def test_a_named_profile_is_read_as_it_is_written() -> None:
    room = Room(pdu_objects(BETA) | UPS_MIB, PDU, SENSOR, profile="acme-pdu")
    values = room.read()
    assert room.known.why == "the inventory names it"
    assert values["outlet.power", "1"] == 340
    assert ("battery.charge", "") not in values


def test_a_ups_without_the_battery_state_is_still_one() -> None:
    room = Room({SYS_OBJECT_ID: NET_SNMP, f"{UPS}4.4.1.2.1": 230, f"{UPS}4.4.1.5.1": 20})
    assert room.read()["output.load", "1"] == 20
    assert room.name == "ups-mib"


def test_a_subtree_with_no_object_that_a_profile_reads_still_names_the_maker() -> None:
    room = Room({SYS_OBJECT_ID: NET_SNMP, f"{ACME}.1.1.6.0": b"Model 9"} | UPS_MIB, a_ups())
    assert room.read()["battery.charge", ""] == 97
    assert room.name == "acme-ups"
