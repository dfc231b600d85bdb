"""The language of profiles: tables, conditions, scales, parts of values and firmware quirks, on devices in memory."""

import asyncio

import pytest

from tests.profile_box import BOX, HEAD, NAME, PORT, SCALE, SYSTEM, UNIT, Box, C, complaint, read
from watchkeeper.agent.probes.snmp.probe import SNMP_RENEW_SOON_S, SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw
from watchkeeper.profiles.scalars import Ref, Register, Template, ref, register

TYPED = f"""readings:
  - {{quantity: temperature.ambient, each: {{label: '{{{NAME}}}'}}, where: [{{oid: {PORT}, is: [1]}}], oid: {C}, raw_unit: 0.1 °C, source: X}}
  - {{quantity: humidity.relative, each: {{label: '{{{NAME}}}'}}, where: [{{oid: {PORT}, is: [2, 3]}}], oid: {C}, raw_unit: 1 %, source: X}}
"""


def test_a_column_selects_the_quantity_of_each_row_in_a_mixed_table() -> None:
    rows = {f"{C}.1": 215, f"{C}.2": 45, f"{C}.3": 50, f"{C}.4": 7}
    kinds = {f"{PORT}.1": 1, f"{PORT}.2": 2, f"{PORT}.3": 3, f"{PORT}.4": 9}
    assert read(TYPED, {**rows, **kinds, f"{NAME}.1": b"aisle", f"{NAME}.2": b"rack"}) == {
        ("temperature.ambient", "1", "aisle"): 21.5,
        ("humidity.relative", "2", "rack"): 45.0,
        ("humidity.relative", "3", ""): 50.0,
    }


def test_a_condition_may_use_the_index_and_a_name_a_part_of_it() -> None:
    profile = f"""readings:
  - quantity: outlet.current
    each: {{instance: "{{index:1}}", label: "{{{NAME}:1}}"}}
    where: [{{oid: "index:-1", is: [14]}}]
    oid: {C}
    raw_unit: 1 mA
    source: X
"""
    objects: dict[str, Raw] = {
        f"{C}.7.14": 500,
        f"{C}.7.15": 9,
        f"{C}.8.14": 250,
        f"{NAME}.7": b"storage",
        f"{NAME}.8": b"tape",
    }
    assert read(profile, objects) == {
        ("outlet.current", "7", "storage"): 0.5,
        ("outlet.current", "8", "tape"): 0.25,
    }


def test_a_label_may_use_an_object_outside_the_table() -> None:
    profile = f"""readings:
  - {{quantity: battery.charge, each: {{label: "{{{NAME}.0:0}} {{index}}"}}, oid: {C}, raw_unit: 1 %, source: X}}
"""
    assert read(profile, {f"{C}.1": 90, f"{NAME}.0": b"hall"}) == {("battery.charge", "1", "hall 1"): 90.0}


SCALED = f"""readings:
  - {{quantity: input.voltage, each: {{}}, oid: {C}, raw_unit: 1 V, scale: [{{oid: {SCALE}, by: {{0: 1, 1: 0.1, 2: 1/100}}}}], source: X}}
"""


def test_the_device_gives_the_scale_of_its_values() -> None:
    digits = {f"{SCALE}.1": 0, f"{SCALE}.2": 1, f"{SCALE}.3": 2, f"{SCALE}.4": 7}
    found = read(SCALED, {**digits, **{f"{C}.{row}": 23000 for row in (1, 2, 3, 4, 5)}})
    assert [found["input.voltage", row, ""] for row in "123"] == [23000.0, 2300.0, 230.0]
    for row in "45":  # an unknown scale, and no scale: no value is guessed
        value = found["input.voltage", row, ""]
        assert isinstance(value, Missing)
        assert value.reason is Reason.MALFORMED


def test_after_the_unit_is_switched_on_the_device_the_reading_is_missing_and_then_correct() -> None:
    profile = f"""readings:
  - quantity: temperature.ambient
    any_of:
      - {{oid: {C}.0, raw_unit: 1 °C, only_if: [{{oid: {UNIT}.0, is: [1]}}], source: X}}
      - {{oid: {C}.0, raw_unit: 1 °F, only_if: [{{oid: {UNIT}.0, is: [2]}}], source: X}}
"""
    switched(profile, f"{C}.0", "")


