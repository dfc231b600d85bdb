"""States and values of shipped profiles for UPSes, PDUs, transfer switches and DC plants, read beside the object that says whether
they mean anything: how many phases, which type, is it enabled, what is normal. Each case is one small device, made from a MIB."""

from collections.abc import Iterator, Mapping

import pytest

from tests.shipped_box import PROFILES, ShippedBox, shown
from watchkeeper.model.device import Category
from watchkeeper.profiles.decode import Raw
from watchkeeper.profiles.shape import ProfileReading, Way

MISSING, NOT_READ = "missing", "not read"

Case = tuple[str, str, Mapping[str, Raw], Mapping[tuple[str, str], float | str]]

UPS, LGP, APC, MGE, EPPC = (
    "1.3.6.1.2.1.33.1",
    "1.3.6.1.4.1.476.1.42.3.5.2",
    "1.3.6.1.4.1.318.1.1",
    "1.3.6.1.4.1.705.1",
    "1.3.6.1.4.1.935.10.1.1",
)
EPDU, MAPDU, PDU3, PANDUIT = (
    "1.3.6.1.4.1.534.6.6.7.3",
    "1.3.6.1.4.1.232.165.7.2",
    "1.3.6.1.4.1.232.165.11.2",
    "1.3.6.1.4.1.19536.10",
)
HPE, MTS, ATS2, STANDBY = (
    "1.3.6.1.4.1.232.165.3",
    "1.3.6.1.4.1.5491.12",
    "1.3.6.1.4.1.534.10.2",
    "1.3.6.1.4.1.32050.2.2",
)
EAGLE, ORION, SC200, RPDU = (
    "1.3.6.1.4.1.3711.24.1.1",
    "1.3.6.1.4.1.20246.2.3.1.1.1.2",
    "1.3.6.1.4.1.1918.2.13.10",
    "1.3.6.1.4.1.476.1.42.3.8.20.1",
)
ICT, ALGCOM, SAMLEX, ENEXUS = (
    "1.3.6.1.4.1.39145",
    "1.3.6.1.4.1.49136.200.1",
    "1.3.6.1.4.1.49075.1.3",
    "1.3.6.1.4.1.12148.10",
)
WEBPOWER, SMU, DCS, TSI = (
    "1.3.6.1.4.1.12148.9",
    "1.3.6.1.4.1.2011.6.164.1.8.2",
    "1.3.6.1.4.1.13400.3.4.491.1.1",
    "1.3.6.1.4.1.12551.4.1",
)

BATTERY_BAD, FAN_FAILED = f"{UPS}.6.3.1", f"{UPS}.6.3.16"


def battery(status: int, charge: int, source: int, minutes: int) -> dict[str, Raw]:
    """UPS-MIB's battery: batteryNormal(2), batteryLow(3); a load on normal(3) or battery(5)."""
    return {"2.1.0": status, "2.3.0": minutes, "2.4.0": charge, "4.1.0": source}


def lines(count: int | None) -> dict[str, Raw]:
    rows: dict[str, Raw] = {
        "3.3.1.3.1": 230,
        "3.3.1.3.2": 0,
        "3.3.1.3.3": 0,
        "4.4.1.2.1": 230,
        "4.4.1.2.2": 0,
        "5.3.1.2.1": 230,
        "5.3.1.2.2": 0,
    }
    return rows if count is None else rows | {"3.2.0": count, "4.3.0": count, "5.2.0": count}


ONE_LINE = {
    ("input.voltage", "1"): 230.0,
    ("input.voltage", "2"): NOT_READ,
    ("output.voltage", "2"): NOT_READ,
    ("bypass.voltage", "2"): NOT_READ,
}
RUNTIME, CHARGE, LOAD = ("battery.runtime", ""), ("battery.charge", ""), ("output.load", "1")

