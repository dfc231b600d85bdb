"""Readings that are calculated from several objects, and values that depend on other objects: on devices in memory."""

import pytest

from tests.profile_box import BOX, NAME, PORT, Box, C, calculated, complaint, read
from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw, decode
from watchkeeper.profiles.flat import lay_out

A, B, D = f"{BOX}.2.1.0", f"{BOX}.2.2.0", f"{BOX}.2.3.0"


def of(*parts: str) -> str:
    """Operands in order, each with its raw unit (or more)."""
    return f"[{', '.join(f'{{oid: {name}, {more}}}' for name, more in zip((A, B, D), parts, strict=False))}]"


# ---- operations and units ----


@pytest.mark.parametrize(
    ("quantity", "rest", "raws", "value"),
    [
        ("output.load", f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 kW')}", (500, 2), 25.0),
        ("output.factor", f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 VA')}", (900, 1000), 0.9),
        ("output.current", f"ratio: {of('raw_unit: 1 VA', 'raw_unit: 0.1 V')}", (690, 2300), 3.0),
        ("output.voltage", f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 A')}", (460, 2), 230.0),
        ("battery.charge", f"ratio: {of('raw_unit: 1 Ah', 'raw_unit: 1 mAh')}", (9, 12000), 75.0),
        ("output.apparent", f"product: {of('raw_unit: 0.1 V', 'raw_unit: 0.1 A')}", (2300, 15), 345.0),
        ("dc.power", f"product: {of('raw_unit: 0.01 V', 'raw_unit: 1 A')}", (5400, -3), -162.0),
        ("output.power", f"product: {of('raw_unit: 1 %', 'raw_unit: 1 kW')}", (40, 3), 1200.0),
        ("output.power", f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 %')}", (300, 25), 1200.0),
        ("output.load", f"product: {of('raw_unit: 1 %', 'raw_unit: 0.1')}", (40, 15), 60.0),
        ("output.load", f"product: {of('raw_unit: 1 %', 'raw_unit: 1 %')}", (40, 50), 20.0),
        ("output.power", f"sum: {of('raw_unit: 1 W', 'raw_unit: 1 W', 'raw_unit: 0.1 kW')}", (100, 20, 3), 420.0),
        ("output.load", f"sum: {of('raw_unit: 1 %', 'raw_unit: 1 %')}", (40, 7), 47.0),
        ("temperature.difference", f"difference: {of('raw_unit: 1 °F', 'raw_unit: 0.1 °C')}", (212, 400), 60.0),
        ("disk.size", f"difference: {of('raw_unit: 1 KiB', 'raw_unit: 1 B', 'raw_unit: 1 B')}", (2, 8, 40), 2000.0),
    ],
)
def test_a_reading_is_calculated_in_the_unit_of_its_quantity(
    quantity: str, rest: str, raws: tuple[Raw, ...], value: float
) -> None:
    objects = dict(zip((A, B, D), raws, strict=False))
    assert calculated(quantity, rest, objects) == pytest.approx(value)


def test_a_calculation_may_be_inside_another() -> None:
    free = f"ratio: [{{difference: {of('raw_unit: 1 KiB', 'raw_unit: 1 KiB')}}}, {{oid: {A}, raw_unit: 1 KiB}}]"
    assert calculated("memory.usage", free, {A: 4000, B: 3000}) == 25.0


def test_the_operands_of_a_row_may_be_columns_another_table_and_an_object_outside() -> None:
    profile = f"""readings:
  - quantity: outlet.load
    each: {{label: "{{{NAME}}}"}}
    ratio: [{{oid: {C}, raw_unit: 0.1 A}}, {{oid: "{PORT}:1", raw_unit: 1 A}}]
    source: X
  - quantity: outlet.apparent
    each: {{label: "{{{NAME}}}"}}
    product: [{{oid: {A}, raw_unit: 1 V}}, {{oid: {C}, raw_unit: 0.1 A}}]
    source: X
"""
    rows: dict[str, Raw] = {f"{C}.1.1": 20, f"{C}.1.2": 40, f"{C}.2.1": 30, f"{PORT}.1": 16, f"{PORT}.2": 10, A: 230}
    assert read(profile, rows) == {
        ("outlet.load", "1.1", ""): 12.5,
        ("outlet.load", "1.2", ""): 25.0,
        ("outlet.load", "2.1", ""): 30.0,
        ("outlet.apparent", "1.1", ""): 460.0,
        ("outlet.apparent", "1.2", ""): 920.0,
        ("outlet.apparent", "2.1", ""): 690.0,
    }


def test_the_source_of_a_calculation_names_all_its_objects() -> None:
    nested = f"ratio: [{{difference: {of('raw_unit: 1 B', 'raw_unit: 1 B')}}}, {{oid: {D}, raw_unit: 1 B}}]"
    box = Box(f"readings:\n  - {{quantity: memory.usage, {nested}, source: X}}\n", {A: 9, B: 4, D: 10})
    box.read()
    series = box.probe._held["box"].plan.series
    assert f"({A} - {B}) / {D}" in [one.source for one in series]
    assert box.probe._held["box"].plan.layout.steps[-1].oid == A


def test_percentages_inside_another_calculation_stay_percentages() -> None:
    power = f"product: [{{sum: {of('raw_unit: 1 %', 'raw_unit: 1 %')}}}, {{oid: {D}, raw_unit: 1 kW}}]"
    assert calculated("output.power", power, {A: 20, B: 30, D: 1}) == 500.0


# ---- what is missing of it ----


def test_without_one_of_its_objects_there_is_no_reading() -> None:
    ratio = f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}"
    assert calculated("output.load", ratio, {A: 5}) is None
    assert calculated("output.load", ratio, {B: 5}) is None


def test_an_object_that_vanishes_is_named() -> None:
    box = Box(
        f"readings:\n  - {{quantity: output.load, ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}, source: X}}\n",
        {A: 5, B: 20},
    )
    assert list(box.read().values()) == [25.0]
    del box.memory.objects[B]
    (value,) = box.read().values()
    assert isinstance(value, Missing)
    assert value.reason is Reason.ABSENT
    assert B in value.detail


@pytest.mark.parametrize("zero", [0, b"0", b"0.0"])
def test_nothing_is_divided_by_zero(zero: Raw) -> None:
    value = calculated("output.load", f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}", {A: 5, B: zero})
    assert isinstance(value, Missing)
    assert value.reason is Reason.MALFORMED
    assert B in value.detail


def test_a_marker_and_a_limit_of_one_operand_count() -> None:
    ratio = f"ratio: {of('raw_unit: 1 W, absent: [65535]', 'raw_unit: 1 W, plausible: 10 .. 1000 W')}"
    for objects, culprit in (({A: 65535, B: 100}, A), ({A: 5, B: 5}, B), ({A: b"n/a", B: 100}, A)):
        value = calculated("output.load", ratio, objects)
        assert isinstance(value, Missing)
        assert culprit in value.detail, value


def test_the_result_has_limits_of_its_own_and_the_first_way_that_gives_a_value_is_used() -> None:
    ratio = f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}, plausible: 0 .. 100 %, source: X"
    rest = f"any_of: [{{{ratio}}}, {{oid: {D}, raw_unit: 1 %, source: X}}]"
    profile = f"readings:\n  - {{quantity: output.load, {rest}}}\n"
    for objects, expected in (
        ({A: 5, B: 10, D: 7}, 50.0),
        ({A: 50, B: 10, D: 7}, 7.0),
        ({A: 5, B: 0, D: 7}, 7.0),
        ({D: 7}, 7.0),
    ):
        assert list(read(profile, objects).values()) == [expected]


def test_the_reason_names_what_is_wrong_once() -> None:
    rest = f"ratio: [{{difference: {of('raw_unit: 1 W, absent: [9]', 'raw_unit: 1 W')}}}, {{oid: {D}, raw_unit: 1 W}}], plausible: 0 .. 100 %"
    value = calculated("output.load", rest, {A: 9, B: 1, D: 10})
    assert isinstance(value, Missing)
    assert value.detail == f"the device answers 9, which means: not available ({A})"
    assert calculated("output.load", rest, {A: 16, B: 1, D: 10}) == Missing(
        Reason.IMPLAUSIBLE, "150 % is outside 0 .. 100 %"
    )


def test_a_calculation_inside_another_has_limits_of_its_own() -> None:
    inner = f"difference: {of('raw_unit: 1 W', 'raw_unit: 1 W')}, plausible: 0 .. 10 W"
    rest = f"ratio: [{{{inner}}}, {{oid: {D}, raw_unit: 1 W}}]"
    assert calculated("output.load", rest, {A: 10, B: 5, D: 10}) == 50.0
    assert calculated("output.load", rest, {A: 20, B: 5, D: 10}) == Missing(Reason.IMPLAUSIBLE, "15 is outside 0 .. 10")


@pytest.mark.parametrize(("operation", "huge"), [("sum", b"1e308"), ("product", b"1e200")])
def test_a_result_without_end_is_missing(operation: str, huge: bytes) -> None:
    value = calculated(
        "output.power",
        f"{operation}: {of('raw_unit: 1 W', 'raw_unit: 1 W' if operation == 'sum' else 'raw_unit: 1')}",
        {A: huge, B: huge},
    )
    assert value == Missing(Reason.MALFORMED, "`inf` is not a number")


def test_a_calculation_is_missing_while_its_condition_does_not_hold() -> None:
    rest = f"ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}, only_if: [{{oid: {D}, is: [1]}}]"
    assert calculated("output.load", rest, {A: 5, B: 10, D: 1}) == 50.0
    assert isinstance(calculated("output.load", rest, {A: 5, B: 10, D: 2}), Missing)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (0, 0.0),
        (1, 1.0),
        (-(2**31), 2.0**31),
        (-(2**31) - 1, -(2.0**31) - 1),
        (-1, 4294967295.0),
        (-1700000000, 2594967296.0),
        (7, 7.0),
        (b"-1", 4294967295.0),
    ],
)
def test_a_negative_number_is_read_as_unsigned(raw: Raw, value: float) -> None:
    assert calculated("device.number", f"oid: {A}, raw_unit: 1, unsigned: 32", {A: raw}) == value


