"""States and values of shipped profiles, read beside the object that says whether they mean anything: is it fitted, connected,
enabled, which position is normal, which unit. Each case is one small device, made from the maker's MIB."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import product

import pytest

from tests.shipped_box import PROFILES, ShippedBox, read_shipped, shown
from watchkeeper.profiles.decode import Raw
from watchkeeper.profiles.labels import KINDS

MISSING, NOT_READ, UNKNOWN = "missing", "not read", "unknown"

Case = tuple[str, str, Mapping[str, Raw], Mapping[tuple[str, str], float | str]]

EMP, NTI, MEM = "1.3.6.1.4.1.534.1.6", "1.3.6.1.4.1.3699.1.1.10.1", "1.3.6.1.4.1.318.1.1.10.4"
NETBOTZ, POSEIDON, AKCP = "1.3.6.1.4.1.5528.100.4", "1.3.6.1.4.1.21796.3.3", "1.3.6.1.4.1.3854.3.5"
DELL, CIMC, ILOM = "1.3.6.1.4.1.674.10892.1", "1.3.6.1.4.1.9.9.719.1.15", "1.3.6.1.4.1.42.2.70.101.1.1"
ARU, FM = "1.3.6.1.4.1.318.1.1.14", "1.3.6.1.4.1.318.1.1.13.1.4.10.2"
APC, EM, EMS, WIRELESS = (f"1.3.6.1.4.1.318.1.1.10{rest}" for rest in ("", ".1", ".3.20", ".5"))
LIEBERT, NVENT = "1.3.6.1.4.1.476.1.42.3.9.20.1", "1.3.6.1.4.1.26609.2.2"
CMC, VUTLAN = "1.3.6.1.4.1.2606.4.2.3.5.2.1", "1.3.6.1.4.1.39052.1.3.1"
IN_ROOM, STULZ, GEIST = "1.3.6.1.4.1.318.1.1.13.5.3", "1.3.6.1.4.1.29462.10", "1.3.6.1.4.1.21239.5.1"


def contact(name: str, normal: int, state: int, row: int = 1) -> dict[str, Raw]:
    """A contact of an EMP: normallyOpen(1), normallyClosed(2), anyChange(3); open(1), closed(2), and their alarms (3, 4)."""
    return {f"8.1.2.{row}": normal, f"8.1.3.{row}": state, f"8.1.4.{row}": name.encode()}


def nti(row: int, kind: int, value: int, status: int) -> dict[str, Raw]:
    """A sensor inside an ENVIROMUX: notconnected(0), normal(1), alert(3), disconnected(6)."""
    return {
        f"3.1.1.2.{row}": kind,
        f"3.1.1.3.{row}": b"x",
        f"3.1.1.6.{row}": value,
        f"3.1.1.7.{row}": 0,
        f"3.1.1.9.{row}": status,
    }


CONTACTS: tuple[Case, ...] = (
    ("eaton-emp", EMP, contact("Water", 1, 2), {("leak", "probe contact 1"): "wet"}),
    ("eaton-emp", EMP, contact("Water", 2, 2), {("leak", "probe contact 1"): "dry"}),
    ("eaton-emp", EMP, contact("漏水", 2, 3), {("leak", "probe contact 1"): "wet"}),
    ("eaton-emp", EMP, contact("烟感", 2, 2), {("smoke", "probe contact 1"): "clear"}),
    ("eaton-emp", EMP, contact("Smoke detector fault", 1, 2), {("sensor.health", "probe contact 1"): "warning", ("smoke", "probe contact 1"): NOT_READ}),
    ("eaton-emp", EMP, contact("Spare", 2, 2), {("sensor.health", "probe contact 1"): "ok"}),
    ("eaton-emp", EMP, contact("Door", 3, 1), {("door", "probe contact 1"): MISSING}),
    ("apc-environmental", MEM, {"3.2.1.3.1.1": b"Water under floor", "3.2.1.5.1.1": 1, "3.2.1.7.1.1": 1, "3.2.1.8.1.1": 2}, {("leak", "input 1.1"): "dry"}),
    ("apc-environmental", MEM, {"3.2.1.3.1.1": b"Rack door", "3.2.1.5.1.1": 2, "3.2.1.7.1.1": 3, "3.2.1.8.1.1": 2}, {("door", "input 1.1"): "open"}),
    ("apc-environmental", MEM, {"3.2.1.3.1.1": b"Water", "3.2.1.5.1.1": 1, "3.2.1.7.1.1": 3, "3.2.1.8.1.1": 1}, {("leak", "input 1.1"): NOT_READ}),
    ("netbotz", NETBOTZ, {"2.1.1.2.1": 1, "2.1.1.3.1": 0, "2.1.1.4.1": "水浸".encode()}, {("leak", "contact 1"): "dry"}),
    ("netbotz", NETBOTZ, {"2.1.1.2.1": 0, "2.1.1.3.1": 4, "2.1.1.4.1": b"Smoke"}, {("smoke", "contact 1"): "smoke"}),
    ("netbotz", NETBOTZ, {"2.1.1.2.1": -1, "2.1.1.3.1": 0, "2.1.1.4.1": b"Smoke"}, {("smoke", "contact 1"): NOT_READ}),
    ("apc-probes", EM, {"3.5.1.2.1": b"Leak", "3.5.1.3.1": 2, "2.4.1.4.1": 2}, {("leak", "em contact 1"): "wet"}),
    ("apc-probes", EM, {"3.5.1.2.1": b"Leak", "3.5.1.3.1": 3, "2.4.1.4.1": 2}, {("leak", "em contact 1"): NOT_READ}),
    ("apc-probes", EM, {"3.5.1.2.1": b"Gas", "3.5.1.3.1": 2, "2.4.1.4.1": 2}, {("device.alarm", "em warning contact 1"): "warning", ("device.alarm", "em contact 1"): NOT_READ}),
    ("apc-environmental", WIRELESS, {"2.1.1.4.1": b"Door", "2.1.1.5.1": 1, "2.1.1.12.1": 1, "2.1.1.17.1": 1, "2.1.1.18.1": 0}, {("door", "pod contact 1"): "open"}),
    ("apc-environmental", WIRELESS, {"2.1.1.4.1": b"Door", "2.1.1.5.1": 1, "2.1.1.12.1": 1, "2.1.1.17.1": 1, "2.1.1.18.1": 1}, {("door", "pod contact 1"): "closed"}),
    ("apc-environmental", WIRELESS, {"2.1.1.4.1": b"Door", "2.1.1.5.1": 1, "2.1.1.12.1": 0, "2.1.1.17.1": 1, "2.1.1.18.1": 0}, {("door", "pod contact 1"): MISSING, ("communication.health", "pod 1"): "critical"}),
    ("apc-environmental", WIRELESS, {"2.1.1.4.1": b"Door", "2.1.1.5.1": 0, "2.1.1.12.1": 1, "2.1.1.17.1": 1, "2.1.1.18.1": 0}, {("door", "pod contact 1"): NOT_READ}),
    ("apc-emu", EMS, {"6.1.2.1": b"W", "6.1.4.1": 1, "6.1.6.1": 1}, {("leak", "fluid sensor 1"): "wet", ("communication.health", "fluid sensor 1"): "ok"}),
    ("apc-emu", EMS, {"6.1.2.1": b"W", "6.1.4.1": 1, "6.1.6.1": 2}, {("leak", "fluid sensor 1"): MISSING, ("communication.health", "fluid sensor 1"): "critical"}),
)  # fmt: skip

SENSORS: tuple[Case, ...] = (
    ("nti-enviromux-5d", NTI, nti(1, 10, 0, 0), {("smoke", "internal 1"): UNKNOWN}),
    ("nti-enviromux-5d", NTI, nti(1, 10, 0, 1), {("smoke", "internal 1"): "clear", ("sensor.health", "internal detector 1"): "ok"}),
    ("nti-enviromux-5d", NTI, nti(1, 9, 0, 6), {("leak", "internal 1"): UNKNOWN, ("sensor.health", "internal detector 1"): "critical"}),
    ("nti-enviromux-5d", NTI, nti(1, 1, 0, 6), {("temperature.ambient", "internal 1"): MISSING, ("sensor.health", "internal 1"): "critical"}),
    ("nti-enviromux-5d", NTI, nti(1, 1, 233, 1), {("temperature.ambient", "internal 1"): 23.3}),
    ("apc-environmental", WIRELESS, {"1.1.1.3.1": b"T", "1.1.1.5.1": 215, "1.1.1.11.1": 1}, {("temperature.ambient", "wireless 1"): 21.5}),
    ("apc-environmental", WIRELESS, {"1.1.1.3.1": b"T", "1.1.1.5.1": 215, "1.1.1.11.1": 0}, {("temperature.ambient", "wireless 1"): MISSING, ("communication.health", "wireless 1"): "critical"}),
    ("apc-environmental", APC, {"5.1.1.1.3.1": b"T", "5.1.1.1.5.1": 770, "5.1.1.1.11.1": 1, "4.2.1.0": 2}, {("temperature.ambient", "wireless 1"): 25.0}),
    ("apc-probes", EM, {"3.3.1.2.1": b"T", "3.3.1.3.1": 2, "3.3.1.4.1": 77, "3.3.1.5.1": 2}, {("temperature.ambient", "em 1"): 25.0}),
    ("apc-probes", EM, {"3.3.1.2.1": b"T", "3.3.1.3.1": 1, "3.3.1.4.1": 77, "3.3.1.5.1": 2}, {("temperature.ambient", "em 1"): NOT_READ}),
    ("hwg-perseus", "1.3.6.1.4.1.21796.5.1.4", {"1.2.1": b"C", "1.3.1": 5, "1.4.1": 1}, {("device.alarm", "1"): "critical"}),
    ("hwg-perseus", "1.3.6.1.4.1.21796.5.1.4", {"1.2.1": b"C", "1.3.1": 5, "1.4.1": 0}, {("device.alarm", "1"): NOT_READ}),
    ("supermicro-bmc", "1.3.6.1.4.1.21317.1.14.2", {"1.2.1": 0, "1.13.1": b"P123"}, {("psu.health", "PSU 1"): "critical"}),
    ("supermicro-bmc", "1.3.6.1.4.1.21317.1.14.2", {"1.2.1": 0, "1.13.1": b""}, {("psu.health", "PSU 1"): NOT_READ}),
    ("netbotz", NETBOTZ, {"1.2.1.2.1": 380, "1.2.1.4.1": b"H", "1.2.1.7.1": b""}, {("humidity.relative", "1"): MISSING}),
    ("netbotz", NETBOTZ, {"1.2.1.2.1": 380, "1.2.1.4.1": b"H", "1.2.1.7.1": b"38"}, {("humidity.relative", "1"): 38.0}),
    ("netbotz", NETBOTZ, {"1.2.1.2.1": 0, "1.2.1.4.1": b"H", "1.2.1.7.1": b"0"}, {("humidity.relative", "1"): MISSING}),
    ("hwg-poseidon", POSEIDON, {"3.1.2.1": b"T", "3.1.4.1": 4, "3.1.6.1": 215, "3.1.9.1": 0}, {("temperature.ambient", "1"): MISSING}),
    ("hwg-poseidon", POSEIDON, {"3.1.2.1": b"T", "3.1.4.1": 1, "3.1.6.1": 215, "3.1.9.1": 0}, {("temperature.ambient", "1"): 21.5}),
    ("akcp-sp-plus", AKCP, {"9.1.2.1": b"W", "9.1.6.1": 7}, {("leak", "spot 1"): UNKNOWN, ("sensor.health", "water 1"): "critical"}),
    ("akcp-sp-plus", AKCP, {"9.1.2.1": b"W", "9.1.6.1": 4}, {("leak", "spot 1"): "wet", ("sensor.health", "water 1"): "ok"}),
    ("rittal-cmc-tc", CMC, {"2.1": 7, "3.1": b"S", "4.1": 8}, {("smoke", "unit 1 sensor 1"): "smoke", ("sensor.health", "unit 1 detector 1"): "ok"}),
    ("rittal-cmc-tc", CMC, {"2.1": 23, "3.1": b"L", "4.1": 2}, {("leak", "unit 1 sensor 1"): UNKNOWN, ("sensor.health", "unit 1 detector 1"): "critical"}),
    ("rittal-cmc-tc", CMC, {"2.1": 10, "3.1": b"T", "4.1": 2, "5.1": 22}, {("temperature.ambient", "unit 1 sensor 1"): MISSING}),
    ("rittal-cmc-tc", CMC, {"2.1": 1, "3.1": b"-", "4.1": 1, "5.1": 0}, {("sensor.health", "unit 1 sensor 1"): NOT_READ}),
    ("vutlan-vt", VUTLAN, {"6.1": b"dry contact", "7.1": "漏水".encode(), "8.1": b"alarm"}, {("leak", "contact 1"): "wet"}),
    ("geist-v4", GEIST, {"1.7.0": 1, "2.1.3.1": b"I", "2.1.4.1": 0, "2.1.5.1": 219}, {("temperature.ambient", "internal 1"): MISSING}),
    ("geist-v4", GEIST, {"1.7.0": 1, "2.1.3.1": b"I", "2.1.4.1": 1, "2.1.5.1": 219}, {("temperature.ambient", "internal 1"): 21.9}),
    ("geist-v4", GEIST, {"1.7.0": 0, "2.1.3.1": b"I", "2.1.4.1": 1, "2.1.5.1": 770}, {("temperature.ambient", "internal 1"): 25.0}),
)  # fmt: skip

PARTS: tuple[Case, ...] = (
    ("apc-aru", ARU, {"3.3.1.10.1": b"00010000", "3.3.1.11.1": 2, "4.1.1.6.1.2": 5}, {("smoke", "1"): "smoke", ("fan.health", "1 1"): "ok", ("fan.health", "status 1.2"): "critical"}),
    ("apc-aru", ARU, {"3.3.1.10.1": b"UNKNOWN", "3.3.1.11.1": 3, "4.1.1.6.1.2": 5}, {("smoke", "1"): MISSING, ("fan.health", "status 1.2"): MISSING, ("communication.health", "1"): "critical"}),
    ("apc-aru", ARU, {"3.3.1.11.1": 2, "5.1.1.2.1": 1, "5.1.1.3.1": 2, "5.1.1.4.1": 1}, {("input.state", "1 1"): "good", ("input.state", "2 1"): NOT_READ}),
    ("apc-aru", ARU, {"3.3.1.11.1": 2, "5.1.1.2.1": 1, "5.1.1.3.1": 2, "5.1.1.4.1": 2}, {("input.state", "2 1"): "lost"}),
    ("apc-networkair-fm", FM, {"1.2.1": b"Water", "1.3.1": 1, "1.4.1": 2}, {("leak", "input 1"): "wet"}),
    ("apc-networkair-fm", FM, {"1.2.1": b"Water", "1.3.1": 1, "1.4.1": 1}, {("leak", "input 1"): "dry"}),
    ("apc-networkair-fm", FM, {"1.2.1": b"Spare", "1.3.1": 1, "1.4.1": 2, "1.6.1": 1}, {("device.alarm", "input 1"): NOT_READ}),
    ("dell-openmanage", DELL, {"700.12.1.4.1.1": 4, "700.12.1.6.1.1": 0, "700.12.1.8.1.1": b"Fan"}, {("fan.speed", "1.1"): MISSING}),
    ("dell-openmanage", DELL, {"700.12.1.4.1.1": 2, "700.12.1.6.1.1": 0, "700.12.1.8.1.1": b"Fan"}, {("fan.speed", "1.1"): 0.0}),
    ("dell-openmanage", DELL, {"600.10.1.5.1.1": 5, "600.10.1.6.1.1": 1, "600.10.1.7.1.1": b"P"}, {("redundancy.health", "power 1.1"): NOT_READ}),
    ("dell-openmanage", DELL, {"600.10.1.5.1.1": 5, "600.10.1.6.1.1": 2, "600.10.1.7.1.1": b"P"}, {("redundancy.health", "power 1.1"): "critical"}),
    ("cisco-cimc", CIMC, {"56.1.2.1": b"P", "56.1.8.1": 2, "56.1.11.1": 11}, {("psu.health", "1"): MISSING}),
    ("cisco-cimc", CIMC, {"56.1.2.1": b"P", "56.1.8.1": 2, "56.1.11.1": 10}, {("psu.health", "1"): "critical"}),
    ("oracle-ilom", ILOM, {"8.1.1.7": 3, "8.1.2.7": 0, "8.1.4.7": 0, "2.1.2.7": 1, "2.1.4.7": 2}, {("temperature.component", "7"): MISSING}),
    ("oracle-ilom", ILOM, {"8.1.1.7": 3, "8.1.2.7": -1, "8.1.4.7": 315, "2.1.2.7": 2, "2.1.4.7": 2}, {("temperature.component", "7"): 31.5}),
    ("apc-in-room", IN_ROOM, {"5.4.0": 1, "43.4.0": 2, "43.5.0": 2}, {("compressor.health", "failure 1"): "critical", ("compressor.health", "failure 2"): NOT_READ}),
    ("apc-in-room", IN_ROOM, {"5.4.0": 2, "43.4.0": 1, "43.5.0": 2}, {("compressor.health", "failure 1"): "ok", ("compressor.health", "failure 2"): "critical"}),
    ("stulz-wib8000", STULZ, {"2.1.4.4.1.1.1.8500.1.1": 1, "2.1.4.4.1.1.1.8588.1.1": 1, "2.1.4.4.1.1.1.8585.1.1": 0},
     {("airflow.health", "1 1.1"): "critical", ("filter.health", "1 1.1"): "warning", ("fan.health", "1 1.1"): "ok"}),
    ("liebert-cooling", LIEBERT, {"10.1.2": b"Water Under Floor", "20.1.2": b"Active Alarm"}, {("leak", "event 1.2"): "wet"}),
    ("liebert-cooling", LIEBERT, {"10.1.2": b"Clogged Air Filter", "20.1.2": b"Inactive Event"}, {("filter.health", "event 1.2"): "ok"}),
    ("nvent-spectracool", NVENT, {"4.1.0": b"High", "4.2.0": 2, "4.3.0": 1}, {("temperature.health", "high temperature"): MISSING}),
    ("nvent-spectracool", NVENT, {"4.1.0": b"High", "4.2.0": 1, "4.3.0": 1}, {("temperature.health", "high temperature"): "critical"}),
)  # fmt: skip


@pytest.mark.parametrize(("profile", "root", "objects", "expected"), CONTACTS + SENSORS + PARTS)
def test_a_reading_is_decoded_with_its_companion(
    profile: str, root: str, objects: Mapping[str, Raw], expected: Mapping[tuple[str, str], float | str]
) -> None:
    found = read_shipped(profile, root, objects)
    assert {key: shown(found[key]) if key in found else NOT_READ for key in expected} == expected


def test_no_humidity_of_0_percent_is_a_measurement() -> None:
    """0 % is what a device without a humidity sensor answers."""
    wrong = [
        f"{profile.profile}: {way.oid}"
        for profile in PROFILES
        for reading in profile.readings
        if reading.quantity == "humidity.relative"
        for way in reading.ways
        if way.oid and way.plausible and way.plausible.low <= 0 and "0" not in way.absent
    ]
    assert wrong == []


def test_no_contact_is_lost_for_its_label() -> None:
    """A contact that has one reading for each kind of label has one for every kind."""
    lost = []
    for profile in PROFILES:
        kinds: dict[tuple[str | None, str], set[str]] = defaultdict(set)
        for reading in profile.readings:
            for way, condition in product(reading.ways, reading.where):
                for kind, pattern in KINDS.items():
                    if condition.matches is not None and condition.matches.pattern == pattern.pattern:
                        kinds[way.oid, str(condition.oid)].add(kind)
        lost += [f"{profile.profile}: {oid}: {found}" for (oid, _), found in kinds.items() if found != set(KINDS)]
    assert lost == [
        "nti-enviromux-micro: 1.3.6.1.4.1.3699.1.1.12.1.3.1.1.3: {'door'}"
    ]  # only its alerts know what is normal


UNPLUGGED: tuple[tuple[str, str, Mapping[str, Raw], Mapping[str, Raw], tuple[str, str], float | str], ...] = (
    ("netbotz", NETBOTZ, {"2.1.1.2.1": 0, "2.1.1.3.1": 0, "2.1.1.4.1": b"Smoke"}, {"2.1.1.2.1": -1}, ("smoke", "contact 1"), "clear"),
    ("geist-v4", GEIST, {"2.1.3.1": b"I", "2.1.4.1": 1, "2.1.6.1": 45}, {"2.1.4.1": 0}, ("humidity.relative", "internal 1"), 45.0),
    ("apc-probes", APC, {"2.3.2.1.3.1": 2, "2.3.2.1.4.1": 24, "2.3.2.1.5.1": 1}, {"2.3.2.1.3.1": 1}, ("temperature.ambient", "iem 1"), 24.0),
    ("nti-enviromux-5d", NTI, {"14.1.1.2.1": b"S", "14.1.1.4.1": 3, "14.1.1.5.1": 1}, {"14.1.1.5.1": 6}, ("smoke", "detector 1"), "clear"),
    ("hpe-ilo", "1.3.6.1.4.1.232.6.2.6.7", {"1.4.0.1": 3, "1.12.0.1": 4200}, {"1.4.0.1": 2}, ("fan.speed", "0.1"), 4200.0),
)  # fmt: skip


@pytest.mark.parametrize(("profile", "root", "objects", "later", "key", "before"), UNPLUGGED)
def test_what_is_unplugged_has_no_value_at_the_next_poll(  # noqa: PLR0917 -- a row of the table
    profile: str,
    root: str,
    objects: Mapping[str, Raw],
    later: Mapping[str, Raw],
    key: tuple[str, str],
    before: float | str,
) -> None:
    box = ShippedBox(profile, root, objects)
    assert shown(box.read()[key]) == before
    box.change(later)
    assert shown(box.read()[key]) == MISSING