def test_a_switch_outside_the_table_counts_for_all_its_rows() -> None:
    profile = f"""readings:
  - quantity: temperature.ambient
    each: {{}}
    any_of:
      - {{oid: {C}, raw_unit: 1 °C, only_if: [{{oid: "{UNIT}.0:0", is: [1]}}], source: X}}
      - {{oid: {C}, raw_unit: 1 °F, only_if: [{{oid: "{UNIT}.0:0", is: [2]}}], source: X}}
"""
    switched(profile, f"{C}.4", "4")


def test_a_switch_that_older_firmware_lacks_counts_as_off() -> None:
    profile = f"""readings:
  - quantity: temperature.ambient
    any_of:
      - {{oid: {C}.0, raw_unit: 1 °C, only_if: [{{oid: {UNIT}.0, is_not: [2]}}], source: X}}
      - {{oid: {C}.0, raw_unit: 1 °F, only_if: [{{oid: {UNIT}.0, is: [2]}}], source: X}}
"""
    switched(profile, f"{C}.0", "")
    assert read(profile, {f"{C}.0": 21}) == {("temperature.ambient", "", ""): 21.0}


def switched(profile: str, oid: str, instance: str) -> None:
    box = Box(profile, {oid: 23, f"{UNIT}.0": 1})
    assert box.read() == {("temperature.ambient", instance, ""): 23.0}
    box.memory.objects |= {oid: 73, f"{UNIT}.0": 2}
    (value,) = box.read().values()
    assert isinstance(value, Missing)  # 73 is not read as °C
    assert "answers `2`" in value.detail
    box.clock.advance(SNMP_RENEW_SOON_S)
    box.read()
    assert box.read()["temperature.ambient", instance, ""] == pytest.approx(22.78, abs=0.01)


@pytest.mark.parametrize(
    ("how", "raw", "value"),
    [
        ("extract: 'T=([-\\d.]+)'", b"H=40 T=-3.5 C", -3.5),
        ("extract: 'T=([-\\d.]+)'", b"offline", Reason.MALFORMED),
        ("extract: 'T=(\\S+)', absent: ['--']", b"T=--", Reason.ABSENT),
        ("signed: 16", 65531, -5.0),
        ("signed: 16", 25, 25.0),
        ("signed: 8", b"251", -5.0),
        ("signed: 16", b"x", Reason.MALFORMED),
    ],
)
def test_a_part_of_a_raw_value(how: str, raw: Raw, value: float | Reason) -> None:
    profile = f"readings:\n  - {{quantity: temperature.ambient, oid: {C}.0, raw_unit: 1 °C, {how}, source: X}}\n"
    (found,) = read(profile, {f"{C}.0": raw}).values()
    assert (found.reason if isinstance(found, Missing) else found) == value


@pytest.mark.parametrize(
    ("bit", "raw", "state"),
    [(0, 5, "critical"), (1, 5, "ok"), (2, b"5", "critical"), (0, b"\x80", "critical"), (9, b"\x00\x40", "critical"),
     (9, b"\x40", "ok"), (1, b"?", "ok"), (1, 2.0, "critical")],
)  # fmt: skip
def test_a_bit_of_a_number_or_of_bits(bit: int, raw: Raw, state: str) -> None:
    profile = f"readings:\n  - {{quantity: device.alarm, oid: {C}.0, bit: {bit}, states: {{0: ok, 1: critical}}, source: X}}\n"
    assert list(read(profile, {f"{C}.0": raw}).values()) == [state]


QUIRKY = f"""readings:
  - {{quantity: battery.voltage, oid: {C}.0, raw_unit: 0.1 V, source: X}}
  - {{quantity: battery.charge, oid: {PORT}.0, raw_unit: 1 %, source: X}}
  - {{quantity: battery.current, oid: {NAME}.0, raw_unit: 1 A, source: X}}
quirks:
  - when: {{oid: 1.3.6.1.2.1.1.1.0, matches: 'Box 2\\.'}}
    because: firmware 2 sends volts, and a current that is always 0
    readings: [{{quantity: battery.voltage, oid: {C}.0, raw_unit: 1 V, source: X}}]
    without: battery.current
"""


