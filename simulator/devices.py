"""The objects of the room's devices: one table for each device, each value computed from the room.

UPS: RFC 1628 (UPS-MIB). Sensors: Gude Expert Sensor Box 7213 (GUDEADS-ESB7213-MIB). Air conditioner: APC NetworkAIR FM
(PowerNet-MIB, airFM). System group: RFC 3418.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from watchkeeper.model.device import Category
from watchkeeper.simulator.room import DAMP, FULL_RUNTIME_S, HEAT, LOW_RUNTIME_S, POWER_CUT, Room

OidArcs = tuple[int, ...]

SIMULATED_COMMUNITY = "public"


class Syntax(StrEnum):
    """The SMIv2 types in use (RFC 2578)."""

    INTEGER = "Integer32"
    COUNTER = "Counter32"
    GAUGE = "Gauge32"
    TICKS = "TimeTicks"
    TEXT = "OctetString"
    OID = "ObjectIdentifier"
    ADDRESS = "IpAddress"
    OPAQUE = "Opaque"
    BIG = "Counter64"


@dataclass(frozen=True, slots=True)
class SimulatedObject:
    """One object instance; its value, in the object's own unit, is computed from the room."""

    oid: OidArcs
    syntax: Syntax
    value: Callable[[Any], int | str | bytes]


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """A device of the room. `objects` are in the order of their OIDs, as GETNEXT needs them."""

    name: str
    category: Category
    objects: tuple[SimulatedObject, ...]

    @property
    def dead(self) -> str:
        """The name of the fault by which it does not answer."""
        return f"dead-{self.name}"


def oid_arcs(text: str) -> OidArcs:
    """`1.3.6` -> (1, 3, 6)."""
    return tuple(map(int, text.split(".")))


def _integer_object(text: str, value: Callable[[Room], float]) -> SimulatedObject:
    return SimulatedObject(oid_arcs(text), Syntax.INTEGER, lambda room: round(value(room)))


def _fixed_object(text: str, value: int | str, syntax: Syntax = Syntax.TEXT) -> SimulatedObject:
    return SimulatedObject(oid_arcs(text), syntax, lambda _room: value)


def _system(kind: str, describes: str, name: str) -> tuple[SimulatedObject, ...]:
    return (
        _fixed_object("1.3.6.1.2.1.1.1.0", describes),
        _fixed_object("1.3.6.1.2.1.1.2.0", kind, Syntax.OID),
        SimulatedObject(oid_arcs("1.3.6.1.2.1.1.3.0"), Syntax.TICKS, lambda room: int(room.elapsed_s * 100) % 2**32),
        _fixed_object("1.3.6.1.2.1.1.5.0", name),
        _fixed_object("1.3.6.1.2.1.1.6.0", "simulated machine room"),
    )


def _sorted(*objects: SimulatedObject) -> tuple[SimulatedObject, ...]:
    return tuple(sorted(objects, key=lambda one: one.oid))


_LINES = (1, 2, 3)
_LINE_VA, _LINE_WATTS = 10_000, 4_200
_BATTERY_VOLTS = 240.0


def _load_watts(room: Room, line: int) -> float:
    return (_LINE_WATTS + 60 * room.noise(f"ups.load.{line}")) if room.powered else 0.0


def _input_volts(room: Room, line: int) -> float:
    return 230 + 1.5 * room.noise(f"ups.input.{line}") if room.mains else 0.0


def _charging(room: Room) -> bool:
    return room.mains and room.charge_percent < 100  # noqa: PLR2004 -- full


def _input_watts(room: Room, line: int) -> float:
    return (_load_watts(room, line) + 500 * _charging(room)) / 0.94 if room.mains else 0.0


def _output_volts(room: Room) -> float:
    return 230.0 if room.powered else 0.0


def _battery_status(room: Room) -> int:
    normal, low, depleted = 2, 3, 4
    if room.charge_percent <= 0:
        return depleted
    return low if room.runtime_s <= LOW_RUNTIME_S else normal


