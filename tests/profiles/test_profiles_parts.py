"""What a profile says of a raw value: its unit and scale, a bit or a part of it, its sign, and when it counts at all."""

import re
from fractions import Fraction
from typing import Any

import pytest

from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.profiles.condition import Where
from watchkeeper.profiles.decode import Raw, decode, decode_step
from watchkeeper.profiles.scalars import Marker, Oid, Pattern, Ref, between, raw_unit
from watchkeeper.profiles.shape import Way

OID, OTHER = Oid("1.3.6.1.4.1.99999.1.0"), Oid("1.3.6.1.4.1.99999.2")


def read(raw: Raw | None, factor: Fraction = Fraction(1), beside: Raw | None = None, **way: Any) -> Value:
    """One value by a way to read it; `beside` is what the device answers for OTHER."""
    if "states" not in way:
        way = {"raw_unit": raw_unit("1 V")} | way
    answer = {oid: value for oid, value in {OID: raw, OTHER: beside}.items() if value is not None}
    (value,) = decode([decode_step(Way(oid=OID, source="x", **way), OID, "", factor)], answer)
    return value


def why(value: Value) -> tuple[Reason, str]:
    assert isinstance(value, Missing)
    return value.reason, value.detail


# ---- units, scales, plausible ----


@pytest.mark.parametrize(
    ("unit", "raw", "value"),
    [
        ("0.1 V", 5, 0.5),
        ("2 V", 5, 10.0),
        ("1 °F", 212, 100.0),
        ("1 °F", b"212", 100.0),
        ("1 °F", 32, 0.0),
        ("1 K", 300, 26.85),
    ],
)
def test_a_unit_is_converted_with_its_zero(unit: str, raw: Raw, value: float) -> None:
    assert read(raw, raw_unit=raw_unit(unit)) == pytest.approx(value)


@pytest.mark.parametrize("raw", [40, b"40"])
def test_a_scale_of_the_device_multiplies_the_unit(raw: Raw) -> None:
    assert read(raw, Fraction(1, 10), raw_unit=raw_unit("2 V")) == 8.0
    assert read(raw, Fraction(10), raw_unit=raw_unit("2 V")) == 800.0


def test_a_scale_that_the_profile_does_not_know_gives_no_number() -> None:
    reason, detail = why(read(40, Fraction(0)))
    assert reason is Reason.MALFORMED
    assert re.fullmatch(r"the device .*\bscale\b.*", detail)


@pytest.mark.parametrize("raw", [-300, 300, b"-300", b"300"])
def test_both_ends_of_what_is_plausible_are_plausible(raw: Raw) -> None:
    assert read(raw, plausible=between("-300 .. 300 V")) == float(raw)


@pytest.mark.parametrize("raw", [-301, 301, b"-301", b"301"])
def test_what_lies_beyond_is_missing_with_the_limits(raw: Raw) -> None:
    text = raw.decode() if isinstance(raw, bytes) else str(raw)
    assert why(read(raw, plausible=between("-300 .. 300 V"))) == (
        Reason.IMPLAUSIBLE, f"{text} V is outside -300 .. 300 V",
    )  # fmt: skip


def test_a_plain_number_has_no_unit_in_its_limits() -> None:
    assert why(read(11, raw_unit=raw_unit("1"), plausible=between("0 .. 10")))[1] == "11 is outside 0 .. 10"


def test_a_number_beyond_every_float_is_none() -> None:
    assert why(read(10**400, signed=8))[0] is Reason.MALFORMED


def test_without_limits_every_number_is_plausible() -> None:
    assert [read(raw) for raw in (-(10**18), 10**18)] == [-1e18, 1e18]


# ---- states ----


def test_a_state_that_is_not_listed_is_what_the_profile_says_otherwise() -> None:
    states = {"1": "mains", "2": "battery"}
    assert [read(raw, states=states, otherwise="bypass") for raw in (1, 2, 3)] == ["mains", "battery", "bypass"]
    assert read(3, states=states) == "unknown"


# ---- bits and signs ----


@pytest.mark.parametrize(
    ("bit", "raw", "value"),
    [
        (0, 1, 1), (0, 2, 0), (1, 2, 1), (3, 0b1000, 1), (3, 0b0111, 0), (0, 3, 1), (4, "16", 1),
        # BITS: the first is the highest of the first byte (RFC 2578, 7.1.4)
        (0, b"\x80", 1), (0, b"\x7f", 0), (7, b"\x01", 1), (7, b"\xfe", 0), (8, b"\x00\x80", 1), (9, b"\x00\x40", 1),
        (9, b"\x00\xbf", 0), (15, b"\x00\x01", 1),
        (8, b"\xff", 0),  # a device may leave out trailing bytes
        (0, b"", 0),
    ],
)  # fmt: skip
def test_a_bit_of_a_number_or_of_bits(bit: int, raw: Raw, value: int) -> None:
    assert read(raw, bit=bit) == value
    assert read(raw, bit=bit, states={"0": "mains", "1": "battery"}) == ("mains", "battery")[value]


def test_a_bit_of_what_is_no_number_is_missing() -> None:
    assert why(read("on", bit=0)) == (Reason.MALFORMED, "`on` does not have the part that is the value")
    assert why(read(float("inf"), bit=0))[0] is Reason.MALFORMED