def test_a_quirk_corrects_only_the_firmware_that_it_names() -> None:
    objects: dict[str, Raw] = {f"{C}.0": 54, f"{PORT}.0": 90, f"{NAME}.0": 0}
    assert read(QUIRKY, objects) == {("battery.voltage", "", ""): 54.0, ("battery.charge", "", ""): 90.0}
    newer = {**objects, "1.3.6.1.2.1.1.1.0": b"Box 3.0"}
    assert read(QUIRKY, newer)["battery.voltage", "", ""] == 5.4
    assert read(QUIRKY, newer)["battery.current", "", ""] == 0.0


def test_a_profile_may_extend_several_others_and_the_first_one_wins() -> None:
    one = f"readings: [{{quantity: battery.charge, oid: {C}.0, raw_unit: 1 %, source: one}}]\n"
    two = f"readings: [{{quantity: battery.charge, oid: {PORT}.0, raw_unit: 1 %, source: two}}, {{quantity: battery.voltage, oid: {PORT}.0, raw_unit: 1 V, source: two}}]\n"
    both = HEAD.replace("box", "both") + "extends: [one, two]\n"
    documents = [
        Document("one.yml", HEAD.replace("box", "one") + one),
        Document("two.yml", HEAD.replace("box", "two") + two),
    ]
    full = load_profiles([*documents, Document("both.yml", both)]).get("both")
    assert full is not None
    assert [(reading.quantity, reading.source) for reading in full.readings] == [
        ("battery.charge", "one"), ("battery.voltage", "two"),
    ]  # fmt: skip


OTHER = "1.3.6.1.4.1.88888.2"
FAMILY = Document(
    "family.yml",
    """profile: family
vendor: V
category: env
verified: none
readings:
  - quantity: temperature.ambient
    each: {label: "{ROOT.1.3} of {ROOT.1.4:1}"}
    where: [{oid: ROOT.1.2, is: [1]}]
    oid: ROOT.1.1
    raw_unit: 1 °C
    scale: [{oid: ROOT.1.5, by: {0: 1, 1: 0.1}}]
    only_if: [{oid: "ROOT.8.0:0", is: [1]}]
    source: X
  - {quantity: humidity.relative, each: {}, oid: ROOT.1.6, raw_unit: 1 %, source: X}
""",
)


def model(name: str, root: str, more: str = "") -> Document:
    lines = f"profile: {name}\nvendor: V\ncategory: env\nverified: none\nroot: {root}\nextends: family\n"
    return Document(f"{name}.yml", f"{lines}match: [{{sys_object_id: [ROOT]}}]\n{more}")


def test_models_whose_tables_differ_only_in_the_root_share_one_base() -> None:
    own = "readings: [{quantity: humidity.relative, oid: ROOT.7.0, raw_unit: 0.1 %, source: X}]\n"
    profiles = load_profiles([FAMILY, model("one", BOX), model("two", OTHER, own)])
    found: dict[str, dict[tuple[str, str], Value]] = {}
    for name, root in (("one", BOX), ("two", OTHER)):
        table: dict[str, Raw] = {"1.1.4": 215, "1.2.4": 1, "1.3.4": b"aisle", "1.4.4": b"hall", "1.5.4": 1, "1.6.4": 40}
        objects: dict[str, Raw] = {**table, "7.0": 405, "8.0": 1}
        memory = MemoryDevice(
            {**SYSTEM, "1.3.6.1.2.1.1.2.0": root, **{f"{root}.{arcs}": value for arcs, value in objects.items()}}
        )
        probe = SnmpProbe(profiles, Secrets(environ={}), FakeClock(), memory.open)
        sweep = asyncio.run(
            probe.sweep(Device(name, "room", Category.ENV, "snmp", "10.0.0.7", snmp=Snmp(community="c")))
        )
        found[name] = {
            (reading.series.quantity, reading.series.label): reading.value
            for reading in sweep.readings()
            if reading.series.quantity not in ("device.answering", "uptime")
        }
    air = ("temperature.ambient", "aisle of hall")
    assert found["one"] == {air: 21.5, ("humidity.relative", ""): 40.0}
    assert found["two"] == {air: 21.5, ("humidity.relative", ""): 40.5}