def test_an_operand_is_read_as_unsigned_and_with_its_scale() -> None:
    ratio = f"ratio: {of('raw_unit: 1, unsigned: 32', 'raw_unit: 1, unsigned: 32')}"
    assert calculated("disk.usage", ratio, {A: -1700000000, B: -1610629377}) == pytest.approx(96.67, abs=0.01)
    scaled = f"ratio: {of(f'raw_unit: 1 W, scale: [{{oid: {D}, by: {{1: 1, 2: 10}}}}]', 'raw_unit: 1 W')}"
    assert calculated("output.load", scaled, {A: 5, B: 100, D: 2}) == 50.0
    assert isinstance(calculated("output.load", scaled, {A: 5, B: 100, D: 9}), Missing)


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        (f"quantity: output.load, ratio: {of('raw_unit: 1 V', 'raw_unit: 1 A')}", "cannot become %"),
        (f"quantity: output.power, sum: {of('raw_unit: 1 W', 'raw_unit: 1 VA')}", "cannot become W"),
        (f"quantity: temperature.ambient, sum: {of('raw_unit: 1 °C', 'raw_unit: 1 °C')}", "cannot become °C"),
        (f"quantity: output.factor, ratio: {of('raw_unit: 1 °C', 'raw_unit: 1 °C')}", "cannot become a plain number"),
        (f"quantity: output.load, ratio: {of('raw_unit: 1 W')}", "needs two operands"),
        (f"quantity: output.load, ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W', 'raw_unit: 1')}", "needs two operands"),
        (f"quantity: output.load, oid: {A}, ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}", "needs `oid`"),
        (f"quantity: output.load, raw_unit: 1 %, ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}", "belong to its operands"),
        (f"quantity: output.load, ratio: {of('raw_unit: 1 W', 'absent: [0]')}", "an operand needs `raw_unit`"),
        (f"quantity: output.load, sum: {of('raw_unit: 1 %', 'raw_unit: 1 %')}, product: {of('raw_unit: 1 %', 'raw_unit: 1 %')}", "only one of"),
        (f"quantity: output.load, ratio: {of('raw_unit: 1 W, plausible: 0 .. 5 V', 'raw_unit: 1 W')}", "must be in W"),
        (f"quantity: battery.state, ratio: {of('raw_unit: 1', 'raw_unit: 1')}, states: {{1: ok}}", "cannot be calculated"),
        (f"quantity: output.load, each: {{}}, ratio: {of('raw_unit: 1 W', 'raw_unit: 1 W')}", "needs a column"),
        (f"quantity: output.load, ratio: [{{oid: {A}, raw_unit: 1 W}}, {{variable: ups.power, raw_unit: 1 W}}]", "needs `oid`"),
        (f"quantity: output.load, oid: {A}, raw_unit: 1 %, signed: 8, unsigned: 8", "cannot be used beside `signed`"),
        (f"quantity: output.load, oid: {A}, raw_unit: 1 %, absent_if: [{{raw: [0], when: []}}]", "at least one condition"),
        (f"quantity: output.load, oid: {A}, raw_unit: 1 %, only_if: [{{oid: {A}, above: x y}}]", "neither a number nor an object"),
        (f"quantity: output.load, oid: {A}, raw_unit: 1 %, only_if: [{{oid: {A}, above: ups.load}}]", "is not read by snmp"),
        (f"quantity: output.load, oid: {A}, raw_unit: 1 %, unit_from: {{oid: {B}, by: {{V: 1 V}}}}", "beside `raw_unit`"),
        (f"quantity: output.load, oid: {A}, unit_from: {{oid: {B}, by: {{V: 1 V}}}}", "cannot become %"),
        (f"quantity: output.load, oid: {A}, unit_from: {{oid: {B}, by: {{V: 1 V, P: 1 %}}}}", "units of one quantity"),
    ],
)  # fmt: skip
def test_a_calculation_that_means_nothing_is_refused_with_its_place(rest: str, problem: str) -> None:
    found = complaint(f"readings:\n  - {{{rest}, source: X}}\n")
    assert "box.yml:7:" in found
    assert problem in found


