"""Decoding of raw values: units, states, markers, limits, and everything a device may answer instead of a number."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.profiles.decode import Raw, decode, decode_step
from watchkeeper.profiles.scalars import Marker, Oid, between, raw_unit
from watchkeeper.profiles.shape import Way

OID = Oid("1.3.6.1.4.1.99999.1.0")
VOLTS = Way(
    oid=OID,
    source="x",
    raw_unit=raw_unit("0.1 V"),
    plausible=between("-300 .. 300 V"),
    absent=(Marker("65535"), Marker("n/a")),
)
STATE = Way(oid=OID, source="x", states={"2": "ok", "3": "low", "on": "depleted"})


def one(way: Way, raw: Raw | None) -> Value:
    answer = {} if raw is None else {OID: raw}
    (value,) = decode([decode_step(way, OID)], answer)
    return value


@pytest.mark.parametrize(
    ("raw", "value"), [(233, 23.3), (-3, -0.3), (0, 0.0), (b"233", 23.3), (b" 23.5 ", 2.35), ("7", 0.7), (2.5, 0.25)]
)
def test_numbers_and_numbers_as_text(raw: Raw, value: float) -> None:
    assert one(VOLTS, raw) == pytest.approx(value, abs=0)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, Reason.ABSENT),
        (65535, Reason.ABSENT),
        (b"65535", Reason.ABSENT),
        (b"N/A", Reason.MALFORMED),
        (b"n/a", Reason.ABSENT),
        (b"", Reason.MALFORMED),
        (b"\xff\x00\x01", Reason.MALFORMED),
        ("1.3.6.1", Reason.MALFORMED),
        (b"nan", Reason.MALFORMED),
        (b"1e999", Reason.MALFORMED),
        (4294967295, Reason.IMPLAUSIBLE),
        (-4000, Reason.IMPLAUSIBLE),
        (b"9999", Reason.IMPLAUSIBLE),
    ],
)
def test_a_value_that_is_no_valid_number_is_missing_with_the_reason(raw: Raw | None, reason: Reason) -> None:
    value = one(VOLTS, raw)
    assert isinstance(value, Missing)
    assert value.reason is reason


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("9f7804425b3333", 5.48),  # the 32-bit float nearest to 54.8
        ("9f7804c1480000", -1.25),
        ("9f7908404b666666666666", 5.48),
        ("9f7804ff800000", Reason.MALFORMED),  # minus infinity
        ("9f79087ff8000000000000", Reason.MALFORMED),  # not a number
        ("9f7804461c4000", Reason.IMPLAUSIBLE),
        ("9f7804425b33", Reason.MALFORMED),  # cut short
        ("9f7804425b333300", Reason.MALFORMED),
        ("9f790844090000", Reason.MALFORMED),
    ],
)
def test_a_float_in_an_opaque_is_a_number(raw: str, value: float | Reason) -> None:
    found = one(VOLTS, bytes.fromhex(raw))
    assert (found.reason if isinstance(found, Missing) else pytest.approx(found)) == value


def test_the_detail_names_value_unit_and_limits() -> None:
    assert one(VOLTS, 9999) == Missing(Reason.IMPLAUSIBLE, "999.9 V is outside -300 .. 300 V")


@pytest.mark.parametrize("as_text", [False, True], ids=["integer", "text"])  # text is decoded on the slow path
@pytest.mark.parametrize(
    ("raw", "value"), [(3000, 300.0), (3001, Reason.IMPLAUSIBLE), (-3000, -300.0), (-3001, Reason.IMPLAUSIBLE)]
)
def test_both_ends_of_plausible_are_taken_and_one_step_beyond_is_not(
    raw: int, value: float | Reason, *, as_text: bool
) -> None:
    found = one(VOLTS, str(raw).encode() if as_text else raw)
    assert (found.reason if isinstance(found, Missing) else found) == value


@pytest.mark.parametrize(
    ("bits", "raw", "value"),
    [
        (8, 0, 0.0),
        (8, 0x7F, 127.0),
        (8, 0x80, -128.0),
        (8, 0xFF, -1.0),
        (8, 0x100, 256.0),  # more than 8 bits: not two's complement of 8 bits, so taken as it is
        (8, -5, -5.0),  # already signed
        (16, 0x7FFF, 32_767.0),
        (16, 0x8000, -32_768.0),
        (16, 0xFFFF, -1.0),
        (16, 0x10000, 65_536.0),
        (32, 0x8000_0000, -2_147_483_648.0),
        (64, 0x8000_0000_0000_0000, -9_223_372_036_854_775_808.0),
    ],
)
def test_signed_reads_two_s_complement_from_the_highest_bit_on(bits: int, raw: int, value: float) -> None:
    way = Way(oid=OID, source="x", raw_unit=raw_unit("1 V"), signed=bits)
    assert one(way, raw) == value
    assert one(way, str(raw).encode()) == value


@pytest.mark.parametrize(("raw", "state"), [(2, "ok"), (b"2", "ok"), (3, "low"), (b"on", "depleted"), (9, "unknown")])
def test_a_raw_value_that_is_not_listed_is_unknown(raw: Raw, state: str) -> None:
    assert one(STATE, raw) == state


@pytest.mark.parametrize("otherwise", ["low", "ok", "depleted"])
def test_a_raw_value_that_is_not_listed_is_otherwise_if_the_profile_says_so(otherwise: str) -> None:
    way = replace(STATE, otherwise=otherwise)
    assert one(way, 9) == otherwise
    assert one(way, b"strange") == otherwise
    assert one(way, 2) == "ok"


def test_a_state_that_the_device_does_not_answer_is_missing() -> None:
    assert isinstance(one(STATE, None), Missing)


@given(st.one_of(st.integers(), st.floats(), st.binary(max_size=40), st.text(max_size=40)))
def test_any_answer_becomes_a_plausible_number_or_missing(raw: Raw) -> None:
    value = one(VOLTS, raw)
    assert isinstance(value, Missing) or (isinstance(value, float) and -300 <= value <= 300)
    assert one(STATE, raw) in ("ok", "low", "depleted", "unknown")
