"""Values that depend on other objects of the device: conditions, units and the forms of a number, on devices in memory."""

import pytest

from tests.profile_box import BOX, HEAD, PORT, UNIT, Box, C, calculated, read, recognised
from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw, decode_step
from watchkeeper.profiles.scalars import comparand, number_in

A, B, D = f"{BOX}.2.1.0", f"{BOX}.2.2.0", f"{BOX}.2.3.0"

# ---- conditions on numbers and other objects ----

PHASES = f"""readings:
  - quantity: input.voltage
    each: {{label: "phase {{index}}"}}
    where: [{{oid: "index:1", at_most: {A}}}]
    oid: {C}
    raw_unit: 1 V
    source: X
"""


@pytest.mark.parametrize(
    ("lines", "phases"), [(1, "1"), (2, "12"), (3, "123"), (b"2", "12"), (None, "123"), (b"?", "123")]
)
def test_rows_beyond_a_number_that_the_device_gives_are_not_read(lines: Raw | None, phases: str) -> None:
    objects: dict[str, Raw] = {f"{C}.1": 230, f"{C}.2": 0, f"{C}.3": 0} | ({} if lines is None else {A: lines})
    assert [instance for _, instance, _ in read(PHASES, objects)] == list(phases)


def test_only_the_objects_of_a_condition_are_asked_for() -> None:
    for condition, objects in (("above: 5", (C, A)), (f"above: {B}", (C, A, B)), ("is: 5", (C, A))):
        text = f"oid: {C}, raw_unit: 1, only_if: [{{oid: {A}, {condition}}}], source: X"
        profile = load_profiles([Document("box.yml", f"{HEAD}readings: [{{quantity: device.number, {text}}}]\n")]).get(
            "box"
        )
        assert profile is not None
        assert decode_step(profile.readings[0], C).oids == objects


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ("above: 5", [6]), ("below: 5", [4]), ("at_least: 5", [5, 6]), ("at_most: 5", [4, 5]),
        ("above: -5.5", [4, 5, 6]), (f"at_most: {B}", [4, 5]), (f"above: {D}", [4, 5, 6, b"x"]),
    ],
)  # fmt: skip
def test_a_number_is_compared(condition: str, fits: list[Raw]) -> None:
    rest = f"oid: {C}.9, raw_unit: 1, only_if: [{{oid: {A}, {condition}}}]"
    for raw in (4, 5, 6, b"x"):
        value = calculated("device.number", rest, {f"{C}.9": 1, A: raw, B: 5})
        wanted = raw in fits and raw != b"x"
        assert (value == 1.0) is wanted, (condition, raw)


def test_a_comparison_of_columns_is_made_in_each_row() -> None:
    profile = f"""readings:
  - {{quantity: input.current, each: {{}}, where: [{{oid: {C}, at_most: {PORT}}}], oid: {C}, raw_unit: 1 A, source: X}}
"""
    objects: dict[str, Raw] = {f"{C}.1": 5, f"{C}.2": 20, f"{PORT}.1": 16, f"{PORT}.2": 16}
    assert [instance for _, instance, _ in read(profile, objects)] == ["1"]


RUNTIME = f"""readings:
  - quantity: battery.runtime
    oid: {A}
    raw_unit: 1 min
    absent: [65535]
    absent_if: [{{raw: [0, -1], when: [{{oid: {B}, is: [3]}}, {{oid: {D}, at_least: 95}}]}}, {{raw: [7], when: [{{oid: {B}, is: [9]}}]}}]
    source: X
"""


@pytest.mark.parametrize(
    ("runtime", "source", "charge", "value"),
    [
        (0, 3, 100, None), (b"0", 3, b"97", None), (b"0.00", 3, 95, None), (-1, 3, 100, None),
        (0, 5, 100, 0.0), (0, 3, 94, 0.0), (0, 3, None, 0.0), (7, 3, 100, 420.0), (7, 9, 100, None), (65535, 5, 0, None),
    ],
)  # fmt: skip
def test_a_raw_value_is_missing_only_while_the_conditions_hold(
    runtime: Raw, source: Raw, charge: Raw | None, value: float | None
) -> None:
    objects: dict[str, Raw] = {A: runtime, B: source} | ({} if charge is None else {D: charge})
    (found,) = read(RUNTIME, objects).values()
    if value is not None:
        assert found == value
    else:
        assert isinstance(found, Missing)
        assert found.reason is Reason.ABSENT


def test_the_conditions_are_read_at_every_poll_and_named() -> None:
    box = Box(RUNTIME, {A: 0, B: 5, D: 100})
    assert list(box.read().values()) == [0.0]
    box.memory.objects[B] = 3
    (found,) = box.read().values()
    assert isinstance(found, Missing)
    assert (
        found.detail
        == f"the device answers 0, which means: not available while it answers `3` for {B} and `100` for {D}"
    )


def test_the_conditions_of_a_row_are_those_of_its_row() -> None:
    profile = f"""readings:
  - {{quantity: input.voltage, each: {{}}, oid: {C}, raw_unit: 1 V, absent_if: [{{raw: 0, when: [{{oid: {PORT}, is_not: [1]}}]}}], source: X}}
"""
    found = read(profile, {f"{C}.1": 0, f"{PORT}.1": 1, f"{C}.2": 0, f"{PORT}.2": 2, f"{C}.3": 0})
    assert found["input.voltage", "1", ""] == 0.0
    for row, shown in (("2", "2"), ("3", "")):
        value = found["input.voltage", row, ""]
        assert isinstance(value, Missing)
        assert value.detail.endswith(f"`{shown}` for {PORT}.{row}")


