"""The room's physics: air, air conditioner, mains and battery under faults. Pure.

Every fault breaks only one thing, so a test or demonstration gets exactly the alarms it wants. The air conditioner has
its own feed and works during a power cut; its humidifier works without the compressor.
"""

import hashlib
import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

HEAT = "heat"
DAMP = "damp"
POWER_CUT = "power-cut"

SETPOINT_CELSIUS, SETPOINT_PERCENT = 22.0, 50.0
_HOT_CELSIUS, _DAMP_PERCENT = 35.0, 80.0  # where the values end if the fault stays
_COOLING_S, _HEATING_S = 300.0, 1800.0  # time constants: the air cools quickly, walls and racks warm up slowly
_HUMIDITY_S = 600.0

FULL_RUNTIME_S = 1800.0  # runtime of a full battery
_CHARGING_S = 7200.0  # empty to full
LOW_RUNTIME_S = 600.0  # RFC 1628 upsConfigLowBattTime, as seconds

_NOISE_S = 1.0  # how long one value of the noise lasts


@dataclass(frozen=True, slots=True)
class Room:
    """The room at one instant. It starts cool, at 50 % humidity, on mains and fully charged. All seconds are the room's
    own: with `simulate room --pace` they pass faster than those of the wall clock."""

    elapsed_s: float = 0.0
    temperature_celsius: float = SETPOINT_CELSIUS
    humidity_percent: float = SETPOINT_PERCENT
    compressor: bool = True
    humidifier: bool = True
    mains: bool = True
    mains_lost: int = 0
    on_battery_s: float = 0.0
    charge_percent: float = 100.0
    seed: int = 0

    @property
    def runtime_s(self) -> float:
        """How long the battery would last from now on."""
        return self.charge_percent / 100 * FULL_RUNTIME_S

    @property
    def powered(self) -> bool:
        """Whether the UPS still feeds its load."""
        return self.mains or self.charge_percent > 0

    def noise(self, what: str) -> float:
        """A number in -1..1: always the same for the same seed, `what` and second."""
        key = f"{self.seed}/{what}/{int(self.elapsed_s / _NOISE_S)}"
        return int.from_bytes(hashlib.blake2s(key.encode(), digest_size=4).digest()) / (2**31 - 0.5) - 1


def advance(room: Room, faults: AbstractSet[str], dt: float) -> Room:
    """Let `dt` seconds of the room pass under `faults`. Exact: many small steps end where one large step ends. A step
    of 0 s only applies the faults."""
    heat, damp, cut = HEAT in faults, DAMP in faults, POWER_CUT in faults
    charge = -100 / FULL_RUNTIME_S if cut else 100 / _CHARGING_S
    return replace(
        room,
        elapsed_s=room.elapsed_s + dt,
        temperature_celsius=_relax(
            room.temperature_celsius,
            _HOT_CELSIUS if heat else SETPOINT_CELSIUS,
            dt / (_HEATING_S if heat else _COOLING_S),
        ),
        humidity_percent=_relax(room.humidity_percent, _DAMP_PERCENT if damp else SETPOINT_PERCENT, dt / _HUMIDITY_S),
        compressor=not heat,
        humidifier=not damp,
        mains=not cut,
        mains_lost=room.mains_lost + (cut and room.mains),
        on_battery_s=room.on_battery_s + dt if cut else 0.0,
        charge_percent=min(max(room.charge_percent + charge * dt, 0.0), 100.0),
    )


def _relax(value: float, target: float, constants: float) -> float:
    return target + (value - target) * math.exp(-constants)