UPSES: tuple[Case, ...] = (
    ("ups-mib", UPS, lines(1), ONE_LINE),
    ("ups-mib", UPS, lines(2), {("input.voltage", "2"): 0.0, ("input.voltage", "3"): NOT_READ, ("output.voltage", "2"): 0.0}),
    ("ups-mib", UPS, lines(None), {("input.voltage", "3"): 0.0}),
    ("ups-mib", UPS, battery(2, 100, 3, 0), {RUNTIME: MISSING, CHARGE: 100.0}),
    ("ups-mib", UPS, battery(1, 100, 3, 0), {RUNTIME: MISSING}),
    ("ups-mib", UPS, battery(3, 8, 5, 0), {RUNTIME: 0.0}),
    ("ups-mib", UPS, battery(2, 100, 5, 0), {RUNTIME: 0.0}),
    ("ups-mib", UPS, battery(3, 4, 3, 0), {RUNTIME: 0.0}),
    ("ups-mib", UPS, battery(2, 100, 3, 31), {RUNTIME: 1860.0}),
    ("ups-mib", UPS, battery(2, 0, 3, 31), {CHARGE: MISSING}),
    ("ups-mib", UPS, battery(3, 0, 5, 1), {CHARGE: 0.0}),
    ("ups-mib", UPS, {"2.7.0": 0}, {("battery.temperature", ""): MISSING}),
    ("ups-mib", UPS, {"2.7.0": 24}, {("battery.temperature", ""): 24.0}),
    ("ups-mib", UPS, {"4.3.0": 1, "4.4.1.4.1": 900, "9.6.0": 2000}, {LOAD: 45.0}),
    ("ups-mib", UPS, {"4.3.0": 1, "4.4.1.4.1": 900, "4.4.1.5.1": 50, "9.6.0": 2000}, {LOAD: 50.0}),
    ("ups-mib", UPS, {"4.3.0": 1, "4.4.1.4.1": 900, "9.6.0": 0}, {LOAD: MISSING}),
    ("ups-mib", UPS, {"4.3.0": 1, "4.4.1.4.1": 900}, {LOAD: NOT_READ}),
    ("ups-mib", UPS, {"4.3.0": 3, "4.4.1.4.1": 900, "9.6.0": 9000}, {LOAD: MISSING}),
    ("ups-mib", UPS, {"6.2.1.2.7": BATTERY_BAD, "6.2.1.2.9": FAN_FAILED},
     {("device.alarm", "battery bad 7"): "warning", ("device.alarm", "fan failed 9"): "critical", ("device.alarm", "fan failed 7"): NOT_READ}),
    ("liebert-ups", LGP, {"2.1.3.1": 1, "3.1.3.1.1": f"{LGP}.1.5", "3.1.5.1.1": 230, "3.1.3.1.2": f"{LGP}.1.5", "3.1.5.1.2": 0},
     {("output.voltage", "line 1.1"): 230.0, ("output.voltage", "line 1.2"): NOT_READ}),
    ("mge-ups", MGE, {"5.1.0": 0, "5.2.0": 100, "7.3.0": 2}, {RUNTIME: MISSING}),
    ("mge-ups", MGE, {"5.1.0": 0, "5.2.0": 20, "7.3.0": 1}, {RUNTIME: 0.0}),
    ("mge-ups", MGE, {"7.3.0": 1, "7.4.0": 2}, {("output.source", ""): "battery"}),
    ("mge-ups", MGE, {"7.3.0": 2, "7.4.0": 1}, {("output.source", ""): "bypass"}),
    ("mge-ups", MGE, {"7.3.0": 2, "7.4.0": 2}, {("output.source", ""): "mains"}),
    ("mge-ups", MGE, {"7.1.0": 1, "7.2.1.2.1": 2300, "7.2.1.2.2": 0}, {("output.voltage", "1"): 230.0, ("output.voltage", "2"): NOT_READ}),
    ("powerwalker", EPPC, {"2.15.0": 1, "2.16.1.3.1": 2300, "2.16.1.3.2": 0}, {("input.voltage", "1"): 230.0, ("input.voltage", "2"): NOT_READ}),
    ("powerwalker", EPPC, {"3.8.0": 0}, {("battery.temperature", ""): MISSING}),
    ("powerwalker", EPPC, {"6.4.1.2.1": 3, "6.4.1.3.1": 1, "6.4.1.4.1": b"-"}, {("contact.state", "1"): NOT_READ, ("sensor.health", "contact 1"): NOT_READ}),
    ("hpe-ups", HPE, {"6.8.1.2.1": 4, "6.8.1.3.1": 1, "6.8.1.4.1": b"-"}, {("contact.state", "1"): NOT_READ}),
    ("hpe-ups", HPE, {"6.8.1.2.1": 1, "6.8.1.3.1": 4, "6.8.1.4.1": b"Spare"}, {("contact.state", "1"): "closed", ("sensor.health", "contact 1"): "warning"}),
    ("hpe-ups", HPE, {"6.8.1.2.1": 2, "6.8.1.3.1": 2, "6.8.1.4.1": b"Smoke"}, {("smoke", "contact 1"): "clear", ("sensor.health", "contact 1"): NOT_READ}),
    ("powerwalker", EPPC, {"6.4.1.2.1": 1, "6.4.1.3.1": 4, "6.4.1.4.1": b"Water"}, {("leak", "contact 1"): "wet"}),
    ("hpe-ups", HPE, {"2.1.0": 0, "2.4.0": 100, "2.5.0": 3, "4.5.0": 3}, {RUNTIME: MISSING}),
)  # fmt: skip


