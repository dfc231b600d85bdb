"""What can be measured, in which unit, and of which sort: one catalogue for probes, profiles, rules and metrics."""

from dataclasses import dataclass
from enum import StrEnum


class Sort(StrEnum):
    """How a quantity behaves: a gauge goes up and down, a counter only up (wraps and resets apart), a state has names."""

    GAUGE = "gauge"
    COUNTER = "counter"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Unit:
    """How people write the unit, and what Prometheus calls its base unit: base value = value * `to_base`."""

    symbol: str
    base: str
    to_base: float = 1.0


CELSIUS = Unit("°C", "celsius")
PERCENT = Unit("%", "ratio", 0.01)
VOLT = Unit("V", "volts")
AMPERE = Unit("A", "amperes")
WATT = Unit("W", "watts")
VOLT_AMPERE = Unit("VA", "voltamperes")
KILOWATT_HOUR = Unit("kWh", "joules", 3.6e6)
HERTZ = Unit("Hz", "hertz")
SECOND = Unit("s", "seconds")
BYTE = Unit("B", "bytes")
RPM = Unit("rpm", "hertz", 1 / 60)
NUMBER = Unit("", "")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that can be measured. `states` names every value a state quantity may take, in no order of badness."""

    name: str
    unit: Unit
    title: str
    sort: Sort = Sort.GAUGE
    states: tuple[str, ...] = ()


def _state(name: str, title: str, *states: str) -> Quantity:
    return Quantity(name, NUMBER, title, Sort.STATE, states)


QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        # every device
        _state("device.answering", "Device answers", "yes", "no"),
        _state("device.alarm", "Device's own alarm", "ok", "warning", "critical", "unknown"),
        Quantity("uptime", SECOND, "Time since start"),
        # servers (4.2.5.3)
        Quantity("cpu.usage", PERCENT, "CPU in use"),
        Quantity("memory.usage", PERCENT, "Memory in use"),
        Quantity("memory.size", BYTE, "Memory fitted"),
        Quantity("swap.usage", PERCENT, "Swap in use"),
        Quantity("disk.usage", PERCENT, "Disk space in use"),
        Quantity("disk.size", BYTE, "Disk size"),
        Quantity("disk.inodes", PERCENT, "Inodes in use"),
        Quantity("load.1m", NUMBER, "Load, 1 minute"),
        Quantity("load.5m", NUMBER, "Load, 5 minutes"),
        Quantity("load.15m", NUMBER, "Load, 15 minutes"),
        Quantity("network.errors", NUMBER, "Interface errors and drops", Sort.COUNTER),
        Quantity("network.received", BYTE, "Bytes received", Sort.COUNTER),
        Quantity("network.sent", BYTE, "Bytes sent", Sort.COUNTER),
        # the room (3.6, 3.7)
        Quantity("temperature.ambient", CELSIUS, "Room temperature"),
        Quantity("temperature.component", CELSIUS, "Component temperature"),
        Quantity("temperature.supply", CELSIUS, "Supply air temperature"),
        Quantity("temperature.return", CELSIUS, "Return air temperature"),
        Quantity("humidity.relative", PERCENT, "Relative humidity"),
        Quantity("humidity.return", PERCENT, "Return air humidity"),
        Quantity("fan.speed", RPM, "Fan speed"),
        Quantity("fan.duty", PERCENT, "Fan duty"),
        Quantity("cooling.output", PERCENT, "Cooling output"),
        Quantity("cooling.demand", PERCENT, "Cooling demand"),
        _state("cooling.unit", "Air conditioner", "on", "standby", "off", "fault", "unknown"),
        _state("leak", "Water leak", "dry", "wet", "unknown"),
        # power (4.1.2)
        Quantity("input.voltage", VOLT, "Input voltage"),
        Quantity("input.current", AMPERE, "Input current"),
        Quantity("input.frequency", HERTZ, "Input frequency"),
        Quantity("input.power", WATT, "Input power"),
        Quantity("input.lost", NUMBER, "Times the input was lost", Sort.COUNTER),
        Quantity("output.voltage", VOLT, "Output voltage"),
        Quantity("output.current", AMPERE, "Output current"),
        Quantity("output.frequency", HERTZ, "Output frequency"),
        Quantity("output.power", WATT, "Output power"),
        Quantity("output.apparent", VOLT_AMPERE, "Output apparent power"),
        Quantity("output.energy", KILOWATT_HOUR, "Energy delivered", Sort.COUNTER),
        Quantity("output.load", PERCENT, "Output load"),
        _state(
            "output.source", "Output fed from",
            "mains", "battery", "bypass", "booster", "reducer", "none", "other", "unknown",
        ),
        Quantity("battery.charge", PERCENT, "Battery charge"),
        Quantity("battery.runtime", SECOND, "Battery runtime left"),
        Quantity("battery.discharging", SECOND, "Time on battery"),
        Quantity("battery.voltage", VOLT, "Battery voltage"),
        Quantity("battery.current", AMPERE, "Battery current"),
        Quantity("battery.temperature", CELSIUS, "Battery temperature"),
        _state("battery.state", "Battery", "ok", "low", "depleted", "replace", "unknown"),
        Quantity("alarms.present", NUMBER, "Alarms standing on the device"),
        # Watchkeeper itself (4.1.6)
        _state("agent.heard", "Agent heard from", "yes", "no"),
        _state("collector.disk", "Collector's disk", "ok", "full"),
    )
}  # fmt: skip
