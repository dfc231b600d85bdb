"""The profile of NUT, and those of UPSes behind a Linux host: what is not measured is missing, not zero."""

import pytest

from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw, decode
from watchkeeper.profiles.flat import lay_out

PROFILES = load_profiles()
FULL: dict[str, str] = {
    "ups.status": "OL", "battery.charge": "100", "battery.runtime": "1200", "battery.voltage": "54.7", "battery.temperature": "25",
    "input.voltage": "230", "input.frequency": "50", "output.voltage": "230", "output.frequency": "50", "ups.load": "26",
}  # fmt: skip


def nut(**changed: str) -> dict[str, Value]:
    """quantity (and instance) -> value, of a healthy UPS with changes: `_` stands for the point."""
    answer: dict[str, Raw] = {**FULL, **{name.replace("_", "."): value for name, value in changed.items()}}
    profile = PROFILES.get("nut")
    assert profile is not None
    layout = lay_out("ups", profile, answer, "nut")
    names = [f"{one.quantity} {one.instance}".strip() for one in layout.series[1:]]
    return dict(zip(names, decode(layout.steps, answer), strict=True))


def absent(value: Value) -> bool:
    return isinstance(value, Missing) and value.reason is Reason.ABSENT


@pytest.mark.parametrize("status", ["OL", "OL CHRG", "OL DISCHRG", "ALARM OL", "OL BOOST"])
@pytest.mark.parametrize(
    ("variable", "quantity"),
    [
        ("battery_runtime", "battery.runtime"), ("input_voltage", "input.voltage"), ("input_frequency", "input.frequency"),
        ("output_voltage", "output.voltage"), ("output_frequency", "output.frequency"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zero", ["0", "0.0", "000.0", "0,0"])
def test_zero_on_mains_is_not_measured(status: str, variable: str, quantity: str, zero: str) -> None:
    assert absent(nut(**{"ups_status": status, variable: zero})[quantity])


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("OB CAL DISCHRG", "testing"), ("CAL OB", "testing"), ("DISCHRG CAL OL", "testing"), ("OB CAL LB", "low"),
        ("LB CAL OB", "low"), ("RB CAL OL", "replace"), ("OB DISCHRG", "discharging"), ("OL", "ok"),
    ],
)  # fmt: skip
def test_a_calibration_is_a_test_of_the_battery(status: str, state: str) -> None:
    assert nut(ups_status=status)["battery.state"] == state


@pytest.mark.parametrize("status", ["OB DISCHRG", "OB LB", "OL OFF", "OFF"])
def test_zero_on_battery_or_off_is_measured(status: str) -> None:
    found = nut(ups_status=status, battery_runtime="0", input_voltage="0", output_voltage="0")
    assert [found[name] for name in ("battery.runtime", "input.voltage", "output.voltage")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("variable", "quantity", "raws"),
    [
        ("battery_runtime", "battery.runtime", ["-1", "-1.0"]), ("ups_temperature", "temperature.component", ["0", "0.0", "-1"]),
        ("battery_temperature", "battery.temperature", ["0", "-1"]), ("battery_voltage", "battery.voltage", ["0", "0.00", "-1"]),
        ("battery_charge", "battery.charge", ["-1"]), ("ups_load", "output.load", ["-1"]), ("ambient_humidity", "humidity.relative", ["0.00", "-1"]),
        ("battery_capacity", "battery.capacity", ["0"]),
    ],
)  # fmt: skip
def test_a_number_that_is_impossible_is_missing(variable: str, quantity: str, raws: list[str]) -> None:
    for raw in raws:
        assert absent(nut(ups_status="OB", **{variable: raw})[quantity]), raw


def test_a_card_without_a_sensor_measures_no_room() -> None:
    none = nut(ambient_temperature="0.0", ambient_humidity="0.00")
    assert absent(none["temperature.ambient"])
    assert absent(none["humidity.relative"])
    assert nut(ambient_temperature="0.0", ambient_humidity="45")["temperature.ambient"] == 0.0
    assert nut(ambient_temperature="21.5")["temperature.ambient"] == 21.5
    assert "temperature.ambient" not in nut(ambient_temperature="21.5", ambient_present="no")
    assert nut(ambient_2_temperature="19", ambient_2_present="yes")["temperature.ambient sensor 2"] == 19.0


def test_a_decimal_comma_is_a_point() -> None:
    found = nut(battery_voltage="54,70", input_voltage="106,6", ups_temperature="31,2")
    assert (found["battery.voltage"], found["input.voltage"], found["temperature.component"]) == (54.7, 106.6, 31.2)


def test_a_load_that_the_driver_does_not_give_is_calculated_from_the_rating() -> None:
    without = {name: value for name, value in FULL.items() if name != "ups.load"}
    profile = PROFILES.get("nut")
    assert profile is not None
    for extra, load in (
        ({"ups.realpower": "150", "ups.realpower.nominal": "600", "ups.power": "1", "ups.power.nominal": "9"}, 25.0),
        ({"ups.power": "300", "ups.power.nominal": "1500"}, 20.0),
        ({"ups.power": "300", "ups.power.nominal": "0"}, None),
    ):
        answer: dict[str, Raw] = {**without, **extra}
        layout = lay_out("ups", profile, answer, "nut")
        found = {
            one.quantity: value for one, value in zip(layout.series[1:], decode(layout.steps, answer), strict=True)
        }
        assert found["output.load"] == load or (load is None and isinstance(found["output.load"], Missing))


def test_one_phase_is_not_three() -> None:
    single = nut(
        **{"input_phases": "1.00", "input_L1-N_voltage": "231", "input_L2-N_voltage": "0", "input_L3-N_voltage": "0"}
    )
    assert [name for name in single if name.startswith("input.voltage L")] == ["input.voltage L1"]
    three = nut(
        **{"input_phases": "3", "input_L1-N_voltage": "231", "input_L2-N_voltage": "0", "output_L3_current": "7"}
    )
    assert (three["input.voltage L2"], three["output.current L3"]) == (0.0, 7.0), "a phase that is lost is lost"


@pytest.mark.parametrize(
    ("text", "state"),
    [("Done and passed", "passed"), ("done and error", "failed"), ("In progress", "running"), ("No test initiated", "none"), ("17", None)],
)  # fmt: skip
def test_the_last_battery_test(text: str, state: str | None) -> None:
    assert nut(ups_test_result=text).get("battery.test") == state


# ---- UPSes behind net-snmp's `extend` ----

LINES = "1.3.6.1.4.1.8072.1.3.2.4.1.2.7.117.112.115.45.110.117.116"
TEXT = "1.3.6.1.4.1.8072.1.3.2.3.1.2.10.117.112.115.45.97.112.99.117.112.115"


def extended(profile_name: str, answer: dict[str, Raw]) -> dict[str, Value]:
    profile = PROFILES.get(profile_name)
    assert profile is not None
    layout = lay_out("ups", profile, answer, "snmp")
    return {
        one.quantity: value
        for one, value in zip(layout.series[1:], decode(layout.steps, answer), strict=True)
        if not one.instance
    }


@pytest.mark.parametrize(
    ("on_line", "on_battery", "source"),
    [(b"1", b"0", "mains"), (b"0", b"1", "battery"), (b"1", b"1", None), (b"0", b"0", None)],
)
def test_the_source_through_an_extended_agent(on_line: bytes, on_battery: bytes, source: str | None) -> None:
    read = extended("linux-ups-nut", {f"{LINES}.9": on_line, f"{LINES}.10": on_battery})["output.source"]
    assert absent(read) if source is None else read == source


def test_a_runtime_of_zero_through_an_extended_agent() -> None:
    lines: dict[str, Raw] = {f"{LINES}.3": b"0", f"{LINES}.9": b"1", f"{LINES}.10": b"0", f"{LINES}.24": b"0"}
    assert absent(extended("linux-ups-nut", lines)["battery.runtime"])
    assert absent(extended("linux-ups-nut", lines)["battery.temperature"])
    assert extended("linux-ups-nut", lines | {f"{LINES}.9": b"0", f"{LINES}.10": b"1"})["battery.runtime"] == 0.0
    assert absent(extended("linux-ups-apcups", {TEXT: b"230.0 12.0 100.0 0.0 27.1 230 24.0"})["battery.runtime"])
    assert extended("linux-ups-apcups", {TEXT: b"0.0 12.0 100.0 0.0 27.1 230 24.0"})["battery.runtime"] == 0.0
    assert extended("linux-ups-apcups", {TEXT: b"230.0 12.0 40.0 0.0 27.1 230 24.0"})["battery.runtime"] == 0.0