def apc_phases(kind: int, phases: int) -> dict[str, Raw]:
    """Three phases of a second input: upsPhaseInputType main(2), bypass(3)."""
    return {"1.9.2.2.1.2.2": phases, "1.9.2.2.1.5.2": kind, **{f"1.9.2.3.1.3.2.1.{phase}": 230 for phase in (1, 2, 3)}}


APCS: tuple[Case, ...] = (
    ("apc-ups", APC, {"1.2.2.6.0": 0}, {("battery.health", "bad packs"): "ok"}),
    ("apc-ups", APC, {"1.2.2.6.0": 2}, {("battery.health", "bad packs"): "critical"}),
    ("apc-ups", APC, {"1.2.2.6.0": -1}, {("battery.health", "bad packs"): MISSING}),
    ("apc-ups", APC, {"1.2.2.26.0": 1}, {("breaker.state", "battery fuse"): "tripped"}),
    ("apc-ups", APC, {"1.2.2.26.0": 3}, {("breaker.state", "battery fuse"): NOT_READ}),
    ("apc-ups", APC, {"1.2.1.1.0": 2, "1.2.2.1.0": 100, "1.2.2.3.0": 0, "1.4.1.1.0": 2}, {RUNTIME: MISSING}),
    ("apc-ups", APC, {"1.2.1.1.0": 3, "1.2.2.1.0": 3, "1.2.2.3.0": 0, "1.4.1.1.0": 3}, {RUNTIME: 0.0}),
    ("apc-ups", APC, apc_phases(3, 3), {("bypass.voltage", "2.1.3"): 230.0}),
    ("apc-ups", APC, apc_phases(3, 1), {("bypass.voltage", "2.1.1"): 230.0, ("bypass.voltage", "2.1.2"): NOT_READ}),
    ("apc-ups", APC, apc_phases(2, 3), {("bypass.voltage", "2.1.1"): NOT_READ}),
    ("apc-rack-pdu", APC, {"12.1.15.0": 400}, {("voltage.setpoint", "line to line"): 400.0, ("input.voltage", "line to line"): NOT_READ}),
    ("apc-infrastruxure-pdu", APC, {"15.5.3.1.2.1": b"Spare", "15.5.3.1.3.1": 2, "15.5.3.1.4.1": 2}, {("sensor.health", "input 1"): "ok"}),
    ("apc-infrastruxure-pdu", APC, {"15.5.3.1.2.1": b"Spare", "15.5.3.1.3.1": 2, "15.5.3.1.4.1": 1}, {("sensor.health", "input 1"): "warning"}),
    ("apc-infrastruxure-pdu", APC, {"15.5.3.1.2.1": b"Water", "15.5.3.1.3.1": 1, "15.5.3.1.4.1": 2}, {("leak", "input 1"): "wet"}),
    ("apc-epdu", APC, {"30.2.1.1.6.1": 1, "30.4.2.1.4.1": 2300, "30.4.2.1.4.2": 0}, {("input.voltage", "1"): 230.0, ("input.voltage", "2"): NOT_READ}),
    ("apc-infrastruxure-ats", APC, {"17.3.1.4.0": 2, "17.4.2.4.0": 2, "17.4.2.3.0": 0}, {("input.state", "2"): MISSING, ("input.frequency", "2"): MISSING}),
    ("apc-infrastruxure-ats", APC, {"17.3.1.4.0": 1, "17.4.2.4.0": 2, "17.4.2.3.0": 0}, {("input.state", "2"): "bad", ("input.frequency", "2"): 0.0}),
    ("apc-infrastruxure-ats", APC, {"17.4.1.2.0": 3}, {("device.alarm", "source 1 tripped"): "critical"}),
)  # fmt: skip


