"""The catalogue of everything that can be measured, with unit and type; probes, profiles, rules and metrics share it.

A name is `subject.measure`: `battery.charge`, `outlet.current`. Every subject has the same electrical measures.
`health` is a component's report about itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watchkeeper.model.verdict import Level


class QuantityType(StrEnum):
    """A gauge goes up and down; a counter only up, except for wraps and resets; a state is one of several names."""

    GAUGE = "gauge"
    COUNTER = "counter"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its `symbol`, Prometheus's name of its `base` unit, and the factor: base value = value * `to_base`."""

    symbol: str
    base: str
    to_base: float = 1.0


CELSIUS = Unit("°C", "celsius")
PERCENT = Unit("%", "ratio", 0.01)
VOLT = Unit("V", "volts")
AMPERE = Unit("A", "amperes")
AMPERE_HOUR = Unit("Ah", "coulombs", 3600.0)
WATT = Unit("W", "watts")
VOLT_AMPERE = Unit("VA", "voltamperes")
REACTIVE = Unit("var", "voltamperes_reactive")
KILOWATT_HOUR = Unit("kWh", "joules", 3.6e6)
KILOVOLT_AMPERE_HOUR = Unit("kVAh", "voltampere_seconds", 3.6e6)
HERTZ = Unit("Hz", "hertz")
OHM = Unit("Ω", "ohms")
SECOND = Unit("s", "seconds")
BYTE = Unit("B", "bytes")
RPM = Unit("rpm", "hertz", 1 / 60)
PASCAL = Unit("Pa", "pascals")
LITRE_PER_MINUTE = Unit("l/min", "cubic_meters_per_second", 1 / 60_000)
CUBIC_METRE_PER_HOUR = Unit("m³/h", "cubic_meters_per_second", 1 / 3600)
METRE_PER_SECOND = Unit("m/s", "meters_per_second")
DECIBEL = Unit("dB", "decibels")
LUX = Unit("lx", "lux")
NUMBER = Unit("", "")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity that can be measured. `states` are all values of a state quantity, in no order; `levels` is the
    level that each of them means: ok without a fault, unknown where it tells nothing."""

    name: str
    unit: Unit
    title: str
    type: QuantityType = QuantityType.GAUGE
    states: tuple[str, ...] = ()
    levels: Mapping[str, Level] = field(default_factory=dict)


def _state(name: str, title: str, *words: str) -> Quantity:
    """A state quantity. A state is ok unless its level follows it: `wet critical`."""
    split = [word.split() for word in words]
    levels = {word: Level(level[0]) if level else Level.OK for word, *level in split}
    return Quantity(name, NUMBER, title, QuantityType.STATE, tuple(levels), levels)


def _health(subject: str, title: str) -> Quantity:
    return _state(f"{subject}.health", title, "ok", "warning warning", "critical critical", "unknown unknown")


def _electrical(subject: str, title: str) -> Iterator[Quantity]:
    """The electrical measures of a subject."""
    yield Quantity(f"{subject}.voltage", VOLT, f"{title} voltage")
    yield Quantity(f"{subject}.current", AMPERE, f"{title} current")
    yield Quantity(f"{subject}.power", WATT, f"{title} power")
    yield Quantity(f"{subject}.apparent", VOLT_AMPERE, f"{title} apparent power")
    yield Quantity(f"{subject}.reactive", REACTIVE, f"{title} reactive power")
    yield Quantity(f"{subject}.energy", KILOWATT_HOUR, f"{title} energy", QuantityType.COUNTER)
    yield Quantity(f"{subject}.factor", NUMBER, f"{title} power factor")
    yield Quantity(f"{subject}.frequency", HERTZ, f"{title} frequency")
    yield Quantity(f"{subject}.load", PERCENT, f"{title} load")


_CATALOGUE: tuple[Quantity, ...] = (
    # every device
    _state("device.answering", "Reachability", "yes", "no critical"),
    _state("device.alarm", "Device alarm", "ok", "warning warning", "critical critical", "unknown unknown"),
    _state(
        "device.event", "Event reported by the device",
        "none", "notice", "warning warning", "critical critical", "unknown unknown",
    ),
    Quantity("device.number", NUMBER, "Number reported by the device"),
    Quantity("device.percent", PERCENT, "Percentage reported by the device"),
    Quantity("uptime", SECOND, "Uptime"),
    Quantity("running.time", SECOND, "Total running time"),
    Quantity("alarms.present", NUMBER, "Active alarms"),
    _health("device", "Device health"),
    _health("sensor", "Sensor health"),
    _health("communication", "Component communication"),
    _health("redundancy", "Redundancy"),
    # servers (4.2.5.3) and their boards (4.2.5.2)
    Quantity("cpu.usage", PERCENT, "CPU usage"),
    Quantity("memory.usage", PERCENT, "Memory usage"),
    Quantity("memory.size", BYTE, "Installed memory"),
    Quantity("swap.usage", PERCENT, "Swap usage"),
    Quantity("disk.usage", PERCENT, "Disk usage"),
    Quantity("disk.size", BYTE, "Disk size"),
    Quantity("disk.inodes", PERCENT, "Inode usage"),
    Quantity("load.1m", NUMBER, "Load average, 1 minute"),
    Quantity("load.5m", NUMBER, "Load average, 5 minutes"),
    Quantity("load.15m", NUMBER, "Load average, 15 minutes"),
    Quantity("network.errors", NUMBER, "Interface errors and drops", QuantityType.COUNTER),
    Quantity("network.received", BYTE, "Bytes received", QuantityType.COUNTER),
    Quantity("network.sent", BYTE, "Bytes sent", QuantityType.COUNTER),
    _state("link.state", "Network link", "up", "down warning", "off", "unknown unknown"),
    _state("power.state", "Power state", "on", "off critical", "sleeping warning", "unknown unknown"),
    _health("board", "System board"),
    _health("processor", "Processor"),
    _health("memory", "Memory"),
    _health("controller", "Disk controller"),
    _health("drive", "Drive"),
    _health("array", "Disk array"),
    _health("network", "Network adapter"),
    _health("psu", "Power supply"),
    _health("fan", "Fan health"),
    _health("temperature", "Temperature status (device's limits)"),
    _health("voltage", "Voltage status (device's limits)"),
    _health("current", "Current status (device's limits)"),
    _health("power", "Power status (device's limits)"),
    _state("intrusion", "Chassis", "closed", "open critical", "opened warning", "unknown unknown"),
    # services (4.2.5.4)
    _state("service.state", "Service state", "up", "down critical", "unknown unknown"),
    _state("process.state", "Process state", "running", "stopped critical"),
    _state("unit.state", "systemd unit state", "active", "starting", "inactive critical", "failed critical", "unknown unknown"),
    Quantity("response.time", SECOND, "Response time"),
    Quantity("packet.loss", PERCENT, "Packet loss"),
    Quantity("certificate.remaining", SECOND, "Certificate validity left"),
    Quantity("process.number", NUMBER, "Running processes"),
    Quantity("connections.usage", PERCENT, "Connection usage"),
    # the room (3.6, 3.7)
    Quantity("temperature.ambient", CELSIUS, "Room temperature"),
    Quantity("temperature.outdoor", CELSIUS, "Outdoor temperature"),
    Quantity("temperature.component", CELSIUS, "Component temperature"),
    Quantity("temperature.supply", CELSIUS, "Supply air temperature"),
    Quantity("temperature.return", CELSIUS, "Return air temperature"),
    Quantity("temperature.dewpoint", CELSIUS, "Dew point"),
    Quantity("temperature.setpoint", CELSIUS, "Temperature setpoint"),
    Quantity("temperature.difference", CELSIUS, "Temperature difference"),
    Quantity("humidity.relative", PERCENT, "Relative humidity"),
    Quantity("humidity.supply", PERCENT, "Supply air humidity"),
    Quantity("humidity.return", PERCENT, "Return air humidity"),
    Quantity("humidity.setpoint", PERCENT, "Humidity setpoint"),
    _health("humidity", "Humidity status (device's limits)"),
    Quantity("air.flow", CUBIC_METRE_PER_HOUR, "Air flow"),
    Quantity("air.speed", METRE_PER_SECOND, "Air speed"),
    Quantity("air.pressure", PASCAL, "Air pressure"),
    Quantity("sound.level", DECIBEL, "Sound level"),
    Quantity("light.level", LUX, "Brightness"),
    _state("leak", "Water leak", "dry", "wet critical", "unknown unknown"),
    _state("smoke", "Smoke", "clear", "smoke critical", "unknown unknown"),
    _state("door", "Door", "closed", "open warning", "unknown unknown"),
    _state("lock", "Lock", "locked", "unlocked warning", "unknown unknown"),
    _state("motion", "Motion", "still", "moving warning", "unknown unknown"),
    _state("contact.state", "Contact state", "open", "closed", "unknown unknown"),
    _state("relay.state", "Relay state", "on unknown", "off unknown", "unknown unknown"),
    Quantity("analog.value", NUMBER, "Analogue input"),
    # cooling
    _state("cooling.unit", "Air conditioner", "on", "standby", "off", "fault critical", "unknown unknown"),
    Quantity("cooling.output", PERCENT, "Cooling output"),
    Quantity("cooling.demand", PERCENT, "Cooling demand"),
    Quantity("cooling.power", WATT, "Cooling power"),
    Quantity("cooling.efficiency", NUMBER, "Energy efficiency ratio"),
    Quantity("fan.speed", RPM, "Fan speed"),
    Quantity("fan.duty", PERCENT, "Fan duty"),
    Quantity("pump.speed", RPM, "Pump speed"),
    Quantity("pump.duty", PERCENT, "Pump duty"),
    Quantity("compressor.duty", PERCENT, "Compressor duty"),
    Quantity("heater.duty", PERCENT, "Heater duty"),
    Quantity("humidifier.duty", PERCENT, "Humidifier duty"),
    Quantity("valve.position", PERCENT, "Valve position"),
    Quantity("water.temperature", CELSIUS, "Water temperature"),
    Quantity("water.flow", LITRE_PER_MINUTE, "Water flow"),
    Quantity("water.pressure", PASCAL, "Water pressure"),
    Quantity("refrigerant.temperature", CELSIUS, "Refrigerant temperature"),
    Quantity("refrigerant.pressure", PASCAL, "Refrigerant pressure"),
    *(
        _state(f"{part}.state", f"{title} state", "running", "stopped", "fault critical", "unknown unknown")
        for part, title in (
            ("fan", "Fan"), ("pump", "Pump"), ("compressor", "Compressor"), ("heater", "Heater"),
            ("humidifier", "Humidifier"), ("dehumidifier", "Dehumidifier"), ("generator", "Generator"),
        )
    ),
    _state("valve.state", "Valve state", "open", "closed", "unknown unknown"),
    _health("cooling", "Cooling health"),
    _health("compressor", "Compressor health"),
    _health("pump", "Pump health"),
    _health("filter", "Air filter health"),
    _health("airflow", "Air flow status (device's limits)"),
    _health("water", "Water circuit health"),
    _health("humidifier", "Humidifier health"),
    # power (4.1.2)
    *(
        quantity
        for subject, title in {
            "input": "Input", "output": "Output", "bypass": "Bypass", "inverter": "Inverter", "rectifier": "Rectifier",
            "charger": "Charger", "dc": "DC bus", "battery": "Battery", "outlet": "Outlet", "branch": "Branch circuit",
            "rail": "Supply rail", "psu": "Power supply", "solar": "Solar", "generator": "Generator",
        }.items()
        for quantity in _electrical(subject, title)
    ),
    *(
        _health(subject, title)
        for subject, title in {
            "input": "Input health", "output": "Output health", "bypass": "Bypass health", "inverter": "Inverter health",
            "rectifier": "Rectifier health", "charger": "Charger health", "dc": "DC bus health", "battery": "Battery health",
            "outlet": "Outlet health", "branch": "Branch circuit health", "solar": "Solar health",
            "generator": "Generator health", "load": "Load status (device's limits)", "surge": "Surge protection health",
        }.items()
    ),
    Quantity("energy.apparent", KILOVOLT_AMPERE_HOUR, "Apparent energy", QuantityType.COUNTER),
    # what is set, and what a device is made for; no measurements
    Quantity("voltage.setpoint", VOLT, "Voltage setting"),
    Quantity("frequency.setpoint", HERTZ, "Frequency setting"),
    Quantity("power.rating", WATT, "Power rating"),
    Quantity("current.rating", AMPERE, "Current rating"),
    # what is measured
    Quantity("input.lost", NUMBER, "Input power losses", QuantityType.COUNTER),
    Quantity("input.unbalance", PERCENT, "Phase imbalance"),
    Quantity("input.distortion", PERCENT, "Harmonic distortion"),
    Quantity("input.crest", NUMBER, "Crest factor"),
    Quantity("neutral.current", AMPERE, "Neutral current"),
    Quantity("residual.current", AMPERE, "Residual current"),
    _state("input.state", "Input state", "good", "bad warning", "lost critical", "unknown unknown"),
    _state(
        "output.source", "Output source",
        "mains", "battery critical", "bypass warning", "booster", "reducer", "none critical", "other unknown",
        "unknown unknown",
    ),
    _state("transfer.source", "Transfer switch source", "a", "b", "none critical", "unknown unknown"),
    _state("outlet.state", "Outlet state", "on", "off unknown", "switching", "unknown unknown"),
    _state("breaker.state", "Breaker state", "closed", "open warning", "tripped critical", "unknown unknown"),
    _state("inverter.state", "Inverter state", "on", "standby", "off warning", "fault critical", "unknown unknown"),
    _state("rectifier.state", "Rectifier state", "on", "standby", "off warning", "fault critical", "unknown unknown"),
    _state("bypass.state", "Bypass state", "off", "on warning", "fault critical", "unknown unknown"),
    Quantity("battery.charge", PERCENT, "Battery charge"),
    Quantity("battery.runtime", SECOND, "Battery runtime left"),
    Quantity("battery.discharging", SECOND, "Time on battery"),
    Quantity("battery.temperature", CELSIUS, "Battery temperature"),
    Quantity("battery.capacity", AMPERE_HOUR, "Battery capacity"),
    Quantity("battery.resistance", OHM, "Battery resistance"),
    Quantity("battery.wellness", PERCENT, "Battery state of health"),
    Quantity("battery.cycles", NUMBER, "Battery cycles", QuantityType.COUNTER),
    Quantity("fuel.level", PERCENT, "Fuel level"),
    _state(
        "battery.state", "Battery state",
        "ok", "low critical", "depleted critical", "replace warning", "charging", "discharging warning", "testing",
        "fault critical", "absent unknown", "unknown unknown",
    ),
    _state(
        "battery.test", "Battery test",
        "passed", "running", "warned warning", "aborted warning", "failed critical", "none unknown",
        "unknown unknown",
    ),
    # what was read before and is gone, and how long ago (rules/presence.py)
    _state("device.readings", "Readings with a value", "ok", "few warning", "none warning"),
    Quantity("device.excess", NUMBER, "Readings left out"),
    Quantity("hardware.absent", SECOND, "Component gone for"),
    Quantity("sensor.absent", SECOND, "Sensor gone for"),
    Quantity("reading.absent", SECOND, "Reading gone for"),
    # Watchkeeper itself (4.1.6)
    _state("agent.heard", "Agent data", "yes", "no critical"),
    _state("agent.limits", "Limits of an agent", "ok", "exceeded warning"),
    _state("agent.pushes", "Pushes of the agent", "ok", "set-aside warning"),
    _state("agent.twin", "Agent running twice", "no", "yes critical"),
    _state("collector.disk", "Collector disk", "ok", "full critical"),
    _state("collector.backup", "Newest good backup", "ok", "late warning", "none warning"),
    _state("collector.clock", "Collector clock", "ok", "wrong warning", "doubt warning"),
    _state(
        "collector.configuration", "Configuration folder",
        "in-force", "older warning", "differs warning", "invalid warning", "unusable critical",
    ),
    _state("collector.heard", "Collector", "yes", "no warning", "stopped"),
    _state("collector.heartbeat", "Heartbeat", "ok", "failing warning"),
    Quantity("collector.refused", NUMBER, "Refused sign-ins in 5 minutes"),
)  # fmt: skip

QUANTITIES: Mapping[str, Quantity] = {quantity.name: quantity for quantity in _CATALOGUE}


ABSENCE_QUANTITIES = ("hardware.absent", "sensor.absent", "reading.absent")
"""The quantities that tell how long something is gone that was read before."""

_SENSOR_SUBJECTS = frozenset(
    {
        "temperature", "humidity", "leak", "smoke", "door", "lock", "motion", "contact", "intrusion", "air", "sound",
        "light", "water", "analog", "sensor",
    }
)  # fmt: skip
_HARDWARE_SUBJECTS = frozenset({"psu", "fan", "drive", "array", "controller", "processor", "pump", "compressor"})


def absence_quantity(quantity: str) -> str:
    """The quantity that tells how long a reading of `quantity` is gone: that of hardware, of a sensor, or of any other
    reading. A setpoint is a setting, not a sensor."""
    subject, _, measure = quantity.partition(".")
    if subject in _SENSOR_SUBJECTS and measure != "setpoint":
        return "sensor.absent"
    hardware = subject in _HARDWARE_SUBJECTS or measure == "health" or quantity in ("battery.state", "power.state")
    return "hardware.absent" if hardware else "reading.absent"