def test_the_root_of_the_extending_profile_is_used_in_all_its_bases() -> None:
    younger = model("younger", OTHER).text.replace("extends: family", "extends: elder")
    profiles = load_profiles([FAMILY, model("elder", BOX), Document("younger.yml", younger)])
    for name, root in (("elder", BOX), ("younger", OTHER)):
        full = profiles.get(name)
        assert full
        assert {reading.oid for reading in full.readings} == {f"{root}.1.1", f"{root}.1.6"}
    rootless = model("heir", BOX).text.replace(f"root: {BOX}\n", "").replace("family", "elder").replace("ROOT", OTHER)
    heir = load_profiles([FAMILY, model("elder", BOX), Document("heir.yml", rootless)]).get("heir")
    assert heir
    assert {reading.oid for reading in heir.readings} == {f"{BOX}.1.1", f"{BOX}.1.6"}


def test_a_shipped_profile_extends_the_operators_base_of_that_name() -> None:
    base = HEAD.replace("box", "gude-surge").replace(f"match: [{{sys_object_id: [{BOX}]}}]\n", "")
    own = base + "readings: [{quantity: surge.health, oid: ROOT.9.0, states: {1: ok}, source: X}]\n"
    full = load_profiles([Document("own.yml", own)]).get("gude-epc8031")
    assert full
    (surge,) = (reading for reading in full.readings if reading.quantity == "surge.health")
    assert surge.oid == "1.3.6.1.4.1.28507.81.9.0"


def test_a_base_is_no_profile_by_itself() -> None:
    assert load_profiles([FAMILY]).get("family") is None