def discrete(kind: int, alarm: int, severity: int = 3, answers: int = 2) -> dict[str, Raw]:
    """A discrete sensor of an APC rack PDU: its type, notInstalled(1) or commsOK(2), its alarm, informational(1) to critical(3)."""
    below = "26.10.4"
    return {
        f"{below}.2.1.3.1": b"S",
        f"{below}.2.1.5.1": kind,
        f"{below}.2.1.6.1": answers,
        f"{below}.2.1.8.1": alarm,
        f"{below}.1.1.6.1": severity,
    }


PDUS: tuple[Case, ...] = (
    ("apc-rack-pdu", APC, discrete(2, 2), {("door", "input 1"): "open", ("device.alarm", "input 1"): NOT_READ}),
    ("apc-rack-pdu", APC, discrete(7, 2), {("leak", "input 1"): "wet"}),
    ("apc-rack-pdu", APC, discrete(7, 2, answers=1), {("leak", "input 1"): MISSING}),
    ("apc-rack-pdu", APC, discrete(5, 2, severity=1), {("device.alarm", "input 1"): "ok"}),
    ("apc-rack-pdu", APC, discrete(5, 2, severity=2), {("device.alarm", "input 1"): "warning"}),
    ("apc-rack-pdu", APC, discrete(5, 2), {("device.alarm", "input 1"): "critical"}),
    ("apc-rack-pdu", APC, discrete(1, 2), {("device.alarm", "input 1"): NOT_READ}),
    ("eaton-epdu", EPDU, {"3.1.2.0.1.1": 2, "3.1.4.0.1.1": 500}, {("neutral.current", "0.1.1"): 0.5, ("input.current", "0.1.1"): NOT_READ}),
    ("eaton-epdu", EPDU, {"3.1.2.0.1.2": 3, "3.1.4.0.1.2": 500}, {("neutral.current", "0.1.2"): NOT_READ, ("input.current", "0.1.2"): 0.5}),
    ("hpe-mapdu", MAPDU, {"2.1.9.1.4": 2, "2.1.11.1.4": 500}, {("neutral.current", "phase 1.4"): 0.5, ("input.current", "phase 1.4"): NOT_READ}),
    ("hpe-pdu3", PDU3, {"2.1.9.1.4": 2, "2.1.11.1.4": 50}, {("neutral.current", "1.4"): 0.5, ("input.current", "1.4"): NOT_READ}),
    ("panduit-pdu", PANDUIT, {"1.2.2.1.9.1.4": 2, "1.2.2.1.11.1.4": 50}, {("neutral.current", "phase 1.4"): 0.5, ("input.current", "phase 1.4"): NOT_READ}),
    ("liebert-rpdu", RPDU, {"25.1": 1}, {("device.health", "1"): "ok"}),
    ("liebert-rpdu", RPDU, {"25.1": 9}, {("device.health", "1"): "warning"}),
    ("liebert-rpdu", RPDU, {"25.1": 17}, {("device.health", "1"): "critical"}),
    ("liebert-rpdu", RPDU, {"25.1": 24}, {("device.health", "1"): "critical"}),
    ("liebert-rpdu", RPDU, {"25.1": 33}, {("device.health", "1"): "critical"}),
    ("panduit-eagle", EAGLE, {"7.1.2.1.6.1": 1, "7.3.1.1.3.1": 231}, {("input.voltage", "PDU 1"): 231.0}),
    ("panduit-eagle", EAGLE, {"7.1.2.1.6.1": 3, "7.3.1.1.3.1": 231}, {("input.voltage", "PDU 1"): MISSING}),
    ("panduit-eagle", EAGLE, {"1.3.1.1.3.1": "水浸".encode(), "1.3.1.1.6.1": 2, "1.3.1.1.7.1": 1}, {("leak", "contact 1"): "wet", ("sensor.health", "contact 1"): NOT_READ}),
    ("panduit-eagle", EAGLE, {"1.3.1.1.3.1": b"Spare", "1.3.1.1.6.1": 1, "1.3.1.1.7.1": 1}, {("sensor.health", "contact 1"): "ok"}),
    ("panduit-eagle", EAGLE, {"1.3.1.1.3.1": b"Spare", "1.3.1.1.6.1": 1, "1.3.1.1.7.1": 2}, {("sensor.health", "contact 1"): "warning"}),
    ("algcom-pdu", ALGCOM, {"2.0": 53600}, {("dc.voltage", ""): 53.6, ("input.voltage", ""): MISSING}),
    ("algcom-pdu", ALGCOM, {"2.0": 230000}, {("input.voltage", ""): 230.0, ("dc.voltage", ""): MISSING}),
    ("ict-pdu", ICT, {"10.6.0": b"53.60 V"}, {("dc.voltage", ""): 53.6, ("input.voltage", ""): NOT_READ}),
    ("ict-inverter", ICT, {"12.6.0": b"53.60 V"}, {("battery.voltage", ""): 53.6, ("input.voltage", ""): NOT_READ}),
)  # fmt: skip