def test_an_snmp_profile_cannot_look_at_a_variable() -> None:
    reading = f"quantity: output.load, oid: {A}, raw_unit: 1 %, only_if: [{{variable: ups.load, above: 1}}], source: X"
    assert "a profile for snmp cannot read by nut" in complaint(f"readings:\n  - {{{reading}}}\n")


# ---- the other speakers ----


def flat(speaks: str, readings: str, answer: dict[str, Raw]) -> list[Value]:
    """The values of a device without tables."""
    text = f"profile: box\nvendor: V\ncategory: ups\nverified: none\nspeaks: {speaks}\nreadings:\n  - {readings}\n"
    profile = load_profiles([Document("box.yml", text)]).get("box")
    assert profile is not None
    return decode(lay_out("box", profile, answer, speaks).steps, answer)


def test_nut_variables_are_calculated_with_and_compared() -> None:
    load = "{quantity: output.load, ratio: [{variable: ups.power, raw_unit: 1 VA}, {variable: ups.power.nominal, raw_unit: 1 VA}], source: X}"
    assert flat("nut", load, {"ups.power": "150", "ups.power.nominal": "600"}) == [25.0]
    runtime = (
        "{quantity: battery.runtime, variable: battery.runtime, raw_unit: 1 s, source: X,"
        " absent_if: [{raw: [0], when: [{variable: ups.status, matches: OL}, {variable: battery.charge, above: battery.charge.low}]}]}"
    )
    answer: dict[str, Raw] = {
        "battery.runtime": "0.0",
        "ups.status": "OL",
        "battery.charge": "100",
        "battery.charge.low": "30",
    }
    (value,) = flat("nut", runtime, answer)
    assert isinstance(value, Missing)
    assert flat("nut", runtime, answer | {"ups.status": "OB DISCHRG"}) == [0.0]
    assert flat("nut", runtime, answer | {"battery.charge": "20"}) == [0.0]
    assert flat("nut", runtime, answer | {"battery.runtime": "60"}) == [60.0]


def test_registers_are_calculated_with_and_compared() -> None:
    power = (
        "{quantity: output.power, product: [{register: holding 1 uint16, raw_unit: 0.1 V}, {register: input 7 int16, raw_unit: 1 A}],"
        " only_if: [{register: coil 3, above: discrete 4}], source: X}"
    )
    answer: dict[str, Raw] = {"holding 1 uint16": 2300, "input 7 int16": 3, "coil 3": 1, "discrete 4": 0}
    assert flat("modbus", power, answer) == [690.0]
    assert isinstance(flat("modbus", power, answer | {"discrete 4": 1})[0], Missing)
    profile = load_profiles(
        [
            Document(
                "box.yml",
                f"profile: box\nvendor: V\ncategory: ups\nverified: none\nspeaks: modbus\nreadings:\n  - {power}\n",
            )
        ]
    ).get("box")
    assert profile is not None
    names = {one.name for reading in profile.readings for one in reading.registers}
    assert names == set(answer), "all of them are asked for"
