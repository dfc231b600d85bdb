"""What the IPMI probe reads of a whole machine: its power, its faults, its housing."""

import pytest

from tests.ipmi_room import CAPABILITIES, FINE, Bench, run_and_close, values

OPEN = bytes([0x01, 0, 0x01])  # the chassis status: on, the housing is open
_INTRUSION = bytes([0x20, 0, 3, 23, 1, 0x67, 0x40, 5, 0x6F, *[0] * 4, 0x7F, 0, 0xC0, 0, 0, 1, *[0] * 7, 0xC1, 0x43])
INTRUSION_SENSOR = bytes([3, 0, 0x51, 2, len(_INTRUSION)]) + _INTRUSION


@pytest.mark.parametrize(
    ("chassis", "state", "health"),
    [
        (b"\x00\0\0", "off", "ok"),
        (b"\x03\0\0", "on", "critical"),
        (b"\x09\0\0", "on", "critical"),
        (b"\x11\0\0", "on", "warning"),
    ],
)
def test_the_chassis_gives_power_state_and_health(chassis: bytes, state: str, health: str) -> None:
    bench = Bench()
    bench.bmc.chassis = chassis

    async def scenario() -> None:
        found = values(await bench.sweep())
        assert (found["power.state", ""], found["power.health", "chassis"]) == (state, health)

    run_and_close(bench.probe, scenario)


@pytest.mark.parametrize(("faults", "state"), [(0x01, "open"), (0x00, "closed"), (0x0C, "closed")])
def test_a_chassis_with_a_sensor_of_its_housing_gives_its_state(faults: int, state: str) -> None:
    bench = Bench()
    bench.bmc.chassis, bench.bmc.capabilities = bytes([0x01, 0, faults]), bytes([0x05, 0x20, 0x20, 0x20, 0x20])

    async def scenario() -> None:
        assert values(await bench.sweep())["intrusion", "chassis"] == state
        bench.bmc.chassis = OPEN
        assert values(await bench.sweep())["intrusion", "chassis"] == "open"
        assert not bench.count(CAPABILITIES)  # asked once

    run_and_close(bench.probe, scenario)


@pytest.mark.parametrize(("capabilities", "declined"), [(0x04, None), (0x01, 0xC1), (0x01, 0xD4)])
def test_without_a_sensor_of_the_housing_its_bit_says_nothing(capabilities: int, declined: int | None) -> None:
    bench = Bench()
    bench.bmc.chassis, bench.bmc.capabilities = OPEN, bytes([capabilities, 0x20, 0x20, 0x20, 0x20])
    if declined:
        bench.bmc.declined[CAPABILITIES] = declined

    async def scenario() -> None:
        assert ("intrusion", "chassis") not in values(await bench.sweep())

    run_and_close(bench.probe, scenario)


def test_a_listed_sensor_of_the_housing_is_the_only_one() -> None:
    bench = Bench()
    bench.bmc.chassis, bench.bmc.capabilities = OPEN, bytes([0x01, 0x20, 0x20, 0x20, 0x20])
    bench.bmc.records.append(INTRUSION_SENSOR)
    bench.bmc.readings[3] = bytes([0, FINE, 0, 0x80])

    async def scenario() -> None:
        found = values(await bench.sweep())
        assert {key: value for key, value in found.items() if key[0] == "intrusion"} == {
            ("intrusion", "0x03"): "closed"
        }

    run_and_close(bench.probe, scenario)