OTHERS: tuple[Case, ...] = (
    ("riello-mts", MTS, {"1.4.0": 1, "2.2.0": 230, "2.3.0": 0}, {("input.voltage", "source 1 phase 2"): NOT_READ}),
    ("riello-mts", MTS, {"1.4.0": 3, "2.2.0": 230, "2.3.0": 0}, {("input.voltage", "source 1 phase 2"): 0.0}),
    ("packetflux-standby", STANDBY, {"3.0": 1, "6.0": 0}, {("input.voltage", "AC2"): MISSING}),
    ("packetflux-standby", STANDBY, {"3.0": 16, "6.0": 0}, {("input.voltage", "AC2"): 0.0}),
    ("eaton-ats", ATS2, {"5.1.0": 0, "5.2.0": 0}, {("temperature.ambient", "probe"): MISSING}),
    ("eaton-ats", ATS2, {"5.4.1.2.1": 4, "5.4.1.3.1": 3, "5.4.1.4.1": b"-"}, {("sensor.health", "contact 1"): NOT_READ}),
    ("eaton-ats", ATS2, {"5.4.1.2.1": 1, "5.4.1.3.1": 3, "5.4.1.4.1": b"Spare"}, {("sensor.health", "contact 1"): "warning"}),
    ("eaton-ats", ATS2, {"5.4.1.2.1": 1, "5.4.1.3.1": 1, "5.4.1.4.1": b"Rack door"}, {("door", "contact 1"): "closed"}),
    ("delta-orion", ORION, {"10.1.1.2.1": b"Smoke", "10.1.1.3.1": 3}, {("smoke", "event 1"): "smoke"}),
    ("delta-orion", ORION, {"10.1.1.2.1": b"Rear door", "10.1.1.3.1": 3}, {("door", "event 1"): "open", ("device.alarm", "event 1"): NOT_READ}),
    ("delta-orion", ORION, {"10.1.1.2.1": b"HEX", "10.1.1.3.1": 3}, {("contact.state", "event 1"): "closed", ("device.alarm", "event 1"): NOT_READ}),
    ("delta-orion", ORION, {"10.1.1.2.1": b"Fan fail", "10.1.1.3.1": 3}, {("device.alarm", "event 1"): "critical"}),
    ("eaton-sc200", SC200, {"100.43.0": 0, "100.45.0": 100}, {RUNTIME: MISSING}),
    ("eaton-sc200", SC200, {"100.43.0": 60, "100.45.0": 101}, {RUNTIME: 60.0}),
    ("eaton-sc200", SC200, {"60.13.0": 1}, {("rectifier.health", "failed"): "critical"}),
    ("samlex-psr", SAMLEX, {"1.7.0": 0, "3.5.0": 0}, {("input.voltage", "grid"): MISSING}),
    ("samlex-psr", SAMLEX, {"1.7.0": 0, "3.5.0": 1}, {("input.voltage", "grid"): 0.0}),
    ("eltek-sp2", ENEXUS, {"10.8.5.0": 0, "10.9.5.0": 100}, {RUNTIME: MISSING}),
    ("eltek-sp2", ENEXUS, {"10.8.5.0": 0, "10.9.5.0": 4}, {RUNTIME: 0.0}),
    ("eltek-sp2", ENEXUS, {"10.19.5.1.2.1": 2, "10.19.5.1.3.1": b" "}, {("battery.health", "monitor fuse 1"): NOT_READ}),
    ("huawei-smu", SMU, {"3.1.3.1": b"DI1", "3.1.5.1": 1, "3.1.99.1": 2}, {("device.alarm", "input 1"): "critical"}),
    ("huawei-smu", SMU, {"3.1.3.1": b"DI1", "3.1.5.1": 2, "3.1.99.1": 2}, {("device.alarm", "input 1"): MISSING}),
    ("huawei-smu", SMU, {"3.1.3.1": b"Smoke", "3.1.5.1": 1, "3.1.99.1": 2}, {("smoke", "input 1"): "smoke", ("device.alarm", "input 1"): NOT_READ}),
    ("vertiv-dcs", DCS, {"2.1": 2392, "3.1": 0, "12.1": 10}, {("input.voltage", "UPS phase A 1"): 239.2, ("input.voltage", "UPS phase B 1"): NOT_READ}),
    ("vertiv-dcs", DCS, {"2.1": 2392, "3.1": 0, "12.1": 3}, {("input.voltage", "UPS phase B 1"): 0.0}),
    ("cet-tsi", TSI, {"5.7.0": 0, "1.1.1.2.1": 1, "1.1.1.20.1": 0, "1.1.1.4.1": 3}, {("input.voltage", "module 1"): MISSING, ("input.health", "module 1"): MISSING}),
    ("cet-tsi", TSI, {"5.7.0": 1, "1.1.1.2.1": 1, "1.1.1.20.1": 0, "1.1.1.4.1": 3}, {("input.voltage", "module 1"): 0.0, ("input.health", "module 1"): "critical"}),
    ("eltek-webpower", WEBPOWER, {"3.20.1.0": 0, "2.2.0": 1}, {RUNTIME: MISSING}),
)  # fmt: skip


