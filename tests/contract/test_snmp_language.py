"""Both engines, with SNMP v1 and v2c, give the same readings for everything that a profile can contain."""

import pytest

from tests.snmp_liar import agent, integer, oid, readings_of, swept, text, tlv
from watchkeeper.model.batch import Document
from watchkeeper.model.device import SnmpEngine, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Value

BOX = "1.3.6.1.4.1.99999"
KIND, NAME, RAW, DIGITS, THERE, UNIT, ALARMS, FINE, COARSE, SAYS, WRAPS, WRAPPED = (
    f"{BOX}.1.{n}" for n in range(1, 13)
)
LONG = "5.65.105.115.108.101.4294967295.0.16777216"  # an index of a text, and of numbers of every length
PROFILE = Document(
    "box.yml",
    f"""profile: box
vendor: V
category: env
verified: none
match: [{{sys_object_id: [{BOX}], sys_descr: "^Box"}}]
readings:
  - {{quantity: temperature.ambient, each: {{label: "{{{NAME}}}"}}, where: [{{oid: {KIND}, is: [1]}}], oid: {RAW}, raw_unit: 0.1 °C, plausible: -40 .. 85 °C, source: X}}
  - {{quantity: humidity.relative, each: {{label: "{{{NAME}}}"}}, where: [{{oid: {KIND}, is: [2]}}], oid: {RAW}, raw_unit: 1 %, absent: [255], source: X}}
  - {{quantity: input.voltage, each: {{label: "{{{NAME}}}"}}, where: [{{oid: {KIND}, is: [3]}}], oid: {RAW}, raw_unit: 1 V, scale: [{{oid: {DIGITS}, by: {{0: 1, 1: 0.1}}}}], source: X}}
  - {{quantity: input.current, each: {{}}, where: [{{oid: {KIND}, is: [4]}}], oid: {RAW}, raw_unit: 1 A, only_if: [{{oid: {THERE}, is: [1]}}], source: X}}
  - {{quantity: output.load, any_of: [{{oid: {FINE}.0, raw_unit: 0.1 %, source: X}}, {{oid: {COARSE}.0, raw_unit: 1 %, source: X}}]}}
  - {{quantity: battery.state, oid: {ALARMS}.0, bit: 9, states: {{0: ok, 1: low}}, source: X}}
  - {{quantity: battery.voltage, oid: {SAYS}.0, extract: "Vbat: ([-0-9.]+)", raw_unit: 1 V, source: X}}
  - {{quantity: battery.current, oid: {WRAPS}.0, signed: 16, raw_unit: 0.1 A, source: X}}
  - {{quantity: battery.temperature, oid: {WRAPPED}.0, raw_unit: 1 °C, source: X}}
""",
)
ROWS = {
    "1": (1, integer(215), b"Gang", 0, 1),
    "2": (1, integer(-55), "Büro Ω".encode(), 0, 1),
    "3": (1, integer(9999), "Büro".encode("latin-1"), 0, 1),
    "10": (2, integer(45, 0x42), b"rack 7\x00\n", 0, 1),
    "11": (2, integer(255, 0x42), b"", 0, 1),
    "20.1": (3, integer(2305), b"L1", 1, 1),
    "20.2": (3, integer(230), b"L2", 0, 1),
    "20.3": (3, integer(230), b"L3", 7, 1),
    LONG: (4, integer(12), b"x", 0, 1),
    "40": (4, integer(12), b"x", 0, 2),
    "50": (9, integer(1), b"x", 0, 1),
}
OBJECTS = {
    "1.3.6.1.2.1.1.1.0": text(b"Box 2.1"),
    "1.3.6.1.2.1.1.2.0": oid(BOX),
    "1.3.6.1.2.1.1.3.0": integer(100, 0x43),
    f"{COARSE}.0": text(b" 42 "),
    f"{ALARMS}.0": text(b"\x00\x40"),
    f"{SAYS}.0": text(b"Vbat: 54.8 V\r\n"),
    f"{WRAPS}.0": integer(65_524),
    f"{WRAPPED}.0": tlv(0x44, bytes.fromhex("9f780441bccccd")),
}
for row, (kind, raw, name, digits, there) in ROWS.items():
    cells = {KIND: integer(kind), RAW: raw, NAME: text(name), DIGITS: integer(digits), THERE: integer(there)}
    OBJECTS |= {f"{column}.{row}": value for column, value in cells.items()}

READINGS = {
    ("device.answering", "", ""): "yes",
    ("uptime", "", ""): 1.0,
    ("temperature.ambient", "1", "Gang"): 21.5,
    ("temperature.ambient", "2", "Büro Ω"): -5.5,
    ("temperature.ambient", "3", "B\N{REPLACEMENT CHARACTER}ro"): Reason.IMPLAUSIBLE,
    ("humidity.relative", "10", "rack 7"): 45.0,
    ("humidity.relative", "11", ""): Reason.ABSENT,
    ("input.voltage", "20.1", "L1"): 230.5,
    ("input.voltage", "20.2", "L2"): 230.0,
    ("input.voltage", "20.3", "L3"): Reason.MALFORMED,
    ("input.current", LONG, ""): 12.0,
    ("input.current", "40", ""): Reason.ABSENT,
    ("output.load", "", ""): 42.0,
    ("battery.state", "", ""): "low",
    ("battery.voltage", "", ""): 54.8,
    ("battery.current", "", ""): -1.2,
    ("battery.temperature", "", ""): 23.6,
}


@pytest.mark.parametrize("most", [1000, 3], ids=["", "small answers only"])
@pytest.mark.parametrize("version", [SnmpVersion.V1, SnmpVersion.V2C])
@pytest.mark.parametrize("engine", [SnmpEngine.GUFO, SnmpEngine.PYSNMP])
def test_both_engines_read_every_feature_of_a_profile_alike(
    engine: SnmpEngine, version: SnmpVersion, most: int
) -> None:
    first, second = swept(agent(OBJECTS, most), engine, version, 5.0, times=2, profile="auto", own=[PROFILE])
    assert second == first
    assert second.series is first.series
    found: dict[tuple[str, str, str], Value | Reason] = {
        key: value.reason if isinstance(value, Missing) else value for key, value in readings_of(first).items()
    }
    assert found == READINGS