def _battery_amperes(room: Room) -> float:
    """The battery's current; negative while it charges."""
    if room.mains:
        return -6.0 * _charging(room)
    return sum(_load_watts(room, line) for line in _LINES) / _BATTERY_VOLTS


def _output_source(room: Room) -> int:
    none, normal, battery = 2, 3, 5
    if room.mains:
        return normal
    return battery if room.powered else none


def _ups_alarms(room: Room) -> int:
    """How many of upsAlarmOnBattery, upsAlarmInputBad and upsAlarmLowBattery (or upsAlarmDepletedBattery) are
    present."""
    return 2 * (not room.mains) + (_battery_status(room) != 2)  # noqa: PLR2004 -- batteryNormal


def _input_line(line: int) -> tuple[SimulatedObject, ...]:
    entry = "1.3.6.1.2.1.33.1.3.3.1"
    return (
        _integer_object(f"{entry}.2.{line}", lambda room: 500 if room.mains else 0),
        _integer_object(f"{entry}.3.{line}", lambda room: _input_volts(room, line)),
        _integer_object(f"{entry}.4.{line}", lambda room: 10 * _input_watts(room, line) / 230),
        _integer_object(f"{entry}.5.{line}", lambda room: _input_watts(room, line)),
    )


def _output_line(line: int) -> tuple[SimulatedObject, ...]:
    entry = "1.3.6.1.2.1.33.1.4.4.1"
    return (
        _integer_object(f"{entry}.2.{line}", _output_volts),
        _integer_object(f"{entry}.3.{line}", lambda room: 10 * _load_watts(room, line) / 230),
        _integer_object(f"{entry}.4.{line}", lambda room: _load_watts(room, line)),
        _integer_object(f"{entry}.5.{line}", lambda room: 100 * _load_watts(room, line) / _LINE_VA),
    )