@pytest.mark.parametrize(
    ("documents", "place", "problem"),
    [
        ([Document("box.yml", HEAD + "readings: [{quantity: humidity.relative, oid: ROOT.1, raw_unit: 1 %, source: X}]\n")],
         "box.yml:6:47", "`ROOT.1` needs `root`"),
        ([Document("box.yml", HEAD.replace(BOX, "ROOT") + "extends: ups-mib\n")], "box.yml:5:26", "needs `root`"),
        ([FAMILY, Document("box.yml", HEAD + "extends: family\n")], "family.yml:9:10", "`ROOT.1.1` needs `root`"),
        ([FAMILY, model("one", "1.x")], "one.yml:5:7", "not a numeric object identifier"),
        ([FAMILY, model("one", BOX, "readings: [{quantity: humidity.relative, oid: ROOTS.1, raw_unit: 1 %, source: X}]\n")],
         "one.yml:8:47", "not a numeric object identifier"),
        ([Document("family.yml", FAMILY.text.replace("1 °C", "1 furlong"))], "family.yml:10:15", "`furlong` is no unit"),
        ([Document("family.yml", FAMILY.text.replace("1 °C", "1 furlong")), model("one", BOX)], "family.yml:10:15", "furlong"),
    ],
)  # fmt: skip
def test_a_mistake_with_a_root_has_line_and_column(documents: list[Document], place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profiles(documents)
    found = [str(one) for one in caught.value.problems]
    assert any(one.startswith(f"{place}:") and problem in one for one in found), found
    assert len(set(found)) == len(found)


def test_an_empty_text_of_the_device_leaves_no_gap_in_a_name() -> None:
    profile = f"""readings:
  - quantity: outlet.current
    each: {{instance: "{{{NAME}}} {{index}}", label: " {{{NAME}}}  current {{{UNIT}}} "}}
    oid: {C}
    raw_unit: 1 mA
    source: X
"""
    objects: dict[str, Raw] = {f"{C}.1": 500, f"{C}.2": 250, f"{NAME}.2": b" tape   drive "}
    assert read(profile, objects) == {
        ("outlet.current", "1", "current"): 0.5,
        ("outlet.current", "tape drive 2", "tape drive current"): 0.25,
    }


def test_a_device_is_recognised_by_a_text_in_a_table_of_its_maker() -> None:
    text = HEAD.replace(f"{{sys_object_id: [{BOX}]}}", f"{{answers: {BOX}.7, says: '^ENV'}}")
    profiles = load_profiles(
        [
            Document(
                "box.yml", text + f"readings: [{{quantity: battery.charge, oid: {C}.0, raw_unit: 1 %, source: X}}]\n"
            )
        ]
    )
    for text_in_table, known in ((b"ENV-4", "box"), (b"PDU-4", None)):
        memory = MemoryDevice({**SYSTEM, "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.8072.3.2.10", f"{BOX}.7.3.1": text_in_table})
        probe = SnmpProbe(profiles, Secrets(environ={}), FakeClock(), memory.open)
        asyncio.run(probe.sweep(Device("box", "room", Category.ENV, "snmp", "10.0.0.7", snmp=Snmp(community="c"))))
        assert [one.profile for one in probe.profiles_of("box")] == ([known] if known else [])


@pytest.mark.parametrize(
    ("reading", "problem"),
    [
        (f"{{quantity: battery.charge, oid: {C}, raw_unit: 1 %, source: X, where: [{{oid: {C}}}]}}", "a condition needs one of `is`, `is_not`, `matches`, `above`"),
        (f"{{quantity: battery.charge, oid: {C}, raw_unit: 1 %, source: X, where: [{{oid: index, is: 1}}]}}", "inside `each`"),
        (f"{{quantity: battery.charge, oid: {C}, raw_unit: 1 %, source: X, extract: x}}", "exactly one group"),
        (f"{{quantity: battery.charge, oid: {C}, raw_unit: 1 %, source: X, signed: 12}}", "is 8, 16, 32 or 64"),
        (f"{{quantity: battery.charge, oid: {C}, raw_unit: 1 %, source: X, scale: [{{oid: {C}, by: {{1: -1}}}}]}}", "not a factor"),
        (f"{{quantity: battery.charge, oid: {C}, register: coil 3, raw_unit: 1 %, source: X}}", "needs `oid`"),
        ("{quantity: battery.charge, register: coil 3, raw_unit: 1 %, source: X}", "cannot read by modbus"),
        (f"{{quantity: battery.state, oid: {C}, states: {{1: ok}}, scale: [{{oid: {C}, by: {{1: 1}}}}], source: X}}", "is a state"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_file(reading: str, problem: str) -> None:
    found = complaint(f"readings:\n  - {reading}\n")
    assert "box.yml:" in found
    assert problem in found


def test_references_to_a_row() -> None:
    assert ref("1.3.6.1:-2").name("5.6.7") == "1.3.6.1.6.7"
    assert ref("1.3.6.1").name("") == "1.3.6.1"
    assert ref("index:1") == Ref("", 1)
    assert Template("{index:1}/{1.3:-1}").fill(lambda one: f"<{one.oid}{one.arcs}>") == "<1>/<1.3-1>"
    for wrong in ("1", "index:0", "1.3.6.x", "1.3:abc", "1.3:100"):
        with pytest.raises(ValueError, match="neither a numeric object identifier"):
            ref(wrong)


def test_registers() -> None:
    assert register("holding 40 uint16") == Register("holding", 40, "uint16")
    assert register("input 12 float32 swapped") == Register("input", 12, "float32", swapped=True)
    assert register("discrete 7") == Register("discrete", 7, "bit")
    for wrong in ("holding 40", "holding 70000 int16", "coil 3 int16", "coil", "holding 1 int8"):
        with pytest.raises(ValueError, match="is not a register"):
            register(wrong)


def test_the_health_of_a_part_is_not_hidden_by_that_of_the_whole_device() -> None:
    """The communication of a transfer switch, and that of the probes plugged into it."""
    profile = load_profiles().get("apc-ats")
    assert profile
    own, *of_probes = [one for one in profile.readings if one.quantity == "communication.health"]
    assert own.source == "PowerNet-MIB::atsStatusCommStatus"
    assert {one.source for one in of_probes} == {
        "PowerNet-MIB::uioSensorStatusCommStatus",
        "PowerNet-MIB::emStatusCommStatus",
    }
    xups = load_profiles().get("eaton-xups")
    assert xups
    assert any(one.quantity == "input.voltage" for layer in xups.hidden for one in layer)