@pytest.mark.parametrize(
    ("signed", "raw", "value"),
    [
        (8, 0x7F, 127), (8, 0x80, -128), (8, 0xFF, -1), (8, 0, 0), (8, 0x100, 256), (8, 86, 86), (8, b"128", -128),
        (16, 0x7FFF, 32767), (16, 0x8000, -32768), (16, 0xFFFF, -1), (32, 0xFFFF_FFFE, -2), (8, -5, -5),
    ],
)  # fmt: skip
def test_so_many_bits_as_a_number_with_a_sign(signed: int, raw: Raw, value: float) -> None:
    assert read(raw, signed=signed) == value


def test_a_sign_of_what_is_no_number_is_missing() -> None:
    assert why(read("minus one", signed=8))[0] is Reason.MALFORMED
    assert why(read(float("inf"), signed=8))[0] is Reason.MALFORMED


# ---- a part of a text ----

PART = Pattern(re.compile(r"Temp: (-?\d+)|none"))


def test_a_part_of_a_text_is_the_value() -> None:
    assert read(b"Temp: -12 C, 80 %", extract=PART) == -12.0
    assert read("Temp: 130", extract=PART, signed=8) == -126.0
    assert read("Temp: 4", extract=PART, bit=2) == 1.0


@pytest.mark.parametrize("raw", [b"Humidity: 80 %", b"none"])
def test_a_text_without_the_part_is_missing(raw: Raw) -> None:
    text = raw.decode() if isinstance(raw, bytes) else raw
    assert why(read(raw, extract=PART)) == (
        Reason.MALFORMED, f"`{text}` does not have the part that is the value",
    )  # fmt: skip


def test_a_marker_may_stand_for_the_part_or_the_whole() -> None:
    for marker in ("-99", "Temp: -99"):
        value = read(b"Temp: -99", extract=PART, absent=(Marker(marker),))
        assert why(value) == (Reason.ABSENT, "the device answers Temp: -99, which means: not available")


def test_a_marker_among_plain_whole_numbers_is_not_available() -> None:
    assert why(read(-1, absent=(Marker("-1"),)))[0] is Reason.ABSENT
    assert read(1, absent=(Marker("-1"),)) == 1.0


# ---- conditions ----

OFF = {"only_if": (Where(oid=Ref(OTHER), is_not=(Marker("off"),)),)}
ON = {"only_if": (Where(oid=Ref(OTHER), is_=(Marker("1"),)),)}


def test_a_value_counts_while_its_condition_holds() -> None:
    assert read(230, beside=1, **ON) == 230.0
    assert read(230, beside=b"1", **ON) == 230.0
    assert read(230, beside=b"running", **OFF) == 230.0
    assert read(230, **OFF) == 230.0, "what is not there is not `off` either"


def test_a_value_whose_condition_does_not_hold_is_absent_and_says_why() -> None:
    detail = "not valid now: the device answers {} for " + OTHER
    assert why(read(230, beside=2, **ON)) == (Reason.ABSENT, detail.format("`2`"))
    assert why(read(230, **ON)) == (Reason.ABSENT, detail.format("nothing"))
    assert why(read(230, beside=b"off", **OFF)) == (Reason.ABSENT, detail.format("`off`"))


def test_the_condition_of_a_row_is_asked_of_that_row() -> None:
    way = Way(oid=OID, source="x", raw_unit=raw_unit("1 V"), **ON)  # type: ignore[arg-type]
    answer: dict[str, Raw] = {OID: 230, f"{OTHER}.7": 1, f"{OTHER}.8": 2}
    values = decode([decode_step(way, OID, "7"), decode_step(way, OID, "8")], answer)
    assert values[0] == 230.0
    assert why(values[1])[0] is Reason.ABSENT
    assert decode([decode_step(way, OID)], {OID: 230, OTHER: 1}) == [230.0], "outside a table there is no row"


# ---- many, and what is told of them ----


def test_one_bad_value_costs_only_itself() -> None:
    way = Way(oid=OID, source="x", raw_unit=raw_unit("1 V"), plausible=between("0 .. 10 V"))
    steps = [decode_step(way, Oid(f"1.3.{row}")) for row in range(5)]
    values = decode(steps, {"1.3.0": 1, "1.3.1": 11, "1.3.3": b"x", "1.3.4": 4})
    assert [value if isinstance(value, float) else why(value)[0] for value in values] == [
        1.0, Reason.IMPLAUSIBLE, Reason.ABSENT, Reason.MALFORMED, 4.0,
    ]  # fmt: skip


def test_what_a_device_does_not_answer_for_is_said_so() -> None:
    reason, detail = why(read(None))
    assert reason is Reason.ABSENT
    assert re.fullmatch(r"the device .*answer.*", detail)


def test_what_is_no_number_is_shown_cut_and_without_control_characters() -> None:
    assert why(read(b"warm\x00\x1b[2J")) == (Reason.MALFORMED, "`warm  [2J` is not a number")
    assert why(read(b"x" * 100)) == (Reason.MALFORMED, f"`{'x' * 40}` is not a number")
    assert why(read("21 °C")) == (Reason.MALFORMED, "`21 °C` is not a number")


def test_of_a_very_long_text_only_the_beginning_counts() -> None:
    assert read(b"x" * 900 + b"Temp: 5", extract=PART) == 5.0
    assert why(read(b"x" * 5000 + b"Temp: 5", extract=PART))[0] is Reason.MALFORMED
    assert why(read("x" * 5000 + "Temp: 5", extract=PART))[0] is Reason.MALFORMED