@pytest.mark.parametrize(("profile", "root", "objects", "expected"), UPSES + APCS + PDUS + OTHERS)
def test_a_reading_is_decoded_with_its_companion(
    profile: str, root: str, objects: Mapping[str, Raw], expected: Mapping[tuple[str, str], float | str]
) -> None:
    found = ShippedBox(profile, root, objects).read()
    assert {key: shown(found[key]) if key in found else NOT_READ for key in expected} == expected


# ---- every profile ----


CATEGORY = {profile.profile: profile.category for profile in PROFILES}
BY_WORDS = ("linux-ups-nut", "linux-ups-apcups")  # lines of text, which are not there without a sensor


def ways(quantity: str = "") -> Iterator[tuple[str, ProfileReading, Way]]:
    """(profile, reading, way) of everything that is read by SNMP."""
    for profile in PROFILES:
        for reading in profile.readings:
            if quantity in ("", reading.quantity):
                yield from ((profile.profile, reading, way) for way in reading.ways if way.oid)


LINES = {f"{UPS}.3.3.1": f"{UPS}.3.2.0", f"{UPS}.4.4.1": f"{UPS}.4.3.0", f"{UPS}.5.3.1": f"{UPS}.5.2.0"}


def test_no_phase_beyond_the_number_of_lines_is_read() -> None:
    wrong = [
        f"{name}: {way.oid}"
        for name, reading, way in ways()
        for table, number in LINES.items()
        if f"{way.oid}.".startswith(f"{table}.")
        and reading.each
        and not any(number in str(one.at_most) for one in reading.where)
    ]
    assert wrong == []


def test_no_battery_of_a_ups_has_0_degrees() -> None:
    """0 °C is what a UPS without a sensor answers, and any device that measures finer than degrees. (A plant's may be outdoors.)"""
    wrong = [
        f"{name}: {way.oid}"
        for name, _, way in ways("battery.temperature")
        if way.plausible and way.plausible.low <= 0 and "0" not in way.absent and not way.only_if
        if (way.raw_unit and way.raw_unit.multiply / way.raw_unit.divide < 0.5)
        or (CATEGORY[name] is Category.UPS and name not in BY_WORDS)
    ]
    assert wrong == []


def test_a_runtime_of_0_is_missing_while_the_battery_is_full() -> None:
    """0 is what a UPS answers that does not calculate it."""
    wrong = [
        f"{name}: {way.oid}"
        for name, _, way in ways("battery.runtime")
        if way.plausible and way.plausible.low <= 0 and name not in BY_WORDS
        if "0" not in way.absent and not way.only_if and not any("0" in one.raw for one in way.absent_if)
    ]
    assert wrong == []