_UPS = _sorted(
    *_system("1.3.6.1.2.1.33", "Watchkeeper simulated UPS", "ups"),
    _fixed_object("1.3.6.1.2.1.33.1.1.1.0", "Watchkeeper"),
    _fixed_object("1.3.6.1.2.1.33.1.1.2.0", "Simulated UPS 30 kVA"),
    _fixed_object("1.3.6.1.2.1.33.1.1.5.0", "ups"),
    _integer_object("1.3.6.1.2.1.33.1.2.1.0", _battery_status),
    _integer_object("1.3.6.1.2.1.33.1.2.2.0", lambda room: int(room.on_battery_s)),
    # PositiveInteger: by RFC 1628 it is never 0, not even for an empty battery
    _integer_object("1.3.6.1.2.1.33.1.2.3.0", lambda room: max(room.runtime_s // 60, 1)),
    _integer_object("1.3.6.1.2.1.33.1.2.4.0", lambda room: room.charge_percent),
    _integer_object("1.3.6.1.2.1.33.1.2.5.0", lambda room: 10 * _BATTERY_VOLTS * (0.9 + room.charge_percent / 1000)),
    _integer_object("1.3.6.1.2.1.33.1.2.6.0", lambda room: 10 * _battery_amperes(room)),
    _integer_object("1.3.6.1.2.1.33.1.2.7.0", lambda room: room.temperature_celsius + 2),
    SimulatedObject(oid_arcs("1.3.6.1.2.1.33.1.3.1.0"), Syntax.COUNTER, lambda room: room.mains_lost),
    _fixed_object("1.3.6.1.2.1.33.1.3.2.0", len(_LINES), Syntax.INTEGER),
    *(one for line in _LINES for one in _input_line(line)),
    _integer_object("1.3.6.1.2.1.33.1.4.1.0", _output_source),
    _integer_object("1.3.6.1.2.1.33.1.4.2.0", lambda room: 500 if room.powered else 0),
    _fixed_object("1.3.6.1.2.1.33.1.4.3.0", len(_LINES), Syntax.INTEGER),
    *(one for line in _LINES for one in _output_line(line)),
    SimulatedObject(oid_arcs("1.3.6.1.2.1.33.1.6.1.0"), Syntax.GAUGE, _ups_alarms),
    _fixed_object("1.3.6.1.2.1.33.1.9.7.0", round(LOW_RUNTIME_S / 60), Syntax.INTEGER),
)


def _return_celsius(room: Room) -> float:
    return room.temperature_celsius + 0.2 + 0.1 * room.noise("pac.return")


def _supply_celsius(room: Room) -> float:
    return 14 + 0.2 * room.noise("pac.supply") if room.compressor else _return_celsius(room)


def _demand_percent(room: Room) -> float:
    return min(max(45 + 25 * (room.temperature_celsius - 22) + 2 * room.noise("pac.demand"), 0), 100)


_PAC = _sorted(
    *_system(
        "1.3.6.1.4.1.318.1.3.14.1",
        "APC Web/SNMP Management Card (MB:v3.8.6 PF:v3.5.7 PN:apc_hw02_aos_357.bin AF1:v3.5.5"
        " AN1:apc_hw02_nairfm_355.bin MN:AP9617)",
        "pac",
    ),
    _integer_object("1.3.6.1.4.1.318.1.1.13.1.3.1.0", lambda room: 1 if room.compressor and room.humidifier else 5),
    _integer_object("1.3.6.1.4.1.318.1.1.13.1.4.2.1.0", _demand_percent),
    _integer_object("1.3.6.1.4.1.318.1.1.13.1.4.2.3.0", lambda room: _demand_percent(room) if room.compressor else 0),
    _integer_object("1.3.6.1.4.1.318.1.1.13.1.5.2.2.1.2.1", lambda room: 10 * _supply_celsius(room)),
    _integer_object("1.3.6.1.4.1.318.1.1.13.1.5.2.2.1.5.1", lambda room: 10 * _return_celsius(room)),
    _integer_object(
        "1.3.6.1.4.1.318.1.1.13.1.5.2.2.1.7.1", lambda room: 10 * (room.humidity_percent + room.noise("pac.humidity"))
    ),
    _integer_object("1.3.6.1.4.1.318.1.1.13.1.6.3.0", lambda room: (not room.compressor) + (not room.humidifier)),
)


def _sensor(name: str, warmer_celsius: float) -> tuple[SimulatedObject, ...]:
    entry = "1.3.6.1.4.1.28507.66.1.6.1.1"
    return _sorted(
        *_system("1.3.6.1.4.1.28507.66", "Expert Sensor Box 7213-12", name),
        _fixed_object(f"{entry}.1.1", 1, Syntax.INTEGER),
        _integer_object(
            f"{entry}.2.1",
            lambda room: 10 * (room.temperature_celsius + warmer_celsius + 0.3 * room.noise(f"{name}.temperature")),
        ),
        _integer_object(f"{entry}.3.1", lambda room: 10 * (room.humidity_percent + room.noise(f"{name}.humidity"))),
        _fixed_object(f"{entry}.32.1", name),
    )


DEVICES = (
    SimulatedDevice("ups", Category.UPS, _UPS),
    SimulatedDevice("pac", Category.COOLING, _PAC),
    SimulatedDevice("sensor-1", Category.ENV, _sensor("sensor-1", 0.0)),
    SimulatedDevice("sensor-2", Category.ENV, _sensor("sensor-2", 0.3)),
)

FAULTS = {
    HEAT: "the air conditioner's compressor stops; the room warms up towards 35 °C",
    DAMP: "the air conditioner's humidifier sticks; humidity rises towards 80 %",
    POWER_CUT: f"the mains fail; the UPS runs on its battery, which lasts {FULL_RUNTIME_S / 60:.0f} minutes",
    **{device.dead: f"{device.name} does not answer at all" for device in DEVICES},
}
"""All faults, and the effect of each."""