def test_a_condition_on_the_index_is_told_as_such() -> None:
    profile = f"""readings:
  - {{quantity: input.voltage, each: {{}}, oid: {C}, raw_unit: 1 V, only_if: [{{oid: index, at_most: 1}}], source: X}}
"""
    found = read(profile, {f"{C}.1": 230, f"{C}.2": 0})
    assert found["input.voltage", "1", ""] == 230.0
    value = found["input.voltage", "2", ""]
    assert isinstance(value, Missing)
    assert value.detail == "not valid now: the device answers `2` for the index"


def test_the_right_side_of_a_comparison() -> None:
    assert comparand("-5.5").number == -5.5
    assert comparand("1.5").ref is None
    for text, kind in (
        ("1.3.6", "snmp"),
        ("1.3.6.1:0", "snmp"),
        ("holding 4 uint16", "modbus"),
        ("battery.charge.low", "nut"),
    ):
        assert comparand(text).speaks == kind
    with pytest.raises(ValueError, match="neither a number nor an object"):
        comparand("holding 4")


# ---- units that the device gives ----

UNITS = f"""readings:
  - quantity: temperature.ambient
    each: {{}}
    oid: {C}
    unit_from: {{oid: {UNIT}, by: {{C: 0.1 °C, "°F": 0.1 °F, "": 1 °C}}}}
    source: X
"""


def test_the_device_gives_the_unit_of_its_values() -> None:
    objects: dict[str, Raw] = {f"{C}.{row}": 680 for row in range(1, 5)}
    units: dict[str, Raw] = {f"{UNIT}.1": b"C", f"{UNIT}.2": "°F".encode(), f"{UNIT}.3": b"kelvin"}
    found = read(UNITS.replace(', "": 1 °C', ""), objects | units)
    assert found["temperature.ambient", "1", ""] == 68.0
    assert found["temperature.ambient", "2", ""] == pytest.approx(20.0)
    for row in "34":
        value = found["temperature.ambient", row, ""]
        assert isinstance(value, Missing)
        assert value.reason is Reason.MALFORMED


def test_a_unit_may_be_left_out_by_the_device() -> None:
    assert read(UNITS, {f"{C}.1": 21})["temperature.ambient", "1", ""] == 21.0


def test_a_unit_that_is_switched_gives_no_wrong_value() -> None:
    objects: dict[str, Raw] = {f"{C}.1": 200, f"{UNIT}.1": b"C"}
    box = Box(UNITS, objects)
    assert list(box.read().values()) == [20.0]
    box.memory.objects |= {f"{C}.1": 680, f"{UNIT}.1": "°F".encode()}
    (value,) = box.read().values()
    assert isinstance(value, Missing), "68 °C would be a fire"
    box.clock.advance(700)
    box.read()
    assert list(box.read().values()) == [pytest.approx(20.0)]


def test_an_operand_may_have_a_unit_that_the_device_gives() -> None:
    ratio = f"ratio: [{{oid: {A}, unit_from: {{oid: {D}, by: {{W: 1 W, kW: 1 kW}}}}}}, {{oid: {B}, raw_unit: 1 W}}]"
    profile = f"readings:\n  - {{quantity: output.load, {ratio}, source: X}}\n"
    box = Box(profile, {A: 1, B: 4000, D: b"kW"})
    assert list(box.read().values()) == [25.0]
    box.memory.objects[D] = b"W"
    assert isinstance(next(iter(box.read().values())), Missing)


# ---- numbers as text ----


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("54,70", 54.7), ("106,6", 106.6), ("-0,123", -0.123), ("3,1416", 3.1416), (" 21,5 ", 21.5), ("7", 7.0),
        ("1,234", None), ("1,234.5", None), ("1,2,3", None), (",5", None), ("", None), ("nan", None), ("1e999", None),
    ],
)  # fmt: skip
def test_a_comma_may_stand_for_the_point(text: str, number: float | None) -> None:
    assert number_in(text) == number


def test_a_decimal_comma_is_read_from_any_device() -> None:
    assert calculated("battery.voltage", f"oid: {A}, raw_unit: 1 V", {A: b"54,70"}) == 54.7


def test_a_channel_of_a_teracom_in_fahrenheit() -> None:
    root = "1.3.6.1.4.1.38783.6"
    columns = {11: ("°C", "degF", "bar"), 13: (21500, 68000, 1013), 3: ("a", "b", "c")}
    answer: dict[str, Raw] = {
        f"{root}.3.1.1.1.{column}.{row}": cell.encode() if isinstance(cell, str) else cell
        for column, cells in columns.items()
        for row, cell in enumerate(cells, 1)
    }
    found = recognised(answer | {"1.3.6.1.2.1.1.2.0": root})
    assert {key: value for key, value in found.items() if key[0] == "temperature.ambient"} == {
        ("temperature.ambient", "1", "a"): 21.5,
        ("temperature.ambient", "2", "b"): pytest.approx(20.0),
    }


@pytest.mark.parametrize(("version", "newest", "volts"), [(2, 3, 54.0), (3, 3, 5.4), (2, None, 54.0), (None, 3, 5.4)])
def test_a_quirk_may_compare_two_objects(version: Raw | None, newest: Raw | None, volts: float) -> None:
    profile = f"""readings: [{{quantity: battery.voltage, oid: {A}, raw_unit: 0.1 V, source: X}}]
quirks:
  - when: {{oid: {B}, below: {D}}}
    because: old firmware sends volts
    readings: [{{quantity: battery.voltage, oid: {A}, raw_unit: 1 V, source: X}}]
"""
    given = {name: raw for name, raw in {A: 54, B: version, D: newest}.items() if raw is not None}
    assert list(read(profile, given).values()) == [volts]
